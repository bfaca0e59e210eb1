"""Identifiers by name: how counts become kinds of neurons. A new one is a class here, with options in `options.py`."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.lape_identifier import Lape, lape, lowest_finite
from alignlab.neurons.options import Convention, IdentifierOptions, LapeOptions, TernaryOptions
from alignlab.neurons.probabilities import Bools, Floats, Integers, entropy_of
from alignlab.neurons.selection import lowest, selection_size
from alignlab.neurons.ternary_identifier import Ternary, score_terms, ternary


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


class TernaryConfig(TernaryOptions):
    """Language-specific, language-related and general neurons (Zhang et al. 2025)."""

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


class LapeConfig(LapeOptions):
    """Neurons that few languages activate, by the entropy of their probabilities (Tang et al. 2024)."""

    def identify(self, counts: ActivationCounts, anchor: Identified | None = None) -> Lape:
        """Select; with `anchor`, at the threshold of that selection."""
        return lape(counts, self.top_rate, self.bar, threshold=anchor.threshold if anchor is not None else None)

    def select(self, p: Floats, degree: Integers, held: Identified) -> Bools:
        """See `Identifier.select`."""
        score = entropy_of(p)
        score[degree == 0] = float("inf")
        return lowest_finite(score, degree, selection_size(self.top_rate, p.shape[1]))


IDENTIFIERS: dict[str, type[TernaryConfig | LapeConfig]] = {"ternary": TernaryConfig, "lape": LapeConfig}


def identifier_of(options: IdentifierOptions) -> Identifier:
    """The identifier that the options name, with them."""
    return IDENTIFIERS[options.name].of(options)
