"""A number over training seeds: how it would come out with other seeds, with other documents, and with both.

Seeds train on the same data in another order, from other adapters; all are measured on the same documents. With what
each cluster of documents adds to each seed's number, the two-way layout of K seeds and m clusters (crossed random
effects; Searle, Casella and McCulloch 1992, chapter 4) gives of the mean over seeds

    seeds      V_s, the variance of the seeds' numbers over K: of seeds, and of documents under a seed
    documents  V_d, the variance between clusters of their means over seeds: of documents, and of those under a seed
    residual   V_e, the variance of documents under a seed alone, which both hold

and three intervals, each about something else:

    over seeds      -+ t(K - 1) sqrt(V_s)    other seeds, these very documents
    over documents  -+ t(m - 1) sqrt(V_d)    other documents, these very models
    over both       -+ sqrt(t(K - 1)^2 V_s + t(m - 1)^2 B)    B = V_d - V_e, no less than 0

of which each term has the quantile of its own degrees of freedom. A verdict on what training does is one over both: the
other two are about these documents, or these models.

Counts of neurons are no means over documents: of them the same variances are those between resamples of the documents,
m / (m - 1) of them, the same resample for all seeds. Where all that is known of documents is the standard error of each
seed's number, B is the mean of its squares, as if documents erred alike under all seeds: no less than the true one, so
that intervals over documents are too wide rather than too narrow. `docs/statistics/seeds.md` has how often each holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from alignlab.errors import Problem, refuse_any
from alignlab.evaluation.estimates import ROUNDING
from alignlab.neurons.interval_methods import LEVEL
from alignlab.neurons.probabilities import Floats

NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """The ends of a 95 % interval, and the two-sided p of 0; NaN where nothing tells."""

    low: float
    high: float
    p: float


UNKNOWN = Interval(NAN, NAN, NAN)


@dataclass(frozen=True)
class OverSeeds:
    """The mean of a number over seeds.

    sd: between seeds; NaN of one.
    seeds: how many the mean is of.  clusters: of documents, 0 where only standard errors, or nothing, is known.
    over_seeds, over_documents, over_both: see above. Of one seed the first and the last are unknown, and so is one
        where no spread is seen: seeds that all give the same number tell nothing of others.
    """

    value: float
    sd: float
    seeds: int
    clusters: int
    over_seeds: Interval
    over_documents: Interval
    over_both: Interval


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the seeds' numbers are in resamples of the documents, each the same documents for all seeds.

    values: (K, R), R of 2 or more.
    clusters: m, of how many clusters (or shards) of documents each resample is, with replacement; 2 or more.
    step: in which each seed's number comes, 1 of counts, 0 of what may have any value. What is expected of a whole
        number lies anywhere between (Sheppard's correction, as in `neurons.interval_methods`), of each seed's apart.
    """

    values: ArrayLike
    clusters: int
    step: float = 0.0


def over_seeds(
    values: ArrayLike,
    moved: ArrayLike | None = None,
    errors: ArrayLike | None = None,
    bounds: tuple[float, float] | None = None,
    drawn: Drawn | None = None,
) -> OverSeeds:
    """The mean over seeds with its intervals.

    values: (K,) finite numbers, one a seed; of a difference, those of the pairs of the same seed.
    moved: (K, m), what each cluster of documents moves the seed's number by, as `estimates.influences` gives it; every
        row sums to 0. The same documents for all seeds.
    errors: (K,), in the place of `moved`, the standard errors of the numbers over documents.
    drawn: in the place of both, the numbers in resamples. Where none of them differs from another, nothing is known of
        documents.
    bounds: what the number is never outside of, such as (0, 1) of shares; intervals end there.

    Raises InputError for shapes that differ, more than one of moved, errors and drawn, and for what is not finite.
    """
    number, influence, error, resampled = _checked(values, moved, errors, drawn)
    k, m = len(number), 0
    value = float(number.mean())
    # What rounding leaves where all are the same.
    least = (ROUNDING * max(1.0, abs(value))) ** 2
    of_seeds = float(number.var(ddof=1)) / k if k > 1 else NAN
    of_documents = rest = NAN
    if influence is not None and influence.shape[1] > 1:
        m = influence.shape[1]
        of_documents, rest = _of_layout(influence, m / (m - 1))
    elif drawn is not None and resampled is not None and np.ptp(resampled, axis=1).any():
        m = drawn.clusters
        off = resampled - resampled.mean(axis=1, keepdims=True)
        of_documents, rest = _of_layout(off, m / (m - 1) / (resampled.shape[1] - 1))
        of_documents += drawn.step**2 / 12 / k
    elif error is not None:
        of_documents = rest = float((error**2).mean())
    both = UNKNOWN
    if k > 1 and of_seeds > least and not np.isnan(of_documents):
        both = _of_two(value, (of_seeds, k - 1), (max(rest, 0.0), m - 1 if m else np.inf))
    return OverSeeds(
        value,
        float(np.sqrt(of_seeds * k)),
        k,
        m,
        _within(_of(value, of_seeds, k - 1, least), bounds),
        _within(_of(value, of_documents, m - 1 if m else np.inf, least), bounds),
        _within(both, bounds),
    )


