"""Intervals over training seeds: sums of squares in loops, closed forms, and how often they hold what is true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.stats import binom

from alignlab.analysis.over_seeds import Drawn, over_seeds
from alignlab.errors import InputError
from alignlab.evaluation.estimates import influences, mean
from alignlab.neurons.row_intervals import with_intervals
from alignlab.neurons.table import Row

from ..scripts_as_modules import SIMULATIONS, script_as_module

RANDOM = np.random.default_rng(0)


def by_loop(sums: Any, size: int) -> tuple[float, float, float]:
    """V_s, V_d and V_e of cluster sums (K, m), clusters of equal size, from mean squares of a two-way table."""
    k, m = sums.shape
    means = sums / size
    grand = sum(means[i][j] for i in range(k) for j in range(m)) / (k * m)
    rows = [sum(means[i]) / m for i in range(k)]
    columns = [sum(means[i][j] for i in range(k)) / k for j in range(m)]
    ms_seeds = m * sum((row - grand) ** 2 for row in rows) / (k - 1)
    ms_documents = k * sum((column - grand) ** 2 for column in columns) / (m - 1)
    ms_rest = sum((means[i][j] - rows[i] - columns[j] + grand) ** 2 for i in range(k) for j in range(m)) / (
        (k - 1) * (m - 1)
    )
    return ms_seeds / (k * m), ms_documents / (k * m), ms_rest / (k * m)


@pytest.mark.parametrize(("k", "m"), [(2, 2), (3, 7), (5, 20)])
def test_variances_are_those_of_the_mean_squares_of_a_two_way_table(k: int, m: int) -> None:
    sums = RANDOM.normal(10, 1, (k, 1)) + RANDOM.normal(0, 5, m) + RANDOM.normal(0, 1, (k, m))
    of_seeds, of_documents, of_both = by_loop(sums, 4)
    value, moved = influences(sums, np.full(m, 4.0))
    found = over_seeds(value, moved)
    assert found.value == pytest.approx(sums.sum() / (4 * k * m))
    assert (found.seeds, found.clusters) == (k, m)
    seeds = stats.ttest_1samp(value, 0).confidence_interval()
    assert (found.over_seeds.low, found.over_seeds.high) == pytest.approx((seeds.low, seeds.high))
    assert found.over_seeds.p == pytest.approx(stats.ttest_1samp(value, 0).pvalue)
    t_seeds, t_documents = stats.t.ppf(0.975, k - 1), stats.t.ppf(0.975, m - 1)
    assert found.over_documents.high - found.value == pytest.approx(t_documents * of_documents**0.5)
    rest = max(of_documents - of_both, 0)
    assert found.over_both.high - found.value == pytest.approx((t_seeds**2 * of_seeds + t_documents**2 * rest) ** 0.5)
    # Documents alone: the mean over seeds of every document, by another function.
    alone = mean(sums.mean(axis=0), [str(cluster) for cluster in range(m)])
    assert (found.over_documents.low * 4, found.over_documents.high * 4) == pytest.approx((alone.low, alone.high))
    assert found.over_documents.p == pytest.approx(alone.p)


def test_p_over_both_is_the_level_whose_interval_ends_at_nothing() -> None:
    sums = RANDOM.normal(1, 1, (5, 1)) + RANDOM.normal(0, 3, 12) + RANDOM.normal(0, 2, (5, 12))
    of_seeds, of_documents, of_both = by_loop(sums, 1)
    value, moved = influences(sums, np.ones(12))
    found = over_seeds(value, moved)
    t = [stats.t.ppf(1 - found.over_both.p / 2, degrees) for degrees in (4, 11)]
    assert (t[0] ** 2 * of_seeds + t[1] ** 2 * (of_documents - of_both)) ** 0.5 == pytest.approx(abs(found.value))


def test_seeds_that_are_one_model_are_as_one_document_sample() -> None:
    """All seeds alike: nothing over seeds, and over documents what one run says."""
    sums = RANDOM.normal(0, 1, 9)
    value, moved = influences(np.tile(sums, (4, 1)), np.ones(9))
    found, alone = over_seeds(value, moved), mean(sums, [str(cluster) for cluster in range(9)])
    assert np.isnan(found.over_seeds.low)
    assert np.isnan(found.over_both.low)
    assert (found.over_documents.low, found.over_documents.high) == pytest.approx((alone.low, alone.high))


def test_of_one_seed_there_are_documents_alone() -> None:
    value, moved = influences(RANDOM.normal(0, 1, (1, 9)), np.ones(9))
    found = over_seeds(value, moved)
    assert np.isnan([found.sd, found.over_seeds.low, found.over_both.p]).all()
    assert not np.isnan(found.over_documents.low)


def test_nothing_known_of_documents() -> None:
    found = over_seeds([1.0, 2.0, 4.0])
    assert found.sd == pytest.approx(np.std([1, 2, 4], ddof=1))
    assert np.isnan([found.over_documents.low, found.over_both.low]).all()
    assert not np.isnan(found.over_seeds.low)


def test_standard_errors_are_at_least_what_the_layout_gives() -> None:
    sums = RANDOM.normal(0, 1, (5, 1)) + RANDOM.normal(0, 3, 30) + RANDOM.normal(0, 1, (5, 30))
    value, moved = influences(sums, np.ones(30))
    errors = np.sqrt(30 / 29 * (moved**2).sum(axis=1))
    coarse, fine = over_seeds(value, errors=errors), over_seeds(value, moved)
    assert coarse.over_seeds == fine.over_seeds
    assert coarse.over_both.high - coarse.value == pytest.approx(
        (stats.t.ppf(0.975, 4) ** 2 * np.var(value, ddof=1) / 5 + stats.norm.ppf(0.975) ** 2 * (errors**2).mean())
        ** 0.5
    )


def test_resamples_that_leave_out_a_cluster_each_are_as_influences() -> None:
    """A linear number, in every resample that is one cluster twice in another's place: the two-way table again."""
    m, sums = 6, RANDOM.normal(10, 1, (3, 1)) + RANDOM.normal(0, 5, 6) + RANDOM.normal(0, 1, (3, 6))
    value, moved = influences(sums, np.ones(m))
    # All ordered pairs of clusters with +-: their mean is the number, and their variance that of two single clusters.
    pairs = [(i, j) for i in range(m) for j in range(m) if i != j]
    drawn = np.array([[row.mean() + (row[i] - row[j]) / m for i, j in pairs] for row in sums])
    fine = over_seeds(value, moved)
    again = over_seeds(value, drawn=Drawn(drawn, m))
    # Of such pairs the variance is 2 m / (m - 1) / m^2 of that between clusters, over pairs less one.
    scale = (2 * len(pairs) / (m - 1) / (len(pairs) - 1)) * m / m
    first, second = fine.over_documents, again.over_documents
    assert (second.high - again.value) ** 2 == pytest.approx(scale * (first.high - fine.value) ** 2)
    assert again.over_seeds == fine.over_seeds
    t = stats.t.ppf(0.975, 2) ** 2 * np.var(value, ddof=1) / 3
    assert (again.over_both.high - value.mean()) ** 2 - t == pytest.approx(
        scale * ((fine.over_both.high - value.mean()) ** 2 - t)
    )


