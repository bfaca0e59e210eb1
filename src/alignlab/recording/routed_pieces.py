"""What the routed experts of a layer show on a few documents: activations of the tokens that were sent to each.

Nothing as large as tokens x all neurons is made: what is added up is of documents x neurons at most. On a token that is
not routed to a neuron's expert the neuron's activation is 0; so it is not active, adds nothing to a sum, and the
highest of a neuron that some counted token did not reach is 0 at least.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from alignlab.models.experts import Experts, Routed
from alignlab.recording.pieces import Piece, Span


@dataclass
class RoutedPiece(Piece):
    """What the experts of a layer show on the documents of a span.

    activations: (R, C), the columns of the experts of each counted token, R being M x chosen experts.
    experts: (R,) int64, whose columns they are.
    documents: (R,) int64, to which of the D documents the token of each row belongs.
    layout: of the layer's experts, N being E x C.
    """

    experts: Tensor | None = None
    documents: Tensor | None = None
    layout: Experts | None = None

    @classmethod
    def of(cls, layer: int, span: Span, shown: Routed, layout: Experts, length: int) -> RoutedPiece:
        """The part of what experts showed that is of the counted tokens of a span.

        length: T, tokens of each row of the batch.
        """
        width = span.counted.shape[1]
        row, column = span.documents + span.rows.start, span.places % width + span.columns.start
        rows = shown.rows_of(row * length + column)
        experts, documents = shown.routing.experts[rows], span.documents.repeat_interleave(layout.chosen)
        return cls(layer, span, shown.activations[rows], None, experts, documents, layout)

    @cached_property
    def routed(self) -> Tensor:
        """(D, E) int64, counted tokens of each document that were sent to an expert."""
        ones = torch.ones(len(self._places), dtype=torch.int64, device=self._places.device)
        return self._added(ones.unsqueeze(1)).squeeze(2)

    @cached_property
    def fired(self) -> Tensor:
        """(D, N) int64, counted tokens of each document on which a neuron was active."""
        active = (self.activations > 0).to(torch.float32)  # exact below 2**24 tokens a document
        return self._added(active).flatten(1).to(torch.int64)

    @cached_property
    def counted(self) -> Tensor:
        """(R, C), the activations on the counted tokens, by token and expert."""
        return self.activations

    def of_neurons(self, chosen: Tensor, tokens: Tensor) -> Tensor:
        """As of other pieces; -inf on tokens that are not routed to a neuron's expert, where nothing was computed."""
        expert, column = chosen // self._layout.columns, chosen % self._layout.columns
        values = self.activations.index_select(1, column)
        values.masked_fill_(self._experts.unsqueeze(1) != expert, -torch.inf)
        # At most one of a token's experts is that of a neuron.
        return values.view(-1, self._layout.chosen, len(chosen)).amax(dim=1).index_select(0, tokens)

    @property
    def moments(self) -> tuple[Tensor, Tensor]:
        """Sum and sum of squares over the counted tokens, (N,) float64 each."""
        values = self.activations.to(torch.float64)
        return self._over_documents(values), self._over_documents(values.square())

    @property
    def highest(self) -> Tensor:
        """The highest activation on a counted token, (N,)."""
        layout, tokens = self._layout, len(self.span.places)
        most = self.activations.new_full((layout.count, layout.columns), -torch.inf)
        index = self._experts.unsqueeze(1).expand_as(self.activations)
        most.scatter_reduce_(0, index, self.activations, "amax")
        missed = self.routed.sum(dim=0).unsqueeze(1) < tokens
        return torch.where(missed, most.clamp(min=0), most).flatten()

    def document_sums(self, chosen: Tensor | None = None) -> Tensor:
        """Of all or chosen neurons, (n,), the sum over each document's counted tokens: (D, n) float64."""
        sums = self._added(self.activations.to(torch.float64)).flatten(1)
        return sums if chosen is None else sums.index_select(1, chosen)

    def _added(self, values: Tensor) -> Tensor:
        """Values of the rows, (R, c), by document and expert: (D, E, c)."""
        shape = len(self.span.numbers), self._layout.count, values.shape[1]
        added = values.new_zeros((shape[0] * shape[1], shape[2])).index_add_(0, self._places, values)
        return added.view(shape)

    def _over_documents(self, values: Tensor) -> Tensor:
        added = values.new_zeros((self._layout.count, values.shape[1])).index_add_(0, self._experts, values)
        return added.flatten()

    @property
    def _layout(self) -> Experts:
        assert self.layout is not None
        return self.layout

    @property
    def _experts(self) -> Tensor:
        assert self.experts is not None
        return self.experts

    @cached_property
    def _places(self) -> Tensor:
        """(R,) int64, document and expert in one number."""
        assert self.documents is not None
        return self.documents * self._layout.count + self._experts
