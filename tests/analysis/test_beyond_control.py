"""Effects beside their controls against loops, the analysis of variance, t tests, ranks and simulation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, t, ttest_1samp

from alignlab.analysis.beyond_control import change, excess
from alignlab.errors import InputError

from ..scripts_as_modules import SIMULATIONS, script_as_module

Floats = NDArray[np.float64]
# All bounds of a test together are crossed by chance in one of a thousand seeds.
CHANCE = 1e-3

simulation = script_as_module(SIMULATIONS / "control.py")


def drawn(seed: int, sets: int = 3, k: int = 4, m: int = 12) -> tuple[Floats, Floats, Floats]:
    random = np.random.default_rng(seed)
    sizes = random.integers(5, 200, m).astype(np.float64)
    arms = random.normal(0, 0.3, (sets, k + 1, 1)) + random.normal(0, 1, (sets, k + 1, m)) * random.choice([1.0, 3.0])
    changes = (arms + 0.5) * sizes
    return changes[:, 0], changes[:, 1:], sizes


def by_loops(chosen: Floats, controls: Floats, sizes: Floats) -> dict[str, Any]:
    """One set's difference and the three variances, element by element."""
    k, m = controls.shape
    total = sum(float(size) for size in sizes)
    totals = [sum(float(chosen[c]) - float(controls[r, c]) for c in range(m)) / total for r in range(k)]
    value = sum(totals) / k
    moved = [
        [(float(chosen[c]) - float(controls[r, c]) - totals[r] * float(sizes[c])) / total for c in range(m)]
        for r in range(k)
    ]
    means = [sum(moved[r][c] for r in range(k)) / k for c in range(m)]
    return {
        "value": value,
        "clusters": m / (m - 1) * sum(mean**2 for mean in means),
        "draws": sum((each - value) ** 2 for each in totals) / (k - 1),
        "residual": m / (m - 1) * sum((moved[r][c] - means[c]) ** 2 for r in range(k) for c in range(m)) / (k - 1),
    }


@pytest.mark.parametrize("seed", range(20))
def test_differences_and_intervals_are_those_of_loops(seed: int) -> None:
    chosen, controls, sizes = drawn(seed)
    k, m = controls.shape[1:]
    shared = [0.0, 0.25, 0.8]
    found = excess(chosen, controls, sizes, shared)
    for place in range(len(chosen)):
        slow = by_loops(chosen[place], controls[place], sizes)
        s = shared[place]
        more = ((k + 1) / k + (k - 1) / k * s) / (1 - s)
        documents = max(slow["clusters"] - more * slow["residual"], 0.0)
        half = math.hypot(
            t.ppf(0.975, k - 1) * math.sqrt(more * slow["draws"]), t.ppf(0.975, m - 1) * math.sqrt(documents)
        )
        assert found.value[place] == pytest.approx(slow["value"], rel=1e-12)
        assert found.low[place] == pytest.approx(slow["value"] - half, rel=1e-10)
        assert found.high[place] == pytest.approx(slow["value"] + half, rel=1e-10)
        of_controls = [controls[place, r].sum() / sizes.sum() for r in range(k)]
        assert found.control[place] == pytest.approx(np.mean(of_controls))
        assert found.control_sd[place] == pytest.approx(np.std(of_controls, ddof=1))
        of_set = chosen[place].sum() / sizes.sum()
        assert found.beyond[place] == (abs(of_set) > abs(np.mean(of_controls)))


def test_of_clusters_of_one_size_the_variances_are_the_mean_squares_of_two_way_anova() -> None:
    random = np.random.default_rng(5)
    m, k = 9, 5
    cells = random.normal(0, 1, (k, m)) + random.normal(0, 2, (1, m)) + random.normal(0, 1, (k, 1)) + 3
    grand, rows, columns = cells.mean(), cells.mean(axis=1), cells.mean(axis=0)
    of_controls = m * ((rows - grand) ** 2).sum() / (k - 1)
    of_clusters = k * ((columns - grand) ** 2).sum() / (m - 1)
    residual = ((cells - rows[:, None] - columns + grand) ** 2).sum() / ((k - 1) * (m - 1))
    # The variance of the mean for new documents and one more draw, from the expected mean squares.
    draws, alone = (of_controls - residual) / m, residual
    of_set = (of_clusters - residual) / k
    expected = of_set / m + alone / (m * k) + (1 + 1 / k) * draws
    found = excess(np.zeros((1, m)), -cells[None], np.ones(m))
    a = (1 + 1 / k) * of_controls / m
    b = expected - a
    assert b > 0
    half = math.sqrt(t.ppf(0.975, k - 1) ** 2 * a + t.ppf(0.975, m - 1) ** 2 * b)
    assert found.high[0] - found.value[0] == pytest.approx(half, rel=1e-10)