def test_resamples_of_one_seed_give_the_interval_of_its_row() -> None:
    drawn = RANDOM.integers(3, 9, 50).astype(float)
    (row,) = with_intervals([Row(value=6, denominator=40)], drawn[:, None], 12)
    found = over_seeds([6.0], drawn=Drawn(drawn[None], 12, 1.0)).over_documents
    assert (found.low, found.high) == pytest.approx((row.low, row.high))


def test_resamples_in_which_nothing_varies_tell_nothing_of_documents() -> None:
    found = over_seeds([6.0, 7.0], drawn=Drawn([[6.0, 6.0], [7.0, 7.0]], 12, 1.0))
    assert np.isnan([found.over_documents.low, found.over_both.low]).all()
    assert not np.isnan(found.over_seeds.low)


def test_the_order_of_seeds_and_documents_changes_nothing_and_units_go_through() -> None:
    value, moved = influences(RANDOM.normal(3, 1, (5, 8)), np.ones(8))
    found = over_seeds(value, moved).over_both
    seeds, documents = RANDOM.permutation(5), RANDOM.permutation(8)
    again = over_seeds(value[seeds], moved[seeds][:, documents]).over_both
    times = over_seeds(100 * value, 100 * moved).over_both
    assert (again.low, again.p) == pytest.approx((found.low, found.p))
    assert (times.low, times.p) == pytest.approx((100 * found.low, found.p))


