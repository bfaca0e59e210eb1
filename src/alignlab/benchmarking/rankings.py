"""How each identifier is run, and by what it orders the neurons of a language: more of it, more of the language.

A set says which neurons are a language's; a ranking says it of any number of them, so that identifiers whose sets have
another size than what is planted can be compared at one size. An identifier gives both from the record it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import IDENTIFIERS, Identifier
from alignlab.neurons.probabilities import Bools, Floats

# From the record, and what was found in it, to (G, L * N).
Ranking = Callable[[Any, Classification], Floats]


@dataclass(frozen=True)
class Found:
    """What an identifier says. ranking: (G, n), higher is more.  sets: (G, n) bool."""

    ranking: Floats
    sets: Bools


def settings(name: str, size: int, rate: float, bar: float) -> dict[str, Any]:
    """The options that tell an identifier how much is planted; all others are its defaults.

    size: neurons of a language.  rate: share of all neurons that are some language's.  bar: of those that have one.
    """
    known: Mapping[str, Any] = {"top_rate": rate, "size": size, "k": size, "ends": "top", "bar": bar}
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
    return Found(RANKINGS[name](record, result), sets)


def _frequency(counts: ActivationCounts, result: Classification) -> Floats:
    rates: Floats = counts.probabilities().flatten(1).numpy()
    return rates


def _owned(score: str) -> Ranking:
    """Lowest score first, among the neurons above tau in the language; all others are last alike."""

    def ranking(counts: ActivationCounts, result: Classification) -> Floats:
        above = _frequency(counts, result) > result.threshold
        values: Floats = np.where(above, -result.scores[score].flatten().numpy(), -np.inf)
        return values

    return ranking


def _average_precision(means: Any, result: Classification) -> Floats:
    scores = [result.scores[f"average precision {language}"].flatten().numpy() for language in result.languages]
    return np.stack(scores)


RANKINGS: dict[str, Ranking] = {
    "ternary": _owned("score"),
    "lape": _owned("entropy"),
    "equal_size_lape": _owned("entropy"),
    "activation_frequency": _frequency,
    "average_precision": _average_precision,
}
