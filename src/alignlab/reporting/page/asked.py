"""The numbers of the analyses that were asked by name, as the terminal and the page say them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

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
        _table(name, words, *([row for row in rows if row.analysis == name] for rows in (first, last)))
        for name, words in shows.items()
    ]


def _table(name: str, words: str, first: Sequence[Row], last: Sequence[Row]) -> Asked:
    before, after = ({_key(row): row for row in rows if not row.is_change} for rows in (first, last))
    # Since the first record; since the one before only where nothing else is asked.
    since = [row for row in last if row.since] or [row for row in last if row.since_before]
    changes = {_key(row): row for row in since}
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
    used = [place for place in range(len(header)) if any(line[place] for line in lines)]
    return Asked(
        name, words, tuple(header[place] for place in used), [tuple(line[place] for place in used) for line in lines]
    )


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
