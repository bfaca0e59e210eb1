"""lambda*: the largest lambda at which the K lowest scores ``a - lambda * b`` hold no neuron of full degree.

A neuron is a line over lambda. The lower envelope of the lines of full degree is concave, so any other line lies at or
under it on one interval of lambda (perhaps empty), and lambda is feasible where at least K of these intervals overlap.
The feasible set may have holes and need not start at 0: the ends of the intervals are sorted and swept, which finds the
largest lambda whatever the set looks like. Everything is O(n log n).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alignlab.neurons.envelope import LAMBDA_MAX, Envelope, lower_envelope
from alignlab.neurons.probabilities import Bools, Floats

# A line further above the envelope than this cannot tie with it by rounding.
SLACK = 1e-9

# Ends of intervals are moved outwards by this share, some four units in the last place, which is more than they are off
# by, so that lines which meet in one point still overlap. What is then found is tested as it is going to be used.
WIDENING = 1e-15


@dataclass(frozen=True)
class LambdaStar:
    """lambda*, whether it is the cap LAMBDA_MAX, and why no lambda qualifies (the value is 0 then), else ``""``."""

    value: float
    capped: bool
    reason: str


def lambda_star(a: Floats, b: Floats, full: Bools, k: int) -> LambdaStar:
    """The largest lambda in [0, 0.2] at which the `k` lowest ``a - lambda * b`` hold no `full` neuron.

    a, b: (n,) normalised entropy and normalised peak. full: (n,) bool, of degree G. Of equal scores, those that are not
    full come first. `k` is from 1 to n.

    The value is attained in floating point: selecting at it lets in no full neuron. For that it may lie some units in
    the last place below the real number; a feasible stretch too narrow to hold a float is passed over for the next
    one down.
    """
    other_a, other_b, full_a, full_b = a[~full], b[~full], a[full], b[full]
    if not len(full_a):
        return LambdaStar(LAMBDA_MAX, True, "")
    envelope = lower_envelope(full_a, full_b)
    near = envelope.distance(other_a, other_b) <= SLACK
    other_a, other_b = other_a[near], other_b[near]
    stretches, most = _overlaps(*_intervals(other_a, other_b, envelope), k)

    def attained(lambda_: float) -> bool:
        lowest_full = (full_a - lambda_ * full_b).min()
        return int(np.count_nonzero(other_a - lambda_ * other_b <= lowest_full)) >= k

    for bottom, top in stretches:
        value = largest_attained(attained, bottom, top)
        if value is not None:
            return LambdaStar(value, value == LAMBDA_MAX, "")
    return _none(k, min(most, k - 1))


def _none(k: int, most: int) -> LambdaStar:
    reason = (
        f"no lambda in [0, {LAMBDA_MAX}] keeps neurons above the threshold in every language out of the {k} selected: "
        f"at most {most} others come before all of them"
    )
    return LambdaStar(0.0, False, reason)


def _intervals(a: Floats, b: Floats, envelope: Envelope) -> tuple[Floats, Floats]:
    """Lowest and highest lambda in [0, 0.2] at which each line is at or under the envelope; empty ones left out."""
    low, high = envelope.ends(a, b)
    low, high = np.maximum(low * (1 - WIDENING), 0.0), np.minimum(high * (1 + WIDENING), LAMBDA_MAX)
    valid = low <= high
    return low[valid], high[valid]


def _overlaps(low: Floats, high: Floats, k: int) -> tuple[list[tuple[float, float]], int]:
    """The stretches, highest first, on which at least `k` of the closed intervals overlap; and the most that do."""
    if not len(low):
        return [], 0
    ends = np.concatenate((high, low))
    # Downwards an interval opens at its high end. The sort is stable, so at one value it opens before others close.
    order = np.argsort(-ends, kind="stable")
    open_ = np.where(order < len(high), 1, -1).cumsum()
    enough = open_ >= k
    before = np.concatenate(([False], enough[:-1]))
    tops, bottoms = ends[order[enough & ~before]], ends[order[~enough & before]]
    return list(zip(bottoms.tolist(), tops.tolist(), strict=True)), int(open_.max())


def largest_attained(attained: Callable[[float], bool], bottom: float, top: float) -> float | None:
    """The largest value from `top` down to `bottom`, by units in the last place, that rounding does not spoil."""
    unit = math.ulp(top)
    step, spoilt, value = 0.0, top, top
    while not attained(value):
        if value <= bottom:
            return None
        # Value by value at first, so that a stretch of very few is not jumped over, then ever faster.
        step, spoilt = step + max(unit, step if step > 16 * unit else 0), value
        value = max(bottom, top - step)
    while value < (middle := (value + spoilt) / 2) < spoilt:
        if attained(middle):
            value = middle
        else:
            spoilt = middle
    return value