def _of_layout(off: Floats, scale: float) -> tuple[float, float]:
    """V_d, and V_d - V_e, of what documents put each seed's number off by, (K, clusters or resamples)."""
    k = len(off)
    shared = off.mean(axis=0)
    of_documents = scale * float((shared**2).sum())
    # V_e: what is left of the layout; of one seed there is none to tell apart.
    left = scale * float(((off - shared) ** 2).sum()) / (k * (k - 1)) if k > 1 else 0.0
    return of_documents, of_documents - left


def _of(value: float, variance: float, degrees: float, least: float) -> Interval:
    """By t of so many degrees of freedom; unknown where there is no variance."""
    if np.isnan(variance) or variance <= least or degrees < 1:
        return UNKNOWN
    error = float(np.sqrt(variance))
    half = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    return Interval(value - half, value + half, float(2 * stdtr(degrees, -abs(value) / error)))


def _of_two(value: float, first: tuple[float, float], second: tuple[float, float]) -> Interval:
    """Of two variances with their degrees of freedom; p is that at which the interval would end at 0."""

    def half(level: float) -> float:
        return float(np.sqrt(sum(stdtrit(degrees, (1 + level) / 2) ** 2 * part for part, degrees in (first, second))))

    low, high = 0.0, 1.0
    for _ in range(60):  # the level is found by halving
        level = (low + high) / 2
        low, high = (level, high) if half(level) < abs(value) else (low, level)
    at = half(LEVEL)
    return Interval(value - at, value + at, 1 - low)


def _within(interval: Interval, bounds: tuple[float, float] | None) -> Interval:
    if bounds is None or np.isnan(interval.low):
        return interval
    return Interval(max(interval.low, bounds[0]), min(interval.high, bounds[1]), interval.p)


def _checked(
    values: ArrayLike, moved: ArrayLike | None, errors: ArrayLike | None, drawn: Drawn | None
) -> tuple[Floats, Floats | None, Floats | None, Floats | None]:
    number = np.asarray(values, dtype=np.float64)
    influence = None if moved is None else np.asarray(moved, dtype=np.float64)
    error = None if errors is None else np.asarray(errors, dtype=np.float64)
    resampled = None if drawn is None else np.asarray(drawn.values, dtype=np.float64)
    problems = []
    if number.ndim != 1 or not len(number):
        problems.append(Problem("values", f"the shape {number.shape}", "(K,), a number for each of one or more seeds"))
    given = [name for name, one in (("moved", moved), ("errors", errors), ("drawn", drawn)) if one is not None]
    problems += [Problem(name, f"given beside {given[0]}", "one of moved, errors and drawn") for name in given[1:]]
    for name, array, columns in (("moved", influence, "clusters"), ("drawn", resampled, "resamples")):
        if array is not None and (array.ndim != 2 or len(array) != len(np.atleast_1d(number))):
            problems.append(Problem(name, f"the shape {array.shape}", f"({number.size}, {columns})"))
    if drawn is not None and resampled is not None and (drawn.clusters < 2 or resampled.shape[-1:] < (2,)):
        found = f"values of the shape {resampled.shape}, from {drawn.clusters} clusters"
        problems.append(Problem("drawn", found, "two or more resamples of two or more clusters"))
    if error is not None and error.shape != number.shape:
        problems.append(Problem("errors", f"the shape {error.shape}", f"({number.size},), one a seed"))
    for name, array in (("values", number), ("moved", influence), ("errors", error), ("drawn", resampled)):
        if array is not None and not np.isfinite(array).all():
            problems.append(Problem(name, "what is not finite", "finite numbers"))
    if error is not None and (error < 0).any():
        problems.append(Problem("errors", "one below 0", "0 or more"))
    refuse_any(problems)
    return number, influence, error, resampled
