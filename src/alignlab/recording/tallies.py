"""What is tallied of the neurons' activations, by language, without keeping any of them.

Each of these observers fills fields of a record (`neurons.fields`) by their names. Whole numbers are added as integers,
all else in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from alignlab.errors import Problem, did_you_mean, refuse_any
from alignlab.neurons.fields import FIELDS, NOTHING, Axis, TensorField, smallest_dtype
from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.pieces import Piece
from alignlab.recording.routed_pieces import RoutedPiece


class Tally(Observer):
    """One statistic: totals of a language at a time on the device, all languages on the CPU.

    fills: the fields of `neurons.fields` that it counts; their shapes, types and how they are merged are said there.
    fields: the tensors by those names, (G, ...) each, when the pass is over.
    """

    fills: ClassVar[tuple[str, ...]] = ()

    def start(self, extent: Extent) -> None:
        probe = extent.probe
        self.languages, self.device, self.floats = probe.languages, extent.device, extent.floats
        self.sizes: dict[Axis, int] = {
            "language": 1,
            "shard": probe.shards,
            "layer": extent.layers,
            "neuron": extent.neurons,
            "expert": extent.experts,
        }
        self.limits = {
            "tokens": max(int(probe.tokens(language).max()) for language in probe.languages),
            "documents": max(int(probe.shard_documents(language).max()) for language in probe.languages),
        }
        self.fields: dict[str, Tensor] = {}

    def begin(self, language: str) -> None:
        self.totals = {name: self._empty(FIELDS[name]) for name in self.fills}

    def parts(self) -> Mapping[str, Part]:
        return {name: Part(total, FIELDS[name].merge) for name, total in self.totals.items()}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        for name, total in merged.items():
            if name not in self.fields:
                self.fields[name] = torch.empty((len(self.languages), *total.shape), dtype=self._kept(FIELDS[name]))
            self.fields[name][self.languages.index(language)] = total.cpu()
        self.totals = {}  # let go before the next language's are made

    def _empty(self, field: TensorField) -> Tensor:
        """The total of no token."""
        shape = field.shape(self.sizes)[1:]
        return torch.full(shape, NOTHING[field.merge], dtype=self._added(field), device=self.device)

    def _added(self, field: TensorField) -> torch.dtype:
        """The type in which it is added up."""
        if field.numbers == "value":
            return self.floats
        return torch.int64 if field.numbers == "count" else field.types[0]

    def _kept(self, field: TensorField) -> torch.dtype:
        """The type in which it is kept: of counts the smallest that holds each."""
        return smallest_dtype(self.limits[field.limit]) if field.numbers == "count" else self._added(field)


class Firings(Tally):
    """Tokens on which a neuron was active, by shard."""

    fills = ("firings",)

    def see(self, piece: Piece) -> None:
        self.totals["firings"][:, piece.layer].index_add_(0, piece.span.shards, piece.fired)


class RoutedTokens(Tally):
    """Tokens that were sent to each expert, by shard."""

    fills = ("routed",)

    def see(self, piece: Piece) -> None:
        assert isinstance(piece, RoutedPiece)
        self.totals["routed"][:, piece.layer].index_add_(0, piece.span.shards, piece.routed)


class DocumentFirings(Tally):
    """Documents on at least one counted token of which a neuron was active, by shard."""

    fills = ("document_firings",)

    def see(self, piece: Piece) -> None:
        self.totals["document_firings"][:, piece.layer].index_add_(0, piece.span.shards, piece.fired.clamp(max=1))


class Moments(Tally):
    """Sum and sum of squares of the activations over all counted tokens, active or not."""

    fills = ("activation_sum", "activation_squares")

    def see(self, piece: Piece) -> None:
        total, squares = piece.moments
        self.totals["activation_sum"][piece.layer] += total
        self.totals["activation_squares"][piece.layer] += squares


class Maximum(Tally):
    """The highest activation on a counted token; -inf where there is none."""

    fills = ("maximum",)

    def see(self, piece: Piece) -> None:
        highest = self.totals["maximum"][piece.layer]
        torch.maximum(highest, piece.highest.to(highest.dtype), out=highest)


# By the names under which their fields are asked for.
STATISTICS: dict[str, type[Tally]] = {
    FIELDS[tally.fills[0]].statistic: tally for tally in (DocumentFirings, Moments, Maximum)
}


def check_statistics(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises `InputError` for one that is none."""
    expected, unknown = f"among {', '.join(STATISTICS)}", [name for name in names if name not in STATISTICS]
    refuse_any([Problem("statistics", f"{name!r}", expected, did_you_mean(name, STATISTICS)) for name in unknown])
    return tuple(dict.fromkeys(names))


def build_tallies(statistics: Sequence[str], routed: bool = False) -> list[Tally]:
    """The firings, which are always counted, as are the tokens of each expert if `routed`; the statistics asked for."""
    always = [Firings(), RoutedTokens()] if routed else [Firings()]
    return [*always, *(STATISTICS[name]() for name in statistics)]
