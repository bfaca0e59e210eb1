"""Identifiers by name: how counts become kinds of neurons. A new one is a class here, with options in `options.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal, Protocol, TypeGuard, runtime_checkable

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.activation_frequency_identifier import activation_frequency
from alignlab.neurons.attribution_identifier import attribution
from alignlab.neurons.average_precision_identifier import LayerMeans, average_precision
from alignlab.neurons.by_score import mean_importance
from alignlab.neurons.classification import Classification, sets_only
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.equal_size_lape_identifier import equal_size_lape
from alignlab.neurons.importance import Importance, Wanted
from alignlab.neurons.lape_identifier import lape, lowest_finite, score_of
from alignlab.neurons.options import (
    ActivationFrequencyOptions,
    AttributionOptions,
    AveragePrecisionOptions,
    EqualSizeLapeOptions,
    IdentifierOptions,
    LapeOptions,
    PlndOptions,
    RelevanceOptions,
    TernaryOptions,
)
from alignlab.neurons.plnd_identifier import layer_problems, plnd
from alignlab.neurons.probabilities import Bools, Floats, Integers
from alignlab.neurons.relevance_identifier import relevance
from alignlab.neurons.selection import Cut, lowest, number_problems, rate_problems, selection_size, up_to
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
    """An identifier of counts whose sets are a selection above tau, with degrees and kinds; so are resamples' sets.

    bar: tau is the probability of rank round(bar * G * L * N) of all.
    """

    bar: float

    def select(self, p: Floats, degree: Integers, held: Classification, cut: Cut | None = None) -> Bools:
        """The selection alone, (n,) bool, with everything but tau and where it ends as in the classification `held`.

        p: (G, n) probabilities. degree: (n,), in how many languages each neuron lies above tau. cut: where the
        selection ends; None where it has its usual size. Nothing is checked: this is for resamples of counts that have
        been identified.
        """


@runtime_checkable
class SizedIdentifier(Identifier, Protocol):
    """An identifier that is told how many neurons of each language to take."""

    def of_size(self, size: int, neurons: int) -> Identifier:
        """The same identifier with sets of so many neurons, of so many that there are."""


@runtime_checkable
class ImportanceIdentifier(Identifier, Protocol):
    """An identifier of importance.

    wanted: the measure, sites and options that the record it reads has to be of; no sites for that of the probe.
    """

    @property
    def wanted(self) -> Wanted: ...

    def at_sites(self, importance: Importance) -> dict[str, Classification]:
        """By site of the record, what is found there; `identify` classifies the one that the record looks at."""

    def shape_problems(self, shapes: Mapping[str, tuple[int, int]]) -> list[Problem]:
        """Why it cannot take its number of neurons, before anything is recorded. shapes: by site, L and N."""


@runtime_checkable
class ControlledIdentifier(ImportanceIdentifier, Protocol):
    """An identifier that can compare importance with that of a control set (`Importance.control`).

    wanted_of_control: what the record of the control set has to be of.
    """

    @property
    def wanted_of_control(self) -> Wanted: ...


class AtSiteOfProbe:
    """What `ImportanceIdentifier` asks beside `wanted`, of one that finds neurons at the site of the probe alone."""

    reads: ClassVar[RecordName] = "importance"

    def at_sites(self, importance: Importance) -> dict[str, Classification]:
        """See `ImportanceIdentifier.at_sites`: it finds neurons at the site of the probe alone."""
        return {}

    def shape_problems(self, shapes: Mapping[str, tuple[int, int]]) -> list[Problem]:
        """See `ImportanceIdentifier.shape_problems`: `size_problems` tells all."""
        return []


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


class EqualSizeLapeConfig(EqualSizeLapeOptions):
    """Equally many neurons of each language, of lowest entropy among those above tau in it (Kargaran et al. 2025)."""

    reads: ClassVar[RecordName] = "counts"

    def identify(self, counts: ActivationCounts, /, anchor: Classification | None = None) -> Classification:
        """Select; with `anchor`, at the tau of that selection. The sets have their size either way."""
        threshold = None if anchor is None else anchor.threshold
        return equal_size_lape(counts, self.size, self.bar, self.exclusive, threshold=threshold)

    def of_size(self, size: int, neurons: int) -> EqualSizeLapeConfig:
        """See `SizedIdentifier.of_size`."""
        return self.model_copy(update={"size": size})


class ActivationFrequencyConfig(ActivationFrequencyOptions):
    """The neurons that fire most, the fewest of a layer with a share of a language's firings (Tan et al. 2024)."""

    reads: ClassVar[RecordName] = "counts"

    def identify(self, counts: ActivationCounts, /, anchor: Classification | None = None) -> Classification:
        """Select. There is no threshold, so that an `anchor` changes nothing."""
        return activation_frequency(counts, self.share)


