"""The 95 % interval of a number and its p-value, from the values of resamples of S shards.

With SD the standard deviation of the resamples, the standard error is

    sqrt(S / (S - 1) * SD^2 + g^2 / 12),

and the interval is the value with t(S - 1, .975) standard errors on either side, cut off at the ends of the number's
range. S / (S - 1): resamples of S shards vary by (S - 1) / S of what S new shards would. g^2 / 12 is Sheppard's
correction for grouping (1898): counts are whole (g = 1), shares of d neurons come in steps of g = 1 / d, but what is
expected of them lies anywhere between; without it, the intervals of numbers that hardly vary are too narrow.

Where no resample differs from another, or some resample has no such number, resampling cannot tell how sure a small
number is: it is `too few`. `scripts/simulations/intervals.py` measures how often intervals hold the expected value;
`docs/statistics/intervals.md` has its tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from alignlab.neurons.probabilities import Bools, Floats

LEVEL = 0.95
# Of counts, and of the denominators of shares: less is a small number.
FEW = 10


@dataclass(frozen=True)
class Intervals:
    """The intervals of n numbers, arrays of shape (n,).

    low, high: ends.  sd, noise_bias: standard deviation of the resamples, and their mean less the value.
    p: two-sided, of the reference: under .05 where the interval, not cut off, leaves it out; NaN without a reference.

    Where resampling cannot tell, `low`, `high` and `p` are NaN.
    """

    low: Floats
    high: Floats
    sd: Floats
    noise_bias: Floats
    p: Floats


def intervals(
    values: Floats,
    drawn: Floats,
    shards: int,
    *,
    references: Floats,
    steps: Floats,
    least: Floats,
    most: Floats,
    small: Bools,
) -> Intervals:
    """The intervals of n numbers; all but `drawn` and `shards` are (n,).

    values: the numbers.  drawn: (R, n), their values in each resample, NaN where one has none.  shards: S, 2 or more.
    references: what each would be without an effect; NaN for none.
    steps: g, the step in which a number comes; 0 where it may have any value.
    least, most: the ends of its range; infinite for none.
    small: where resamples that are all the same cannot tell.
    """
    sd = drawn.std(axis=0, ddof=1)
    error = np.sqrt(shards / (shards - 1) * sd**2 + steps**2 / 12)
    # Not by the standard deviation: rounding leaves some of it where all are the same.
    same = drawn.min(axis=0) == drawn.max(axis=0)
    known = np.isfinite(error) & np.isfinite(values) & ~(small & same)
    error = np.where(known, error, np.nan)
    half = stdtrit(shards - 1, (1 + LEVEL) / 2) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(values == references, 0.0, np.abs(values - references) / error)
    return Intervals(
        low=np.maximum(values - half, least),
        high=np.minimum(values + half, most),
        sd=sd,
        noise_bias=drawn.mean(axis=0) - values,
        p=np.where(known, 2 * stdtr(shards - 1, -off), np.nan),
    )
