"""Language forcing: the share of answers in the language that an intervention is to bring out.

There is no chance level: the same share without the intervention, and under its controls, stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from alignlab.errors import InputError
from alignlab.evaluation.accuracy import Accuracy, accuracy, accuracy_change

ABSTAINED = -1


@dataclass(frozen=True)
class Forcing:
    """Of all answers, those in the target language, in another, and those whose language cannot be told.

    among_told: those in the target language among the answers whose language can be told; None where it never can.
    """

    in_target: Accuracy
    in_another: Accuracy
    abstained: Accuracy
    among_told: Accuracy | None


def language_forcing(output_language: ArrayLike, target: ArrayLike, clusters: Sequence[str]) -> Forcing:
    """Shares of answers by language, with intervals over clusters.

    output_language: (n,) integers, the place of each answer's language; -1 where it cannot be told.
    target: the place of the target language, one for all or (n,).  clusters: (n,) names.

    Raises InputError for shapes that differ, or no answers.
    """
    told, hit = _checked(output_language, target, clusters)
    some = np.asarray(clusters)[told].tolist()
    return Forcing(
        accuracy(hit, clusters),
        accuracy(told & ~hit, clusters),
        accuracy(~told, clusters),
        accuracy(hit[told], some) if some else None,
    )


def change_of_forcing(before: ArrayLike, after: ArrayLike, target: ArrayLike, clusters: Sequence[str]) -> Accuracy:
    """The change of the share in the target language, of all answers, paired; arguments as above."""
    return accuracy_change(_checked(before, target, clusters)[1], _checked(after, target, clusters)[1], clusters)


def _checked(output_language: ArrayLike, target: ArrayLike, clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Whose language can be told, and which are in the target language: (n,) bool each."""
    languages, goal, n = np.asarray(output_language), np.asarray(target), len(clusters)
    if languages.shape != (n,) or goal.shape not in ((), (n,)):
        found = f"languages of shape {languages.shape}, targets of {goal.shape}"
        raise InputError.of("answers", found, f"({n},), one for each of `clusters`")
    if (goal < 0).any():
        raise InputError.of("target", f"{int(goal.min())}", "the place of a language")
    return languages != ABSTAINED, languages == goal
