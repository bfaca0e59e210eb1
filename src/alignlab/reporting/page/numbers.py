"""Tables of numbers that no figure shows: a row a number, at the first and the last step, with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alignlab.reporting.page.answer import LOSS_CHANGE, VERDICT_STYLES, VERDICTS, number, signed
from alignlab.reporting.page.data import PageNumber, PageRun

CONTROL = "control"

# By table: the section of the page in which it stands, and its caption.
TABLES = {
    CONTROL: (
        "kinds",
        "How far counts can be trusted: neurons that keep their kind in 95 % of the resamples, and how many of each "
        "kind chance alone would give, were all languages one",
    ),
    "english": ("languages", "English by itself, and the unseen languages with and without it"),
    "survival": ("transitions", "Share of the neurons of the first snapshot that kept their kind"),
    "ratio": ("transitions", "Share of a language's selected neurons of the first snapshot that it still has"),
    "loss": ("loss", "Mean loss of the counted tokens, nats a token"),
    LOSS_CHANGE: ("loss", "Change of the loss since the first snapshot, nats a token"),
    "family": ("overlap", "Overlap beyond chance, within language families and between them"),
}

# Of what is about the intervals there are none.
_WITHOUT_INTERVALS = {CONTROL}


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
        _table(place, run, name, found)
        for place, run in enumerate(runs)
        for name in TABLES
        if (found := [one for one in run.numbers or () if one.table == name])
    ]


def captions() -> dict[str, str]:
    """By section, what its tables show."""
    found: dict[str, list[str]] = {}
    for section, caption in TABLES.values():
        found.setdefault(section, []).append(caption)
    return {section: "; ".join(said) for section, said in found.items()}


def _table(place: int, run: PageRun, name: str, found: Sequence[PageNumber]) -> NumberTable:
    section, caption = TABLES[name]
    steps = sorted({one.step for one in found})
    at = {(one.what, one.step): one for one in found}
    lines = []
    for what in dict.fromkeys(one.what for one in found):
        last = at.get((what, steps[-1]))
        cells = [_value(at.get((what, step))) for step in steps]
        lines.append((what, cells, _interval(last), *_verdict(last)))
    references = {one.reference for one in found} - {None}
    note = f"Against noise: whether the interval at {run.step_name(steps[-1])} leaves out {_joined(references)}."
    names = [run.step_name(step) for step in steps]
    return NumberTable(
        place, section, caption, names, lines, note if references else "", name not in _WITHOUT_INTERVALS
    )


def _value(one: PageNumber | None) -> str:
    if one is None or one.value != one.value:
        return "not defined" if one is not None else ""
    return _text(one, one.value)


def _interval(one: PageNumber | None) -> str:
    if one is None or one.low is None or one.high is None:
        return ""
    return f"{_text(one, one.low)} to {_text(one, one.high)}"


def _verdict(one: PageNumber | None) -> tuple[str, str]:
    if one is None or one.reference is None:
        return "", ""
    return VERDICTS[one.beyond_noise], VERDICT_STYLES[one.beyond_noise]


def _text(one: PageNumber, value: float) -> str:
    if one.reference == 0:
        return signed(value, 3)
    return number(value, 1 if one.unit == "neurons" else 2 if one.unit == "ratio" else 3)


def _joined(references: set[float | None]) -> str:
    return " or ".join(f"{value:g}" for value in sorted(value for value in references if value is not None))
