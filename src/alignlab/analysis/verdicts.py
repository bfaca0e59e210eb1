"""Which numbers are beyond noise: their p corrected for all questions that are asked together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from alignlab.neurons.corrections import ALPHA, Correction, adjusted, correction_for
from alignlab.neurons.table import Row


def with_verdicts(rows: Sequence[Row]) -> list[Row]:
    """The rows with both verdicts, from their `p` and `movement_p` corrected within a family.

    A family is what a reader looks over for something that stands out: numbers of one analysis and measure, of one
    record or change, at one kind of threshold and by one convention; those in all layers by kind and group of languages
    together (the lead of a page), and apart from them those of each language, layer, degree or pair. Rows that came
    with a family, such as pairs against chance, keep it.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if not row.family:
            key = (row.record, row.since, row.since_before, row.thresholds, row.convention, family_of(row))
            families.setdefault(key, []).append(place)
    told = list(rows)
    for places in families.values():
        members = [rows[place] for place in places]
        correction = correction_for(sum(row.p is not None or row.movement_p is not None for row in members))
        of_noise = _corrected([row.p for row in members], correction)
        of_movement = _corrected([row.movement_p for row in members], correction)
        for place, row, p, moved in zip(places, members, of_noise, of_movement, strict=True):
            if p is not None or moved is not None:
                told[place] = replace(
                    row,
                    p_adjusted=p,
                    family=family_of(row),
                    correction=correction,
                    movement_p_adjusted=moved,
                    beyond_noise=None if p is None else p < ALPHA,
                    beyond_movement=None if moved is None else moved < ALPHA,
                )
    return told


def _corrected(found: Sequence[float | None], correction: Correction) -> list[float | None]:
    """Each p corrected for how many there are, None where there is none."""
    corrected = adjusted([math.nan if p is None else p for p in found], correction).tolist()
    return [None if p is None else one for p, one in zip(found, corrected, strict=True)]


def family_of(row: Row) -> str:
    """With which others of its record, change, thresholds and convention a number is looked at, in words."""
    what = f"{row.analysis} ({row.measure})" if row.measure else row.analysis
    # Of a task, the problems of templates that are in training, and those of others, are asked apart.
    return ", ".join(filter(None, [what, _part(row), row.label if row.task else ""]))


def _part(row: Row) -> str:
    if row.layer is not None:
        return "each layer"
    if row.degree is not None:
        return "each degree"
    return {"language": "each language", "pair": "each pair"}.get(row.group, "in all")
