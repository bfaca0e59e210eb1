"""Consistency: does a model give the same answer to the same problem in two languages, right or wrong?

Two answers are the same where their numbers differ by less than .001. An answer without a number is the same as none.
By chance, as in Cohen's kappa (1960), two answers to problems drawn independently of each other are the same, from the
numbers that each language gives; kappa = (same - chance) / (1 - chance). Languages that are both mostly right agree
because of that: how often they agree on a wrong number is told apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations

import numpy as np
import numpy.typing as npt

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.accuracy import Accuracy, accuracy
from alignlab.evaluation.answers import TOLERANCE

# Items that are compared with all others at once, when chance is counted.
_CHUNK = 1024
_MOST = Fraction(10) ** 300  # that a float holds


@dataclass(frozen=True)
class Consistency:
    """Of n problems in two languages.

    same: the share answered with the same number, of all problems.
    same_and_right, same_and_wrong: the two parts of it.
    no_number: the share of which an answer, or both, has no number.
    chance: of `same`.  kappa: NaN where chance is 1.
    """

    same: Accuracy
    same_and_right: Accuracy
    same_and_wrong: Accuracy
    no_number: Accuracy
    chance: float
    kappa: float


def consistency(
    first: Sequence[Fraction | None],
    second: Sequence[Fraction | None],
    expected: Sequence[Fraction],
    clusters: Sequence[str],
) -> Consistency:
    """How consistent the answers in two languages are.

    first, second: (n,) the numbers that the answers to the same problems end with; None where there is none.
    expected: (n,) those that are right.  clusters: (n,) names.

    Raises InputError for lengths that differ, or no problem.
    """
    _check({"first": first, "second": second, "expected": expected}, clusters)
    same, right = _same(first, second), _same(first, expected)
    one, two = _floats(first), _floats(second)
    # Over all n^2 pairs of problems, some rows of them at a time.
    rows = [one[start : start + _CHUNK, None] for start in range(0, len(one), _CHUNK)]
    chance = sum(int((np.abs(part - two) < float(TOLERANCE)).sum()) for part in rows) / len(one) ** 2
    value = accuracy(same, clusters)
    return Consistency(
        value,
        accuracy(same & right, clusters),
        accuracy(same & ~right, clusters),
        accuracy(np.isnan(one) | np.isnan(two), clusters),
        chance,
        (value.value - chance) / (1 - chance) if chance < 1 else math.nan,
    )


def consistency_matrix(
    answers: Mapping[str, Sequence[Fraction | None]], expected: Sequence[Fraction], clusters: Sequence[str]
) -> dict[tuple[str, str], Consistency]:
    """The consistency of every two languages. answers: language -> (n,) of the same problems in the same order."""
    return {
        (first, second): consistency(answers[first], answers[second], expected, clusters)
        for first, second in combinations(answers, 2)
    }


def same_in_all(answers: Mapping[str, Sequence[Fraction | None]], clusters: Sequence[str]) -> Accuracy:
    """The share of problems that all languages answer with the same number: every two of them are the same."""
    _check(answers, clusters)
    if len(answers) < 2:
        raise InputError.of("answers", f"{len(answers)} languages", "two or more")
    return accuracy(np.all([_same(*pair) for pair in combinations(answers.values(), 2)], axis=0), clusters)


def _same(one: Sequence[Fraction | None], two: Sequence[Fraction | None]) -> npt.NDArray[np.bool_]:
    """Whether the answers to each problem have the same number, exactly told: (n,) bool."""
    pairs = zip(one, two, strict=True)
    return np.array([a is not None and b is not None and abs(a - b) < TOLERANCE for a, b in pairs], dtype=bool)


def _floats(numbers: Sequence[Fraction | None]) -> npt.NDArray[np.float64]:
    """The numbers as floats, NaN for none, which is near to none: (n,). Answers may have a thousand digits."""
    return np.array([math.nan if one is None else float(min(max(one, -_MOST), _MOST)) for one in numbers])


def _check(answers: Mapping[str, Sequence[Fraction | None]], clusters: Sequence[str]) -> None:
    n = len(clusters)
    problems = [Problem("clusters", "none", "a name for each of one or more problems")] if not n else []
    problems += [
        Problem(name, f"{len(numbers)} answers", f"{n}, one for each of `clusters`")
        for name, numbers in answers.items()
        if len(numbers) != n
    ]
    refuse_any(problems)
