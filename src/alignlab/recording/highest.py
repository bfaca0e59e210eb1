"""The highest activations of chosen neurons in each language, and on which token of which document each was.

What it costs a piece of M counted tokens and n neurons of a layer: k searches for the highest of M x n. What it holds,
of one language at a time: k x n activations and places, 12 bytes each (16 in double precision), however many documents
there are. Of all 458,752 neurons of a model of 7 B, with k = 5, that is 28 MB, and on the disk 37 MB a language and
snapshot, twice what their counts take in 20 shards; and k passes over the activations where the firings take one. So it
is not kept at every snapshot: `analyze` asks it of some neurons, those that a classification has found, in a pass of
their own, where it costs next to nothing beside the forwards. `driving_texts` is the record of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from alignlab.models.distributed import rank, world_size
from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.pieces import Piece

_NOWHERE = torch.iinfo(torch.int64).max


@dataclass(frozen=True)
class Highest:
    """Of a language, the k highest activations of n neurons on counted tokens, the highest first.

    Of equal ones the token of the earlier document, then the earlier token, comes first; numbers of documents are those
    of the probe. Where there are fewer tokens than k, the rest is nothing. At routed experts only
    tokens that are sent to a neuron's expert are its own.
    activations: (n, k) float32, or float64 of a model in double precision; NaN for nothing.
    documents, positions: (n, k) int64, from 0; -1 for nothing.
    """

    activations: Tensor
    documents: Tensor
    positions: Tensor


class HighestActivations(Observer):
    """The k highest activations of chosen neurons, by language.

    Which of equal activations are kept, and in which order, does not depend on batches and ranks; the activations do as
    far as forwards round in another way.

    neurons: layer -> (n,) int64, the chosen ones of that layer.
    found: by language, when the pass is over; neurons layer after layer in the order of `neurons`.
    """

    def __init__(self, neurons: Mapping[int, Tensor], k: int) -> None:
        self.neurons = {layer: chosen.to(torch.int64) for layer, chosen in neurons.items()}
        self.k = k

    def start(self, extent: Extent) -> None:
        self.extent = extent
        self.found: dict[str, Highest] = {}
        self._on_device = {layer: chosen.to(extent.device) for layer, chosen in self.neurons.items()}
        self._rows: dict[int, slice] = {}
        for layer, chosen in self.neurons.items():
            start = max((rows.stop for rows in self._rows.values()), default=0)
            self._rows[layer] = slice(start, start + len(chosen))

    def begin(self, language: str) -> None:
        # A token's place: of which document, times the longest, and where in it.
        self._longest = max(len(document) for document in self.extent.probe.documents[language])
        shape = (self.k, sum(map(len, self.neurons.values())))
        self._values = torch.full(shape, -torch.inf, dtype=self.extent.floats, device=self.extent.device)
        self._places = torch.full(shape, _NOWHERE, dtype=torch.int64, device=self.extent.device)

    def see(self, piece: Piece) -> None:
        rows = self._rows.get(piece.layer)
        if rows is None:
            return
        span, columns = piece.span, self._on_device[piece.layer]
        values = piece.of_neurons(columns, span.in_order)  # in the order in which equal ones are taken
        places = (span.numbers[span.documents] * self._longest + span.positions)[span.in_order]
        found, at = [self._values[:, rows]], [self._places[:, rows]]
        for _ in range(min(self.k, len(values))):
            highest, row = values.max(dim=0, keepdim=True)  # the first of equal ones
            values.scatter_(0, row, -torch.inf)
            found.append(highest.to(self._values.dtype))
            at.append(places[row].masked_fill(highest.isneginf(), _NOWHERE))  # no token that reached the neuron is left
        self._values[:, rows], self._places[:, rows] = _highest(torch.cat(found), torch.cat(at), self.k)

    def parts(self) -> Mapping[str, Part]:
        # Every rank's beside the others', by adding to their zeros.
        values, places = (tensor.new_zeros((world_size(), *tensor.shape)) for tensor in (self._values, self._places))
        values[rank()], places[rank()] = self._values, self._places
        return {"values": Part(values), "places": Part(places)}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        values, places = (merged[name].cpu().flatten(0, 1) for name in ("values", "places"))
        values, places = _highest(values, places, self.k)
        nothing = places == _NOWHERE
        self.found[language] = Highest(
            values.masked_fill(nothing, torch.nan).T.contiguous(),
            (places // self._longest).masked_fill(nothing, -1).T.contiguous(),
            (places % self._longest).masked_fill(nothing, -1).T.contiguous(),
        )


def _highest(values: Tensor, places: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k highest of (c, n) values, with their places; of equal ones those with the lowest."""
    order = places.argsort(dim=0)
    values, places = values.gather(0, order), places.gather(0, order)
    order = values.argsort(dim=0, descending=True, stable=True)[:k]
    return values.gather(0, order), places.gather(0, order)
