"""Batches of a probe, and what a layer shows on a few documents of one.

A batch is looked at in pieces of whole documents: on a CPU they stay in its cache, and no temporary is larger than one.
What several observers need of a piece is made once, when the first of them asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from alignlab.data.batching import pad, side_by_side
from alignlab.data.encoding import Document
from alignlab.recording.probes import Probe

# Activations that are looked at together: on a CPU they stay in its cache, a GPU wants enough for all its cores.
_PIECE = {"cpu": 1 << 19}
_PIECE_ELSEWHERE = 1 << 24
# In a forward that only the other ranks need: one token, which is not counted.
NOBODY = Document("", "", np.zeros(1, dtype=np.int32), np.zeros(1, dtype=bool), np.zeros(1, dtype=bool))


@dataclass(frozen=True)
class ProbeBatch:
    """B documents of a language, side by side, T tokens with their padding.

    numbers: (B,) int64, which documents of the probe's language they are.
    shards: (B,) int64, where they belong.
    input_ids, attention_mask: (B, T) int64.
    counted: (B, T) bool, the tokens that are counted; on the CPU, the others are on the model's device.
    """

    language: str
    numbers: Tensor
    shards: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    counted: Tensor


def make_batch(probe: Probe, language: str, numbers: Sequence[int], device: torch.device) -> ProbeBatch:
    """The documents of these numbers; with none, one token that is not counted, for a forward all the same."""
    documents = [probe.documents[language][number] for number in numbers]
    padded = pad(documents or [NOBODY], pad_id=0)
    of = torch.tensor(numbers, dtype=torch.int64)
    return ProbeBatch(
        language,
        of.to(device),
        torch.from_numpy(probe.shards_of(language))[of].to(device),
        padded.input_ids.to(device),
        padded.attention_mask.to(device),
        side_by_side([probe.counted(document) for document in documents] or [NOBODY.answer]),
    )


@dataclass(frozen=True)
class Span:
    """D documents of a batch that follow each other, with the tokens between the first and the last counted one.

    rows, columns: where they are in the batch.
    numbers, shards: (D,) int64.
    counted: (D, W) bool.
    mask: the same on the CPU, where to look for the tokens does not make a GPU wait.
    """

    rows: slice
    columns: slice
    numbers: Tensor
    shards: Tensor
    counted: Tensor
    mask: Tensor

    @cached_property
    def weights(self) -> Tensor:
        """(D, 1, W) float32, 1 for each counted token."""
        return self.counted.unsqueeze(1).float()

    @cached_property
    def places(self) -> Tensor:
        """(M,) int64, the counted tokens in the flattened (D * W)."""
        found: Tensor = self.mask.flatten().nonzero().squeeze(1).to(self.counted.device, non_blocking=True)
        return found

    @cached_property
    def documents(self) -> Tensor:
        """(M,) int64, to which of the D documents each counted token belongs."""
        return self.places // self.counted.shape[1]

    @cached_property
    def positions(self) -> Tensor:
        """(M,) int64, which token of its document each counted token is, from 0."""
        positions: Tensor = self.places % self.counted.shape[1] + self.columns.start
        return positions

    @cached_property
    def in_order(self) -> Tensor:
        """(M,) int64, the counted tokens by the number of their document and their position: a batch has neither."""
        return torch.argsort(self.numbers[self.documents], stable=True)


@dataclass
class Piece:
    """What a layer shows on the documents of a span.

    activations: (D, W, N), any float type, without a gradient of their own; those that are not counted among them.
    gradients: of the same shape, where an observer asked for them (`Observer.gradients`).
    """

    layer: int
    span: Span
    activations: Tensor
    gradients: Tensor | None = None

    @cached_property
    def fired(self) -> Tensor:
        """(D, N) int64, counted tokens of each document on which a neuron was active.

        Ones are added in float32: exact below 2**24 tokens a document, which no model reads.
        """
        active = torch.empty(self.activations.shape, dtype=torch.float32, device=self.activations.device)
        torch.gt(self.activations, 0, out=active)
        return torch.bmm(self.span.weights, active).squeeze(1).to(torch.int64)

    @cached_property
    def counted(self) -> Tensor:
        """(M, N), the activations on the counted tokens, document after document."""
        return self.activations.flatten(0, 1).index_select(0, self.span.places)

    def of_neurons(self, chosen: Tensor, tokens: Tensor) -> Tensor:
        """The activations of chosen neurons, (n,), on some of the counted tokens, (m,): a copy, (m, n)."""
        return self.activations.flatten(0, 1).index_select(1, chosen).index_select(0, self.span.places[tokens])

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Sum and sum of squares over the counted tokens, (N,) float64 each."""
        # Float64 before the first sum: also the squares of float32 are exact in it.
        values = self.counted.to(torch.float64)
        return values.sum(dim=0), values.square().sum(dim=0)

    @property
    def highest(self) -> Tensor:
        """The highest activation on a counted token, (N,)."""
        return self.counted.amax(dim=0)

    def document_sums(self, chosen: Tensor | None = None) -> Tensor:
        """Of all or chosen neurons, (n,), the sum over each document's counted tokens: (D, n) float64."""
        values = (self.counted if chosen is None else self.counted.index_select(1, chosen)).to(torch.float64)
        sums = torch.zeros((len(self.span.numbers), values.shape[1]), dtype=torch.float64, device=values.device)
        return sums.index_add_(0, self.span.documents, values)


def cut(batch: ProbeBatch, width: int) -> list[Span]:
    """A batch in spans of whole documents; those without a counted token are left out.

    width: N, neurons of a layer.
    """
    device = batch.input_ids.device
    most = max(1, _PIECE.get(device.type, _PIECE_ELSEWHERE) // (width * batch.counted.shape[1]))
    left = batch.counted.any(dim=1).nonzero().squeeze(1).tolist()
    spans = []
    while left:
        near = [row for row in left if row < left[0] + most]
        left = left[len(near) :]
        rows = slice(near[0], near[-1] + 1)
        columns = batch.counted[rows].any(dim=0).nonzero()
        between = slice(int(columns[0]), int(columns[-1]) + 1)
        mask = batch.counted[rows, between]
        spans.append(Span(rows, between, batch.numbers[rows], batch.shards[rows], mask.to(device), mask))
    return spans
