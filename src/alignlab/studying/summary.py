"""The numbers of a study over its seeds: at the end, how they changed, and how they differ from the baseline's."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from alignlab.analysis.draws import Draws
from alignlab.analysis.languages import LESS_OTHERS
from alignlab.analysis.over_seeds import Drawn, OverSeeds, over_seeds
from alignlab.studying import draws
from alignlab.studying.answers import Moved, Place, mean_of
from alignlab.studying.draws import Resampled
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.same_languages import Roles, Spoken, compared
from alignlab.studying.table import CAPABILITY, Number

What = Literal["value", "change", "difference"]
HEADER = (
    "what", "source", "group", "language", "measure", "task", "set", "operation", "strength", "control", "unit",
    "layer", "step", "seeds", "value", "sd", "seeds_low", "seeds_high", "documents_low", "documents_high", "both_low",
    "both_high", "p_both", "clusters", "status",
)  # fmt: skip
_NOT_USUAL = (", reestimated", ", selection")  # parts of measures that the table has


Answers = Mapping[int, Mapping[Place, Moved]]


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
    lines: of its table that it is in; of a difference of two lines, both.
    resampled: what it is in each resample of the documents, as far as counts tell.
    """

    value: float
    se: float | None
    moved: Moved | None = None
    lines: tuple[int, ...] = ()
    resampled: Resampled | None = None


@dataclass(frozen=True)
class Ends:
    """Of a question, what a cell says at its end, how that changed since its beginning, and at which step it ended.

    The error of a change is that of its pairs of documents, where these were compared; None where not.
    of: how many neurons a count is among; None of what is no count.
    """

    last: Told
    change: Told | None
    step: int | None
    of: int | None = None


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
        row |= {"clusters": self.over.clusters or None}
        for name in ("seeds", "documents", "both"):
            interval = getattr(self.over, f"over_{name}")
            row |= {f"{name}_low": _known(interval.low), f"{name}_high": _known(interval.high)}
        return row | {"status": "ok"}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def is_summarised(number: Number) -> bool:
    """Whether a number is one of the summary: of all items, of one language, and of the usual way of counting."""
    here = not number.label and number.other in ("", number.language)
    return here and number.source != "" and not any(part in number.measure for part in _NOT_USUAL)


def ends_of(numbers: Iterable[Number], answers: Answers | None = None) -> dict[Question, Ends]:
    """What a cell says at its first and its last step; answers: see `answers.moved_answers`."""
    values: dict[Question, dict[int, Told]] = defaultdict(dict)
    changes: dict[Question, dict[int, Told]] = defaultdict(dict)
    among: dict[Question, int] = {}  # not of transitions: how many were of that kind is as uncertain as the number
    for number in numbers:
        if is_summarised(number) and not number.measure.endswith("since the record before"):
            into = changes if number.since else values
            at = -1 if number.step is None else number.step
            question = Question.of(number)
            at_line = () if number.line is None else (number.line,)
            into[question][at] = Told(number.value, number.se, lines=at_line)
            if number.unit == "neurons" and number.denominator and " to " not in number.measure:
                among[question] = number.denominator
    found = {}
    for question, steps in values.items():
        first, last = min(steps), max(steps)
        change = changes[question].get(last) if question in changes else None
        if change is None and first != last:
            lines = steps[last].lines + steps[first].lines
            change = Told(steps[last].value - steps[first].value, None, lines=lines if len(lines) == 2 else ())
        end = Ends(steps[last], change, None if last < 0 else last, among.get(question))
        found[question] = _with_answers(end, question, answers or {}, first) if question.source == CAPABILITY else end
    return found


def _with_answers(ends: Ends, question: Question, answers: Answers, first: int) -> Ends:
    """What problems move the numbers by, where they are the mean over answers."""
    place = question.group, question.language, question.measure
    after = answers.get(ends.step if ends.step is not None else -1, {}).get(place)
    if after is None:
        return ends
    change = ends.change and replace(ends.change, moved=after.less(answers.get(first, {}).get(place)))
    return replace(ends, last=replace(ends.last, moved=after), change=change)


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


DrawsOf = Callable[[Cell], Mapping[str, Draws]]
BySeed = Mapping[int | None, Ends]


def summarise(
    grid: Grid,
    said: Collected,
    baseline: Mapping[str, str],
    roles: Mapping[tuple[str, ...], Roles | None] | None = None,
    draws_of: DrawsOf | None = None,
) -> list[Summary]:
    """All numbers over seeds, by combination of levels, in the order of the grid.

    roles: by levels, the languages in training and the reference; None where they are not known. What is trained and
        unseen differs from cell to cell: a group is compared with the same languages of the baseline, whatever group
        these are in there.
    draws_of: by source, what a cell's numbers are in each resample of the documents. Those of one combination and of
        its baseline are held at a time. Without it counts are not compared document by document.
    """
    roles = roles or {}
    cells: dict[tuple[str, ...], list[Cell]] = defaultdict(list)
    for cell in grid.cells:
        cells[cell.levels].append(cell)
    rows: list[Summary] = []
    for levels, (cell, *_) in cells.items():
        of = [levels] if (other := grid.baseline_of(cell, baseline)) is None else [levels, other]
        rows += _of_levels(
            levels,
            *(Spoken(_resampled(said.get(some, {}), cells[some], draws_of), roles.get(some, Roles())) for some in of),
        )
    return rows


