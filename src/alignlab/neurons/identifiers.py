"""Identifiers by name: how counts become kinds of neurons. A new one is a class here, with options in `options.py`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.classification import Classification, lacking
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.lape_identifier import lape, lowest_finite, score_of
from alignlab.neurons.options import IdentifierOptions, LapeOptions, TernaryOptions
from alignlab.neurons.probabilities import Bools, Floats, Integers
from alignlab.neurons.selection import Cut, lowest, selection_size, up_to
from alignlab.neurons.ternary_identifier import score_terms, ternary

RecordName = Literal["counts", "means", "importance"]


class Identifier(Protocol):
    """An identifier with its options.

    reads: which record it classifies: `counts` of firings, `means` of activations by document, or `importance`.
    """

    reads: ClassVar[RecordName]

    def identify(self, record: Any, /, anchor: Classification | None = None) -> Classification:
        """Classify; with `anchor`, at the thresholds of that classification, if it has any."""


@runtime_checkable
class TauIdentifier(Identifier, Protocol):
    """An identifier of counts with a tau, and so degrees and kinds; resamples of its record can be classified alike.

    bar: tau is the probability of rank round(bar * G * L * N) of all.
    """

    bar: float

    def select(self, p: Floats, degree: Integers, held: Classification, cut: Cut | None = None) -> Bools:
        """The selection alone, (n,) bool, with everything but tau and where it ends as in the classification `held`.

        p: (G, n) probabilities. degree: (n,), in how many languages each neuron lies above tau. cut: where the
        selection ends; None where it has its usual size. Nothing is checked: this is for resamples of counts that have
        been identified.
        """


class TernaryConfig(TernaryOptions):
    """Language-specific, language-related and general neurons (Zhang et al. 2025)."""

    reads: ClassVar[RecordName] = "counts"

    def identify(self, counts: ActivationCounts, /, anchor: Classification | None = None) -> Classification:
        """Classify; with `anchor`, at the threshold, lambda and cut of that classification."""
        if anchor is None:
            return ternary(counts, self.top_rate, self.bar, self.lambda_)
        if "lambda" not in anchor.thresholds:
            raise InputError(Problem("anchor", f"by {anchor.identifier}", "a classification by the same identifier"))
        return ternary(counts, self.top_rate, self.bar, anchor.lambda_, threshold=anchor.threshold, cut=anchor.cut)

    def select(self, p: Floats, degree: Integers, held: Classification, cut: Cut | None = None) -> Bools:
        """See `TauIdentifier.select`."""
        g, n = p.shape
        entropy, peak = score_terms(p)
        score = entropy - held.lambda_ * peak
        if cut is not None:
            return up_to(cut, score, later=degree == g)
        return lowest(score, selection_size(self.top_rate, n), later=degree == g)[0]


class LapeConfig(LapeOptions):
    """Neurons that few languages activate, by the entropy of their probabilities (Tang et al. 2024)."""

    reads: ClassVar[RecordName] = "counts"

    def identify(self, counts: ActivationCounts, /, anchor: Classification | None = None) -> Classification:
        """Select; with `anchor`, at the threshold and cut of that selection."""
        if anchor is None:
            return lape(counts, self.top_rate, self.bar)
        return lape(counts, self.top_rate, self.bar, threshold=anchor.threshold, cut=anchor.cut)

    def select(self, p: Floats, degree: Integers, held: Classification, cut: Cut | None = None) -> Bools:
        """See `TauIdentifier.select`."""
        score = score_of(p, degree)
        if cut is not None:
            return up_to(cut, score)
        return lowest_finite(score, selection_size(self.top_rate, p.shape[1]), len(p))[0]


IDENTIFIERS: dict[str, Any] = {"ternary": TernaryConfig, "lape": LapeConfig}  # classes of options that identify


def identifier_of(options: IdentifierOptions) -> Identifier:
    """The identifier that the options name, with them."""
    identifier: Identifier = IDENTIFIERS[options.name].of(options)
    return identifier


def name_of(identifier: Identifier) -> str:
    """The name by which an identifier is asked for; that of its class where it has none."""
    return next((name for name, kind in IDENTIFIERS.items() if kind is type(identifier)), type(identifier).__name__)


def has_tau(identifier: Identifier) -> TypeGuard[TauIdentifier]:
    """Whether what it finds has degrees and kinds, and whether its counts can be resampled."""
    return isinstance(identifier, TauIdentifier)


def require_tau(identifier: Identifier, what: str = "degrees and kinds") -> TauIdentifier:
    """The identifier; raises InputError for one without a tau, from which `what` follows, or of another record."""
    refuse_any(reading_problems(identifier))
    if not has_tau(identifier):
        raise InputError(lacking(name_of(identifier), "tau", what))
    return identifier


def reading_problems(identifier: Identifier, there: RecordName = "counts") -> list[Problem]:
    """Why an identifier cannot read the record that is there; empty where it can."""
    if identifier.reads == there:
        return []
    found = f"it reads {identifier.reads}, but what is here are {there}"
    return [Problem(f"identifier {name_of(identifier)}", found, f"an identifier that reads {there}")]
