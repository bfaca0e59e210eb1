"""The numbers of the analyses that were asked by name, as the terminal and the page say them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any

from alignlab.analysis.languages import EXCESS, EXPECTED, EXPECTED_COMMON, Z
from alignlab.neurons.corrections import ALPHA
from alignlab.neurons.table import REESTIMATED, Row
from alignlab.reporting.page.data import MOVEMENT_VERDICTS, STATUS_WORDS, VERDICTS, Asked
from alignlab.reporting.wording import form, interval, number

# What tells the numbers of an analysis from each other, in the order in which it is said.
_WHOSE = (
    "thresholds", "convention", "group", "language", "other", "layer", "kind", "to_kind", "degree", "measure", "label",
)  # fmt: skip
_key = attrgetter(*_WHOSE)
_NOISE, _MOVEMENT = "against noise", "against movement"


def asked_tables(first: Sequence[Row], last: Sequence[Row], shows: Mapping[str, str]) -> list[Asked]:
    """A table an analysis: what, its numbers at both records, the change with its interval, and the verdicts.

    first, last: all rows of the first and of the last record; the same where there is one.
    shows: what each analysis that was asked shows. One without rows is named, with a table that is empty.
    """
    return [
        _TABLES.get(name, _table)(
            name, words, *([row for row in rows if row.analysis == name] for rows in (first, last))
        )
        for name, words in shows.items()
    ]


def _table(name: str, words: str, first: Sequence[Row], last: Sequence[Row]) -> Asked:
    before, after = ({_key(row): row for row in rows if not row.is_change} for rows in (first, last))
    changes = {_key(row): row for row in _changes(last)}
    records = [rows[0].record for rows in (first, last) if rows]
    keys = [*dict.fromkeys([*after, *changes])]
    varying = [place for place in range(len(_WHOSE)) if len({key[place] for key in keys}) > 1]
    header = ("what", *dict.fromkeys(records), "change", "95 % interval", _NOISE, _MOVEMENT)
    lines = []
    for key in keys:
        change = changes.get(key)
        sure = change or after[key]
        numbers = (before.get(key), after.get(key)) if len(set(records)) > 1 else (after.get(key),)
        lines.append(
            (_said(key, varying) or name, *map(_value, numbers), "" if change is None else _value(change), *_sure(sure))
        )
    return _used(Asked(name, words, header, lines))


def _changes(rows: Sequence[Row]) -> list[Row]:
    """Since the first record; since the one before only where nothing else is asked."""
    return [row for row in rows if row.since] or [row for row in rows if row.since_before]


def _used(asked: Asked) -> Asked:
    """Without the columns in which nothing stands."""
    used = [place for place in range(len(asked.header)) if any(line[place] for line in asked.lines)]
    header = tuple(asked.header[place] for place in used)
    return replace(asked, header=header, lines=[tuple(line[place] for place in used) for line in asked.lines])


def _profiles_table(name: str, words: str, first: Sequence[Row], last: Sequence[Row]) -> Asked:
    """Of single neurons the probability in each language. Their kind and degree are no part of whose number it is: at
    the last record they may be others than at the first, and are said for both.
    """
    before, after = ({(row.label, row.language): row for row in rows if not row.is_change} for rows in (first, last))
    changes = {(row.label, row.language): row for row in _changes(last)}
    records = list(dict.fromkeys(rows[0].record for rows in (first, last) if rows))
    lines = []
    for key, row in after.items():
        change, of = changes.get(key), [before.get(key), row] if len(records) > 1 else [row]
        kinds = dict.fromkeys(f"{one.kind} {one.degree}" for one in of if one is not None)
        moved = "" if change is None else _value(change)
        lines.append((" ".join(key), *map(_value, of), moved, " to ".join(kinds), *_sure(change or row)))
    header = ("neuron", *records, "change", "kind and degree", "95 % interval", _NOISE, _MOVEMENT)
    return _used(Asked(name, words, header, lines))


_PAIR_HEADER = (
    "pair", "common", "expected", "Jaccard", "expected Jaccard", "z", "p, corrected", "beyond the margins",
    "its change", "95 % interval", _NOISE,
)  # fmt: skip


def _pairs_table(name: str, words: str, first: Sequence[Row], last: Sequence[Row]) -> Asked:
    """Of pairs of languages the verdicts in a sentence a record, and a line a pair of the last one: the change is that
    of what is beyond the margins. What is surest comes first.
    """
    records = {row.record: rows for rows in (first, last) for row in rows}
    said = [pairs_sentence(record, [one for one in rows if not one.is_change]) for record, rows in records.items()]
    at: dict[tuple[str, str], dict[str, Row]] = {}
    for row in last:
        if not row.is_change:
            at.setdefault((row.language, row.other), {})[row.measure] = row
    changes = {(row.language, row.other): row for row in _changes(last) if row.measure == EXCESS}
    lines = []
    for pair, of in sorted(at.items(), key=lambda item: _doubt(item[1].get(Z))):
        z, change = of.get(Z), changes.get(pair)
        p = "" if z is None or z.p_adjusted is None else f"{z.p_adjusted:.2g}"
        values = (_value(of.get(measure)) for measure in ("common", EXPECTED_COMMON, "jaccard", EXPECTED))
        verdict = number(z.value if z else None, 1, "+"), p
        beyond = _value(of.get(EXCESS)), "" if change is None else _value(change)
        sure = change or of.get(EXCESS)
        ends, noise, _ = ("", "", "") if sure is None else _sure(sure)
        lines.append((" and ".join(pair), *values, *verdict, *beyond, ends, noise))
    return replace(_used(Asked(name, words, _PAIR_HEADER, lines)), said=said)


_PROPERTIES_HEADER = (
    "what", "found", "by chance", "change", "95 % interval over labels", "labels", "p", "p, corrected",
)  # fmt: skip


def _properties_table(name: str, words: str, first: Sequence[Row], last: Sequence[Row]) -> Asked:
    """Of properties of the labels what goes with them in the last record, and since the first; the surest first."""
    changes = {_key(row): row for row in _changes(last)}
    rows = sorted((row for row in last if not row.is_change), key=lambda row: _doubt(row)[0])
    lines = []
    for row in rows:
        chance = "" if row.reference is None else number(row.reference, *form(row))
        change = changes.get(_key(row))
        p = ("", "") if row.p is None or row.p_adjusted is None else (f"{row.p:.2g}", f"{row.p_adjusted:.2g}")
        moved = "" if change is None else _value(change)
        lines.append((row.measure, _value(row), chance, moved, _sure(row)[0], str(row.denominator), *p))
    tested = [row for row in rows if row.p_adjusted is not None]
    beyond = sum(row.p_adjusted < ALPHA for row in tested if row.p_adjusted is not None)
    said = f"Of {len(rows)} questions {len(tested)} can be tested, and {beyond} are answered beyond chance"
    said += f" ({_CORRECTIONS[tested[0].correction]})." if tested else "."
    return replace(_used(Asked(name, words, _PROPERTIES_HEADER, lines)), said=[said] if rows else [])


def _doubt(z: Row | None) -> tuple[float, float]:
    """How far from sure a pair's verdict is."""
    if z is None or z.p_adjusted is None:
        return math.inf, 0
    return z.p_adjusted, -abs(z.value)


