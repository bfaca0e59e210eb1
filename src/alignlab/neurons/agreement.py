"""How far identifiers agree: with each other, with themselves on other text or another model, and over layers.

All of it is about sets by language, whatever found them. Beside every share stands what chance would give: two sets
that were made independently, of the same sizes in every layer (`alignlab.neurons.overlaps`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.overlaps import Overlap, overlap, share

# By language a set of neurons, (L, N) bool.
Sets = Mapping[str, Tensor]


@dataclass(frozen=True)
class Agreement:
    """What the sets of two findings have in common, language by language, and on average.

    by_language: of every language that both have.
    jaccard, chance: means over the languages in which either has a neuron; NaN where there is none.
    languages: how many these are.
    """

    by_language: Mapping[str, Overlap]
    jaccard: float
    chance: float
    languages: int


def agreement(first: Sets, second: Sets) -> Agreement:
    """Compare what two identifiers, texts or models give; both name the same languages.

    Raises InputError for other languages, shapes and types.
    """
    if set(first) != set(second):
        found = f"{' '.join(first)}, and {' '.join(second)}"
        raise InputError(Problem("sets", found, "the same languages in both"))
    of = {name: overlap(first[name], second[name]) for name in first}
    there = [one for one in of.values() if not math.isnan(one.jaccard)]
    means = [share(sum(values), len(there)) for values in ([o.jaccard for o in there], [o.chance for o in there])]
    return Agreement(of, means[0], means[1], len(there))


def layer_shares(sets: Sets) -> Tensor:
    """Which share of a language's neurons lies in each layer, (G, L) float64; NaN for an empty set."""
    sizes = torch.stack([mask.sum(dim=1) for mask in sets.values()]).double()
    return sizes / sizes.sum(dim=1, keepdim=True)


def shared_share(sets: Sets) -> float:
    """Of the neurons that are in any set, the share that is in two or more; NaN where all are empty."""
    degree = sum(mask.to(torch.int32) for mask in sets.values())
    assert isinstance(degree, Tensor)
    return share(int((degree > 1).sum()), int((degree > 0).sum()))


def halves(shards: int) -> tuple[Sequence[int], Sequence[int]]:
    """The even and the odd of so many shards: two halves of the documents that share no cluster."""
    return range(0, shards, 2), range(1, shards, 2)