def test_shares_stay_shares() -> None:
    found = over_seeds([1.0, 0.98, 1.0], errors=[0.0, 0.02, 0.0], bounds=(0, 1))
    assert (found.over_seeds.high, found.over_both.high) == (1, 1)
    assert found.over_both.low < found.over_seeds.low < 0.98


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"values": []}, r"values.*\(K,\)"),
        ({"values": [[1.0]]}, r"values.*\(1, 1\)"),
        ({"values": [1.0, np.nan]}, "values.*not finite"),
        ({"values": [1.0, 2.0], "moved": [[0.0, 1.0]]}, r"moved.*\(1, 2\)"),
        ({"values": [1.0, 2.0], "moved": [[0.0], [np.inf]]}, "moved.*not finite"),
        ({"values": [1.0, 2.0], "errors": [1.0]}, "errors.*one a seed"),
        ({"values": [1.0, 2.0], "errors": [1.0, -1.0]}, "errors.*below 0"),
        ({"values": [1.0], "errors": [1.0], "moved": [[0.0]]}, "errors.*beside moved"),
        ({"values": [1.0], "errors": [1.0], "drawn": Drawn([[0.0, 1.0]], 3)}, "drawn.*beside errors"),
        ({"values": [1.0], "drawn": Drawn([0.0, 1.0], 3)}, r"drawn.*\(2,\)"),
        ({"values": [1.0], "drawn": Drawn([[0.0]], 3)}, r"drawn.*\(1, 1\).*two or more"),
        ({"values": [1.0], "drawn": Drawn([[0.0, 1.0]], 1)}, "drawn.*from 1 clusters"),
        ({"values": [1.0], "drawn": Drawn([[0.0, np.nan]], 3)}, "drawn.*not finite"),
    ],
)
def test_what_is_no_study_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        over_seeds(**given)


def test_intervals_hold_what_they_are_about_in_simulation() -> None:
    """500 studies a case; bounds are what .95 gives by chance in 999 of 1,000, and for answers .93."""
    simulation = script_as_module(SIMULATIONS / "seeds.py")
    lowest, answers = binom.ppf(5e-4, 500, 0.95) / 500, binom.ppf(5e-4, 500, 0.93) / 500
    for study in (simulation.Study(), simulation.Study(seeds_sd=0.2), simulation.Study(documents_sd=3, clusters=60)):
        held, none = simulation.coverage(study, 500, seed=1)
        assert min(held) >= lowest, study
        assert max(held) < 1
        assert none == 0
    for right in (0.5, 0.9):
        held, _ = simulation.coverage(simulation.Study(right=right, seeds_sd=0.5, rest_sd=0.5), 500, seed=1)
        assert min(held) >= answers
    nothing = simulation.Study(documents_sd=0.5, rest_sd=0.5)
    _, false = simulation.verdicts(nothing, 200, 1, asked=4)
    _, found = simulation.verdicts(replace(nothing, difference=5.0), 100, 1, asked=4)
    assert false <= binom.ppf(0.9995, 200, 0.05) / 200
    assert found > 0.9
    for what in ("change", "difference"):
        counts = simulation.Counts(what=what, seeds_sd=0.5, neurons=50, resamples=60)
        held, _ = simulation.coverage(counts, 500, seed=1)
        assert lowest <= min(held)
        assert max(held) <= binom.ppf(0.9995, 500, 0.97) / 500
        before, _ = simulation.coverage(replace(counts, errors=True), 500, seed=1)
        assert before[2] > 0.98, "without the resamples the interval is too wide"