def pairs_sentence(record: str, rows: Iterable[Any]) -> str:
    """How many pairs of languages share more than others, and less, given the margins.

    rows: of a record, those of other measures are passed over; as `Row` or as the lines of a `frame` of it.
    """
    pairs = [
        row for row in rows if row.measure == Z and row.p_adjusted is not None and row.p_adjusted == row.p_adjusted
    ]
    if not pairs:
        return f"{record}: no pair of languages can be tested, since the margins leave no freedom."
    found = [row.value for row in pairs if row.p_adjusted < ALPHA]
    more = sum(value > 0 for value in found)
    return (
        f"{record}: given the margins, {more} of {len(pairs)} pairs share more than others and {len(found) - more} "
        f"less ({_CORRECTIONS[pairs[0].correction]})."
    )


_CORRECTIONS = {"holm": "corrected by Holm", "fdr": "false-discovery rate 5 %"}
_TABLES = {
    "language_overlap": _pairs_table,
    "label_properties": _properties_table,
    "single_neuron_profile": _profiles_table,
}


def _said(key: tuple[object, ...], varying: Sequence[int]) -> str:
    """What a number is of: what it has of what the numbers differ in."""
    of = {name: value for place, (name, value) in enumerate(zip(_WHOSE, key, strict=True)) if place in varying}
    if of.get("thresholds") != REESTIMATED:
        of.pop("thresholds", None)
    if of.get("group") in {"language", "pair"}:  # they are named
        del of["group"]
    before = {"layer": "layer ", "degree": "degree ", "other": "and ", "to_kind": "to "}
    return " ".join(f"{before.get(name, '')}{value}" for name, value in of.items() if value not in ("", None))


def _value(row: Row | None) -> str:
    return "" if row is None else number(row.value, *form(row)) or "not defined"


def _sure(row: Row) -> tuple[str, str, str]:
    """The interval of a number and its verdicts, each empty where there is none."""
    if row.status in STATUS_WORDS:
        return STATUS_WORDS[row.status], "", ""
    places, sign = form(row)
    ends = interval(row.low, row.high, max(1, places), sign)
    noise = "" if row.reference is None or row.beyond_noise is None else VERDICTS[row.beyond_noise]
    return ends, noise, "" if row.beyond_movement is None else MOVEMENT_VERDICTS[row.beyond_movement]
