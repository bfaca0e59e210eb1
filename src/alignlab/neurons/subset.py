"""Part of a record of counts: some languages, or some shards of documents."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from alignlab.errors import InputError, Problem, did_you_mean
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import as_array
from alignlab.neurons.fields import FIELDS


def subset(
    counts: ActivationCounts, languages: Sequence[str] | None = None, shards: Sequence[int] | None = None
) -> ActivationCounts:
    """The counts of some languages, in the order given, and of some shards; None takes all.

    What is stored over all shards together (sums and maxima of activations, older losses) is left out of a part of the
    shards, and the fingerprint then tells the part from the whole.

    Raises InputError for names and numbers that the record lacks, and for repeated ones.
    """
    if languages is None and shards is None:
        return counts
    _check(counts, languages, shards)
    rows = list(range(len(counts.languages))) if languages is None else [counts.languages.index(n) for n in languages]
    changed: dict[str, Any] = {"languages": tuple(counts.languages[row] for row in rows)}
    for name, field in FIELDS.items():
        tensor = getattr(counts, name)
        if tensor is None:
            continue
        # In numpy: torch cannot take rows of uint16.
        taken = as_array(tensor)[rows]
        by_shard = "shard" in field.axes and tensor.shape[1] == counts.shape[1]
        if shards is not None and by_shard:
            taken = taken[:, list(shards)]
        changed[name] = torch.from_numpy(taken) if shards is None or by_shard else None
    if shards is not None and counts.data_fingerprint:
        part = f"{counts.data_fingerprint} shards {list(shards)}"
        changed["data_fingerprint"] = hashlib.sha256(part.encode()).hexdigest()[: len(counts.data_fingerprint)]
    return replace(counts, **changed)


def _check(counts: ActivationCounts, languages: Sequence[str] | None, shards: Sequence[int] | None) -> None:
    problems = []
    for name in languages or ():
        if name not in counts.languages:
            have = ", ".join(counts.languages)
            found = f"{name!r} is not among the languages counted"
            problems.append(Problem("languages", found, f"some of: {have}", did_you_mean(name, counts.languages)))
    available = counts.shape[1]
    problems += [
        Problem("shards", f"there is no shard {shard}", f"numbers from 0 to {available - 1}")
        for shard in shards or ()
        if not 0 <= shard < available
    ]
    for where, given in (("languages", languages), ("shards", shards)):
        if given is not None and len(set(given)) < len(given):
            problems.append(Problem(where, f"{list(given)!r}", "each once"))
        if given is not None and not given:
            problems.append(Problem(where, "an empty list", "one or more, or null for all"))
    if problems:
        raise InputError(*problems)
