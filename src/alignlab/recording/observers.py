"""What looks on while a probe passes through a model, and keeps something of it.

An observer is asked in this order: `start` once; for each language `begin`, then for each batch of this rank `see` for
every piece of every layer and `finish`, then `parts`, which are merged over the ranks, and `take`, which gets them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from alignlab.models.distributed import over_ranks, world_size
from alignlab.neurons.fields import Merge
from alignlab.recording.pieces import Piece, ProbeBatch
from alignlab.recording.probes import Probe


@dataclass(frozen=True)
class Extent:
    """What a pass is over.

    probe: as it is read, with all responses.
    layers, neurons: L and N; 0 where no site is looked at.
    floats: a type that holds every activation exactly.
    experts: E, of a layer, where the neurons are those of routed experts; else 0.
    """

    probe: Probe
    layers: int
    neurons: int
    floats: torch.dtype
    device: torch.device
    experts: int = 0


@dataclass(frozen=True)
class Part:
    """What a rank has of something, and how it becomes that of all ranks: shapes are the same on every rank."""

    tensor: Tensor
    merge: Merge = "sum"


class Observer:
    """Looks on and keeps nothing; what others override.

    losses: it is told the losses of the counted tokens, so that logits are made for them.
    gradients: it is also shown, with every piece, the gradients of those losses' sum over the batch.
    """

    losses: ClassVar[bool] = False
    gradients: ClassVar[bool] = False

    def start(self, extent: Extent) -> None:
        """A pass begins."""

    def begin(self, language: str) -> None:
        """A language begins."""

    def see(self, piece: Piece) -> None:
        """What a layer shows on some documents of a batch. Layers come in the model's order, or after the forward."""

    def finish(self, batch: ProbeBatch, losses: Tensor) -> None:
        """A batch is through.

        losses: (M,) nats, in double precision where the logits are, else in single, of the counted tokens that have a
            predecessor, document after document, where any observer asked for them; else of no token.
        """

    def parts(self) -> Mapping[str, Part]:
        """What this rank has of the language; it may be overwritten, and is not looked at again."""
        return {}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        """The parts over all ranks, on every rank."""


def merged(parts: Sequence[Mapping[str, Part]], device: torch.device) -> list[dict[str, Tensor]]:
    """The parts of observers over all ranks, exact for integers: one collective a part.

    device: where ranks meet; nothing is moved where there is one rank.
    """
    if world_size() == 1:
        return [{name: part.tensor for name, part in mine.items()} for mine in parts]
    return [{name: over_ranks(part.tensor.to(device), part.merge) for name, part in mine.items()} for mine in parts]
