"""Identifiers by name: how the counts of a snapshot become kinds of neurons. A new one is a dataclass here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignlab.config import option
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.ternary import Ternary, ternary


@dataclass
class TernaryConfig:
    """Language-specific, language-related and general neurons (Zhang et al. 2025)."""

    top_rate: float = option(0.01, "share of all neurons that is selected", gt=0, le=1)
    bar: float = option(
        0.95, "tau is this quantile of all probabilities; a language owns a neuron above it", gt=0, lt=1
    )
    lambda_: Literal["largest"] | float = option(
        "largest",
        "weight of the peak in the score; largest: the largest in [0, 0.2] that selects no general neuron",
        ge=0,
    )

    def identify(self, counts: ActivationCounts, anchor: Ternary | None = None) -> Ternary:
        """Classify; with `anchor`, at the threshold and lambda of that classification."""
        if anchor is None:
            return ternary(counts, self.top_rate, self.bar, self.lambda_)
        return ternary(counts, self.top_rate, self.bar, anchor.lambda_, threshold=anchor.threshold)


IDENTIFIERS: dict[str, type] = {"ternary": TernaryConfig}
