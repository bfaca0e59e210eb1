"""What the rows of effects share: which arms are asked about, what their sets are, and families of questions."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alignlab.analysis.arm_outcomes import ArmRecord
from alignlab.analysis.beyond_control import Excess
from alignlab.errors import Problem, refuse_any
from alignlab.neurons.corrections import ALPHA, Correction, adjusted
from alignlab.neurons.table import Row

# Verdicts are against this control: its neurons are as active as those of the set.
MATCHED = "matched"
CONTROLS = (MATCHED, "random")


@dataclass(frozen=True)
class SetOf:
    """What a set of neurons is, for the rows about it.

    language: whose neurons they are; empty where they are nobody's alone.
    matrix: the sets that are asked about together, such as `specific and related`: a matrix of its own.
    part: of a set by layers, which these are, such as `layers 0 to 3`.
    site, scope: where the neurons are, and on which tokens they were changed.
    gaps: by control and seed, how far its neurons are from the set's in activation probability, on average.
    shared: by control, what share of its neurons a draw has in common with another, on average; 0 where not named.
    """

    language: str = ""
    matrix: str = ""
    part: str = ""
    site: str = ""
    scope: str = ""
    gaps: Mapping[tuple[str, int], float] = field(default_factory=dict)
    shared: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Asked:
    """An operation on a set: the place of its arm, and by control those of its draws with their seeds."""

    set: str
    operation: str
    strength: float | None
    arm: int
    controls: Mapping[str, tuple[tuple[int, int], ...]]


def arms_of(record: ArmRecord) -> tuple[int, list[Asked]]:
    """The place of the model as it is, and what was done to which sets, in the order of the arms.

    Controls of a set under an operation of which the set itself has no arm are left out.
    Raises InputError where not exactly one arm changes nothing.
    """
    bases = [place for place, arm in enumerate(record.labels) if not (arm.set or arm.operation or arm.control)]
    if len(bases) != 1:
        refuse_any(
            [Problem("effects", f"{len(bases)} arms of the model as it is", "one, that others are compared with")]
        )
    draws: dict[tuple[str, str, float | None], dict[str, list[tuple[int, int]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for place, arm in enumerate(record.labels):
        if arm.control in CONTROLS and arm.seed is not None:
            draws[arm.set, arm.operation, arm.strength][arm.control].append((place, arm.seed))
    asked = []
    for place, arm in enumerate(record.labels):
        if arm.set and not arm.control:
            of = draws.get((arm.set, arm.operation, arm.strength), {})
            controls = {name: tuple(of[name]) for name in CONTROLS if name in of}
            asked.append(Asked(arm.set, arm.operation, arm.strength, place, controls))
    return bases[0], asked


def manner(operation: str, strength: float | None, matrix: str) -> str:
    """What was done, and to which kind of sets, in words."""
    return " ".join(filter(None, [operation, "" if strength is None else f"{strength:g}", matrix]))


def row_of(columns: dict[str, Any], numbers: tuple[float, float, float, float], over: str) -> Row:
    """A row with its interval; `too few` where there is none, `diverged` where there is no number.

    numbers: the value, the ends of its interval and its p.  over: what the interval is over.
    """
    value, low, high, p = numbers
    row = plain_row(columns, value)
    if not math.isfinite(value):
        return row
    if not (math.isfinite(low) and math.isfinite(high)):
        return replace(row, status="too few") if row.status == "ok" else row
    return replace(row, low=low, high=high, over=over, p=None if math.isnan(p) else p)


def over_control_row(columns: dict[str, Any], found: Excess, place: int, over: str) -> Row:
    """The row of a set over its controls, the one at `place`; the interval of two shares ends within -1 and 1."""
    value, low, high, p = (float(of[place]) for of in (found.value, found.low, found.high, found.p))
    if columns["unit"] == "share":  # in this order NaN stays
        low, high = max(low, -1.0), min(high, 1.0)
    return row_of(columns, (value, low, high, p), over)


def plain_row(columns: dict[str, Any], value: float) -> Row:
    """A row without an interval; `diverged` where there is no number."""
    return Row(value=value, **columns if math.isfinite(value) else columns | {"status": "diverged"})


def in_family(row: Row, family: str, correction: Correction) -> Row:
    """The row as one of a family that `corrected` corrects; one without a p asks nothing."""
    return row if row.p is None else replace(row, family=family, correction=correction)


def corrected(rows: Sequence[Row]) -> list[Row]:
    """The rows with the p of each family corrected for as many as were asked, and whether that is under .05."""
    families: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for place, row in enumerate(rows):
        if row.family and row.p is not None:
            families[row.family].append((place, row.p))
    told = list(rows)
    for members in families.values():
        correction: Correction = "holm" if rows[members[0][0]].correction == "holm" else "fdr"
        found = adjusted([p for _, p in members], correction).tolist()
        for (place, _), p in zip(members, found, strict=True):
            told[place] = replace(rows[place], p_adjusted=p, beyond_noise=p < ALPHA)
    return told
