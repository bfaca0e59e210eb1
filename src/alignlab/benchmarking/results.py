"""What a benchmark of identifiers found: means over seeds with their intervals, and the tables that people read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignlab.benchmarking.measuring import (
    CEILING,
    CORRELATION,
    FOUND,
    MODELS,
    PICKED,
    PLANTED,
    PRECISION,
    SET_PRECISION,
    SET_RECALL,
    SIZE,
)
from alignlab.benchmarking.planting import CLASSES, TRUTHS, Truth
from alignlab.evaluation.estimates import mean
from alignlab.neurons.table import Row
from alignlab.reporting.wording import number

WHAT = {
    "selective": "Selective: does the neuron fire for the language?",
    "necessary": "Necessary: does its removal cost the language likelihood?",
}
_BESIDE = (
    " measured truth: by what was measured on other text, about what can be reached. random: any. difference: mean "
    "activation in the language less the mean of the others."
)
_PICKS = {"general": "general", "background": "rest", "another language's": "other"}


@dataclass(frozen=True)
class Shown:
    """A table as terminal and page show it. note: what its columns are."""

    title: str
    header: tuple[str, ...]
    lines: list[list[str]]
    note: str


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The mean of each number over seeds, with the 95 % interval of t; of seeds in which there is one.

    `denominator` says how many those are: nothing can be precise of no neuron.
    """
    groups: dict[tuple[str, str, str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.record, row.set, row.task, row.measure, row.label), []).append(row)
    return [_together(group) for group in groups.values()]


def _together(group: Sequence[Row]) -> Row:
    there = [row for row in group if row.value == row.value]
    whole = replace(group[0], seed=None, denominator=len(there), over="seeds")
    if not there:
        return replace(whole, status="not defined", over="")
    found = mean([row.value for row in there], [str(row.seed) for row in there])
    by_chance = [row.reference for row in there if row.reference is not None]
    known = found.low == found.low
    return replace(
        whole,
        value=found.value,
        low=found.low if known else None,
        high=found.high if known else None,
        reference=sum(by_chance) / len(by_chance) if by_chance else None,
        status="ok" if known else "too few",
    )


def tables(rows: Sequence[Row]) -> list[Shown]:
    """Those that are shown, of rows over seeds."""
    at = {(row.record, row.set, row.task, row.measure, row.label): row for row in rows}
    names = list(dict.fromkeys(row.set for row in rows))
    found = [_of_truth(truth, names, at) for truth in TRUTHS]
    return [*found, _by_class(names, at), _null([name for name in names if name != CEILING], at)]


_Rows = dict[tuple[str, str, str, str, str], Row]


def _of_truth(truth: Truth, names: Sequence[str], at: _Rows) -> Shown:
    lines = []
    for name in names:
        row = {
            measure: at.get((PLANTED, name, truth, measure, ""))
            for measure in (PRECISION, SIZE, SET_PRECISION, SET_RECALL, CORRELATION)
        }
        cells = [_with_interval(row[PRECISION]), _value(row[SIZE], 1)]
        cells += [_value(row[SET_PRECISION]), _value(row[SET_RECALL]), _with_interval(row[CORRELATION])]
        lines.append([name, *cells])
    first = at[PLANTED, names[0], truth, PRECISION, ""]
    lines.append(["by chance", number(first.reference, 2), "", number(first.reference, 2), "size / all", "0.00"])
    return Shown(
        WHAT[truth],
        ("identifier", "precision", "set", "prec.", "recall", "rank corr."),
        lines,
        "precision: of as many neurons of a language as are planted, by the identifier's ranking; ± 95 % over seeds. "
        "set: neurons that it gives a language, with their precision and recall. rank corr.: Spearman's, of its "
        "ranking with the measured strength of the planted neurons." + _BESIDE * (truth == TRUTHS[0]),
    )


def _by_class(names: Sequence[str], at: _Rows) -> Shown:
    found = {kind: "necessary" if kind == "hidden" else "selective" for kind in CLASSES[:5]}
    lines = []
    for name in names:
        cells = [_value(at.get((PLANTED, name, truth, FOUND, kind))) for kind, truth in found.items()]
        truth = "necessary" if name == CEILING else "selective"
        lines.append([name, *cells, *(_value(at.get((PLANTED, name, truth, PICKED, kind))) for kind in _PICKS)])
    chances = [_chance(at.get((PLANTED, names[0], truth, FOUND, kind))) for kind, truth in found.items()]
    chances += [_chance(at.get((PLANTED, names[0], "selective", PICKED, kind))) for kind in _PICKS]
    return Shown(
        "Where each is right, and by what it is fooled",
        ("identifier", *found, *_PICKS.values()),
        [*lines, ["by chance", *chances]],
        "specific to hidden: share of the planted neurons of that class that are among as many as are planted; idle "
        "fires without effect, hidden has an effect without firing more. general, rest, other: share of those picked "
        "that are general, not planted, or another language's.",
    )


def _null(names: Sequence[str], at: _Rows) -> Shown:
    lines = []
    for name in names:
        cells = [
            _with_interval(at.get((model, name, truth, PRECISION, ""))) for model in MODELS[1:] for truth in TRUTHS
        ]
        lines.append([name, *cells])
    first = [_chance(at.get((model, names[0], truth, PRECISION, ""))) for model in MODELS[1:] for truth in TRUTHS]
    return Shown(
        "Where there is nothing to find",
        ("identifier", "unplanted", "(nec.)", "shuffled", "(nec.)"),
        [*lines, ["by chance", *first]],
        "precision at planted size, of what is selective and (nec.) necessary. unplanted: nothing is planted where the "
        "truth says so. shuffled: planted, but the languages of texts that say the same are dealt anew.",
    )


def _with_interval(row: Row | None) -> str:
    if row is None or row.status == "not defined":
        return "-"
    half = "" if row.low is None or row.high is None else f" ± {number((row.high - row.low) / 2, 2)}"
    return f"{number(row.value, 2)}{half}"


def _value(row: Row | None, places: int = 2) -> str:
    return "-" if row is None or row.status == "not defined" else number(row.value, places)


def _chance(row: Row | None) -> str:
    return "-" if row is None else number(row.reference, 2)