class AveragePrecisionConfig(AveragePrecisionOptions):
    """Neurons whose mean activation in a document tells its language from the others (Kojima et al. 2024)."""

    reads: ClassVar[RecordName] = "means"

    def identify(self, means: LayerMeans, /, anchor: Classification | None = None) -> Classification:
        """Select. There is no threshold, since sets have their size, so that an `anchor` changes nothing."""
        return average_precision(means, self.k, self.ends)

    def of_size(self, size: int, neurons: int) -> AveragePrecisionConfig:
        """See `SizedIdentifier.of_size`: half of them from either end, where both are taken, and at least one."""
        return self.model_copy(update={"k": max(1, size // 2) if self.ends == "both" else size})


class PlndConfig(PlndOptions):
    """Neurons without which a block's output changes most in every text of a language (PLND: Zhao et al. 2024)."""

    reads: ClassVar[RecordName] = "importance"

    @property
    def wanted(self) -> Wanted:
        """The record that it reads."""
        return Wanted("removal", tuple(self.sites))

    def identify(self, importance: Importance, /, anchor: Classification | None = None) -> Classification:
        """Select at the site that is looked at. There is no threshold, so that an `anchor` changes nothing."""
        return plnd(importance, self._number(importance.site or importance.sites[0]))

    def at_sites(self, importance: Importance) -> dict[str, Classification]:
        """See `ImportanceIdentifier.at_sites`."""
        return {site: plnd(importance, self._number(site), site) for site in importance.sites}

    def shape_problems(self, shapes: Mapping[str, tuple[int, int]]) -> list[Problem]:
        """See `ImportanceIdentifier.shape_problems`."""
        return [
            problem
            for site, (_, neurons) in shapes.items()
            for problem in layer_problems(f"identifier.{self._option(site)}", self._number(site), neurons)
        ]

    def _option(self, site: str) -> Literal["ffn", "attention"]:
        return "attention" if site.startswith("attention") else "ffn"

    def _number(self, site: str) -> int:
        return self.attention if self._option(site) == "attention" else self.ffn


class AttributionConfig(AtSiteOfProbe, AttributionOptions):
    """Neurons that raise the probability of right answers (Yamamoto et al. 2025)."""

    @property
    def wanted(self) -> Wanted:
        """Of the site of the probe."""
        return Wanted("attribution", (), {"probability": self.probability})

    @property
    def wanted_of_control(self) -> Wanted:
        """As `wanted`, of documents of a control set."""
        return replace(self.wanted, options={**self.wanted.options, "control": True})

    def identify(self, importance: Importance, /, anchor: Classification | None = None) -> Classification:
        """Select. There is no threshold, so that an `anchor` changes nothing."""
        scores = mean_importance(importance)
        if importance.control is not None:
            scores -= mean_importance(importance.control)
        return attribution(scores, self.top_rate, self.least_z, languages=importance.languages)

    def of_size(self, size: int, neurons: int) -> AttributionConfig:
        """See `SizedIdentifier.of_size`."""
        return self.model_copy(update={"top_rate": min(1.0, size / neurons)})


class RelevanceConfig(AtSiteOfProbe, RelevanceOptions):
    """Neurons that the likelihood of a language's text needs (after Le and Li 2026)."""

    @property
    def wanted(self) -> Wanted:
        """Of the site of the probe."""
        return Wanted("relevance", ())

    def identify(self, importance: Importance, /, anchor: Classification | None = None) -> Classification:
        """Select. There is no threshold, so that an `anchor` changes nothing."""
        return relevance(mean_importance(importance), self.top_rate, self.elsewhere, languages=importance.languages)

    def of_size(self, size: int, neurons: int) -> RelevanceConfig:
        """See `SizedIdentifier.of_size`."""
        return self.model_copy(update={"top_rate": min(1.0, size / neurons)})


IDENTIFIERS: dict[str, Any] = {  # classes of options that identify
    "ternary": TernaryConfig,
    "lape": LapeConfig,
    "equal_size_lape": EqualSizeLapeConfig,
    "activation_frequency": ActivationFrequencyConfig,
    "average_precision": AveragePrecisionConfig,
    "plnd": PlndConfig,
    "attribution": AttributionConfig,
    "relevance": RelevanceConfig,
}


# Options that say how many neurons of all are taken, and why a number cannot be.
_SIZES: dict[str, Callable[[str, Any, int], list[Problem]]] = {
    "top_rate": rate_problems,
    "size": number_problems,
    "k": number_problems,
}


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
    """The identifier; raises InputError for one without degrees, from which `what` follows, or of another record."""
    refuse_any(reading_problems(identifier))
    if not has_tau(identifier):
        raise InputError(sets_only(name_of(identifier), what))
    return identifier


def size_problems(identifier: Identifier, neurons: int) -> list[Problem]:
    """Why an identifier cannot take its number of neurons of a model's, before anything is recorded of it."""
    return [
        problem
        for option, problems in _SIZES.items()
        if hasattr(identifier, option)
        for problem in problems(f"identifier.{option}", getattr(identifier, option), neurons)
    ]


def reading_problems(identifier: Identifier, there: RecordName = "counts") -> list[Problem]:
    """Why an identifier cannot read the record that is there; empty where it can."""
    if identifier.reads == there:
        return []
    found = f"it reads {identifier.reads}, but what is here are {there}"
    return [Problem(f"identifier {name_of(identifier)}", found, f"an identifier that reads {there}")]
