"""Which numbers are beyond noise: their p corrected for all questions that are asked together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from alignlab.neurons.corrections import ALPHA, adjusted, correction_for
from alignlab.neurons.table import Row


def with_verdicts(rows: Sequence[Row]) -> list[Row]:
    """The rows, those with a `p` corrected within their family; whether they are beyond noise follows from that.

    A family is what a reader looks over for something that stands out: numbers of one analysis and measure, of one
    record or change, at one kind of threshold and by one convention; those in all layers by kind and group of languages
    together (the lead of a page), and apart from them those of each language, layer, degree or pair. Rows that came
    with a family, such as pairs against chance, keep it.
    """
    families: dict[tuple[object, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row.p is not None and not row.family:
            key = (row.record, row.since, row.since_before, row.thresholds, row.convention, family_of(row))
            families.setdefault(key, []).append(place)
    told = list(rows)
    for places in families.values():
        correction = correction_for(len(places))
        corrected = adjusted([rows[place].p or 0.0 for place in places], correction)
        for place, p in zip(places, corrected.tolist(), strict=True):
            row = rows[place]
            told[place] = replace(
                row, p_adjusted=p, family=family_of(row), correction=correction, beyond_noise=p < ALPHA
            )
    return told


def family_of(row: Row) -> str:
    """With which others of its record, change, thresholds and convention a number is looked at, in words."""
    what = f"{row.analysis} ({row.measure})" if row.measure else row.analysis
    return f"{what}, {_part(row)}"


def _part(row: Row) -> str:
    if row.layer is not None:
        return "each layer"
    if row.degree is not None:
        return "each degree"
    return {"language": "each language", "pair": "each pair"}.get(row.group, "in all")
