"""The record of a counting pass: on how many tokens of each language each neuron was active.

Integers per shard of documents are kept, not rates or masks, so that any threshold, method or resample can be derived
again later. Axes are always ``(language, shard, layer, neuron)`` = ``(G, S, L, N)``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.counts_file import FORMAT, FORMAT_VERSION, read_counts, write_counts

INTEGER_DTYPES = (torch.uint8, torch.uint16, torch.uint32, torch.int32, torch.int64)


def smallest_dtype(max_value: int) -> torch.dtype:
    """The smallest of uint8, uint16, uint32 and int64 that holds every integer from 0 to `max_value`."""
    for dtype in (torch.uint8, torch.uint16, torch.uint32):
        if max_value <= torch.iinfo(dtype).max:
            return dtype
    return torch.int64


@dataclass(frozen=True, eq=False)
class ActivationCounts:
    """Firing counts of every neuron in every language, by shard of documents, with where they come from.

    languages: G names, in the order of the first axis; unique.
    firings: (G, S, L, N) integers, tokens on which the neuron was active.
    tokens: (G, S) int64, tokens counted. A language with none is allowed: its probabilities are 0.
    documents: (G, S) int64, documents counted.
    site: where in the model the neurons are read, such as ``mlp.act``.
    scope: which tokens are counted, ``response`` or ``all``.
    model, revision: id and revision of the model; empty where unknown.
    step: optimiser steps taken before the pass, None outside a training run.
    trained_languages: those that the run trains on; they need not be among `languages`.
    data_fingerprint: of the texts counted.
    loss_sum: (G,) float64, negative log-likelihood in nats, summed over the counted positions that have a predecessor.
    loss_tokens: (G,) int64, how many those positions are. Both losses are given, or neither.

    Raises InputError with every inconsistency, such as more firings than tokens.
    """

    languages: tuple[str, ...]
    firings: Tensor
    tokens: Tensor
    documents: Tensor
    site: str
    scope: str
    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()
    data_fingerprint: str = ""
    loss_sum: Tensor | None = None
    loss_tokens: Tensor | None = None

    def __post_init__(self) -> None:
        # Values are only looked at once the shapes and types are right.
        problems = _name_problems(self.languages) + _shape_problems(self)
        problems = problems or _value_problems(self)
        if problems:
            raise InputError(*problems)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """G, S, L, N."""
        g, s, layers, neurons = self.firings.shape
        return g, s, layers, neurons

    def totals(self) -> Tensor:
        """Firings summed over the shards, (G, L, N) int64."""
        g, _, layers, neurons = self.shape
        totals = np.empty((g, layers, neurons), dtype=np.int64)
        for language in range(g):
            _sum_shards(self.firings[language], totals[language])
        return torch.from_numpy(totals)

    def language_tokens(self) -> Tensor:
        """Tokens counted in each language, (G,) int64."""
        return self.tokens.sum(dim=1)

    def probabilities(self) -> Tensor:
        """Share of a language's counted tokens on which a neuron was active, (G, L, N) float64.

        Numerators and denominators are summed over the shards before the one division. 0 where no token was counted.
        """
        g, _, layers, neurons = self.shape
        probabilities = np.empty((g, layers, neurons))
        total = np.empty((layers, neurons), dtype=np.int64)
        for language, tokens in enumerate(self.language_tokens().tolist()):
            _sum_shards(self.firings[language], total)
            np.divide(total, max(tokens, 1), out=probabilities[language])
        return torch.from_numpy(probabilities)

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, whole or not at all; firings in the smallest type that the shards' tokens allow.

        Raises OSError when it cannot be written; a file that was at `path` is then untouched.
        """
        smallest = smallest_dtype(int(self.tokens.max()))
        tensors = {
            "firings": torch.from_numpy(_array(self.firings).astype(_numpy_dtype(smallest), order="C", copy=False)),
            # Copies, since safetensors refuses tensors that share memory, as views of one total may.
            "tokens": self.tokens.clone(),
            "documents": self.documents.clone(),
        }
        if self.loss_sum is not None and self.loss_tokens is not None:
            tensors |= {"loss_sum": self.loss_sum.clone(), "loss_tokens": self.loss_tokens.clone()}
        metadata = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "languages": json.dumps(self.languages, ensure_ascii=False),
            "site": self.site,
            "scope": self.scope,
            "model": self.model,
            "revision": self.revision,
            "step": json.dumps(self.step),
            "trained_languages": json.dumps(self.trained_languages, ensure_ascii=False),
            "data_fingerprint": self.data_fingerprint,
        }
        write_counts(Path(path), tensors, metadata)

    @classmethod
    def load(cls, path: Path | str) -> ActivationCounts:
        """Read what `save` wrote.

        Raises InputError when the file is missing, truncated, not alignlab's, of another version or contradictory.
        """
        header, tensors = read_counts(Path(path))
        try:
            return cls(
                languages=header.languages,
                firings=tensors["firings"],
                tokens=tensors["tokens"],
                documents=tensors["documents"],
                site=header.site,
                scope=header.scope,
                model=header.model,
                revision=header.revision,
                step=header.step,
                trained_languages=header.trained_languages,
                data_fingerprint=header.data_fingerprint,
                loss_sum=tensors.get("loss_sum"),
                loss_tokens=tensors.get("loss_tokens"),
            )
        except InputError as error:
            raise InputError(*(replace(p, where=f"{path}, {p.where}") for p in error.problems)) from None


