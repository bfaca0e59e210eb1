"""Identifiers by name: how the counts of a snapshot become kinds of neurons. A new one is a dataclass here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from alignlab.config import option
from alignlab.errors import InputError, Problem
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention
from alignlab.neurons.lape import Lape, lape, lowest_finite
from alignlab.neurons.probabilities import Bools, Floats, Integers, entropy_of
from alignlab.neurons.selection import lowest, selection_size
from alignlab.neurons.ternary import Ternary, score_terms, ternary


class Identified(Protocol):
    """What every identifier returns, whatever else it does: the fields are those of `Ternary`.

    thresholds: by name, in the order in which people read them; `threshold`, tau, is one of them.
    """

    @property
    def languages(self) -> tuple[str, ...]: ...
    @property
    def sets(self) -> dict[str, Tensor]: ...
    @property
    def above(self) -> dict[str, Tensor]: ...
    @property
    def selected(self) -> Tensor: ...
    @property
    def degree(self) -> Tensor: ...
    @property
    def general(self) -> Tensor: ...
    @property
    def threshold(self) -> float: ...
    @property
    def thresholds(self) -> dict[str, float]: ...
    @property
    def reason(self) -> str: ...
    def kinds(self, convention: Convention = "paper") -> Tensor: ...


class Identifier(Protocol):
    """An identifier with its options.

    bar: tau is the probability of rank round(bar * G * L * N) of all.
    """

    bar: float

    def identify(self, counts: ActivationCounts, anchor: Identified | None = None) -> Identified:
        """Classify; with `anchor`, at the thresholds of that classification."""

    def select(self, p: Floats, degree: Integers, held: Identified) -> Bools:
        """The selection alone, (n,) bool, with everything but tau as in the classification `held`.

        p: (G, n) probabilities. degree: (n,), in how many languages each neuron lies above tau. Nothing is checked:
        this is for resamples of counts that have been identified.
        """


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

    def identify(self, counts: ActivationCounts, anchor: Identified | None = None) -> Ternary:
        """Classify; with `anchor`, at the threshold and lambda of that classification."""
        if anchor is None:
            return ternary(counts, self.top_rate, self.bar, self.lambda_)
        if not isinstance(anchor, Ternary):
            raise InputError(Problem("anchor", type(anchor).__name__, "a classification by the same identifier"))
        return ternary(counts, self.top_rate, self.bar, anchor.lambda_, threshold=anchor.threshold)

    def select(self, p: Floats, degree: Integers, held: Identified) -> Bools:
        """See `Identifier.select`."""
        assert isinstance(held, Ternary)
        g, n = p.shape
        entropy, peak = score_terms(p)
        return lowest(entropy - held.lambda_ * peak, selection_size(self.top_rate, n), later=degree == g)


@dataclass
class LapeConfig:
    """Neurons that few languages activate, by the entropy of their probabilities (Tang et al. 2024)."""

    top_rate: float = option(0.01, "share of all neurons that is selected", gt=0, le=1)
    bar: float = option(
        0.95, "tau is this quantile of all probabilities; a language owns a neuron above it", gt=0, lt=1
    )

    def identify(self, counts: ActivationCounts, anchor: Identified | None = None) -> Lape:
        """Select; with `anchor`, at the threshold of that selection."""
        return lape(counts, self.top_rate, self.bar, threshold=anchor.threshold if anchor is not None else None)

    def select(self, p: Floats, degree: Integers, held: Identified) -> Bools:
        """See `Identifier.select`."""
        score = entropy_of(p)
        score[degree == 0] = float("inf")
        return lowest_finite(score, degree, selection_size(self.top_rate, p.shape[1]))


IDENTIFIERS: dict[str, type] = {"ternary": TernaryConfig, "lape": LapeConfig}
