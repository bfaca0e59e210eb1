"""From the rows of a study to the numbers that stand in tables of the page, said in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from alignlab.neurons.table import Row
from alignlab.reporting.page import PageNumber
from alignlab.reporting.page.answer import LOSS_CHANGE
from alignlab.reporting.page.numbers import CONTROL


def numbers(rows: Mapping[str, Sequence[Row]], step: int) -> list[PageNumber]:
    """By table of `alignlab.reporting.page.numbers.TABLES`; a row that has no words there is left out."""
    return [
        PageNumber(step, table, words, row.value, row.unit, row.low, row.high, row.reference)
        for analysis, table, said in _SAID
        for row in rows.get(analysis, ())
        if (words := "" if row.since and analysis not in ("survival", "overlap_ratio", "losses") else said(row))
    ]


def _control(row: Row) -> str:
    return f"{row.kind}, {row.measure}"


def _english(row: Row) -> str:
    if row.unit == "ratio":
        return f"English over the mean of the others: {row.kind}"
    # The languages one by one stand in a table of their own.
    return "" if row.group == "language" else f"{row.group}, mean a language: {row.kind}"


def _survival(row: Row) -> str:
    if row.kind == "none":
        return ""
    return f"{row.kind}, {f'owned by {row.language}' if row.language else 'all'}: of {row.denominator}"


def _family(row: Row) -> str:
    if row.measure != "beyond chance":
        return ""
    pairs = "" if row.denominator is None else f", {row.denominator} pairs"
    words = {"within": "within a family", "between": "between families"}
    return f"Jaccard less chance, {words.get(row.group, row.group)}{pairs}"


def _loss(row: Row) -> str:
    return "" if row.since else _of(row)


def _loss_change(row: Row) -> str:
    return _of(row) if row.since else ""


def _of(row: Row) -> str:
    return row.language or f"{row.group}, mean"


# Analysis, table, and what a row is called there.
_SAID: list[tuple[str, str, Callable[[Row], str]]] = [
    ("stability", CONTROL, _control),
    ("english_uniqueness", "english", _english),
    ("survival", "survival", _survival),
    ("overlap_ratio", "ratio", lambda row: f"{row.language}: of {row.denominator}"),
    ("family_overlap", "family", _family),
    ("losses", "loss", _loss),
    ("losses", LOSS_CHANGE, _loss_change),
]
