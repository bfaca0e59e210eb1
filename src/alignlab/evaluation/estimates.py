"""A mean, or a ratio of two sums, over documents, with its 95 % interval over their clusters.

The ratio is linearised (Cochran 1977, 6.4): with r_c the sum of n_i - value x d_i over the documents of cluster c, its
variance is m / (m - 1) x sum r_c^2 / (sum d_i)^2, and the interval is that of t with m - 1 degrees of freedom.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.interval_methods import LEVEL
from alignlab.neurons.probabilities import Floats

# Differences that vary less than this share of the largest, or of 1, do so by rounding alone.
ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number of documents, with the ends of its 95 % interval.

    p: two-sided, of 0: under .05 where the interval leaves 0 out.
    documents, clusters: how many it is of. Of one cluster `low`, `high` and `p` are NaN, since nothing tells how
        clusters differ; and so where all clusters are the same, of which no spread is seen.
    """

    value: float
    low: float
    high: float
    p: float
    documents: int
    clusters: int


def mean(values: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """The mean of (n,) finite numbers, one a document; clusters: (n,) names, those of one are not independent.

    Raises InputError for shapes that differ, no documents, or numbers that are not finite.
    """
    return ratio(values, np.ones(len(clusters)), clusters)


def ratio(numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """The sum of the numerators over that of the denominators, such as nats per token.

    numerators, denominators: (n,) finite numbers of each document, the second 0 or more and not all 0.
    clusters: (n,) names, those of one are not independent.

    Raises InputError for what is not so.
    """
    above, below, of_cluster = _checked(numerators, denominators, clusters)
    sums: Floats = np.bincount(of_cluster, weights=above).astype(np.float64)
    sizes: Floats = np.bincount(of_cluster, weights=below).astype(np.float64)
    value, moved = influences(sums, sizes)
    low, high, p = interval_of(value, moved)
    return Estimate(float(value), float(low), float(high), float(p), len(of_cluster), len(sums))


def influences(sums: Floats, sizes: Floats) -> tuple[Floats, Floats]:
    """Ratios of sums, (...), and by cluster what each moves them by, (..., m), which sums to 0.

    sums: (..., m), by cluster.  sizes: (m,), of the clusters.
    """
    with np.errstate(invalid="ignore"):
        value = sums.sum(axis=-1) / sizes.sum()
        return value, (sums - value[..., None] * sizes) / sizes.sum()


def interval_of(value: Floats, moved: Floats, clusters: int | None = None) -> tuple[Floats, Floats, Floats]:
    """The ends of the 95 % intervals of what `influences` gives, and p, two-sided, of 0; all (...).

    clusters: how many count, where they are not all: of a difference between languages, those of the one with fewest.
    NaN of one cluster, and where they do not differ.
    """
    m = moved.shape[-1] if clusters is None else clusters
    if m < 2:
        nothing = np.full_like(value, np.nan)
        return nothing, nothing, nothing
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(m / (m - 1) * (moved**2).sum(axis=-1))
        # What rounding leaves where all clusters have the same ratio.
        error = np.where(error > ROUNDING * np.maximum(1.0, np.abs(value)), error, np.nan)
        half = stdtrit(m - 1, (1 + LEVEL) / 2) * error
        p = 2 * stdtr(m - 1, -np.abs(value) / error)
    return value - half, value + half, p


def _checked(
    numerators: ArrayLike, denominators: ArrayLike, clusters: Sequence[str]
) -> tuple[Floats, Floats, np.ndarray]:
    """The numbers as float64, and the number of each document's cluster, from 0."""
    arrays = {
        "numerators": np.asarray(numerators, dtype=np.float64),
        "denominators": np.asarray(denominators, dtype=np.float64),
    }
    n = len(clusters)
    problems = [Problem("clusters", "none", "a name for each of one or more documents")] if not n else []
    problems += [
        Problem(name, f"the shape {array.shape}", f"({n},), a number for each of `clusters`")
        for name, array in arrays.items()
        if array.shape != (n,)
    ]
    refuse_any(problems)
    problems = [
        Problem(name, f"{int((~np.isfinite(array)).sum())} of {n} are not finite", "finite numbers")
        for name, array in arrays.items()
        if not np.isfinite(array).all()
    ]
    below = arrays["denominators"]
    if not problems and (below.min() < 0 or below.sum() <= 0):
        problems = [Problem("denominators", f"{below.min():g} to {below.max():g}", "0 or more, and not all 0")]
    refuse_any(problems)
    return arrays["numerators"], below, np.unique(np.asarray(clusters), return_inverse=True)[1]
