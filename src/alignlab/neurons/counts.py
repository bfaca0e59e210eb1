"""The record of a counting pass: on how many tokens of each language each neuron was active.

Integers per shard of documents are kept, not rates or masks, so that any threshold, method or resample can be derived
again later. Axes are always ``(language, shard, layer, neuron)`` = ``(G, S, L, N)``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.counts_checks import as_array, merge_problems, problems_of
from alignlab.neurons.counts_file import COUNTS, read_counts
from alignlab.neurons.fields import FIELDS, TOGETHER, TensorField, smallest_dtype, table
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.headed_file import contents_of
from alignlab.neurons.short_repr import in_words
from alignlab.redaction import hide


@dataclass(frozen=True, eq=False)
class ActivationCounts:
    """Firing counts of every neuron in every language, by shard of documents, with where they come from.

    languages: G names, in the order of the first axis; unique.
    site: where in the model the neurons are read, such as ``mlp.act``.
    scope: which tokens are counted, ``response`` or ``all``.
    model, revision: id and revision of the model; empty where unknown.
    step: optimiser steps taken before the pass, None outside a training run.
    trained_languages: those that the run trains on; they need not be among `languages`.
    reference: the language that they are aligned to; it need not be among `languages` either. Empty for none.
    data_fingerprint: of the texts counted.
    clusters: what is dealt to shards whole, such as `templates`; empty where each document is dealt on its own, as in
        older records.
    subtracted: the counts are the difference of two passes, as published ones can be. The passes round differently, so
        firings may exceed tokens by some, and probabilities 1; these are kept, as the published results come from them.
    denominator: of what probabilities are shares: `all` tokens counted, or those `routed` to the expert of a neuron.

    Its tensors, of `neurons.fields`:

    Raises InputError with every inconsistency, such as more firings than tokens.

        >>> import torch
        >>> from alignlab import ActivationCounts
        >>> firings = torch.tensor([[[[9, 1, 5]]], [[[2, 1, 5]]]])  # 2 languages, 1 shard, 1 layer of 3 neurons
        >>> tokens, documents = torch.tensor([[10], [5]]), torch.tensor([[1], [1]])
        >>> counts = ActivationCounts(("en", "de"), firings, tokens, documents, site="mlp.act", scope="all")
        >>> counts
        <ActivationCounts: 1 x 3 neurons at mlp.act, 1 shards
         tokens (all) of 2 languages: en 10, de 5>
        >>> counts.probabilities().tolist()
        [[[0.9, 0.1, 0.5]], [[0.4, 0.2, 1.0]]]
        >>> counts.save("counts.safetensors")
        >>> ActivationCounts.load("counts.safetensors").language_tokens()
        tensor([10,  5])
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
    reference: str = REFERENCE
    data_fingerprint: str = ""
    routed: Tensor | None = None
    loss_sum: Tensor | None = None
    loss_tokens: Tensor | None = None
    document_firings: Tensor | None = None
    activation_sum: Tensor | None = None
    activation_squares: Tensor | None = None
    maximum: Tensor | None = None
    subtracted: bool = False
    clusters: str = ""
    denominator: str = "all"

    def __post_init__(self) -> None:
        refuse_any(problems_of(self))

    def __repr__(self) -> str:
        _, shards, layers, neurons = self.shape
        names = {"step": self.step, "model": hide(self.model), "trained": in_words(self.trained_languages)}
        facts = [f"{layers} x {neurons} neurons at {self.site}", f"{shards} shards"]
        facts += [f"{self.experts} experts a layer", f"shares of {self.denominator} tokens"] if self.experts else []
        facts += [f"clusters: {hide(self.clusters)}"] if self.clusters else []
        facts += [f"{name} {value}" for name, value in names.items() if value not in ("", None)]
        pairs = zip(self.languages, self.language_tokens().tolist(), strict=True)
        tokens = in_words([f"{language} {number}" for language, number in pairs])
        of = f"tokens ({self.scope}) of {len(self.languages)} languages"
        return f"<ActivationCounts: {', '.join(facts)}\n {of}: {tokens}>"

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """G, S, L, N."""
        g, s, layers, neurons = self.firings.shape
        return g, s, layers, neurons

    @property
    def over(self) -> str:
        """What intervals made of these shards are over, as `Row.over` says it."""
        return "clusters" if self.clusters else "shards"

    @property
    def experts(self) -> int:
        """E, routed experts of a layer, each with N / E columns; 0 where every token meets every neuron."""
        return 0 if self.routed is None else self.routed.shape[3]

    @property
    def read_at(self) -> str:
        """The site, and of experts of what their probabilities are shares."""
        of = {"all": "all counted tokens", "routed": "the tokens routed to the expert"}[self.denominator]
        return f"{self.site} ({self.experts} experts a layer, shares of {of})" if self.experts else self.site

    def denominators(self, weights: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Of how many tokens probabilities are shares: (G, 1), or (G, L * E) of routed tokens.

        It holds for as many neurons each, in flat order: all L * N, or those of an expert.

        weights: (R, G, S), how often each shard is taken; there is then one of each resample, (R, G, ...).
        """
        g, shards = self.tokens.shape
        taken = np.ones((1, g, shards), dtype=np.int64) if weights is None else weights
        by_shard = self.tokens.numpy()[:, :, None]
        if self.routed is not None and self.denominator == "routed":
            by_shard = as_array(self.routed).reshape(g, shards, -1).astype(np.int64)
        of: NDArray[np.int64] = np.einsum("rgs,gse->rge", taken, by_shard)
        return of.squeeze(0) if weights is None else of

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of `neurons.fields` that were counted, by name."""
        return {name: tensor for name in FIELDS if (tensor := getattr(self, name)) is not None}

    def totals(self) -> Tensor:
        """Firings summed over the shards, (G, L, N) int64."""
        return torch.from_numpy(np.add.reduce(as_array(self.firings), axis=1, dtype=np.int64))

    def language_tokens(self) -> Tensor:
        """Tokens counted in each language, (G,) int64."""
        return self.tokens.sum(dim=1)

    def probabilities(self) -> Tensor:
        """Share of a language's counted tokens on which a neuron was active, (G, L, N) float64.

        Numerators and denominators are summed over the shards before the one division. 0 where no token was counted.
        With the denominator `routed`: of those that were sent to the neuron's expert; 0 where none was.
        """
        # A language at a time: the totals of all would take as much memory as the probabilities themselves.
        probabilities = np.empty((len(self.languages), *self.shape[2:]))
        for language, of in enumerate(self.denominators()):
            total = np.add.reduce(as_array(self.firings[language]), axis=0, dtype=np.int64)
            alike = total.reshape(len(of), -1)
            np.divide(alike, np.maximum(of, 1)[:, None], out=probabilities[language].reshape(alike.shape))
        return torch.from_numpy(probabilities)

    def losses(self) -> Tensor | None:
        """Mean negative log-likelihood of each language, (G,) float64 in nats a token; NaN where no token was counted.

        None where no losses were counted.
        """
        if self.loss_sum is None or self.loss_tokens is None:
            return None
        tokens = self.loss_tokens.sum(dim=1)
        return torch.where(tokens > 0, self.loss_sum.sum(dim=1) / tokens, torch.nan)

    def save(self, path: Path | str) -> None:
        """Write a safetensors file, whole or not at all; firings in the smallest type that the shards' tokens allow.
        Secrets in the names of model and revision, such as a password in an address, are hidden.

        Raises OSError when it cannot be written; a file that was at `path` is then untouched.
        """
        # Copies, since safetensors refuses tensors that share memory, as views of one total may.
        tensors = {
            name: self._small(FIELDS[name], tensor) if FIELDS[name].numbers == "count" else tensor.clone()
            for name, tensor in self.tensors().items()
        }
        COUNTS.save(Path(path), tensors, self)

    def _small(self, field: TensorField, counts: Tensor) -> Tensor:
        """Counts in the smallest type that holds every number they may have."""
        unbounded = self.subtracted and field.limit == "tokens"
        return _narrowed(counts, int(as_array(counts if unbounded else getattr(self, field.limit)).max()))

    def merge(self, *others: ActivationCounts) -> ActivationCounts:
        """The counts of these and other documents together; `ActivationCounts.merge(a, b, c)` reads well.

        Shards are added one by one: shard 3 of one to shard 3 of the other. So that shards of parallel documents stay
        together, each set of documents must have been dealt to shards by the same rule. Languages are matched by name,
        in this one's order. The fingerprint becomes one of all the fingerprints.

        Raises InputError with everything that does not match: languages, shape, site, scope, model, revision, step,
        trained languages, an optional tensor that only some have; and with texts that would be counted twice.
        """
        return merge(self, *others)

    @classmethod
    def load(cls, path: Path | str) -> ActivationCounts:
        """Read what `save` wrote.

        Raises InputError when the file is missing, truncated, not alignlab's, of another version or contradictory.
        """
        header, tensors = read_counts(Path(path))
        with contents_of(Path(path)):
            return cls(**header, **tensors)


ActivationCounts.__doc__ = (ActivationCounts.__doc__ or "").replace(
    "`neurons.fields`:", f"`neurons.fields`:\n{table(indent='    ')}"
)


def merge(*counts: ActivationCounts) -> ActivationCounts:
    """The counts of different documents as one record; see `ActivationCounts.merge`."""
    if not counts:
        raise InputError(Problem("counts", "none given", "one record or more"))
    first = counts[0]
    refuse_any(merge_problems(counts))
    rows = [[other.languages.index(name) for name in first.languages] for other in counts]

    tensors = {
        name: _merged(field, [getattr(other, name) for other in counts], rows)
        for name, field in FIELDS.items()
        if name in first.tensors()
    }
    return replace(
        first,
        data_fingerprint=_fingerprint(sorted({other.data_fingerprint for other in counts} - {""})),
        subtracted=any(other.subtracted for other in counts),
        **tensors,
    )


def _merged(field: TensorField, parts: Sequence[Tensor], rows: Sequence[Sequence[int]]) -> Any:
    """A field of all records together. rows: of each record, where the languages of the first are in it."""
    if field.numbers == "count":
        # As int64: two shards that fit their type each need not fit it together.
        total = np.zeros(parts[0].shape, dtype=np.int64)
        for part, row in zip(parts, rows, strict=True):
            for language, source in enumerate(row):
                total[language] += as_array(part[source])
        return _narrowed(torch.from_numpy(total), int(total.max()))
    if len({part.shape[1] for part in parts}) > 1:  # losses, of which some are known over all shards only
        parts = [part.sum(dim=1, keepdim=True) for part in parts]
    together = torch.stack([part[list(row)] for part, row in zip(parts, rows, strict=True)])
    return TOGETHER[field.merge](together, dim=0)


def _fingerprint(fingerprints: list[str]) -> str:
    if len(fingerprints) < 2:
        return "".join(fingerprints)
    return hashlib.sha256("\n".join(fingerprints).encode()).hexdigest()[: len(fingerprints[0])]


def _narrowed(values: Tensor, highest: int) -> Tensor:
    """The values in the smallest type that holds every integer from 0 to `highest`."""
    smallest = as_array(torch.empty(0, dtype=smallest_dtype(highest))).dtype
    return torch.from_numpy(as_array(values).astype(smallest, order="C", copy=False))
