"""Whether neurons do what their name says: whether changing those of a language hurts it more than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignlab.analysis.arm_outcomes import ArmRecord, LanguageSums, Outcome, by_language, outcomes
from alignlab.analysis.beyond_control import Change, change_of
from alignlab.analysis.effect_rows import SetOf, arms_of, corrected, in_family, manner, row_of
from alignlab.evaluation.estimates import influences
from alignlab.neurons.table import Row


def own_language_rows(
    record: ArmRecord,
    sets: Mapping[str, SetOf],
    measured: Sequence[Outcome] | None = None,
    *,
    analysis: str = "effects",
    label: str = "",
) -> list[Row]:
    """For every set of a language its change of that language less the mean of its changes of all others.

    Arguments are those of `effect_matrices.matrix_rows`, and so are the errors. The sets of one matrix, changed alike,
    are a family, corrected by Holm.
    """
    base, asked = arms_of(record)
    rows = []
    for outcome in outcomes(record) if measured is None else measured:
        sums = by_language(record, outcome)
        for one in asked:
            of = sets.get(one.set, SetOf())
            if of.language not in sums or len(sums) < 2:
                continue
            columns: dict[str, Any] = {
                "analysis": analysis,
                "record": label or f"step {record.step or 0}",
                "step": record.step,
                "task": record.task,
                "measure": f"change of {outcome.name}, own language over others",
                "unit": outcome.unit,
                "group": "language",
                "language": of.language,
                "set": one.set,
                "operation": one.operation,
                "strength": one.strength,
                "label": of.part,
                "site": of.site,
                "scope": of.scope,
                "reference": 0.0,
            }
            found = own_over_others(sums, of.language, one.arm, base)
            numbers = float(found.value), float(found.low), float(found.high), float(found.p)
            row = row_of(columns, numbers, "clusters" if record.clusters else "documents")
            family = f"{analysis} ({row.measure}), {manner(one.operation, one.strength, of.matrix)}"
            rows.append(in_family(row, family, "holm"))
    return corrected(rows)


def own_over_others(sums: Mapping[str, LanguageSums], own: str, arm: int, base: int) -> Change:
    """The change of one language less the mean of the changes of all others, of ratios of sums.

    Clusters of one name are the same in all languages. t has the degrees of freedom of the language with fewest.
    """
    names = {name: place for place, name in enumerate(sorted({name for one in sums.values() for name in one.clusters}))}
    value, moved = np.zeros(()), np.zeros(len(names))
    for language, of in sums.items():
        weight = 1.0 if language == own else -1.0 / (len(sums) - 1)
        changed, by_cluster = influences(of.sums[arm] - of.sums[base], of.sizes)
        value = value + weight * changed
        moved[[names[name] for name in of.clusters]] += weight * by_cluster
    return change_of(value, moved, min(len(of.clusters) for of in sums.values()))
