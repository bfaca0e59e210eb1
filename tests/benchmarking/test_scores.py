"""Scores against scikit-learn, scipy and loops over draws; intervals against the closed form."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import spearmanr, ttest_1samp
from sklearn.metrics import precision_score, recall_score

from alignlab.benchmarking.results import over_seeds
from alignlab.benchmarking.scores import precision, rank_correlation, recall, taken
from alignlab.neurons.table import Row


@pytest.mark.parametrize("seed", range(5))
def test_precision_and_recall_are_scikit_learns(seed: int) -> None:
    draw = np.random.default_rng(seed)
    score, truth = draw.normal(size=50), draw.random(50) < 0.2
    chosen = np.zeros(50, dtype=bool)
    chosen[np.argsort(-score)[:7]] = True
    assert (taken(score, 7) == chosen).all()
    assert precision(taken(score, 7), truth) == pytest.approx(precision_score(truth, chosen))
    assert recall(chosen, truth) == pytest.approx(recall_score(truth, chosen))


@pytest.mark.parametrize("score", [[2, 1, 1, 1, 0], [0, 0, 0, 0, 0], [-np.inf, -np.inf, 3, 1, -np.inf]])
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_equal_scores_are_the_mean_over_all_orders(score: list[float], size: int) -> None:
    truth = np.array([True, False, True, False, False])
    hits = []
    for order in itertools.permutations(range(5)):
        ranked = sorted(order, key=lambda neuron: -score[neuron])  # stable
        hits.append(truth[ranked[:size]].mean())
    shares = taken(np.array(score, dtype=float), size)
    assert shares.sum() == pytest.approx(size)
    assert precision(shares, truth) == pytest.approx(np.mean(hits))


@pytest.mark.parametrize("seed", range(5))
def test_rank_correlation_is_scipys_ties_and_infinities_too(seed: int) -> None:
    draw = np.random.default_rng(seed)
    score, strength = draw.integers(0, 6, 20).astype(float), draw.normal(size=20)
    assert rank_correlation(score, strength) == pytest.approx(spearmanr(score, strength).statistic)
    score[score == 0] = -np.inf
    assert rank_correlation(score, strength) == pytest.approx(
        spearmanr(np.where(np.isinf(score), -99, score), strength).statistic
    )


def test_what_orders_nothing_has_no_correlation() -> None:
    assert rank_correlation(np.full(4, -np.inf), np.arange(4.0)) == 0
    assert math.isnan(rank_correlation(np.ones(1), np.ones(1)))
    assert math.isnan(precision(np.zeros(3, dtype=bool), np.ones(3, dtype=bool)))
    assert math.isnan(recall(np.ones(3, dtype=bool), np.zeros(3, dtype=bool)))


def row(seed: int, value: float, **more: str) -> Row:
    return Row(record="planted", set="lape", measure="precision of sets", value=value, seed=seed, reference=0.1, **more)


def test_intervals_are_those_of_t_over_seeds() -> None:
    values = [0.5, 0.7, 0.4, 0.9, float("nan")]
    rows = [row(seed, value) for seed, value in enumerate(values)] + [row(seed, 1.0, label="x") for seed in range(3)]
    rows += [row(seed, float("nan"), label="y") for seed in range(2)]
    some, same, none = over_seeds(rows)
    expected = ttest_1samp(values[:4], 0).confidence_interval(0.95)
    assert (some.low, some.high) == pytest.approx((expected.low, expected.high))
    assert (some.value, some.denominator, some.seed, some.over) == (pytest.approx(0.625), 4, None, "seeds")
    assert some.reference == pytest.approx(0.1)
    assert (same.value, same.low, same.status, same.denominator) == (1, None, "too few", 3)
    assert (none.status, none.low, none.denominator) == ("not defined", None, 0)
    assert math.isnan(none.value)
