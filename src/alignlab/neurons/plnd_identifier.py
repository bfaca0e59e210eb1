"""Neurons that every text of a language needs, and not every language (PLND: Zhao et al. 2024, arXiv 2402.18815).

Of each document the k most important neurons of every layer are taken; those of all documents of a language are its
set, and what all languages have in common is left out of it.
"""

from __future__ import annotations

from functools import reduce
from operator import and_

import torch

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.importance import Importance
from alignlab.neurons.selection import number_problems

NAME = "plnd"


def plnd(importance: Importance, k: int, site: str | None = None) -> Classification:
    """Of each language the neurons that are among the `k` most important of their layer in all its documents, but for
    those that are so in every language.

    importance: the record; documents without a counted token are in none of its numbers.
    k: neurons of a layer and document.
    site: of the record's, whose neurons are classified; None takes the one that it looks at, else its first.

    The scores of the result are the mean importance in a document of each language, `mean importance en` and so on,
    (L, N) each. A language without a document has an empty set and no score, counts as no language for what all have
    in common, and the reason says so. A label that names the documents of another once more changes no other set, and
    has the same one. One language's numbers are read at a time: 92 MB of 32 layers of 14,336 neurons and 20 shards.

    Raises InputError for a k that a layer has not, and for fewer than two languages with documents.
    """
    site = site or importance.site or importance.sites[0]
    if site not in importance.sites:
        raise InputError(Problem("site", f"{site!r}", f"one of the record: {', '.join(importance.sites)}"))
    layers, neurons = importance.shapes[site]
    refuse_any(layer_problems("k", k, neurons))
    numbers = {name: int(importance.documents(name).sum()) for name in importance.languages}
    present = [name for name, number in numbers.items() if number]
    if len(present) < 2:
        found = f"documents with counted tokens in {len(present)}"
        raise InputError(Problem("languages", found, "two or more: what all have in common is left out"))
    # The largest rank over shards is that over documents; in a shard without any it is 0, and changes nothing.
    needed = {name: importance.worst_rank(site, name).amax(dim=0) < k for name in present}
    common = reduce(and_, needed.values())
    none = torch.zeros(layers, neurons, dtype=torch.bool)
    silent = [name for name in importance.languages if name not in needed]
    return by_sets(
        NAME,
        importance.languages,
        torch.stack([needed[name] & ~common if name in needed else none for name in importance.languages]),
        scores={f"mean importance {name}": importance.total(site, name).sum(dim=0) / numbers[name] for name in present},
        reason=f"no counted token in {' '.join(silent)}, and so no neurons" if silent else "",
    )


def layer_problems(where: str, k: int, neurons: int) -> list[Problem]:
    """Why the k most important neurons of a layer of so many cannot be taken; empty where they can."""
    return [
        Problem(one.where, one.found, f"from 1 to {neurons:,}, the neurons of a layer", f"Set {where}.")
        for one in number_problems(where, k, neurons)
    ]
