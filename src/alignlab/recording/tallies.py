"""What is tallied of the neurons' activations, by language, without keeping any of them.

Each of these observers fills fields of `ActivationCounts` by their names. Whole numbers are added as integers, all else
in float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean
from alignlab.neurons.counts import smallest_dtype
from alignlab.recording.observers import Extent, Merge, Observer, Part
from alignlab.recording.pieces import Piece


class Tally(Observer, ABC):
    """One statistic: totals of a language at a time on the device, all languages on the CPU.

    fields: the tensors by their names in `ActivationCounts`, (G, ...) each, when the pass is over.
    """

    merge: ClassVar[Merge] = "sum"

    def start(self, extent: Extent) -> None:
        self.extent = extent
        self.fields: dict[str, Tensor] = {}

    def begin(self, language: str) -> None:
        self.totals = self.empty()

    @abstractmethod
    def empty(self) -> dict[str, Tensor]:
        """The totals of no token, by name."""

    def parts(self) -> Mapping[str, Part]:
        return {name: Part(total, self.merge) for name, total in self.totals.items()}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        languages = self.extent.probe.languages
        for name, total in merged.items():
            if name not in self.fields:
                self.fields[name] = torch.empty((len(languages), *total.shape), dtype=self.kept(total))
            self.fields[name][languages.index(language)] = total.cpu()

    def kept(self, total: Tensor) -> torch.dtype:
        """The type in which a total is kept: the smallest that holds every one."""
        return total.dtype


class Firings(Tally):
    """Tokens on which a neuron was active, by shard."""

    def empty(self) -> dict[str, Tensor]:
        return {"firings": _by_shard(self.extent)}

    def see(self, piece: Piece) -> None:
        self.totals["firings"][:, piece.layer].index_add_(0, piece.span.shards, piece.fired)

    def kept(self, total: Tensor) -> torch.dtype:
        probe = self.extent.probe
        return smallest_dtype(max(int(probe.tokens(language).max()) for language in probe.languages))


class DocumentFirings(Tally):
    """Documents on at least one counted token of which a neuron was active, by shard."""

    def empty(self) -> dict[str, Tensor]:
        return {"document_firings": _by_shard(self.extent)}

    def see(self, piece: Piece) -> None:
        self.totals["document_firings"][:, piece.layer].index_add_(0, piece.span.shards, piece.fired.clamp(max=1))

    def kept(self, total: Tensor) -> torch.dtype:
        probe = self.extent.probe
        return smallest_dtype(max(int(probe.shard_documents(language).max()) for language in probe.languages))


class Moments(Tally):
    """Sum and sum of squares of the activations over all counted tokens, active or not."""

    def empty(self) -> dict[str, Tensor]:
        return {
            name: torch.zeros((self.extent.layers, self.extent.neurons), dtype=torch.float64, device=self.extent.device)
            for name in ("activation_sum", "activation_squares")
        }

    def see(self, piece: Piece) -> None:
        # Float64 before the first sum: also the squares of float32 are exact in it.
        values = piece.counted.to(torch.float64)
        self.totals["activation_sum"][piece.layer] += values.sum(dim=0)
        self.totals["activation_squares"][piece.layer] += values.square().sum(dim=0)


class Maximum(Tally):
    """The highest activation on a counted token; -inf where there is none."""

    merge = "max"

    def empty(self) -> dict[str, Tensor]:
        shape = (self.extent.layers, self.extent.neurons)
        return {"maximum": torch.full(shape, -torch.inf, dtype=self.extent.floats, device=self.extent.device)}

    def see(self, piece: Piece) -> None:
        highest = self.totals["maximum"][piece.layer]
        torch.maximum(highest, piece.counted.amax(dim=0).to(highest.dtype), out=highest)


STATISTICS: dict[str, type[DocumentFirings | Moments | Maximum]] = {
    "documents": DocumentFirings,
    "moments": Moments,
    "maximum": Maximum,
}


def check_statistics(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once. Raises `InputError` for one that is none."""
    unknown = [name for name in names if name not in STATISTICS]
    if unknown:
        expected = f"among {', '.join(STATISTICS)}"
        problems = [Problem("statistics", f"{name!r}", expected, did_you_mean(name, STATISTICS)) for name in unknown]
        raise InputError(*problems)
    return tuple(dict.fromkeys(names))


def build_tallies(statistics: Sequence[str]) -> list[Tally]:
    """The firings, which are always counted, and the statistics asked for."""
    return [Firings(), *(STATISTICS[name]() for name in statistics)]


def _by_shard(extent: Extent) -> Tensor:
    shape = (extent.probe.shards, extent.layers, extent.neurons)
    return torch.zeros(shape, dtype=torch.int64, device=extent.device)
