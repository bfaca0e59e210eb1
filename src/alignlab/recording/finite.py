"""Whether a model still computes with numbers: one that has diverged would pass for one whose neurons are silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.pieces import Piece


class LastLayerFinite(Observer):
    """Which languages have a document on which the last layer's activations are not finite.

    One layer is enough: what is not finite in an earlier one reaches it through the residual stream.
    languages: their names.
    """

    def start(self, extent: Extent) -> None:
        self._last, self._device = extent.layers - 1, extent.device
        self.languages: list[str] = []

    def begin(self, language: str) -> None:
        self._found = torch.zeros((), dtype=torch.int64, device=self._device)

    def see(self, piece: Piece) -> None:
        if piece.layer == self._last:
            self._found += ~piece.counted.isfinite().all()

    def parts(self) -> Mapping[str, Part]:
        return {"found": Part(self._found)}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        if merged["found"]:
            self.languages.append(language)


def refuse_diverged(languages: Sequence[str], model: str, step: int | None) -> None:
    """Refuse counts of a model whose numbers on some languages are not finite. Raises InputError on every rank."""
    if languages:
        at = model if step is None else f"{model or 'the model'} at step {step}"
        found = f"it has diverged: its numbers on {' '.join(languages)} are NaN or infinite, so no neuron is active"
        fix = "Take an earlier checkpoint or a wider precision (bf16 and fp16 overflow), or train with a lower rate."
        raise InputError.of(at or "the model", found, "a model that computes finite numbers", fix)
