"""A resample of a record, classified: like any other classification, on arrays that are made some hundred times."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from alignlab.neurons.kinds import Convention, kinds_of
from alignlab.neurons.probabilities import Bools, Floats


@dataclass(frozen=True, eq=False)
class Drawn:
    """A resample, classified with everything but perhaps tau as its record is; see `identifiers.Identified`.

    p: (G, L, N) its probabilities; they are overwritten by those of a later resample.
    owned: (G, L, N) bool, above tau.
    """

    languages: tuple[str, ...]
    p: Floats
    owned: Bools
    selected: Tensor
    degree: Tensor
    thresholds: dict[str, float]
    reason: str = ""

    @property
    def threshold(self) -> float:
        """tau."""
        return self.thresholds["tau"]

    @property
    def general(self) -> Tensor:
        """Neurons above tau in every language, (L, N) bool."""
        return self.degree == len(self.languages)

    @property
    def above(self) -> dict[str, Tensor]:
        """By language, its neurons above tau, (L, N) bool."""
        return dict(zip(self.languages, map(torch.from_numpy, self.owned), strict=True))

    @property
    def sets(self) -> dict[str, Tensor]:
        """By language, its neurons above tau within the selection, (L, N) bool."""
        return {name: mask & self.selected for name, mask in self.above.items()}

    def kinds(self, convention: Convention = "paper") -> Tensor:
        """The Kind of every neuron, (L, N) int8."""
        return kinds_of(self.degree, self.selected, len(self.languages), convention)
