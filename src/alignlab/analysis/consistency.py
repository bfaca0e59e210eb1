"""Whether a model gives the same number in two languages, right or wrong, from the answers to parallel problems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import combinations
from typing import Any

from alignlab.evaluation.accuracy import Accuracy
from alignlab.evaluation.consistency import consistency, same_in_all
from alignlab.neurons.table import Row
from alignlab.recording.effects import Effects

SAME, SAME_RIGHT, SAME_WRONG = "same answer", "same and right", "same and wrong"
ANALYSIS = "consistency"


def consistency_rows(effects: Effects, numbers: Mapping[tuple[str, str], Fraction | None], *, label: str) -> list[Row]:
    """Of every two languages that share problems how many have the same number; and of all languages together.

    numbers: by language and id of an item, the number that its answer ends with.
    `reference` of `same answer` is what it would be by chance: answers to problems drawn independently.
    """
    by_language: dict[str, dict[str, tuple[Fraction, str]]] = {}
    for item in effects.items:
        by_language.setdefault(item.language, {})[item.id] = Fraction(item.expected), item.cluster
    over = "clusters" if effects.clusters else "documents"
    columns: dict[str, Any] = {
        "analysis": ANALYSIS,
        "record": label,
        "step": effects.step,
        "task": effects.task,
        "unit": "share",
    }
    rows = []
    for first, second in combinations(by_language, 2):
        shared = [name for name in by_language[first] if name in by_language[second]]
        if not shared:
            continue
        answers = [[numbers[language, name] for name in shared] for language in (first, second)]
        expected, clusters = zip(*(by_language[first][name] for name in shared), strict=True)
        found = consistency(answers[0], answers[1], expected, clusters)
        of = columns | {"group": "pair", "language": first, "other": second, "denominator": len(shared)}
        rows += [
            _row(found.same, over, of | {"measure": SAME, "reference": found.chance}),
            _row(found.same_and_right, over, of | {"measure": SAME_RIGHT}),
            _row(found.same_and_wrong, over, of | {"measure": SAME_WRONG}),
        ]
    in_all = _in_all(by_language)
    if len(by_language) > 2 and in_all:
        answers_of = {language: [numbers[language, name] for name in in_all] for language in by_language}
        of_problems = [by_language[next(iter(by_language))][name][1] for name in in_all]
        of = columns | {"group": "all languages", "measure": f"{SAME} in all", "denominator": len(in_all)}
        rows.append(_row(same_in_all(answers_of, of_problems), over, of))
    return rows


def _in_all(by_language: Mapping[str, Mapping[str, object]]) -> Sequence[str]:
    """The ids of the problems that every language has, in the order of the first."""
    first, *others = by_language.values()
    return [name for name in first if all(name in other for other in others)]


def _row(found: Accuracy, over: str, columns: dict[str, Any]) -> Row:
    row = Row(value=found.value, **columns)
    return (
        replace(row, status="too few")
        if math.isnan(found.low)
        else replace(row, low=found.low, high=found.high, over=over)
    )
