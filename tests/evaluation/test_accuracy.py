"""Accuracy and its change against loops, closed forms, scipy, identities and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, t, ttest_rel

from alignlab.errors import InputError
from alignlab.evaluation.accuracy import accuracy, accuracy_change

from ..scripts_as_modules import SIMULATIONS, script_as_module

# All bounds of a test together are crossed by chance in one of a thousand seeds.
CHANCE = 1e-3


simulation = script_as_module(SIMULATIONS / "accuracy.py")


def data(seed: int, n: int = 60, m: int = 20) -> tuple[list[bool], list[bool], list[str]]:
    random = np.random.default_rng(seed)
    clusters = [f"c{i}" for i in random.integers(m, size=n)]
    before = (random.random(n) < random.uniform(0.1, 0.9)).tolist()
    after = (random.random(n) < random.uniform(0.1, 0.9)).tolist()
    return before, after, clusters


def by_cluster(values: list[float], clusters: list[str]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        found.setdefault(cluster, []).append(value)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_ends_of_an_accuracy_are_those_that_a_score_test_just_rejects(seed: int) -> None:
    right, _, clusters = data(seed)
    share, n = sum(right) / len(right), len(right)
    groups = by_cluster([float(value) for value in right], clusters)
    m = len(groups)
    variance = m / (m - 1) * sum((sum(group) - share * len(group)) ** 2 for group in groups.values()) / n**2
    effective = min(n, share * (1 - share) / variance)
    bar = t.ppf(0.975, m - 1)

    def excess(true: float) -> float:
        return float((share - true) ** 2 * effective - bar**2 * true * (1 - true))

    found = accuracy(right, clusters)
    assert found.value == share
    assert found.low == pytest.approx(brentq(excess, 0, share, xtol=1e-14), abs=1e-10)
    assert found.high == pytest.approx(brentq(excess, share, 1, xtol=1e-14), abs=1e-10)
    assert (found.documents, found.clusters) == (n, m)
    assert math.isnan(found.p)


def test_of_many_single_documents_the_interval_is_wilsons() -> None:
    right = np.arange(20_000) % 7 == 0
    expected = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
    found = accuracy(right, [str(i) for i in range(len(right))])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4)


@pytest.mark.parametrize("value", [True, False])
def test_where_all_are_alike_the_clusters_count(value: bool) -> None:
    clusters = [f"{i // 5}" for i in range(100)]
    found = accuracy([value] * 100, clusters)
    bar = t.ppf(0.975, 19) ** 2
    assert (found.high if value else found.low) == pytest.approx(float(value), abs=1e-15)
    # Wilson's other end at a share of 1 or 0.
    assert found.high - found.low == pytest.approx(bar / (20 + bar))


@pytest.mark.parametrize("seed", range(10))
def test_p_against_chance_is_under_a_level_where_the_interval_leaves_chance_out(seed: int) -> None:
    right, _, clusters = data(seed)
    found = accuracy(right, clusters)
    for end in (found.low, found.high):  # an end of the interval is the chance that is just rejected
        assert accuracy(right, clusters, end).p == pytest.approx(0.05, rel=1e-6)
    assert accuracy(right, clusters, (found.low + found.value) / 2).p > 0.05
    assert accuracy(right, clusters, found.low / 2).p < 0.05
    assert math.isnan(found.p)


@pytest.mark.parametrize("hits", [470, 500, 531, 560])
def test_of_many_single_documents_p_against_chance_is_the_binomial_tests(hits: int) -> None:
    right, names = [number < hits for number in range(1000)], [str(number) for number in range(1000)]
    exact = binomtest(hits, 1000, 0.5)
    # The mean of the tails with and without the observed count, of which the normal law is the limit.
    middle = exact.pvalue - binom.pmf(hits, 1000, 0.5) * (hits != 500)
    assert accuracy(right, names, 0.5).p == pytest.approx(middle, rel=0.04, abs=1e-4)


def test_documents_of_a_cluster_are_no_evidence_of_their_own_against_chance() -> None:
    once = accuracy([True, True, False, True, True, False, True, True], list("abcdefgh"), 0.5)
    five_times = accuracy(np.repeat([True, True, False, True, True, False, True, True], 5), list("abcdefgh" * 5), 0.5)
    alike = accuracy(
        np.repeat([True, True, False, True, True, False, True, True], 5),
        [name for name in "abcdefgh" for _ in range(5)],
        0.5,
    )
    assert alike.p == pytest.approx(once.p)
    assert five_times.p < alike.p


@pytest.mark.parametrize("chance", [0.0, 1.0, -0.1, math.nan])
def test_what_is_no_chance_is_refused(chance: float) -> None:
    with pytest.raises(InputError, match="chance"):
        accuracy([True, False], ["a", "b"], chance)


def test_clusters_that_are_alike_count_as_their_documents() -> None:
    right, twos, singles = [True, False] * 30, [f"{i // 2}" for i in range(60)], [str(i) for i in range(60)]
    bar = t.ppf(0.975, 29) ** 2 / 60
    assert accuracy(right, twos).low == pytest.approx((0.5 + bar / 2 - math.sqrt(bar * (0.25 + bar / 4))) / (1 + bar))
    assert accuracy(right, twos).low == pytest.approx(accuracy(right, singles).low, abs=5e-3)


@pytest.mark.parametrize("seed", range(5))
def test_documents_said_twice_tell_nothing_new(seed: int) -> None:
    right, _, _ = data(seed)
    names = [str(i) for i in range(len(right))]
    once, thrice = accuracy(right, names), accuracy(right * 3, names * 3)
    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high))
    assert thrice.documents == 3 * once.documents


def test_wrong_is_the_mirror_of_right() -> None:
    right, _, clusters = data(3)
    found, mirrored = accuracy(right, clusters), accuracy([not value for value in right], clusters)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high))


@pytest.mark.parametrize("seed", range(20))
def test_a_change_by_a_loop_over_clusters_with_the_documents_that_are_added(seed: int) -> None:
    before, after, clusters = data(seed)
    changes = [float(b) - float(a) for a, b in zip(before, after, strict=True)]
    n = len(changes) + 2
    middle = sum(changes) / n
    groups = by_cluster(changes, clusters)
    m = len(groups)
    squares = m / (m - 1) * sum((sum(group) - middle * len(group)) ** 2 for group in groups.values())
    for weight, change in ((0.5, 1), (0.5, -1), (1, 0)):
        squares += weight * (change - middle) ** 2
    error = math.sqrt(squares) / n
    found = accuracy_change(before, after, clusters)
    assert found.value == pytest.approx(sum(changes) / len(changes))
    assert found.low == pytest.approx(middle - t.ppf(0.975, m - 1) * error)
    assert found.high == pytest.approx(middle + t.ppf(0.975, m - 1) * error)
    assert found.p == pytest.approx(2 * t.sf(abs(middle) / error, m - 1))
    assert (found.p <= 0.05) == (found.low > 0 or found.high < 0)


def test_of_single_documents_the_change_is_agresti_and_mins() -> None:
    # 30 became right and 12 wrong, 58 stayed: the Wald interval with 1/2 added to each of the four cells.
    before = [False] * 30 + [True] * 12 + [True] * 58
    after = [True] * 30 + [False] * 12 + [True] * 58
    found = accuracy_change(before, after, [str(i) for i in range(100)])
    b, c, n = 30.5, 12.5, 102
    middle = (b - c) / n
    error = math.sqrt((b + c) - (b - c) ** 2 / n) / n
    # Ours takes m / (m - 1) of the variance of the documents themselves.
    assert found.low == pytest.approx(middle - t.ppf(0.975, 99) * error, abs=1e-3)
    assert found.high == pytest.approx(middle + t.ppf(0.975, 99) * error, abs=1e-3)


def test_of_many_single_documents_p_is_that_of_a_paired_t_test() -> None:
    random = np.random.default_rng(0)
    before, after = random.random(5000) < 0.5, random.random(5000) < 0.515
    found = accuracy_change(before, after, [str(i) for i in range(5000)])
    assert found.p == pytest.approx(ttest_rel(after.astype(float), before.astype(float)).pvalue, abs=1e-3)


def test_the_other_way_round_is_the_negative() -> None:
    before, after, clusters = data(1)
    there, back = accuracy_change(before, after, clusters), accuracy_change(after, before, clusters)
    assert (back.value, back.low, back.high, back.p) == pytest.approx((-there.value, -there.high, -there.low, there.p))


def test_where_nothing_changed_there_is_an_interval_around_no_change() -> None:
    right, _, clusters = data(2)
    found = accuracy_change(right, right, clusters)
    assert (found.value, found.p) == (0, 1)
    assert 0 < found.high == -found.low < 0.1


def test_the_order_of_documents_changes_nothing() -> None:
    before, after, clusters = data(4)
    order = np.random.default_rng(0).permutation(len(clusters))
    shuffled = [np.array(values)[order] for values in (before, after, clusters)]
    there, here = accuracy_change(before, after, clusters), accuracy_change(shuffled[0], shuffled[1], list(shuffled[2]))
    assert (here.low, here.high, here.p) == pytest.approx((there.low, there.high, there.p))


def test_ends_stay_in_their_range() -> None:
    found = accuracy_change([False] * 3, [True] * 3, list("abc"))
    assert found.high == 1
    assert accuracy([True] * 3, list("abc")).high <= 1


def test_one_cluster_has_no_interval() -> None:
    for found in (accuracy([True, False], ["a", "a"]), accuracy_change([True, False], [True, True], ["a", "a"])):
        assert found.value == 0.5
        assert np.isnan([found.low, found.high, found.p]).all()


def test_bad_values_are_refused_together() -> None:
    with pytest.raises(InputError) as refused:
        accuracy_change([True, False], [0.0, 1.0, 1.0], ["a", "b", "c"])
    assert [problem.where for problem in refused.value.problems] == ["before", "after"]
    with pytest.raises(InputError, match="clusters: none"):
        accuracy([], [])


RUNS = 400
PROBES = [simulation.Probe(40, 40), simulation.Probe(100, 20), simulation.Probe(120, 22, even=False)]


@pytest.mark.slow
def test_intervals_of_simulated_accuracies_hold_them() -> None:
    random = np.random.default_rng(0)
    cells = [(probe, share) for probe in PROBES for share in (0.02, 0.5, 0.9)]
    bar = binom.ppf(CHANCE / len(cells), RUNS, 0.93) / RUNS
    for probe, share in cells:
        held, _, _, width = simulation.shares_held(probe, share, RUNS, random)
        assert held >= bar, (probe, share)
        assert width < 0.5


@pytest.mark.slow
def test_no_change_is_rarely_taken_for_one_and_a_change_is_found() -> None:
    random = np.random.default_rng(0)
    cells = [(probe, shares) for probe in PROBES for shares in ((0.1, 0.1), (0.5, 0.5), (0.1, 0.3))]
    for probe, shares in cells:
        found, _, _, _, held, _ = simulation.changes_found(probe, shares, RUNS, random)
        assert held >= binom.ppf(CHANCE / len(cells), RUNS, 0.93) / RUNS, (probe, shares)
        if shares[0] == shares[1]:
            assert found <= binom.ppf(1 - CHANCE / len(cells), RUNS, 0.06) / RUNS, (probe, shares)
        else:
            assert found >= 0.6, (probe, shares)