def _of_levels(levels: tuple[str, ...], ours: Spoken, theirs: Spoken | None = None) -> Iterator[Summary]:
    """The numbers of a combination of levels. theirs: what its baseline says."""
    for question, ends in ours.said.items():
        steps = {one.step for one in ends.values()}
        step = steps.pop() if len(steps) == 1 else None
        yield _over("value", levels, question, [one.last for one in ends.values()], step, ends)
        changes = [one.change for one in ends.values() if one.change is not None]
        if changes:
            yield _over("change", levels, question, changes, step, ends)
        if theirs is None:
            continue
        base = _theirs(question, ours, theirs)
        pairs = [_less(one.last, base[seed].last) for seed, one in ends.items() if seed in base]
        if pairs:
            yield _over("difference", levels, question, pairs, step, ends)


def _resampled(
    said: Mapping[Question, BySeed], cells: Iterable[Cell], draws_of: DrawsOf | None
) -> Mapping[Question, BySeed]:
    """What some cells say, each number with what it is in each resample."""
    if draws_of is None:
        return said
    there = {seed for ends in said.values() for seed in ends}
    found = {cell.seed: draws_of(cell) for cell in cells if cell.seed in there}

    def told(one: Told, drawn: Draws | None) -> Told:
        return replace(one, resampled=Resampled.of(drawn, one.lines))

    return {
        question: {
            seed: replace(one, last=told(one.last, drawn), change=one.change and told(one.change, drawn))
            if (drawn := found[seed].get(question.source)) is not None
            else one
            for seed, one in ends.items()
        }
        for question, ends in said.items()
    }


def _theirs(question: Question, ours: Spoken, theirs: Spoken) -> Mapping[int | None, Ends]:
    """What the baseline says of a question, of the same languages; nothing where it does not say it of them all."""
    languages = compared(question, ours, theirs)
    if not languages:
        return theirs.said.get(question, {}) if languages is not None else {}
    each = [theirs.of_language(question, code) for code in languages]
    seeds = [seed for seed in each[0] if all(seed in one for one in each)]
    return {seed: Ends(_mean([one[seed].last for one in each]), None, each[0][seed].step) for seed in seeds}


def _mean(told: Sequence[Told]) -> Told:
    """The mean of languages. Its error is as if they erred alike, since their documents say the same."""
    errors = [one.se for one in told if one.se is not None]
    error = sum(errors) / len(told) if len(errors) == len(told) else None
    moved = [one.moved for one in told if one.moved is not None]
    together = mean_of(moved) if len(moved) == len(told) else None
    resampled = [one.resampled for one in told if one.resampled is not None]
    drawn = draws.mean_of(resampled) if len(resampled) == len(told) else None
    return Told(sum(one.value for one in told) / len(told), error, together, resampled=drawn)


def _less(one: Told, other: Told) -> Told:
    """A difference, problem by problem, or resample by resample, where both are of the same ones; else with an error as
    if the two were of other documents: too large rather than too small."""
    known = one.se is not None and other.se is not None
    moved = one.moved and one.moved.less(other.moved)
    resampled = one.resampled and one.resampled.less(other.resampled)
    error = math.hypot(one.se or 0.0, other.se or 0.0) if known else None
    return Told(one.value - other.value, error, moved, resampled=resampled)


def _over(
    what: What, levels: tuple[str, ...], question: Question, told: Sequence[Told], step: int | None, ends: BySeed
) -> Summary:
    values = [one.value for one in told]
    summary = Summary(what, levels, question, None, len(values), step)
    if not all(map(math.isfinite, values)):
        return summary
    bounds = _bounds(what, question, [one.of for one in ends.values() if one.of is not None])
    moved = [one.moved for one in told if one.moved is not None]
    if len(moved) == len(told) and len({one.problems for one in moved}) == 1:
        return replace(summary, over=over_seeds(values, np.stack([one.by for one in moved]), bounds=bounds))
    resampled = [one.resampled for one in told if one.resampled is not None]
    if len(resampled) == len(told) and draws.are_joint(resampled):
        numbers = np.stack([one.values for one in resampled])
        step_of = float(question.unit == "neurons" and bool((numbers == np.rint(numbers)).all()))
        drawn = Drawn(numbers, resampled[0].shards, step_of)
        return replace(summary, over=over_seeds(values, drawn=drawn, bounds=bounds))
    errors = [one.se for one in told if one.se is not None]
    return replace(summary, over=over_seeds(values, errors=errors if len(errors) == len(told) else None, bounds=bounds))


def _bounds(what: What, question: Question, among: Sequence[int]) -> tuple[float, float] | None:
    """What a number is never outside of. among: of counts, how many neurons each seed's is among."""
    if question.unit == "share":
        return (0.0, 1.0) if what == "value" else (-1.0, 1.0)
    most = float(max(among)) if among else math.inf
    if what != "value":
        return (-most, most) if among else None
    if question.measure.endswith(LESS_OTHERS):
        return None
    return (0.0, most) if question.unit in ("neurons", "tokens") else None
