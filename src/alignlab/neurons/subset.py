"""Part of a record of counts: some languages, or some shards of documents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from alignlab.errors import Problem, did_you_mean, refuse_any
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import as_array
from alignlab.neurons.fields import FIELDS


def subset(
    counts: ActivationCounts,
    languages: Sequence[str] | None = None,
    shards: Sequence[int] | None = None,
    *,
    where: str = "languages",
) -> ActivationCounts:
    """The counts of some languages, in the order given, and of some shards; None takes all.

    What is stored over all shards together (sums and maxima of activations, older losses) is left out of a part of the
    shards, and the fingerprint then tells the part from the whole.

    where: what messages call the languages.

    Raises InputError for names and numbers that the record lacks, and for repeated ones.
    """
    if languages is None and shards is None:
        return counts
    _check(counts, languages, shards, where)
    names = counts.languages if languages is None else tuple(languages)
    rows = [counts.languages.index(name) for name in names]
    changed: dict[str, Any] = {"languages": names}
    for name, tensor in counts.tensors().items():
        by_shard = "shard" in FIELDS[name].axes and tensor.shape[1] == counts.shape[1]
        if shards is not None and not by_shard:
            changed[name] = None
            continue
        taken = as_array(tensor)[rows]  # in numpy: torch cannot take rows of uint16
        changed[name] = torch.from_numpy(taken if shards is None else taken[:, list(shards)])
    if shards is not None and counts.data_fingerprint:
        part = f"{counts.data_fingerprint} shards {list(shards)}"
        changed["data_fingerprint"] = hashlib.sha256(part.encode()).hexdigest()[: len(counts.data_fingerprint)]
    return replace(counts, **changed)


def _check(counts: ActivationCounts, languages: Sequence[str] | None, shards: Sequence[int] | None, where: str) -> None:
    have, available = ", ".join(counts.languages), counts.shape[1]
    problems = [
        Problem(
            where,
            f"{name!r} is not among the languages counted",
            f"some of: {have}",
            did_you_mean(name, counts.languages),
        )
        for name in languages or ()
        if name not in counts.languages
    ]
    problems += [
        Problem("shards", f"there is no shard {shard}", f"numbers from 0 to {available - 1}")
        for shard in shards or ()
        if not 0 <= shard < available
    ]
    chosen: dict[str, Sequence[object] | None] = {where: languages, "shards": shards}
    lists = {name: given for name, given in chosen.items() if given is not None}
    problems += [
        Problem(name, f"{list(given)!r}", "each once") for name, given in lists.items() if len({*given}) < len(given)
    ]
    problems += [
        Problem(name, "an empty list", "one or more, or null for all") for name, given in lists.items() if not given
    ]
    refuse_any(problems)
