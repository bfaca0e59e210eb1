"""Language activation probability entropy: neurons that few languages activate (Tang et al. 2024, arXiv 2402.16438).

Of the neurons that lie above tau in some language those are selected whose probabilities, shared out among the
languages, have the lowest entropy. Every language in which a selected neuron lies above tau owns it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from alignlab.errors import refuse_any
from alignlab.neurons.classification import Classification, by_tau
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.probabilities import (
    Bools,
    Floats,
    Integers,
    degree_of,
    entropy_of,
    named_probabilities,
    threshold_of,
)
from alignlab.neurons.selection import Cut, lowest, selection_size, threshold_problems, up_to

NAME = "lape"


def lape(
    counts: ActivationCounts | Tensor,
    top_rate: float = 0.01,
    bar: float = 0.95,
    *,
    threshold: float | None = None,
    cut: Cut | None = None,
    languages: Sequence[str] | None = None,
) -> Classification:
    """Select the neurons of lowest entropy.

    counts: the record, or (G, L, N) float64 probabilities, with `languages` naming the rows.
    top_rate: share of all neurons that are selected, K = round(top_rate * L * N), or as many as lie above tau anywhere.
    bar: tau is the probability of rank round(bar * G * L * N) of all; above it means strictly greater.
    threshold: tau itself, in place of `bar`.
    cut: where the selection ends, in place of `top_rate`: neurons above tau somewhere are selected where their entropy
        is at or under it, as many as they are. With tau and cut of another classification this is anchored to that one.

    The thresholds of the result are `tau` and `score`, the cut's: the highest entropy selected; the highest there can
    be where all that lie above tau were selected. Its scores are `entropy`, in nats, 0 where a neuron never fires; and
    `score`, what is selected by: the entropy, infinite where the neuron lies above tau in no language. Its reason says
    why fewer than K are selected. No neuron is of the kind unassigned: one that lies above tau in no language is not
    selected.

    Equal entropies go by position, at the cut too, so that what was cut there is selected again. The order of the
    languages changes nothing else than the order of the result. Raises InputError for parameters out of range, fewer
    than two languages, and counters that carry no information.

        >>> import torch
        >>> from alignlab import lape
        >>> english, german, swahili = [0.9, 0.1, 0.8, 0.1], [0.1, 0.6, 0.8, 0.1], [0.1, 0.5, 0.7, 0.1]
        >>> probabilities = torch.tensor([[english], [german], [swahili]], dtype=torch.float64)  # a layer of 4
        >>> lape(probabilities, top_rate=0.5, bar=0.5, languages=["en", "de", "sw"])
        <Classification by lape: 1 x 4 neurons, 2 selected, tau 0.1, score 0.9184
         sets of 3 languages: en 1, de 1, sw 1; 1 in every language>
    """
    names, probabilities = named_probabilities(counts, languages)
    g, layers, neurons = probabilities.shape
    k = selection_size(top_rate, layers * neurons) if cut is None else 0
    refuse_any(threshold_problems(threshold))
    p = probabilities.numpy().reshape(g, layers * neurons)

    tau = threshold_of(p, bar) if threshold is None else float(threshold)
    above = p > tau
    degree = degree_of(above)
    entropy = entropy_of(p)
    score = np.where(degree > 0, entropy, np.inf)
    selected, end = lowest_finite(score, k, g) if cut is None else (up_to(cut, score), cut)

    found = int(selected.sum())
    reason = ""
    if cut is None and found < k:
        reason = f"only {found} of the {k} neurons to select lie above the threshold in any language"
    scores = {"score": score, "entropy": entropy}
    return by_tau(NAME, names, above, selected, (layers, neurons), {"tau": tau}, scores, reason, end)


def score_of(p: Floats, degree: Integers) -> Floats:
    """What is selected by, (n,) from (G, n): the entropy, infinite where no language is above tau."""
    return np.where(degree > 0, entropy_of(p), np.inf)


def lowest_finite(score: Floats, k: int, g: int) -> tuple[Bools, Cut]:
    """The `k` lowest finite scores, (n,) bool, and where they end; all finite ones where they are fewer."""
    selected, cut = lowest(score, k)
    if cut.score < np.inf:
        return selected, cut
    # No entropy is higher, rounding included; finite, as thresholds are stored and subtracted.
    return selected & np.isfinite(score), Cut(math.log(g) + 1e-9, len(score))
