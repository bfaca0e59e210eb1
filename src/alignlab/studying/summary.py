"""The numbers of a study over its seeds: at the end, how they changed, and how they differ from the baseline's."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from alignlab.analysis.languages import LESS_OTHERS
from alignlab.analysis.over_seeds import OverSeeds, over_seeds
from alignlab.studying.answers import Moved, Place, mean_of
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.table import CAPABILITY, Number

GROUPS = ("trained", "reference", "unseen", "all languages", "all")
What = Literal["value", "change", "difference"]
HEADER = (
    "what", "source", "group", "language", "measure", "task", "set", "operation", "strength", "control", "unit",
    "layer", "step", "seeds", "value", "sd", "seeds_low", "seeds_high", "documents_low", "documents_high", "both_low",
    "both_high", "p_both", "status",
)  # fmt: skip
_NOT_USUAL = (", reestimated", ", all", ", selection")  # parts of measures that the table has


Answers = Mapping[int, Mapping[Place, Moved]]
Members = Mapping[str, tuple[str, ...]]  # by group its languages


class Question(NamedTuple):
    """What is asked of every cell: the columns of the table that say so."""

    source: str
    group: str
    language: str
    measure: str
    task: str
    set: str
    operation: str
    strength: float | None
    control: str
    unit: str
    layer: int | None

    @classmethod
    def of(cls, number: Number) -> Question:
        return cls(*(getattr(number, name) for name in cls._fields))


@dataclass(frozen=True)
class Told:
    """A number, and its standard error over documents; None where that is not known.

    moved: what each cluster of documents moves it by, as far as the answers tell.
    """

    value: float
    se: float | None
    moved: Moved | None = None


@dataclass(frozen=True)
class Ends:
    """Of a question, what a cell says at its end, how that changed since its beginning, and at which step it ended.

    The error of a change is that of its pairs of documents, where these were compared; None where not.
    """

    last: Told
    change: Told | None
    step: int | None


@dataclass(frozen=True)
class Summary:
    """A number over seeds.

    what: the value at the end; its change since the beginning of each training; its difference from the baseline's with
        the same seed.
    over: None where a seed's number is not finite.  step: at which the trainings ended; None where they differ.
    """

    what: What
    levels: tuple[str, ...]
    question: Question
    over: OverSeeds | None
    seeds: int
    step: int | None

    def columns(self, axes: Sequence[str]) -> dict[str, object]:
        """The row of `summary.csv`."""
        row: dict[str, object] = {**dict(zip(axes, self.levels, strict=True)), **self.question._asdict()}
        row |= {"what": self.what, "seeds": self.seeds, "step": self.step}
        if self.over is None:
            return row | {"status": "not finite"}
        row |= {"value": self.over.value, "sd": _known(self.over.sd), "p_both": _known(self.over.over_both.p)}
        for name in ("seeds", "documents", "both"):
            interval = getattr(self.over, f"over_{name}")
            row |= {f"{name}_low": _known(interval.low), f"{name}_high": _known(interval.high)}
        return row | {"status": "ok"}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def is_summarised(number: Number) -> bool:
    """Whether a number is one of the summary: of all items, and of the usual way of counting.

    Of a matrix of languages it is the diagonal: what a language's own neurons do to it.
    """
    here = not number.label and number.other in ("", number.language)
    measure = number.measure
    if is_of_degree(measure):  # there is no usual way of counting: of all neurons, and not layer by layer
        here, measure = here and number.layer is None, measure.replace(", all", "")
    return here and number.source != "" and not any(part in measure for part in _NOT_USUAL)


def is_of_degree(measure: str) -> bool:
    """Whether a measure is a bar of the histogram of how many languages share a neuron."""
    return measure.startswith("neurons of degree")


def ends_of(numbers: Iterable[Number], answers: Answers | None = None) -> dict[Question, Ends]:
    """What a cell says at its first and its last step; answers: see `answers.moved_answers`."""
    values: dict[Question, dict[int, Told]] = defaultdict(dict)
    changes: dict[Question, dict[int, Told]] = defaultdict(dict)
    for number in numbers:
        if is_summarised(number) and not number.measure.endswith("since the record before"):
            into = changes if number.since else values
            into[Question.of(number)][-1 if number.step is None else number.step] = Told(number.value, number.se)
    found = {}
    for question, steps in values.items():
        first, last = min(steps), max(steps)
        change = changes[question].get(last) if question in changes else None
        if change is None and first != last:
            change = Told(steps[last].value - steps[first].value, None)
        end = Ends(steps[last], change, None if last < 0 else last)
        found[question] = _with_answers(end, question, answers or {}, first) if question.source == CAPABILITY else end
    return found


def _with_answers(ends: Ends, question: Question, answers: Answers, first: int) -> Ends:
    """What problems move the numbers by, where they are the mean over answers."""
    place = question.group, question.language, question.measure
    after = answers.get(ends.step if ends.step is not None else -1, {}).get(place)
    if after is None:
        return ends
    change = ends.change and replace(ends.change, moved=after.less(answers.get(first, {}).get(place)))
    return Ends(replace(ends.last, moved=after), change, ends.step)


Collected = Mapping[tuple[str, ...], Mapping[Question, Mapping[int | None, Ends]]]


def collected(
    cells: Iterable[tuple[Cell, Sequence[Number]]], answers_of: Callable[[Cell], Answers] | None = None
) -> Collected:
    """What all cells say at their ends: by levels, question and seed.

    answers_of: what problems move a cell's answers by; without it differences are not taken problem by problem.
    """
    found: dict[tuple[str, ...], dict[Question, dict[int | None, Ends]]] = defaultdict(lambda: defaultdict(dict))
    for cell, numbers in cells:
        for question, ends in ends_of(numbers, answers_of(cell) if answers_of else None).items():
            found[cell.levels][question][cell.seed] = ends
    return found


def summarise(
    grid: Grid, said: Collected, baseline: Mapping[str, str], members: Mapping[tuple[str, ...], Members] | None = None
) -> list[Summary]:
    """All numbers over seeds, by combination of levels, in the order of the grid.

    members: by levels, the languages of each group. What is trained and unseen differs from cell to cell: a group is
        compared with the same languages of the baseline, whatever group these are in there.
    """
    rows = []
    members = members or {}
    for cell in {cell.levels: cell for cell in grid.cells}.values():
        other = grid.baseline_of(cell, baseline)
        for question, ends in said.get(cell.levels, {}).items():
            steps = {one.step for one in ends.values()}
            step = steps.pop() if len(steps) == 1 else None
            rows.append(_over("value", cell.levels, question, [one.last for one in ends.values()], step))
            changes = [one.change for one in ends.values() if one.change is not None]
            if changes:
                rows.append(_over("change", cell.levels, question, changes, step))
            theirs = _theirs(
                said.get(other, {}) if other is not None else {},
                question,
                members.get(cell.levels, {}),
                members.get(other, {}) if other is not None else {},
            )
            pairs = [_less(one.last, theirs[seed].last) for seed, one in ends.items() if seed in theirs]
            if pairs:
                rows.append(_over("difference", cell.levels, question, pairs, step))
    return rows


def _theirs(
    said: Mapping[Question, Mapping[int | None, Ends]], question: Question, ours: Members, theirs: Members
) -> Mapping[int | None, Ends]:
    """What the baseline says of a question, of the same languages; nothing where it does not say it of them all."""
    languages = ours.get(question.group, ())
    if question.language or not languages or theirs.get(question.group) == languages:
        return said.get(question, {})
    each = [said.get(question._replace(group="language", language=code), {}) for code in languages]
    seeds = [seed for seed in each[0] if all(seed in one for one in each)]
    return {seed: Ends(_mean([one[seed].last for one in each]), None, each[0][seed].step) for seed in seeds}


def _mean(told: Sequence[Told]) -> Told:
    """The mean of languages. Its error is as if they erred alike, since their documents say the same."""
    errors = [one.se for one in told if one.se is not None]
    error = sum(errors) / len(told) if len(errors) == len(told) else None
    moved = [one.moved for one in told if one.moved is not None]
    together = mean_of(moved) if len(moved) == len(told) else None
    return Told(sum(one.value for one in told) / len(told), error, together)


def _less(one: Told, other: Told) -> Told:
    """A difference, problem by problem where both are of the same ones; else with an error as if the two were of other
    documents: too large rather than too small."""
    known = one.se is not None and other.se is not None
    moved = one.moved and one.moved.less(other.moved)
    return Told(one.value - other.value, math.hypot(one.se or 0.0, other.se or 0.0) if known else None, moved)


def _over(what: What, levels: tuple[str, ...], question: Question, told: Sequence[Told], step: int | None) -> Summary:
    values = [one.value for one in told]
    summary = Summary(what, levels, question, None, len(values), step)
    if not all(map(math.isfinite, values)):
        return summary
    bounds = _bounds(what, question)
    moved = [one.moved for one in told if one.moved is not None]
    if len(moved) == len(told) and len({one.problems for one in moved}) == 1:
        return replace(summary, over=over_seeds(values, np.stack([one.by for one in moved]), bounds=bounds))
    errors = [one.se for one in told if one.se is not None]
    return replace(summary, over=over_seeds(values, errors=errors if len(errors) == len(told) else None, bounds=bounds))


def _bounds(what: What, question: Question) -> tuple[float, float] | None:
    """What a number is never outside of."""
    if question.unit == "share":
        return (0.0, 1.0) if what == "value" else (-1.0, 1.0)
    counted = question.unit in ("neurons", "tokens") and not question.measure.endswith(LESS_OTHERS)
    return (0.0, math.inf) if what == "value" and counted else None
