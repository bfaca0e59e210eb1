"""p values corrected for how many questions were asked together."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.probabilities import Floats

Correction = Literal["holm", "fdr"]

# An effect counts as found where its corrected p is under this.
ALPHA = 0.05
# Families of at most so many questions are corrected by Holm, which is strict: no false verdict at all in 95 % of them.
MOST_BY_HOLM = 20


def correction_for(questions: int) -> Correction:
    """How a family of so many questions is corrected: Holm where few, the false-discovery rate where many."""
    return "holm" if questions <= MOST_BY_HOLM else "fdr"


def adjusted(p: ArrayLike, correction: Correction) -> Floats:
    """The corrected p of every question of a family, (n,) float64.

    p: (n,), two-sided; NaN where a question has no answer, which stays NaN and is not counted among the questions.
    correction: `holm` (Holm 1979; an adjusted p under .05 keeps the chance of any false verdict in the family at 5 %,
        whatever the dependence) or `fdr` (Benjamini and Hochberg 1995; of the verdicts under .05 at most 5 % are false
        on average, for questions that are independent or positively dependent. Where no question has an effect, the
        chance of any verdict is 5 % here too).

    Raises InputError for values outside [0, 1].
    """
    values = np.asarray(p, dtype=np.float64)
    outside = values[(values < 0) | (values > 1)]
    refuse_any([Problem("p", f"{value}", "0 to 1") for value in outside[:1].tolist()])
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    m = len(order)
    ascending, rank = values[order], np.arange(1, m + 1)
    result = np.full_like(values, np.nan)
    if correction == "holm":
        result[order] = np.maximum.accumulate(ascending * (m + 1 - rank))
    else:
        result[order] = np.minimum.accumulate((ascending * m / rank)[::-1])[::-1]
    return np.minimum(result, 1.0)