@pytest.mark.parametrize("seed", range(20))
def test_one_set_has_the_p_at_which_its_interval_reaches_0(seed: int) -> None:
    chosen, controls, sizes = (part[:1] if part.ndim > 1 else part for part in drawn(seed))
    k, m = controls.shape[1:]
    found = excess(chosen, controls, sizes)
    slow = by_loops(chosen[0], controls[0], sizes)
    a, p = (1 + 1 / k) * slow["draws"], found.p[0]
    b = max(slow["clusters"] - (1 + 1 / k) * slow["residual"], 0.0)
    assert t.isf(p / 2, k - 1) ** 2 * a + t.isf(p / 2, m - 1) ** 2 * b == pytest.approx(slow["value"] ** 2, rel=1e-8)
    assert (p < 0.05) == (found.low[0] > 0 or found.high[0] < 0)


def test_where_documents_are_alike_p_is_that_of_one_more_draw() -> None:
    random = np.random.default_rng(3)
    of_controls, of_set, sizes = random.normal(0, 1, 6), 2.5, np.array([1.0, 5.0, 2.0])
    found = excess([of_set * sizes], [of_controls[:, None] * sizes], sizes)
    # Student's two-sample test, of which one sample is the set alone.
    statistic = (of_set - of_controls.mean()) / (of_controls.std(ddof=1) * math.sqrt(1 + 1 / 6))
    assert found.p[0] == pytest.approx(2 * t.sf(abs(statistic), 5), rel=1e-9)


def test_where_controls_are_one_p_is_that_of_a_t_test_over_clusters() -> None:
    random = np.random.default_rng(4)
    set_ = random.normal(0.4, 1, 30)
    found = excess([set_], np.zeros((1, 4, 30)), np.ones(30))
    assert found.p[0] == pytest.approx(ttest_1samp(set_, 0).pvalue, rel=1e-9)
    expected = ttest_1samp(set_, 0).confidence_interval()
    assert (found.low[0], found.high[0]) == pytest.approx((expected.low, expected.high))


def test_p_agrees_with_the_rank_of_the_set_among_permuted_arms() -> None:
    """Of exchangeable arms each is as likely to be the set: with many controls the rank alone tells p."""
    random = np.random.default_rng(7)
    k, m = 400, 25
    arms = random.normal(0, 1, (k, m)) + random.normal(0, 0.3, (k, 1))
    totals = arms.mean(axis=1)
    for shift in (0.0, 0.4, 0.8):
        set_ = arms[0] - totals[0] + shift
        found = excess([set_], [arms], np.ones(m))
        spread = np.abs(totals - totals.mean())
        rank = (1 + (spread >= abs(shift - totals.mean())).sum()) / (k + 1)
        # Documents vary under the set as under controls, up to what 25 clusters tell.
        assert found.p[0] == pytest.approx(rank, abs=0.06)


def test_controls_that_happen_to_be_alike_are_no_evidence() -> None:
    chosen, controls, sizes = drawn(1, sets=4)
    chosen[0], controls[0] = chosen[0] + 2 * sizes, controls[0].mean(axis=0)
    together = excess(chosen, controls, sizes)
    alone = [excess(chosen[i : i + 1], controls[i : i + 1], sizes) for i in range(4)]
    for i, one in enumerate(alone):
        assert (together.low[i], together.high[i]) == (one.low[0], one.high[0])
    more = together.control_sd**2
    for i in np.flatnonzero(more >= more.mean()):
        assert together.p[i] == pytest.approx(alone[i].p[0])
    for i in np.flatnonzero(more < more.mean()):
        assert together.p[i] > alone[i].p[0]
    assert together.p[0] > 2 * alone[0].p[0]


def test_too_few_to_tell() -> None:
    chosen, controls, sizes = drawn(2)
    one_cluster = excess(chosen[:, :1], controls[:, :, :1], sizes[:1])
    one_control = excess(chosen, controls[:, :1], sizes)
    same = excess(np.tile(sizes, (2, 1)), np.zeros((2, 3, len(sizes))), sizes)
    one_draw = excess(chosen, controls, sizes, 1.0)
    for found in (one_cluster, one_control, same, one_draw):
        assert np.isfinite(found.value).all()
        assert np.isnan([found.low, found.high, found.p]).all()
    assert same.value.tolist() == [1.0, 1.0]


def test_what_draws_share_counts_as_effects_of_neurons_that_add_up() -> None:
    """The variance of the set over its controls, n (1 + 1/k + (1 - 1/k) s), by that of the controls, n (1 - s)."""
    k, n = 4, 12
    pool = np.arange(16)
    draws = [np.delete(pool, range(4 * r, 4 * r + 4)) for r in range(k)]
    shared = np.mean([len(np.intersect1d(a, b)) / n for r, a in enumerate(draws) for b in draws[:r]])
    weights = np.zeros((1 + k, n + len(pool)))  # arms by neurons: the set has n of its own
    weights[0, :n] = 1
    for r, draw in enumerate(draws):
        weights[1 + r, n + draw] = 1
    over = weights[0] - weights[1:].mean(axis=0)
    between = weights[1:] - weights[1:].mean(axis=0)
    exact = (over**2).sum() / ((between**2).sum() / (k - 1))
    effects = np.random.default_rng(0).normal(size=weights.shape[1])
    changes = (weights @ effects)[:, None] * np.ones(2)
    found = excess(changes[None, 0], changes[None, 1:], np.ones(2), shared)
    half = t.ppf(0.975, k - 1) * found.control_sd[0] * math.sqrt(exact)
    assert found.high[0] - found.value[0] == pytest.approx(half)


