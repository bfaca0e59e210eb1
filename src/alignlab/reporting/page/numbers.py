"""Tables of numbers that no figure shows: a row a number, at the first and the last step, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alignlab.analysis.languages import EXCESS
from alignlab.reporting.page.data import STATUS_WORDS, PageRun
from alignlab.reporting.wording import form, interval, number


def _reference(row: Any) -> str:
    if row.unit == "ratio":
        return f"The reference over the mean of the others: {row.kind}"
    # The languages one by one stand in a table of their own.
    return "" if row.group == "language" else f"{row.group}, mean a language: {row.kind}"


def _survival(row: Any) -> str:
    whose = f"owned by {row.language}" if row.language else "all"
    return "" if row.kind == "none" else f"{row.kind}, {whose}: of {row.denominator:.0f}"


def _family(row: Any) -> str:
    pairs = "" if pd.isna(row.denominator) else f", {row.denominator:.0f} pairs"
    words = {"within": "within a family", "between": "between families"}
    return f"Jaccard beyond the margins, {words.get(row.group, row.group)}{pairs}" if row.measure == EXCESS else ""


def _loss(row: Any) -> str:
    return row.language or f"{row.group}, mean"


@dataclass(frozen=True)
class _Kind:
    """A kind of table.

    section, caption: of the page in which it stands.  analysis: whose rows.
    said: what a row is called; "" leaves it out.
    changes: of the changes since the first step, instead of the numbers.
    """

    section: str
    caption: str
    analysis: str
    said: Callable[[Any], str]
    changes: bool = False


TABLES = (
    _Kind(
        "languages",
        "The reference beside the others (1: it has as many as they have on average), and the means of the groups",
        "english_uniqueness",
        _reference,
    ),
    _Kind(
        "languages",
        "The reference beside the others: change since the first snapshot",
        "english_uniqueness",
        _reference,
        changes=True,
    ),
    _Kind(
        "transitions", "Share of the neurons of the first snapshot that kept their kind", "survival", _survival, True
    ),
    _Kind(
        "transitions",
        "Share of a language's selected neurons of the first snapshot that it still has",
        "overlap_ratio",
        lambda row: f"{row.language}: of {row.denominator:.0f}",
        True,
    ),
    _Kind("loss", "Mean loss of the counted tokens, nats a token", "losses", _loss),
    _Kind("loss", "Change of the loss since the first snapshot, nats a token", "losses", _loss, changes=True),
    _Kind(
        "overlap", "Overlap beyond the margins, within language families and between them", "family_overlap", _family
    ),
    _Kind(
        "overlap",
        "Overlap beyond the margins within and between families: change since the first snapshot",
        "family_overlap",
        _family,
        changes=True,
    ),
)
ANALYSES = ("stability", *dict.fromkeys(kind.analysis for kind in TABLES))


def number_tables(runs: Sequence[PageRun]) -> list[dict[str, Any]]:
    """The tables of all runs, as the page's template takes them; none where a run has no such numbers."""
    return [table for place, run in enumerate(runs) for kind in TABLES for table in _tables(place, run, kind)]


def captions() -> dict[str, str]:
    """By section, what its tables show."""
    of = {kind.section: [one.caption for one in TABLES if one.section == kind.section] for kind in TABLES}
    return {section: "; ".join(said) for section, said in of.items()}


def _tables(place: int, run: PageRun, kind: _Kind) -> Iterator[dict[str, Any]]:
    """The table of a kind: what, its numbers at the steps, the interval of the last, and its verdict."""
    rows = run.of(kind.analysis)
    rows = rows[rows.step.isin(run.ends) & ((rows.since != "") == kind.changes)]
    rows = rows.assign(said=[kind.said(row) for row in rows.itertuples()])
    rows = rows[rows.said != ""]
    if rows.empty:
        return
    steps = sorted(set(rows.step))
    at = {(row.said, row.step): row for row in rows.itertuples()}
    references = sorted(set(rows.reference.dropna()))
    told = " or ".join(f"{one:g}" for one in references)
    against = (
        f"whether at {run.step_name(steps[-1])} it is told from {told}, p corrected for the questions asked together"
    )
    lines = [
        (what, [_value(at.get((what, step))) for step in steps], *_certainty(at.get((what, steps[-1]))))
        for what in dict.fromkeys(rows.said)
    ]
    yield {
        "run": place,
        "section": kind.section,
        "caption": kind.caption,
        "steps": [run.step_name(step) for step in steps],
        "lines": lines,
        "note": f"Against noise: {against}; the intervals are 95 % each." if references else "",
        "movement": any(line[-1] for line in lines),
    }


def _value(row: Any) -> str:
    return "" if row is None else number(row.value, *form(row)) or "not defined"


def _certainty(row: Any) -> tuple[str, str, str]:
    """The interval and the verdicts of a row, against noise and against movement; each empty where there is none."""
    if row is None:
        return "", "", ""
    places, sign = form(row)
    ends = STATUS_WORDS.get(row.status) or interval(row.low, row.high, max(1, places), sign)
    movement = "" if row.beyond_movement is None else row.movement_verdict
    return ends, "" if pd.isna(row.reference) else row.verdict, movement
