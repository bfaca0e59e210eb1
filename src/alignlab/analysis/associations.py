"""Whether a number of each label goes with what is known of the labels, tested by permuting the labels.

With few labels the test is exact: all their orders are tried. A permutation takes labels for exchangeable: kindred ones
that are alike for another reason (a family in one script) are not, so that what is found of one property may belong to
another; `docs/statistics/labels.md` measures by how much.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.stats import rankdata

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.corrections import ALPHA
from alignlab.neurons.probabilities import Floats

LEAST = 6  # labels; with fewer nothing is told
MOST_IN_FULL = 8  # labels of which all orders are tried; of more as many as are drawn
DRAWS = 19_999
_NEAR = 1e-9  # sums of ranks in another order differ by rounding
_Z = 1.959964


@dataclass(frozen=True)
class Association:
    """How far a number of each label goes with a property of the labels.

    value: the correlation, or the share of variance; NaN where one of the two is the same for all labels.
    labels: how many.
    chance: its mean over all orders of the labels.
    p: two-sided for a correlation; NaN where the labels are too few for any p under .05, or fewer than 6.
    low, high: 95 % interval over labels, where there is one; else NaN.
    """

    value: float
    labels: int
    chance: float
    p: float
    low: float = math.nan
    high: float = math.nan


def rank_correlation(outcome: Sequence[float], resource: Sequence[float]) -> Association:
    """Spearman's correlation of two numbers of each label, ties at their mean rank.

    The interval is that of Bonett and Wright (2000), Fisher's z with a variance of (1 + r^2 / 2) / (n - 3), for labels
    that are drawn from many. Raises InputError for numbers that are not finite, or not as many.
    """
    _check(outcome, len(resource))
    _check(resource, len(outcome))
    n = len(outcome)
    y, x = (rankdata(values) - (n + 1) / 2 for values in (outcome, resource))
    scale = math.sqrt(float(x @ x) * float(y @ y))
    if not scale:
        return Association(math.nan, n, math.nan, math.nan)
    r = float(x @ y) / scale
    p = _p(np.abs(y[_orders(n)] @ x) / scale, abs(r))
    if math.isnan(p) or 1 - abs(r) < _NEAR:
        return Association(r, n, 0.0, p)
    half = _Z * math.sqrt((1 + r**2 / 2) / (n - 3))
    return Association(r, n, 0.0, p, math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half))


def between_groups(outcome: Sequence[float], groups: Sequence[Hashable]) -> Association:
    """The share of the variance of the ranks that lies between groups of labels: Kruskal and Wallis' H / (n - 1).

    By chance it is (groups - 1) / (n - 1) on average. Raises InputError as `rank_correlation` does.
    """
    _check(outcome, len(groups))
    n, names = len(outcome), list(dict.fromkeys(groups))
    ranks = rankdata(outcome) - (n + 1) / 2
    total = float(ranks @ ranks)
    if not total or not 1 < len(names) < n:
        return Association(math.nan, n, math.nan, math.nan)
    member = np.array([[group == name for name in names] for group in groups], dtype=np.float64)
    weights = member / np.sqrt(member.sum(axis=0))
    share = float(((ranks @ weights) ** 2).sum()) / total
    drawn = ((ranks[_orders(n)] @ weights) ** 2).sum(axis=1) / total
    return Association(share, n, (len(names) - 1) / (n - 1), _p(drawn, share))


def _p(drawn: Floats, found: float) -> float:
    """How often chance is as far out; NaN where it is too often even at its furthest."""
    n = len(drawn)
    furthest = float((drawn >= drawn.max() - _NEAR).mean())
    if n < math.factorial(LEAST) or furthest > ALPHA:
        return math.nan
    further = int((drawn >= found - _NEAR).sum())
    # All orders, the one found among them, or draws beside it.
    return (1 + further) / (1 + n) if n == DRAWS else further / n


@cache
def _orders(n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """All orders of n labels, (n!, n), or draws of them, (DRAWS, n): the same ones each time."""
    if n <= MOST_IN_FULL:
        return np.array(list(itertools.permutations(range(n))), dtype=np.int64)
    return np.random.default_rng(0).permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)


def _check(values: Sequence[object], wanted: int) -> None:
    problems = []
    if len(values) != wanted:
        problems.append(Problem("numbers of labels", f"{len(values)}, and {wanted}", "one of each label"))
    wrong = [value for value in values if isinstance(value, float) and not math.isfinite(value)]
    problems += [Problem("numbers of labels", f"{wrong[0]}", "finite numbers")] if wrong else []
    refuse_any(problems)
