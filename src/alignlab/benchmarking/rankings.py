"""How each identifier is run, and by what it orders the neurons of a language: more of it, more of the language.

A set says which neurons are a language's; a ranking says it of any number of them, so that identifiers whose sets have
another size than what is planted can be compared at one size. An identifier gives both from the record it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignlab.neurons.attribution_identifier import z_scores
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import IDENTIFIERS, Identifier
from alignlab.neurons.importance import Importance
from alignlab.neurons.probabilities import Bools, Floats

# From the identifier, the record, and what it found there, to (G, L * N).
Ranking = Callable[[Any, Any, Classification], Floats]
# PLND takes so many of a layer's neurons in every document: of Llama 2 with 7 B, 2,000 of 11,008.
_PLND = 2000 / 11008


@dataclass(frozen=True)
class Found:
    """What an identifier says. ranking: (G, n), higher is more.  sets: (G, n) bool."""

    ranking: Floats
    sets: Bools


def settings(name: str, *, size: int, rate: float, bar: float, shape: tuple[int, int]) -> dict[str, Any]:
    """The options that tell an identifier how much is planted; all others are its defaults.

    size: neurons of a language.  rate: share of all neurons that are some language's.  bar: of those that have one.
    shape: L, N.
    """
    layers, neurons = shape
    # By importance a top rate is of each language; by counts, of all together.
    rate = round(size / (layers * neurons), 6) if IDENTIFIERS[name].reads == "importance" else rate
    known: Mapping[str, Any] = {
        "top_rate": rate,
        "size": size,
        "k": size,
        "ends": "top",
        "bar": bar,
        "sites": ["mlp.act"],
        "ffn": max(1, round(neurons * _PLND)),
    }
    fields = IDENTIFIERS[name].model_fields
    return {option: value for option, value in known.items() if option in fields}


def identifier_at(name: str, given: Mapping[str, Any]) -> Identifier:
    """The identifier with these options."""
    identifier: Identifier = IDENTIFIERS[name](**given)
    return identifier


def identify(name: str, identifier: Identifier, record: Any) -> Found:
    """Run it on the record that it reads."""
    result = identifier.identify(record)
    sets = np.stack([result.sets[language].flatten().numpy() for language in result.languages])
    return Found(RANKINGS[name](identifier, record, result), sets)


def _frequency(_identifier: Any, counts: ActivationCounts, _result: Classification) -> Floats:
    rates: Floats = counts.probabilities().flatten(1).numpy()
    return rates


def _owned(score: str) -> Ranking:
    """Lowest score first, among the neurons above tau in the language; all others are last alike."""

    def ranking(_identifier: Any, counts: ActivationCounts, result: Classification) -> Floats:
        above = counts.probabilities().flatten(1).numpy() > result.threshold
        return np.where(above, -result.scores[score].flatten().numpy(), -np.inf)

    return ranking


def _named(score: str) -> Ranking:
    """The score of each language, such as `average precision en`."""

    def ranking(_identifier: Any, _record: Any, result: Classification) -> Floats:
        return np.stack([result.scores[f"{score} {language}"].flatten().numpy() for language in result.languages])

    return ranking


def _plnd(identifier: Any, importance: Importance, _result: Classification) -> Floats:
    """By its worst rank among the neurons of its layer; what every language's set has is last."""
    site = importance.sites[0]
    ranks = [importance.worst_rank(site, name).amax(dim=0).flatten().numpy() for name in importance.languages]
    worst = np.stack(ranks).astype(np.float64)
    return np.where((worst < identifier.ffn).all(axis=0), -np.inf, -worst)


def _attribution(identifier: Any, record: Importance, result: Classification) -> Floats:
    """By its score, of those that stand out as the identifier asks."""
    scores = _named("attribution")(identifier, record, result)
    if identifier.least_z is None:
        return scores
    return np.where(z_scores(scores) >= identifier.least_z, scores, -np.inf)


def _relevance(identifier: Any, record: Importance, result: Classification) -> Floats:
    """By its share of relevance, of those that have no larger one of another language."""
    shares = _named("relevance")(identifier, record, result)
    return np.where(shares >= shares.max(axis=0), shares, -np.inf) if identifier.elsewhere == "less" else shares


RANKINGS: dict[str, Ranking] = {
    "ternary": _owned("score"),
    "lape": _owned("entropy"),
    "equal_size_lape": _owned("entropy"),
    "activation_frequency": _frequency,
    "average_precision": _named("average precision"),
    "plnd": _plnd,
    "attribution": _attribution,
    "relevance": _relevance,
}
