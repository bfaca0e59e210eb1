"""lambda* against brute force in exact arithmetic, over every point where two lines cross."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from alignlab.neurons.envelope import lower_envelope
from alignlab.neurons.lambda_star import lambda_star, largest_attained

MAX = Fraction(0.2)
# Nearer than this two exact numbers count as one: scores are rounded to about 1e-16.
NEAR = 1e-12

Lines = list[tuple[float, float, bool]]


def feasible(lines: list[tuple[Fraction, Fraction, bool]], k: int, lambda_: Fraction) -> bool:
    """Whether the k lowest a - lambda * b hold no full line; of equal ones those not full come first."""
    scores = sorted((a - lambda_ * b, full) for a, b, full in lines)
    return not any(full for _, full in scores[:k])


def stretches(lines: Lines, k: int) -> list[tuple[Fraction, Fraction]]:
    """The maximal intervals of [0, 0.2] that are feasible, ascending: feasibility only changes where lines cross."""
    exact = [(Fraction(a), Fraction(b), full) for a, b, full in lines]
    points = {Fraction(0), MAX}
    for a, b, full in exact:
        for other_a, other_b, other_full in exact:
            if full and not other_full and b != other_b:
                points.add((a - other_a) / (b - other_b))
    ordered = sorted(point for point in points if 0 <= point <= MAX)
    found: list[tuple[Fraction, Fraction]] = []
    joined = False
    for i, point in enumerate(ordered):
        if feasible(exact, k, point):
            found = [*found[:-1], (found[-1][0], point)] if joined else [*found, (point, point)]
            joined = i + 1 < len(ordered) and feasible(exact, k, (point + ordered[i + 1]) / 2)
        else:
            # A stretch is closed: its line may sit at equality, and equality is allowed.
            assert not joined
    return found


def check(lines: Lines, k: int) -> list[tuple[Fraction, Fraction]]:
    a, b, full = (np.array(column) for column in zip(*lines, strict=True))
    result = lambda_star(a, b, full, k)
    expected = stretches(lines, k)
    for bottom, top in reversed(expected):
        if abs(Fraction(result.value) - top) <= NEAR and not result.reason:
            # Attained, with the scores as everyone computes them.
            scores = sorted((a - result.value * b, full, i) for i, (a, b, full) in enumerate(lines))
            assert not any(full for _, full, _ in scores[:k])
            assert result.capped == (result.value == 0.2)
            return expected
        # Only where no float lies inside may a stretch be passed over.
        assert top - bottom < NEAR, (result, [(float(x), float(y)) for x, y in expected], lines, k)
    assert result.value == 0
    assert not result.capped
    assert result.reason
    return expected


def random_lines(rng: np.random.Generator, kind: str) -> Lines:
    n = int(rng.integers(2, 13))
    full = rng.random(n) < rng.uniform(0.1, 0.9)
    match kind:
        case "scattered":
            a, b = rng.random(n), 8 * rng.random(n)
        case "meeting":
            # All meet near one lambda, so that who is lowest changes often.
            b = 4 * rng.random(n)
            a = rng.uniform(0, 0.2) * b + 0.02 * rng.random(n)
        case "coarse":
            # Equal lines, parallel lines and several lines through one point.
            a, b = rng.integers(0, 9, n) / 32, rng.integers(0, 9, n) / 2
        case "tangent":
            # Full lines along a parabola, all others a little off it: islands of lambda.
            t = rng.choice(np.linspace(0, 0.25, 11), n)
            a, b = t**2 + np.where(full, 0, rng.uniform(-3e-4, 1e-4, n)), 2 * t
        case _:
            raise AssertionError(kind)
    return list(zip(a.tolist(), b.tolist(), full.tolist(), strict=True))


@pytest.mark.parametrize(("kind", "seed"), [("scattered", 1), ("meeting", 2), ("coarse", 3), ("tangent", 4)])
def test_equals_brute_force(kind: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    holes = late = none = capped = inner = 0
    for _ in range(2000):
        lines = random_lines(rng, kind)
        found = check(lines, int(rng.integers(1, 1 + max(1, len(lines) * 2 // 3))))
        holes += len(found) > 1
        late += bool(found) and found[0][0] > 0
        none += not found
        capped += bool(found) and found[-1][1] == MAX
        inner += bool(found) and 0 < found[-1][1] < MAX
    # The instances must be of every sort, or the comparison says little.
    assert min(none, capped, inner, late) > 50
    assert holes > 5


def parabola(islands: list[float]) -> Lines:
    full = [(t * t, 2 * t, True) for t in np.linspace(0, 0.25, 26).tolist()]
    return full + [(t * t - 1e-4, 2 * t, False) for t in islands]


def test_a_hole_in_the_feasible_set_is_jumped_over() -> None:
    lines = parabola([0.05, 0.15])
    found = check(lines, 1)
    assert len(found) == 2
    assert found[0][0] > 0
    assert found[0][1] < 0.1 < found[1][0]
    a, b, full = (np.array(column) for column in zip(*lines, strict=True))
    assert float(found[1][0]) < lambda_star(a, b, full, 1).value < 0.2
    assert "at most 1 others" in lambda_star(a, b, full, 2).reason


def test_the_lower_island_is_taken_when_the_upper_one_is_too_small() -> None:
    lines = parabola([0.05, 0.05, 0.15])
    found = check(lines, 2)
    assert len(found) == 1
    a, b, full = (np.array(column) for column in zip(*lines, strict=True))
    assert 0.05 < lambda_star(a, b, full, 2).value < 0.1


def test_a_stretch_that_holds_no_float_is_passed_over() -> None:
    # At about 0.2 three lines meet, but as floats the full one is the lowest wherever the second other one is near.
    a, b = np.array([0.7, 0.0, 0.8, 0.3]), np.array([3.5, 2.0, 4.0, 0.0])
    result = lambda_star(a, b, np.array([True, False, False, False]), 2)
    assert result.value == pytest.approx(0.4 / 3.5, abs=1e-15)
    assert not result.capped
    alone = lambda_star(a[:3], b[:3], np.array([True, False, False]), 2)
    assert alone.value == 0
    assert "at most 1 others" in alone.reason


def test_a_tie_that_only_rounding_makes_counts_as_it_is_classified() -> None:
    # 1.1 - 7 * 0.2 and 0.5 - 4 * 0.2 are equal, and their floats too, though not what these floats stand for.
    a, b = np.array([0.0, 1.0, 0.5, 1.1]), np.array([10.0, 0.0, 4.0, 7.0])
    full = np.array([False, False, True, False])
    result = lambda_star(a, b, full, 2)
    assert (result.value, result.capped) == (0.2, True)
    score = a - result.value * b
    assert score[3] == score[2] == sorted(score)[1]


@pytest.mark.parametrize("kind", ["scattered", "meeting", "coarse", "tangent"])
def test_ends_of_intervals_equal_those_of_every_pair_of_lines(kind: str) -> None:
    rng = np.random.default_rng(7)
    compared = 0
    for _ in range(500):
        lines = random_lines(rng, kind)
        full = [(Fraction(a), Fraction(b)) for a, b, is_full in lines if is_full]
        others = [(a, b) for a, b, is_full in lines if not is_full]
        if not full or not others:
            continue
        envelope = lower_envelope(*(np.array(column, dtype=float) for column in zip(*full, strict=True)))
        columns = [np.array(column) for column in zip(*others, strict=True)]
        ends, distances = envelope.ends(*columns), envelope.distance(*columns)
        for (a, b), low, high, distance in zip(others, *ends, distances, strict=True):
            bounds = [(Fraction(a) - x, Fraction(b) - y) for x, y in full]
            lowest = max([Fraction(0), *(p / q for p, q in bounds if q > 0)])
            highest = min([MAX, *(p / q for p, q in bounds if q < 0)])
            empty = lowest > highest or any(p > 0 for p, q in bounds if q == 0)
            if abs(lowest - highest) < NEAR:
                continue
            compared += not empty
            assert (distance > 0) == empty or abs(distance) < NEAR
            if empty:
                assert max(low, 0) > min(high, 0.2)
            else:
                assert abs(Fraction(max(low, 0.0)) - lowest) < NEAR
                assert abs(Fraction(min(high, 0.2)) - highest) < NEAR
    assert compared > 50


def test_one_line_alone_is_feasible_up_to_where_it_crosses() -> None:
    result = lambda_star(np.array([0.5, 0.6]), np.array([1.0, 2.0]), np.array([False, True]), 1)
    assert result.value == pytest.approx(0.1, abs=1e-15)
    assert not result.capped
    assert not result.reason


def test_equal_scores_count_as_feasible_at_zero_and_at_the_cap() -> None:
    same = np.array([0.5, 0.5])
    assert lambda_star(same, np.array([1.0, 1.0]), np.array([True, False]), 1).value == 0.2
    at_zero = lambda_star(same, np.array([2.0, 1.0]), np.array([True, False]), 1)
    assert (at_zero.value, at_zero.capped, at_zero.reason) == (0.0, False, "")


def test_without_full_neurons_the_cap_is_reached_and_with_too_few_others_nothing_qualifies() -> None:
    a, b = np.linspace(0.1, 1, 5), np.linspace(0, 2, 5)
    free = lambda_star(a, b, np.zeros(5, dtype=bool), 5)
    assert (free.value, free.capped, free.reason) == (0.2, True, "")
    tight = lambda_star(a, b, np.array([False, False, True, True, True]), 3)
    assert (tight.value, tight.capped) == (0.0, False)
    assert "at most 2 others" in tight.reason


def test_rounding_never_lets_a_full_neuron_in() -> None:
    # Slopes that are nearly equal turn one rounded score into many units in the last place of lambda.
    rng = np.random.default_rng(5)
    stepped = 0
    for _ in range(2000):
        b = 1 + rng.random(12) * 10.0 ** -int(rng.integers(1, 13))
        a = 0.5 + (b - 1) * 0.1 + rng.integers(0, 3, 12) * 1e-16
        full = rng.random(12) < 0.4
        k = int(rng.integers(1, 5))
        result = lambda_star(a, b, full, k)
        if not result.reason:
            score = a - result.value * b
            order = np.lexsort((np.arange(12), full, score))
            assert not full[order[:k]].any()
            stepped += result.value not in (0.0, 0.2)
    assert stepped > 200


@pytest.mark.parametrize("top", [0.2, 0.1, 1e-3, 0.0])
@pytest.mark.parametrize("units", [0, 1, 3, 11, 1000, 12_345_678])
def test_rounding_is_stepped_back_from_no_further_than_needed(top: float, units: int) -> None:
    best = max(0.0, top - units * math.ulp(top))
    assert largest_attained(lambda value: value <= best, 0.0, top) == best
    assert largest_attained(lambda value: value < 0, 0.0, top) is None
    if units < 16:
        # A single value among a few is not jumped over.
        assert largest_attained(lambda value: value == best, max(0.0, top - 20 * math.ulp(top)), top) == best


def test_many_full_lines_along_one_curve_stay_fast_and_right() -> None:
    # The most lines an envelope can have, and every other line crosses it.
    t = np.linspace(0, 0.25, 20_001)
    islands = np.random.default_rng(6).uniform(0.02, 0.12, 50_000)
    a = np.concatenate((t**2, islands**2 - 1e-4))
    b = np.concatenate((2 * t, 2 * islands))
    full = np.arange(len(a)) < len(t)
    # Off the parabola by 1e-4, a line is under it at lambdas within 0.01 of its own: the k-th largest end decides.
    for k in (1, 10, 1000):
        assert lambda_star(a, b, full, k).value == pytest.approx(np.sort(islands)[-k] + 0.01, abs=1e-5)
    assert lambda_star(a, b, full, 20_000).reason
