"""Which neurons of a language's set are the most specific: those that fire in it most beyond any other language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem


def most_specific(
    sets: Mapping[str, Tensor], languages: Sequence[str], p: Tensor, number: int
) -> dict[str, list[tuple[int, int]]]:
    """By language, at most `number` neurons of its set, as (layer, neuron), the most specific first.

    They are ordered by how far the probability in the language exceeds the highest in any other; those that it does not
    exceed are left out, so that no neuron is named twice. Of equal ones the earlier layer and neuron comes first.
    sets: by language, (L, N) bool.  languages: of the rows of p.  p: (G, L, N), probabilities of activation.

    Raises InputError for a negative number, for fewer than two languages, and for sets of others.
    """
    problems = [] if number >= 0 else [Problem("number", f"{number}", "0 or more")]
    if len(languages) < 2:
        problems.append(Problem("languages", f"{len(languages)}", "two or more: specific is beside others"))
    problems += [
        Problem("sets", f"{name!r}", f"some of {' '.join(languages)}") for name in sets if name not in languages
    ]
    if problems:
        raise InputError(*problems)
    highest, owner = p.max(dim=0)
    second = p.scatter(0, owner.unsqueeze(0), -torch.inf).amax(dim=0)
    beyond = highest - second
    width = p.shape[2]
    found = {}
    for language, chosen in sets.items():
        own = (chosen & (owner == languages.index(language)) & (beyond > 0)).flatten().nonzero().squeeze(1)
        order = beyond.flatten()[own].argsort(descending=True, stable=True)
        found[language] = [divmod(place, width) for place in own[order][:number].tolist()]
    return found
