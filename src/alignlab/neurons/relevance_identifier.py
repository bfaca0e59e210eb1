"""Neurons that the likelihood of a language's text needs: after CRANE (Le and Li 2026, arXiv 2601.04664).

CRANE calls a neuron language-specific by what it contributes to predictions in the language, in place of how strongly
it is active, by layer-wise relevance propagation; masking its neurons harms the language and, less, others. Only its
abstract was at hand, so this is alignlab's reading of it. The relevance of a neuron on a document is the sum over
tokens of a * dL/da, L being the log-likelihood of the counted tokens: the nats that go when the neuron is removed, to
first order. It is the relevance of the rule LRP-0, which equals activation times gradient. What it is for a language is
the mean over its documents; where that is negative, the language is better off without the neuron, and it has none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from alignlab.neurons.by_score import highest_positive, named_scores, too_few
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.options import Elsewhere
from alignlab.neurons.probabilities import Bools, Floats
from alignlab.neurons.selection import selection_size

NAME = "relevance"


def relevance(
    nats: Tensor, top_rate: float = 0.01, elsewhere: Elsewhere = "less", *, languages: Sequence[str]
) -> Classification:
    """Of each language the neurons of most relevance that are of less for others.

    nats: (G, L, N) float64, the mean relevance over a language's documents, in nats of a document.
    top_rate: share of all neurons, K = round(top_rate * L * N) of each language; one of no relevance is not taken.
    elsewhere: which of these stay; `less`: those whose share of the relevance of all neurons is, for no other language,
        larger than for this one; `none`: those that are among the K of no other; `any`: all. Shares are compared, since
        languages differ in how many nats their texts have.
    languages: G names.

    The scores of the result are `relevance en` and so on, (L, N) each, the shares. There is no threshold: sets have
    their size, at most K. The reason says which languages have fewer than K neurons of any relevance. Equal ones go by
    position; the order of the languages changes nothing else than the order of the result, and a language that is there
    twice changes no other's set, nor with `less` and `any` its own. Raises InputError for parameters out of range,
    fewer than two languages, and numbers that are not finite.

        >>> import torch
        >>> from alignlab.neurons.relevance_identifier import relevance
        >>> nats = torch.tensor([[[6.0, 3.0, -1.0, 1.0]], [[3.0, -2.0, 2.0, 0.0]]], dtype=torch.float64)
        >>> for elsewhere in ("any", "less", "none"):
        ...     result = relevance(nats, top_rate=0.5, elsewhere=elsewhere, languages=["en", "de"])
        ...     print({name: neurons[0].nonzero().flatten().tolist() for name, neurons in result.sets.items()})
        {'en': [0, 1], 'de': [0, 2]}
        {'en': [0, 1], 'de': [0, 2]}
        {'en': [1], 'de': [2]}
    """
    require_one_of("elsewhere", elsewhere, ("less", "none", "any"))
    names, own = named_scores(nats, languages)
    shape = nats.shape[1:]
    k = selection_size(top_rate, own.shape[1])
    shares = shares_of(own)
    sets = highest_positive(shares, k)
    reason = too_few(names, sets, k)
    stay: dict[Elsewhere, Bools] = {"less": shares >= shares.max(axis=0), "none": sets.sum(axis=0) == 1}
    if elsewhere in stay:
        sets &= stay[elsewhere]
    return by_sets(
        NAME,
        names,
        torch.from_numpy(sets).view(-1, *shape),
        scores={f"{NAME} {name}": torch.from_numpy(one).view(shape) for name, one in zip(names, shares, strict=True)},
        reason=reason,
    )


def shares_of(nats: Floats) -> Floats:
    """Of the relevance of all neurons for a language the share of each, (G, n); 0 where its own is negative."""
    positive = np.maximum(nats, 0)
    whole = positive.sum(axis=1, keepdims=True)
    shares: Floats = positive / np.where(whole > 0, whole, 1)
    return shares
