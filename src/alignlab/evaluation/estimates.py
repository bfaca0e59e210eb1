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
    n, m, total = len(of_cluster), int(of_cluster.max()) + 1, float(below.sum())
    value = float(above.sum()) / total
    sums = np.bincount(of_cluster, weights=above - value * below, minlength=m)
    error = np.sqrt(m / (m - 1) * float((sums**2).sum())) / total if m > 1 else 0.0
    # What rounding leaves where all clusters have the same ratio.
    if error <= 1e-12 * max(1.0, abs(value)):
        return Estimate(value, np.nan, np.nan, np.nan, n, m)
    half = float(stdtrit(m - 1, (1 + LEVEL) / 2)) * error
    p = float(2 * stdtr(m - 1, -abs(value) / error))
    return Estimate(value, value - half, value + half, p, n, m)


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
