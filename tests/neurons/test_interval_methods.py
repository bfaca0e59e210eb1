"""Intervals against the formula in loops, with scipy's t; and where resampling cannot tell."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from alignlab.neurons.interval_methods import Intervals, intervals
from alignlab.neurons.row_intervals import with_intervals
from alignlab.neurons.table import Row

SHARDS = 20
FREE = {"least": -math.inf, "most": math.inf, "small": False, "reference": math.nan}


def of(value: float, drawn: list[float], step: float = 0.0, shards: int = SHARDS, **given: float) -> Intervals:
    """The interval of one number."""
    asked = {**FREE, **given}
    return intervals(
        np.array([value]),
        np.array(drawn, dtype=np.float64)[:, None],
        shards,
        references=np.array([asked["reference"]]),
        steps=np.array([step]),
        least=np.array([asked["least"]]),
        most=np.array([asked["most"]]),
        small=np.array([bool(asked["small"])]),
    )


@pytest.mark.parametrize("shards", [2, 6, 20, 100])
@pytest.mark.parametrize("step", [0.0, 0.25, 1.0])
def test_the_interval_is_that_of_its_formula(shards: int, step: float) -> None:
    random = np.random.default_rng(shards)
    drawn = random.normal(5, 2, 30).tolist()
    found = of(5.5, drawn, step, shards, reference=4.0)
    error = math.sqrt(shards / (shards - 1) * statistics.variance(drawn) + step**2 / 12)
    half = stats.t.ppf(0.975, shards - 1) * error
    assert (found.low[0], found.high[0]) == pytest.approx((5.5 - half, 5.5 + half), rel=1e-12)
    assert found.p[0] == pytest.approx(2 * stats.t.sf(1.5 / error, shards - 1), rel=1e-10)
    assert found.sd[0] == pytest.approx(statistics.stdev(drawn), rel=1e-12)
    assert found.noise_bias[0] == pytest.approx(statistics.mean(drawn) - 5.5, rel=1e-12)
    assert np.isnan(of(5.5, drawn, step, shards).p[0])


def test_p_is_under_five_per_cent_where_the_interval_leaves_the_reference_out() -> None:
    drawn = np.random.default_rng(0).normal(0, 1, 50).tolist()
    both = set()
    for value in np.linspace(-4, 4, 81):
        found = of(float(value), drawn, reference=0.0)
        outside = not found.low[0] <= 0 <= found.high[0]
        assert outside == (found.p[0] < 0.05)
        both.add(outside)
    assert both == {True, False}


def test_intervals_stay_in_their_range() -> None:
    drawn = np.random.default_rng(0).normal(0, 1, 50)
    found = of(0.9, (0.9 + 0.1 * drawn).tolist(), least=0.0, most=1.0)
    assert found.high[0] == 1
    assert 0 < found.low[0] < 0.9
    assert of(0.1, (0.1 + 0.1 * drawn).tolist(), least=0.0, most=1.0).low[0] == 0


def test_small_numbers_that_never_vary_have_no_interval_and_others_one_of_half_a_step_and_more() -> None:
    # A third is not exact: its mean is off by a rounding, and so is its deviation from it.
    for value in (3.0, 1 / 3):
        found = of(value, [value] * 7, 1.0, small=True, reference=0.0)
        assert np.isnan([found.low[0], found.high[0], found.p[0]]).all()
    found = of(30.0, [30.0] * 7, 1.0, reference=30.0)
    half = stats.t.ppf(0.975, 19) / math.sqrt(12)
    assert (found.low[0], found.high[0]) == pytest.approx((30 - half, 30 + half))
    assert half > 0.5
    assert found.p[0] == 1
    assert np.isnan(of(3.0, [2.0, math.nan, 4.0]).low[0])


def rows_and_draws() -> list[tuple[Row, list[float], tuple[float, float, float] | None]]:
    """A row, its values in three resamples, and the step and range that hold for it; None for no interval."""
    inf = math.inf
    change = {"since": "step 0", "reference": 0.0}
    return [
        (Row(value=2, denominator=40), [1, 2, 4], (1, 0, 40)),
        (Row(value=2, denominator=40, **change), [1, 2, 4], (1, -40, 40)),
        (Row(value=2.5, denominator=40), [1.5, 2, 4], (0, 0, 40)),  # a mean of counts
        (Row(value=2, denominator=2, kind="related", to_kind="none"), [1, 2, 4], (1, 0, inf)),
        (Row(value=0, denominator=40), [0, 0, 0], None),
        (Row(value=9, denominator=40, **change), [9, 9, 9], None),
        (Row(value=10, denominator=40), [10, 10, 10], (1, 0, 40)),
        (Row(value=0.75, denominator=4, unit="share"), [0.5, 0.75, 1], (0.25, 0, 1)),
        (Row(value=1, denominator=4, unit="share"), [1, 1, 1], None),
        (Row(value=1, denominator=10, unit="share"), [1, 1, 1], (0.1, 0, 1)),
        (Row(value=0.34, denominator=6, unit="share"), [0.3, 0.35, 0.41], (0, 0, 1)),  # a mean over pairs
        (Row(value=-0.1, unit="share", reference=0.0), [-0.2, 0.1, 0], (0, -1, 1)),  # beyond chance
        (Row(value=0.3, unit="probability"), [0.1, 0.3, 0.6], (0, 0, 1)),
        (Row(value=1.2, unit="ratio", reference=1.0), [0.2, 1.0, 2.1], (0, 0, inf)),
        (Row(value=0.2, unit="nats a token"), [0.1, 0.2, 0.5], (0, 0, inf)),
        (Row(value=0.2, unit="z"), [-1, 0.2, 1], (0, -inf, inf)),
        (Row(value=0.5, denominator=4, unit="share"), [0.5, math.nan, 1], None),
        (Row(value=math.nan, denominator=0, unit="share"), [math.nan] * 3, None),
    ]


def test_each_unit_has_its_step_and_its_range() -> None:
    given = rows_and_draws()
    found = with_intervals([row for row, *_ in given], np.array([drawn for _, drawn, _ in given]).T, SHARDS)
    for (row, drawn, expected), after in zip(given, found, strict=True):
        if expected is None:
            assert (after.status, after.low, after.high, after.p) == ("too few", None, None, None)
            continue
        step, least, most = expected
        error = math.sqrt(20 / 19 * statistics.variance(drawn) + step**2 / 12)
        half = stats.t.ppf(0.975, 19) * error
        assert after.status == "ok"
        assert (after.low, after.high) == pytest.approx((max(row.value - half, least), min(row.value + half, most)))
        assert (after.p is None) == (row.reference is None)


def test_what_was_not_resampled_is_as_it_was() -> None:
    row = Row(value=0.4, unit="", measure="tau")
    assert with_intervals([row], np.full((5, 1), np.nan), SHARDS) == [row]
    assert with_intervals([], np.empty((5, 0)), SHARDS) == []
