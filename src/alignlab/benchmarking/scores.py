"""How well a ranking of neurons, or a set of them, agrees with what is true: pure functions of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from alignlab.neurons.probabilities import Bools, Floats


def taken(score: Floats, size: int) -> Floats:
    """Which neurons are the `size` highest of (n,) scores: 1 of those, 0 of others.

    Of equal scores at the end each has the share with which it would be drawn, so that what is made of these is the
    expectation over draws, and order decides nothing.
    """
    last = np.partition(score, len(score) - size)[len(score) - size]
    above, tied = score > last, score == last
    shares: Floats = above.astype(np.float64)
    shares[tied] = (size - above.sum()) / tied.sum()
    return shares


def precision(chosen: npt.NDArray[Any], truth: Bools) -> float:
    """Share of the chosen neurons of which it is true; NaN where none is chosen. chosen: (n,) bool, or shares."""
    return _share(chosen, truth, chosen.sum())


def recall(chosen: npt.NDArray[Any], truth: Bools) -> float:
    """Share of the neurons of which it is true that are chosen; NaN where it is true of none."""
    return _share(chosen, truth, truth.sum())


def rank_correlation(score: Floats, strength: Floats) -> float:
    """Spearman's, of (n,) and (n,); 0 where all scores are the same, which order nothing; NaN of fewer than two."""
    if len(score) < 2:
        return float("nan")
    one, two = (rankdata(values) - (len(values) + 1) / 2 for values in (score, strength))
    scale = float(np.sqrt((one**2).sum() * (two**2).sum()))
    return float(one @ two) / scale if scale > 0 else 0.0


def _share(chosen: npt.NDArray[Any], truth: Bools, of: float) -> float:
    return float(chosen[truth].sum() / of) if of else float("nan")
