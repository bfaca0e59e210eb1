"""The share of right answers and its change, with 95 % intervals over clusters of documents.

`docs/statistics/accuracy.md` has the formulas, what else was tried, and how often intervals and verdicts are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.interval_methods import LEVEL
from alignlab.neurons.probabilities import Bools, Floats


@dataclass(frozen=True)
class Accuracy:
    """A share of documents, or a change of one, with the ends of its 95 % interval.

    p: two-sided, of no change, or of a share being what it would be by chance: at most .05 where the interval leaves
        that out, and over it otherwise; NaN of a share whose chance nobody has said.
    documents, clusters: how many it is of. Of one cluster `low`, `high` and `p` are NaN, since nothing tells how
        clusters differ.
    """

    value: float
    low: float
    high: float
    p: float
    documents: int
    clusters: int


def accuracy(right: ArrayLike, clusters: Sequence[str], chance: float | None = None) -> Accuracy:
    """The share of documents that are right, with Wilson's interval (1927) at the effective number of documents.

    right: (n,) bool, of each document. Those of several languages may be handed over together, n then counts all.
    clusters: (n,) names: documents of one name are not independent. Parallel documents share theirs.
    chance: between 0 and 1, the share that p tests: by the score test that Wilson's interval inverts, at the same
        effective number and with t of the number of clusters less one.

    The effective number (Korn and Graubard 1998) is share x (1 - share) / variance between clusters, at most n. Where
    all documents are right, or none is, it is the number of clusters.

    Raises InputError for shapes that differ, no documents, values that are not bool, or a chance that is none.
    """
    values, of_cluster = _checked({"right": right}, clusters)
    if chance is not None and not 0 < chance < 1:
        refuse_any([Problem("chance", f"{chance}", "a share between 0 and 1")])
    n, m = len(of_cluster), int(of_cluster.max()) + 1
    share = float(values["right"].mean())
    if m < 2:
        return Accuracy(share, np.nan, np.nan, np.nan, n, m)
    spread = share * (1 - share)
    variance = _squares(values["right"], of_cluster, share) / n**2
    unlike = max(variance, spread / n)  # single documents vary so much; 0 where all are alike
    effective = spread / unlike if unlike else m
    t2 = stdtrit(m - 1, (1 + LEVEL) / 2) ** 2 / effective
    middle = (share + t2 / 2) / (1 + t2)
    half = np.sqrt(t2 * (spread + t2 / 4)) / (1 + t2)
    p = np.nan
    if chance is not None:
        p = float(2 * stdtr(m - 1, -abs(share - chance) / np.sqrt(chance * (1 - chance) / effective)))
    return Accuracy(share, max(float(middle - half), 0.0), min(float(middle + half), 1.0), p, n, m)


def accuracy_change(before: ArrayLike, after: ArrayLike, clusters: Sequence[str]) -> Accuracy:
    """The change of the share of documents that are right, with a paired interval and the p of no change.

    before, after: (n,) bool, of the same documents in the same order.
    clusters: (n,) names, as for `accuracy`.

    The interval is Agresti and Min's (2005): as if half a document more had become right, half a document wrong, and
    one had stayed, so that few changes, or none, have an interval too; with the variance between clusters and t of
    the number of clusters less one. `value` is the change itself.

    Raises InputError for shapes that differ, no documents, or values that are not bool.
    """
    values, of_cluster = _checked({"before": before, "after": after}, clusters)
    changes = values["after"].astype(np.float64) - values["before"]
    n, m = len(of_cluster), int(of_cluster.max()) + 1
    value = float(changes.mean())
    if m < 2:
        return Accuracy(value, np.nan, np.nan, np.nan, n, m)
    middle = float(changes.sum()) / (n + 2)
    error = np.sqrt(_squares(changes, of_cluster, middle) + 1 + 2 * middle**2) / (n + 2)
    half = stdtrit(m - 1, (1 + LEVEL) / 2) * error
    p = float(2 * stdtr(m - 1, -abs(middle) / error))
    return Accuracy(value, max(float(middle - half), -1.0), min(float(middle + half), 1.0), p, n, m)


def _squares(values: Bools | Floats, of_cluster: np.ndarray, mean: float) -> float:
    """The squared sums of the clusters about a mean, times m / (m - 1)."""
    m = int(of_cluster.max()) + 1
    sums = np.bincount(of_cluster, weights=values - mean, minlength=m)
    return float(m / (m - 1) * (sums**2).sum())


def _checked(values: dict[str, ArrayLike], clusters: Sequence[str]) -> tuple[dict[str, Bools], np.ndarray]:
    """The values as arrays, and the number of each document's cluster, from 0."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    n = len(clusters)
    problems = [
        Problem(name, f"{array.dtype} of shape {array.shape}", f"bool of shape ({n},), a value for each of `clusters`")
        for name, array in arrays.items()
        if array.dtype != np.bool_ or array.shape != (n,)
    ]
    if not n:
        problems = [Problem("clusters", "none", "a name for each of one or more documents")]
    refuse_any(problems)
    return arrays, np.unique(np.asarray(clusters), return_inverse=True)[1]
