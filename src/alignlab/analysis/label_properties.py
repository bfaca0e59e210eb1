"""Whether what is found of languages, or other labels, goes with their resource, family, script and typology."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from alignlab.analysis.associations import Association, between_groups, rank_correlation
from alignlab.analysis.view import View
from alignlab.languages import Language, find
from alignlab.neurons.corrections import adjusted, correction_for
from alignlab.neurons.kinds import Kind
from alignlab.neurons.table import Row

FAMILY = "properties of labels"
CORRELATION, BETWEEN = "rank correlation", "share between groups"


def label_properties(view: View) -> list[Row]:
    """The neurons of each label, by kind, and its loss, against what is known of the labels."""
    result = view.now.result
    outcomes: dict[str, dict[str, float]] = {}
    if result.has_degree:
        kinds = result.kinds(view.convention)
        for kind in (Kind.SPECIFIC, Kind.RELATED):
            owned = {name: float((above & (kinds == kind)).sum()) for name, above in result.above.items()}
            outcomes[f"{kind.label} neurons"] = owned
    else:
        outcomes["neurons"] = {name: float(mask.sum()) for name, mask in result.sets.items()}
    losses = view.counts.losses()
    if losses is not None:
        outcomes["loss"] = dict(zip(view.counts.languages, losses.tolist(), strict=True))
    known = {name: language for name in result.languages if (language := find(name)) is not None}
    own = view.row(0.0)
    of_record: dict[str, Any] = {
        "record": own.record,
        "step": own.step,
        "thresholds": own.thresholds,
        "convention": view.convention,
    }
    return [replace(row, **of_record) for row in property_rows(outcomes, known)]


def property_rows(outcomes: Mapping[str, Mapping[str, float]], labels: Mapping[str, Language]) -> list[Row]:
    """How far numbers of labels go with their resource, family, script and typology; p corrected over all of these.

    outcomes: by what they are, such as `right` or `specific neurons`, the number of each label. Those that are not
        finite, and labels of which the property is not known, are left out: `Row.denominator` says how many are in.
    labels: by label, what is known of it.

    A property that no two labels have differently, or that is different for all, has no row. Status `too few`: fewer
    than 6 labels, or groups such that no order of the labels would have a p under .05.

        >>> from alignlab.analysis.label_properties import property_rows
        >>> from alignlab.languages import Language
        >>> labels = {code: Language(code, code, resource=level) for level, code in enumerate("abcdef")}
        >>> right = {"a": 0.1, "b": 0.2, "c": 0.2, "d": 0.5, "e": 0.4, "f": 0.9}
        >>> (row,) = property_rows({"right": right}, labels)
        >>> row.measure, round(row.value, 3), row.denominator, round(row.p, 4)
        ('right by resource: rank correlation', 0.928, 6, 0.0167)
    """
    rows = [row for outcome, values in outcomes.items() for row in _rows(outcome, values, labels)]
    found = [math.nan if row.p is None else row.p for row in rows]
    correction = correction_for(sum(not math.isnan(p) for p in found))
    corrected = adjusted(found, correction).tolist() if rows else []
    return [
        row if row.p is None else replace(row, p_adjusted=p, family=FAMILY, correction=correction)
        for row, p in zip(rows, corrected, strict=True)
    ]


def _rows(outcome: str, values: Mapping[str, float], labels: Mapping[str, Language]) -> Iterator[Row]:
    finite = {name: value for name, value in values.items() if math.isfinite(value) and name in labels}
    resource = {name: labels[name].resource for name in finite}
    ordered = {name: level for name, level in resource.items() if level is not None}
    if len(set(ordered.values())) > 1:
        found = rank_correlation([finite[name] for name in ordered], list(ordered.values()))
        yield _row(found, f"{outcome} by resource: {CORRELATION}", "correlation")
    typologies = dict.fromkeys(key for name in finite for key in labels[name].typology)
    properties = {
        "family": {name: labels[name].family for name in finite},
        "script": {name: labels[name].script for name in finite},
        **{key: {name: labels[name].typology.get(key, "") for name in finite} for key in typologies},
    }
    for what, of in properties.items():
        grouped = {name: group for name, group in of.items() if group}
        if 1 < len(set(grouped.values())) < len(grouped):
            found = between_groups([finite[name] for name in grouped], list(grouped.values()))
            yield _row(found, f"{outcome} by {what}: {BETWEEN}", "share")


def _row(found: Association, measure: str, unit: str) -> Row:
    row = Row(
        value=found.value,
        group="all languages",
        measure=measure,
        unit=unit,
        denominator=found.labels,
        reference=None if math.isnan(found.chance) else found.chance,
    )
    if math.isnan(found.p):
        return row if math.isnan(found.value) else replace(row, status="too few")
    row = replace(row, p=found.p)
    return row if math.isnan(found.low) else replace(row, low=found.low, high=found.high, over="labels")