def _array(tensor: Tensor) -> NDArray[np.generic]:
    # torch has few operations on uint16 and uint32; numpy has all of them, on the same memory.
    return tensor.detach().cpu().numpy()


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[np.generic]:
    return _array(torch.empty(0, dtype=dtype)).dtype


def _sum_shards(firings: Tensor, out: NDArray[np.int64]) -> None:
    np.add.reduce(_array(firings), axis=0, dtype=np.int64, out=out)


def _name_problems(languages: tuple[str, ...]) -> list[Problem]:
    repeated = sorted({name for name in languages if languages.count(name) > 1})
    problems = [Problem("languages", f"{name!r} is there more than once", "every language once") for name in repeated]
    if not languages or not all(languages):
        problems.append(Problem("languages", f"{list(languages)!r}", "one or more names, none of them empty"))
    return problems


def _shape_problems(counts: ActivationCounts) -> list[Problem]:
    g = len(counts.languages)
    problems = []
    shape = tuple(counts.firings.shape)
    if len(shape) != 4 or shape[0] != g or 0 in shape:
        expected = f"({g}, shards, layers, neurons), {g} being the number of languages"
        problems.append(Problem("firings", f"shape {shape}", expected))
    if counts.firings.dtype not in INTEGER_DTYPES:
        problems.append(Problem("firings", f"type {counts.firings.dtype}", "an integer type"))
    per_shard, per_language = shape[:2], (g,)
    rows = [
        ("tokens", counts.tokens, per_shard, torch.int64),
        ("documents", counts.documents, per_shard, torch.int64),
        ("loss_sum", counts.loss_sum, per_language, torch.float64),
        ("loss_tokens", counts.loss_tokens, per_language, torch.int64),
    ]
    for name, tensor, expected_shape, dtype in rows:
        if tensor is not None and (tuple(tensor.shape) != expected_shape or tensor.dtype != dtype):
            found = f"shape {tuple(tensor.shape)} of {tensor.dtype}"
            problems.append(Problem(name, found, f"{expected_shape} of {dtype}"))
    if (counts.loss_sum is None) != (counts.loss_tokens is None):
        missing = "loss_sum" if counts.loss_sum is None else "loss_tokens"
        problems.append(Problem(missing, "not given", "both loss_sum and loss_tokens, or neither"))
    return problems


def _value_problems(counts: ActivationCounts) -> list[Problem]:
    problems = []
    g, s, *_ = counts.shape
    signed = [("tokens", counts.tokens), ("documents", counts.documents), ("firings", counts.firings)]
    if counts.loss_tokens is not None:
        signed.append(("loss_tokens", counts.loss_tokens))
    for name, tensor in signed:
        if tensor.dtype.is_signed and int(tensor.min()) < 0:
            problems.append(Problem(name, f"{int(tensor.min())}", "no negative count"))
    most = torch.from_numpy(_array(counts.firings).reshape(g, s, -1).max(axis=-1).astype(np.int64))
    for language, shard in (most > counts.tokens).nonzero().tolist():
        found = f"a neuron fires on {int(most[language, shard])} of {int(counts.tokens[language, shard])} tokens"
        where = f"firings of {counts.languages[language]!r}, shard {shard}"
        problems.append(Problem(where, found, "at most every counted token"))
    if counts.loss_tokens is not None:
        for language in (counts.loss_tokens > counts.language_tokens()).nonzero().flatten().tolist():
            found = f"{int(counts.loss_tokens[language])} of {int(counts.language_tokens()[language])} counted tokens"
            where = f"loss_tokens of {counts.languages[language]!r}"
            problems.append(Problem(where, found, "at most every counted token"))
    return problems
