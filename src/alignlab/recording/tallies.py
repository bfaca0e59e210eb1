"""What is tallied of a language's activations, one streaming pass, without keeping any of them.

The counted tokens of a batch are looked at in pieces of a few documents. What all tallies start from is the firings of
each document, one matrix product a piece: `onehot(document, token) @ (activation > 0)`. That is exact in float32 as
long as a document has fewer than 2**24 tokens; everything beyond a document is added as integers or in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, did_you_mean
from alignlab.models.distributed import max_over_ranks, sum_over_ranks

# Activations that are looked at together: on a CPU they stay in its cache, a GPU wants enough for all its cores.
_PIECE = {"cpu": 1 << 18}
_PIECE_ELSEWHERE = 1 << 24


@dataclass(frozen=True)
class Piece:
    """Counted tokens of D documents of a batch, M in all.

    rows: (M,) int64 positions in the flattened (B * T) batch.
    onehot: (D, M) float32, 1 where a token belongs to a document.
    shards: (D,) int64 shard of each document.
    """

    rows: Tensor
    onehot: Tensor
    shards: Tensor


class Tally(Protocol):
    """One statistic of one language. Layers come in any order, each once a batch."""

    def add(self, layer: int, piece: Piece, activations: Tensor, fired: Tensor) -> None:
        """Take in a piece. activations: (M, N) of its tokens, any float type.  fired: (D, N) int64 by document."""

    def collect(self) -> dict[str, Tensor]:
        """The sums over all ranks, by their names in `ActivationCounts`, on the CPU; a collective call."""


@dataclass(frozen=True)
class Extent:
    """What a tally has to hold: S shards of L layers of N neurons.

    tokens, documents: integer types that hold the tokens and the documents of the fullest shard.
    floats: type of the activations' maximum, which holds each of them exactly.
    """

    shape: tuple[int, int, int]
    tokens: torch.dtype
    documents: torch.dtype
    floats: torch.dtype
    device: torch.device


class Firings:
    """Tokens on which a neuron was active, by shard."""

    def __init__(self, extent: Extent) -> None:
        self.total = torch.zeros(extent.shape, dtype=torch.int64, device=extent.device)
        self.kept = extent.tokens

    def add(self, layer: int, piece: Piece, activations: Tensor, fired: Tensor) -> None:
        self.total[:, layer].index_add_(0, piece.shards, fired)

    def collect(self) -> dict[str, Tensor]:
        return {"firings": sum_over_ranks(self.total).cpu().to(self.kept)}


class DocumentFirings:
    """Documents on at least one counted token of which a neuron was active, by shard."""

    def __init__(self, extent: Extent) -> None:
        self.total = torch.zeros(extent.shape, dtype=torch.int64, device=extent.device)
        self.kept = extent.documents

    def add(self, layer: int, piece: Piece, activations: Tensor, fired: Tensor) -> None:
        self.total[:, layer].index_add_(0, piece.shards, (fired > 0).to(torch.int64))

    def collect(self) -> dict[str, Tensor]:
        return {"document_firings": sum_over_ranks(self.total).cpu().to(self.kept)}


class Moments:
    """Sum and sum of squares of the activations over all counted tokens, active or not."""

    def __init__(self, extent: Extent) -> None:
        shape = extent.shape[1:]
        self.total = torch.zeros(shape, dtype=torch.float64, device=extent.device)
        self.squares = torch.zeros(shape, dtype=torch.float64, device=extent.device)

    def add(self, layer: int, piece: Piece, activations: Tensor, fired: Tensor) -> None:
        # Float64 before the first sum: also the squares of float32 are exact in it.
        values = activations.to(torch.float64)
        self.total[layer] += values.sum(dim=0)
        self.squares[layer] += values.square().sum(dim=0)

    def collect(self) -> dict[str, Tensor]:
        return {
            "activation_sum": sum_over_ranks(self.total).cpu(),
            "activation_squares": sum_over_ranks(self.squares).cpu(),
        }


class Maximum:
    """The highest activation on a counted token; -inf where there is none."""

    def __init__(self, extent: Extent) -> None:
        self.highest = torch.full(extent.shape[1:], -torch.inf, dtype=extent.floats, device=extent.device)

    def add(self, layer: int, piece: Piece, activations: Tensor, fired: Tensor) -> None:
        highest = self.highest[layer]
        torch.maximum(highest, activations.amax(dim=0).to(highest.dtype), out=highest)

    def collect(self) -> dict[str, Tensor]:
        return {"maximum": max_over_ranks(self.highest).cpu()}


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


def build_tallies(statistics: Sequence[str], extent: Extent) -> list[Tally]:
    """The firings, which are always counted, and the statistics asked for."""
    return [Firings(extent), *(STATISTICS[name](extent) for name in statistics)]


def tally(tallies: Sequence[Tally], pieces: Sequence[Piece], layer: int, activations: Tensor) -> None:
    """Take in a layer's activations on a batch: (B, T, N), or (B * T, N) as some families have them."""
    flat = activations.reshape(-1, activations.shape[-1])
    # An autocast would round the firings to bfloat16, which stalls at 256.
    with torch.autocast(flat.device.type, enabled=False):
        for piece in pieces:
            chosen = flat.index_select(0, piece.rows)
            fired = (piece.onehot @ (chosen > 0).float()).to(torch.int64)
            for each in tallies:
                each.add(layer, piece, chosen, fired)


def cut(mask: Tensor, shards: Sequence[int], width: int, device: torch.device) -> list[Piece]:
    """The counted tokens of a batch in pieces of whole documents.

    mask: (B, T) bool, the tokens that are counted.  shards: of each of the B documents.  width: N, neurons of a layer.
    """
    places = mask.nonzero()
    document, rows = places[:, 0].to(device), (places[:, 0] * mask.shape[1] + places[:, 1]).to(device)
    shard = torch.tensor(shards, dtype=torch.int64).to(device)
    most = max(1, _PIECE.get(device.type, _PIECE_ELSEWHERE) // width)
    pieces = []
    for first, last, start, end in _spans(mask.sum(dim=1).tolist(), most):
        numbers = torch.arange(first, last, device=device)
        onehot = (document[start:end].unsqueeze(0) == numbers.unsqueeze(1)).float()
        pieces.append(Piece(rows[start:end], onehot, shard[first:last]))
    return pieces


def _spans(tokens: Sequence[int], most: int) -> Iterator[tuple[int, int, int, int]]:
    """Runs of documents, as (first, last, start, end) of documents and of their tokens, of at most `most` tokens.

    A longer document is a run of its own; a run without tokens is left out.
    """
    first = start = end = 0
    for last, count in enumerate(tokens):
        if end > start and end + count - start > most:
            yield first, last, start, end
            first, start = last, end
        end += count
    if end > start:
        yield first, len(tokens), start, end