def test_an_arm_that_diverged_leaves_the_others_as_they_are() -> None:
    chosen, controls, sizes = drawn(3)
    before = excess(chosen[1:], controls[1:], sizes)
    chosen[0, 4] = np.inf
    found = excess(chosen, controls, sizes)
    assert np.isnan([found.low[0], found.high[0], found.p[0]]).all()
    assert found.p[1:].tolist() == before.p.tolist()


def test_changes_have_t_over_clusters() -> None:
    random = np.random.default_rng(0)
    changes = random.normal(0.3, 1, (2, 5, 14))
    found = change(changes, np.ones(14))
    expected = ttest_1samp(changes, 0, axis=-1)
    np.testing.assert_allclose(found.p, expected.pvalue)
    np.testing.assert_allclose(found.low, expected.confidence_interval().low)
    np.testing.assert_allclose(found.high, expected.confidence_interval().high)


def test_changes_of_ratios_are_those_of_loops() -> None:
    random = np.random.default_rng(1)
    sizes, changes = random.integers(1, 50, 10).astype(float), random.normal(2, 5, 10)
    ratio = sum(changes) / sum(sizes)
    error = math.sqrt(10 / 9 * sum((x - ratio * n) ** 2 for x, n in zip(changes, sizes, strict=True))) / sum(sizes)
    found = change(changes, sizes)
    assert found.value == pytest.approx(ratio)
    assert found.high == pytest.approx(ratio + t.ppf(0.975, 9) * error)
    assert np.isnan(change(changes[:1], sizes[:1]).p)
    assert np.isnan(change(sizes * 0.1, sizes).p)


@pytest.mark.parametrize("shared", [-0.1, 1.1, math.nan, [0.5]])
def test_shares_that_are_none_are_refused(shared: Any) -> None:
    chosen, controls, sizes = drawn(0)
    with pytest.raises(InputError, match="shared: "):
        excess(chosen, controls, sizes, shared)


@pytest.mark.parametrize(
    ("chosen", "controls", "sizes", "message"),
    [
        (np.ones((2, 3)), np.ones((2, 2, 3)), np.array([1, 0, 2.0]), "sizes: "),
        (np.ones((2, 3)), np.ones((2, 2, 3)), np.ones(4), "changes: "),
        (np.ones((2, 3)), np.ones((3, 2, 3)), np.ones(3), "controls: "),
        (np.ones((2, 3)), np.ones((2, 0, 3)), np.ones(3), "controls: "),
    ],
)
def test_shapes_that_do_not_fit_are_refused(chosen: Floats, controls: Floats, sizes: Floats, message: str) -> None:
    with pytest.raises(InputError, match=message):
        excess(chosen, controls, sizes)


def test_one_more_draw_is_seldom_beyond_its_controls_and_intervals_hold() -> None:
    studies, bounds = 120, 8
    for study in (simulation.Study(40, 5, spread=3.0), simulation.Study(40, 5, "log-normal", spread=3.0)):
        found = simulation.measured(study, studies, np.random.default_rng(0), ("1/k, Satterthwaite",))
        assert found.any_beyond * studies <= binom.isf(CHANCE / bounds, studies, 0.05)
        assert found.any_other * studies <= binom.isf(CHANCE / bounds, studies, 0.05)
        # The mean of the controls is no draw: with 1/k a set that is one seems to exceed them.
        assert found.tried["1/k, Satterthwaite"] * studies > binom.isf(CHANCE / bounds, studies, 0.1)
    assert found.held * studies * 5 >= binom.ppf(CHANCE / bounds, studies * 5, 0.93)


def test_controls_that_share_neurons_are_told_apart_no_better_than_they_are() -> None:
    studies = 100
    study = simulation.Study(40, 10, spread=3.0, shared=0.7)
    found = simulation.measured(study, studies, np.random.default_rng(0), ("as if nothing were shared",))
    assert found.any_beyond * studies <= binom.isf(CHANCE / 2, studies, 0.05)
    assert found.tried["as if nothing were shared"] * studies > binom.isf(CHANCE / 2, studies, 0.1)


def test_what_is_planted_is_found() -> None:
    found = simulation.measured(simulation.Study(40, 5, planted=20.0), 20, np.random.default_rng(0), ())
    assert found.beyond > 0.9
