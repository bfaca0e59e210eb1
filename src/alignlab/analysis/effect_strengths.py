"""The best strength of an operation, chosen on some documents and told on others.

The best of many strengths looks better on the documents that chose it than it is. So clusters of documents are dealt to
two halves: the first chooses, the second says what the chosen strength does.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from alignlab.analysis.arm_outcomes import ArmLike, ArmRecord, Outcome, PartOfRecord, by_language
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_rows import Asked, SetOf, arms_of
from alignlab.neurons.probabilities import Bools
from alignlab.neurons.table import Row
from alignlab.recording.dealing import order_key

AT_BEST = "at its best strength"
Better = Literal["low", "high"]


def strength_rows(
    record: ArmRecord,
    sets: Mapping[str, SetOf],
    outcome: Outcome,
    *,
    better: Better,
    seed: int = 0,
    analysis: str = "strengths",
    label: str = "",
) -> list[Row]:
    """For every set of a language and operation its best strength, and what that does on documents held out.

    The best is that of the lowest or highest outcome in the set's own language in the first half; of equal ones the
    smallest in size, then the lowest. It may be worse than to change nothing. Rows of `best strength for <outcome>` are
    followed by the matrices of `effect_matrices.matrix_rows` on the second half, each set and its controls at the
    strength of the set; all strengths on all documents are there without a choice.

    seed: of the order in which clusters are dealt to the halves, the same for all languages.
    Raises InputError for a record without the arm of the model as it is.
    """
    label = label or f"step {record.step or 0}"
    first = choosing_half([item.cluster for item in record.items], seed)
    base, _ = arms_of(record)
    chosen = best_strengths(record, sets, outcome, first, better)
    rows = []
    sums = by_language(record, outcome, first)
    for (name, operation), one in chosen.items():
        of = sets[name]
        rows.append(
            Row(
                analysis=analysis, record=label, step=record.step, task=record.task, group="language",
                language=of.language, set=name, operation=operation, strength=one.strength, site=of.site,
                scope=of.scope, label=of.part, measure=f"best strength for {outcome.name}", unit="strength",
                value=math.nan if one.strength is None else one.strength,
                denominator=int(sums[of.language].sizes.sum()),
            )
        )  # fmt: skip
    kept = [base, *(place for one in chosen.values() for place in _arms(one))]
    part = PartOfRecord(
        items=[item for item, there in zip(record.items, ~first, strict=True) if there],
        labels=[_at_best(record.labels[place]) for place in kept],
        languages=record.languages,
        task=record.task,
        step=record.step,
        clusters=record.clusters,
    )
    held_out = replace(outcome, values=outcome.values[~first][:, kept], sizes=outcome.sizes[~first])
    strengths = {(name, f"{operation} {AT_BEST}"): one.strength for (name, operation), one in chosen.items()}
    told = matrix_rows(part, sets, [held_out], analysis=analysis, label=label)
    return rows + [replace(row, strength=strengths.get((row.set, row.operation))) for row in told]


def choosing_half(clusters: Sequence[str], seed: int) -> Bools:
    """Whether each item is of the half that chooses, (I,): every second cluster, in an order that the seed decides."""
    order = sorted(set(clusters), key=lambda name: order_key(seed, name))
    first = set(order[::2])
    return np.array([cluster in first for cluster in clusters], dtype=np.bool_)


def best_strengths(
    record: ArmRecord, sets: Mapping[str, SetOf], outcome: Outcome, items: Bools, better: Better
) -> dict[tuple[str, str], Asked]:
    """By set and operation the arm of the best strength, by the items of a mask (I,) in the set's own language.

    Sets of no language that was evaluated are left out, and strengths under which the model diverged.
    """
    sums = by_language(record, outcome, items)
    found: dict[tuple[str, str], list[tuple[float, float, float, Asked]]] = defaultdict(list)
    for one in arms_of(record)[1]:
        of = sets.get(one.set, SetOf())
        if one.strength is None or of.language not in sums:
            continue
        own = sums[of.language]
        value = float(own.sums[one.arm].sum() / own.sizes.sum())
        if math.isfinite(value):
            worse = value if better == "low" else -value
            found[one.set, one.operation].append((worse, abs(one.strength), one.strength, one))
    return {name: min(options, key=lambda option: option[:3])[3] for name, options in found.items()}


def _arms(one: Asked) -> list[int]:
    return [one.arm, *(place for draws in one.controls.values() for place, _ in draws)]


@dataclass(frozen=True)
class _Arm:
    name: str
    set: str
    operation: str
    strength: float | None
    control: str
    seed: int | None


def _at_best(arm: ArmLike) -> ArmLike:
    """The arm as one of those at their best strength, which are asked about together, though strengths differ."""
    operation = f"{arm.operation} {AT_BEST}" if arm.operation else ""
    return _Arm(arm.name, arm.set, operation, None, arm.control, arm.seed)
