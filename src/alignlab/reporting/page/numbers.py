"""Tables of numbers that no figure shows: a row a number, at the first and the last step, with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from alignlab.neurons.table import Row
from alignlab.reporting.page.answer import VERDICT_STYLES, VERDICTS, number, signed
from alignlab.reporting.page.data import PageRun


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


def _ratio(row: Row) -> str:
    return f"{row.language}: of {row.denominator}"


def _family(row: Row) -> str:
    if row.measure != "beyond chance":
        return ""
    pairs = "" if row.denominator is None else f", {row.denominator} pairs"
    words = {"within": "within a family", "between": "between families"}
    return f"Jaccard less chance, {words.get(row.group, row.group)}{pairs}"


def _loss(row: Row) -> str:
    return row.language or f"{row.group}, mean"


@dataclass(frozen=True)
class _Kind:
    """A kind of table.

    section, caption: of the page in which it stands.  analysis: whose rows.
    said: what a row is called; "" leaves it out.
    changes: of the changes since the first step, instead of the numbers.  intervals: whether there can be any.
    """

    section: str
    caption: str
    analysis: str
    said: Callable[[Row], str]
    changes: bool = False
    intervals: bool = True


TABLES = (
    _Kind(
        "kinds",
        "How far counts can be trusted: neurons that keep their kind in 95 % of the resamples, and how many of each "
        "kind chance alone would give, were all languages one",
        "stability",
        _control,
        intervals=False,
    ),
    _Kind(
        "languages", "English by itself, and the unseen languages with and without it", "english_uniqueness", _english
    ),
    _Kind(
        "languages", "English by itself: change since the first snapshot", "english_uniqueness", _english, changes=True
    ),
    _Kind(
        "transitions", "Share of the neurons of the first snapshot that kept their kind", "survival", _survival, True
    ),
    _Kind(
        "transitions",
        "Share of a language's selected neurons of the first snapshot that it still has",
        "overlap_ratio",
        _ratio,
        True,
    ),
    _Kind("loss", "Mean loss of the counted tokens, nats a token", "losses", _loss),
    _Kind("loss", "Change of the loss since the first snapshot, nats a token", "losses", _loss, changes=True),
    _Kind("overlap", "Overlap beyond chance, within language families and between them", "family_overlap", _family),
    _Kind(
        "overlap",
        "Overlap beyond chance within and between families: change since the first snapshot",
        "family_overlap",
        _family,
        changes=True,
    ),
)
ANALYSES = tuple(dict.fromkeys(kind.analysis for kind in TABLES))


@dataclass(frozen=True)
class NumberTable:
    """A table of one run.

    lines: what, its numbers at the steps, the interval of the last, and the verdict with its style.
    intervals: whether there can be intervals.
    """

    run: int
    section: str
    caption: str
    steps: list[str]
    lines: list[tuple[str, list[str], str, str, str]]
    note: str
    intervals: bool


def number_tables(runs: Sequence[PageRun]) -> list[NumberTable]:
    """The tables of all runs; none where a run has no such numbers."""
    return [
        _table(place, run, kind, found)
        for place, run in enumerate(runs)
        for kind in TABLES
        if (
            found := {
                (words, row.step or 0): row
                for row in run.of(kind.analysis)
                if row.step in run.ends and bool(row.since) is kind.changes and (words := kind.said(row))
            }
        )
    ]


def captions() -> dict[str, str]:
    """By section, what its tables show."""
    found: dict[str, list[str]] = {}
    for kind in TABLES:
        found.setdefault(kind.section, []).append(kind.caption)
    return {section: "; ".join(said) for section, said in found.items()}


def _table(place: int, run: PageRun, kind: _Kind, at: Mapping[tuple[str, int], Row]) -> NumberTable:
    steps = sorted({step for _, step in at})
    lines = []
    for what in dict.fromkeys(what for what, _ in at):
        last = at.get((what, steps[-1]))
        cells = [_value(at.get((what, step))) for step in steps]
        lines.append((what, cells, _interval(last), *_verdict(last)))
    references = {row.reference for row in at.values()} - {None}
    note = f"Against noise: whether the interval at {run.step_name(steps[-1])} leaves out {_joined(references)}."
    names = [run.step_name(step) for step in steps]
    return NumberTable(place, kind.section, kind.caption, names, lines, note if references else "", kind.intervals)


def _value(one: Row | None) -> str:
    if one is None or one.value != one.value:
        return "not defined" if one is not None else ""
    return _text(one, one.value)


def _interval(one: Row | None) -> str:
    if one is None or one.low is None or one.high is None:
        return ""
    return f"{_text(one, one.low)} to {_text(one, one.high)}"


def _verdict(one: Row | None) -> tuple[str, str]:
    if one is None or one.reference is None:
        return "", ""
    return VERDICTS[one.beyond_noise], VERDICT_STYLES[one.beyond_noise]


def _text(one: Row, value: float) -> str:
    places = {"neurons": 1, "ratio": 2}.get(one.unit, 3)
    return signed(value, places) if one.reference == 0 else number(value, places)


def _joined(references: set[float | None]) -> str:
    return " or ".join(f"{value:g}" for value in sorted(value for value in references if value is not None))
