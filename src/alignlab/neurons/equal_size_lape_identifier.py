"""Equally many neurons of every language: the lowest activation probability entropies among its own.

Kargaran et al. 2025 (arXiv 2506.01074) compare programming languages so. LAPE (Tang et al. 2024, arXiv 2402.16438)
selects among all neurons, so that languages with more of the lowest entropies have larger sets. Here every language
takes its own lowest, and sets can be compared by what they do.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import refuse_any
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.lape_identifier import score_of
from alignlab.neurons.probabilities import degree_of, named_probabilities, threshold_of
from alignlab.neurons.selection import lowest, number_problems, threshold_problems

NAME = "equal_size_lape"


def equal_size_lape(
    counts: ActivationCounts | Tensor,
    size: int = 400,
    bar: float = 0.95,
    exclusive: bool = False,
    *,
    threshold: float | None = None,
    languages: Sequence[str] | None = None,
) -> Classification:
    """Of each language the `size` neurons of lowest entropy among those above tau in it.

    counts: the record, or (G, L, N) float64 probabilities, with `languages` naming the rows.
    size: neurons of each language; a language with fewer above tau has all of these, and the reason says which.
    bar: tau is the probability of rank round(bar * G * L * N) of all; above it means strictly greater.
    exclusive: leave out of each set what is in another language's, so that sizes differ, and may be 0.
    threshold: tau itself, in place of `bar`. With that of another classification this is anchored to it; the sets have
        their size all the same.

    The threshold of the result is `tau`; its score `entropy`, in nats, infinite where the neuron lies above tau in no
    language. Sets do not follow from tau and one selection for all, so there are no degrees and kinds.

    Equal entropies go by position. The order of the languages changes nothing else than the order of the result. Raises
    InputError for parameters out of range, a size that is larger than the model, fewer than two languages, and counters
    that carry no information.

        >>> import torch
        >>> from alignlab.neurons.equal_size_lape_identifier import equal_size_lape
        >>> english, german, swahili = [0.9, 0.1, 0.8, 0.1], [0.1, 0.6, 0.8, 0.1], [0.1, 0.5, 0.7, 0.1]
        >>> probabilities = torch.tensor([[english], [german], [swahili]], dtype=torch.float64)  # a layer of 4
        >>> result = equal_size_lape(probabilities, size=1, bar=0.5, languages=["en", "de", "sw"])
        >>> {name: neurons.nonzero().tolist() for name, neurons in result.sets.items()}  # layer, neuron
        {'en': [[0, 0]], 'de': [[0, 1]], 'sw': [[0, 1]]}
        >>> equal_size_lape(probabilities, 1, 0.5, exclusive=True, languages=["en", "de", "sw"])
        <Classification by equal_size_lape: 1 x 4 neurons, 1 selected, tau 0.1
         sets of 3 languages: en 1, de 0, sw 0>
    """
    names, probabilities = named_probabilities(counts, languages)
    g, layers, neurons = probabilities.shape
    refuse_any(threshold_problems(threshold) + number_problems("identifier.size", size, layers * neurons))
    p = probabilities.numpy().reshape(g, layers * neurons)

    tau = threshold_of(p, bar) if threshold is None else float(threshold)
    above = p > tau
    score = score_of(p, degree_of(above))
    sets = np.empty_like(above)
    short = []
    for name, own, found in zip(names, above, sets, strict=True):
        found[:] = own
        if (there := int(own.sum())) > size:
            found[:] = lowest(np.where(own, score, np.inf), size)[0]
        elif there < size:
            short.append(f"{name} {there}")
    if exclusive:
        sets &= sets.sum(axis=0) == 1
    reason = f"above the threshold lie fewer than {size} neurons of: {', '.join(short)}" if short else ""
    return by_sets(
        NAME,
        names,
        torch.from_numpy(sets).view(g, layers, neurons),
        thresholds={"tau": tau},
        scores={"entropy": torch.from_numpy(score).view(layers, neurons)},
        reason=reason,
    )
