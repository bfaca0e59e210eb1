"""Nats per token over a corpus, their change under an intervention, and the scales they are shown in.

All tokens of the corpus count the same, as in transformers' loss over one long batch: the ratio of the summed nats to
the summed tokens, not a mean of the documents' own means.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from alignlab.evaluation.estimates import Estimate, ratio


def nats_per_token(nats: ArrayLike, counted: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """Negative log-likelihood per token of a corpus, with its interval over clusters.

    nats: (n,) float64, summed over the counted tokens of each document.
    counted: (n,) how many tokens those are; those with a predecessor, since a first token has no likelihood.
    clusters: (n,) names, those of one are not independent.

    Raises InputError for shapes that differ, nats that are not finite, or no token at all.
    """
    return as_nats(ratio(nats, counted, clusters))


def as_nats(found: Estimate) -> Estimate:
    """The estimate as one of nats, which are 0 or more, its interval too."""
    return replace(found, low=np.maximum(found.low, 0.0).item(), p=math.nan)


def change_of_nats(before: ArrayLike, after: ArrayLike, counted: ArrayLike, clusters: Sequence[str]) -> Estimate:
    """How many nats per token a corpus becomes less likely, with a paired interval and the p of no change.

    before, after: (n,) float64, of the same tokens of the same documents.  counted, clusters: as above.
    """
    return ratio(np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64), counted, clusters)


def perplexity(nats: Estimate) -> Estimate:
    """exp of nats per token and of the ends of its interval; infinite where a float holds no more."""
    with np.errstate(over="ignore"):
        value, low, high = (float(np.exp(end)) for end in (nats.value, nats.low, nats.high))
    return replace(nats, value=value, low=low, high=high, p=math.nan)


def log_change_of_perplexity(before: float, after: float) -> float:
    """log(1 + change of perplexity), the scale of Tang et al. (2024), of nats per token before and after.

    NaN where the perplexity falls by 1 or more, of which that scale has no value.
    """
    with np.errstate(over="ignore"):
        change = float(np.exp(after) - np.exp(before))
    return math.log1p(change) if change > -1 else math.nan
