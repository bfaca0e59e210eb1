"""What the page shows of evaluations: of every task its numbers over the models and under interventions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

from alignlab.neurons.table import Row
from alignlab.reporting.page.card import Caption, Card
from alignlab.reporting.page.data import STATUS_WORDS, VERDICTS, PageLanguage, frame
from alignlab.reporting.page.language_figures import ends_and_course
from alignlab.reporting.page.panels import GROUP_STYLE, listed
from alignlab.reporting.wording import capital, interval, joined, number, signed

_GROUPS = ("trained", "reference", "unseen", "all languages")
_MOST_MODELS = 6  # columns of a table: the first, and the last ones
_MOST_LINES = 300  # of a table of interventions, up to which languages have lines of their own
_PLACES = 3
_OVER = " over control"
_NOTE = (
    "Left: hollow the first step, filled the last; circles are trained languages, squares the reference, diamonds "
    "unseen ones. Right: groups of languages over the steps; bars are 95 % intervals."
)
TASK_COLUMNS = (
    "model",
    "step",
    "group",
    "language",
    "value",
    "low",
    "high",
    "chance",
    "denominator",
    "since",
    "verdict",
)


@dataclass(frozen=True)
class PageTask:
    """A task of an evaluation.

    rows: all of its numbers.  languages: those of its items.
    """

    name: str
    rows: Sequence[Row]
    languages: Sequence[PageLanguage]

    @cached_property
    def measure(self) -> str:
        """The one that tables show: the first of the rows."""
        return self._plain[0].measure

    @property
    def is_shown(self) -> bool:
        """Whether there is a number of the whole task: tasks of the harness may have only those of their parts."""
        return bool(self._plain)

    @property
    def _plain(self) -> list[Row]:
        """The numbers of whole tasks of models as they are."""
        return [row for row in self.rows if not (row.set or row.label or row.other) and row.layer is None]

    @cached_property
    def lead(self) -> list[Row]:
        """Those by the measure that is shown."""
        return [row for row in self._plain if row.measure == self.measure]

    @cached_property
    def models(self) -> list[str]:
        """First to last."""
        return list(dict.fromkeys(row.record for row in self.lead))

    @cached_property
    def under(self) -> list[Row]:
        """What interventions do at the last model that has any, by the same measure, and beyond their controls."""
        shown = (self.measure, f"{self.measure}{_OVER}")
        found = [row for row in self.rows if row.set and not row.other and row.layer is None and row.measure in shown]
        last = next((model for model in reversed(self.models) if any(row.record == model for row in found)), "")
        return [row for row in found if row.record == last]


@dataclass(frozen=True)
class PageEvaluation:
    """A folder of `alignlab.evaluate`.  name: of the folder.  table: its path."""

    name: str
    table: str
    tasks: Sequence[PageTask]


class Cell(NamedTuple):
    """small: beside the number, such as its interval."""

    text: str
    small: str = ""


class TaskTable(NamedTuple):
    """lines: what each is of, and its cells, as many as the header has."""

    summary: str
    caption: str
    header: list[str]
    lines: list[tuple[str, list[Cell]]]


class ShownTask(NamedTuple):
    """A task as the page shows it.

    run: its place.  card: the figure; None where no model is of a step.
    """

    run: int
    title: str
    card: Card | None
    tables: list[TaskTable]


def show_tasks(evaluations: Sequence[Sequence[PageEvaluation]]) -> list[ShownTask]:
    """Those of every run, with their cards."""
    shown: list[ShownTask] = []
    for place, of_run in enumerate(evaluations):
        for one in of_run:
            for task in one.tasks:
                title = f"{capital(task.name)} ({one.name}): {task.measure}"
                tables = [_models_table(task, one), *([_under_table(task, one)] if task.under else [])]
                shown.append(ShownTask(place, title, _card(f"task-{len(shown)}", title, task, one, place), tables))
    return shown


def _card(name: str, title: str, task: PageTask, one: PageEvaluation, place: int) -> Card | None:
    rows = frame([row for row in task.lead if row.step is not None and not row.is_change])
    # Numbers that are none, of a model that has diverged, cannot be drawn.
    rows = rows[rows.value.notna()]
    if not len(rows) or not (rows["group"] == "language").any():
        return None
    card = Card(name, title, _NOTE, ("run",))
    unit = task.lead[0].unit
    axis = unit if task.measure in unit else f"{task.measure} ({unit})"
    words: dict[str, Any] = {"groups": "groups of languages", "title": axis, "unit": unit}
    words["span"] = (0, 1) if unit == "share" else None
    last = rows[(rows.step == rows.step.max()) & rows["group"].isin(list(GROUP_STYLE))]
    said = ", ".join(f"{row.group} {number(row.value, _PLACES)}" for row in last.itertuples())
    label = f"{capital(task.name)}, {task.measure} at the last step: {said}"
    card.add(str(place), partial(ends_and_course, rows, task.languages, **words), label, 2)
    card.captions.append(Caption(_basis(task, one), place))
    card.tables[str(place)] = {"columns": list(TASK_COLUMNS), "rows": list(lines_of(task))}
    return card


def lines_of(task: PageTask) -> Iterator[list[Any]]:
    """The table of the figure: the groups of every model, the languages of the first and the last."""
    ends = {task.models[0], task.models[-1]}
    rows = [row for row in task.lead if row.group != "language" or row.record in ends]
    found = frame(rows)
    values = zip(*(listed(found[name]) for name in ("value", "low", "high", "reference", "denominator")), strict=True)
    for row, (value, low, high, chance, denominator), said in zip(rows, values, found.verdict, strict=True):
        # A number that is no change is compared with chance alone.
        verdict = said if row.is_change or row.p is not None else STATUS_WORDS.get(row.status, "")
        told = [value, low, high, None if row.is_change else chance, denominator, row.since, verdict]
        yield [row.record, row.step, row.group, row.language, *told]


def _basis(task: PageTask, one: PageEvaluation) -> str:
    sizes = sorted({row.denominator for row in task.lead if row.language and row.denominator is not None})
    unit = task.lead[0].unit
    what = capital(unit if task.measure in unit else f"{task.measure} ({unit})")
    each = ""
    if sizes:
        each = f"{sizes[0]:,}" if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
        each = f" of {each} {'tokens' if 'token' in unit else 'items'} a language;"
    over = joined([name for name in dict.fromkeys(row.over for row in task.lead) if name]) or "nothing (too few)"
    families = joined([name for name in dict.fromkeys(row.correction for row in task.lead) if name])
    corrected = f", verdicts corrected within a family of questions ({families})" if families else ""
    return (
        f"{what}{each or ';'} intervals of 95 % over {over}, changes paired item by "
        f"item{corrected}. Every measure: {one.table}."
    )


def _models_table(task: PageTask, one: PageEvaluation) -> TaskTable:
    """A line for each group and language, a column for each model, then the change and what chance would be."""
    models = task.models if len(task.models) <= _MOST_MODELS else [task.models[0], *task.models[1 - _MOST_MODELS :]]
    at = {(row.record, row.group, row.language, row.is_change): row for row in task.lead}
    changed = any(row.is_change for row in task.lead)
    by_chance = any(row.reference is not None and not row.is_change for row in task.lead)
    header = [*models, *(["chance"] if by_chance else []), *(["change"] if changed else [])]
    lines = []
    for group, language in _places(task.lead):
        now = [at.get((model, group, language, False)) for model in models]
        cells = [_number(row) for row in now]
        cells += (
            [Cell(number(now[-1].reference, _PLACES), _against(now[-1])) if now[-1] else Cell("")] if by_chance else []
        )
        cells += [_change(at.get((models[-1], group, language, True)))] if changed else []
        lines.append((language or group, cells))
    left = len(task.models) - len(models)
    unit = task.lead[0].unit
    caption = f"{capital(unit if task.measure in unit else f'{task.measure} ({unit})')}; small: 95 % intervals."
    if by_chance:
        caption += f" Chance: whether the share of {models[-1]} is another."
    if changed:
        since = next(row.since for row in task.lead if row.is_change)
        caption += f" Change: of {models[-1]} since {since}, paired item by item."
    if left:
        caption += f" {left:,} models between them are in {one.table}."
    return TaskTable(f"{capital(task.name)}, by language and group", caption, header, lines)


def _under_table(task: PageTask, one: PageEvaluation) -> TaskTable:
    """A line for each intervention in each group and language: the number, its change, and that over its control."""
    rows = task.under
    names = list(dict.fromkeys(row.set for row in rows))
    controls = [name for name in ("matched", "random") if any(row.control == name for row in rows)]
    places = _places(rows)
    is_cut = len(names) * len(places) > _MOST_LINES
    lines = []
    for name in names:
        of = {
            (row.group, row.language, row.control, row.is_change): row
            for row in rows
            if row.set == name and (not row.control or row.measure.endswith(_OVER))
        }
        for group, language in places:
            if is_cut and language:
                continue
            cells = [_number(of.get((group, language, "", False))), _change(of.get((group, language, "", True)))]
            cells += [_over(of.get((group, language, control, True)), control) for control in controls]
            lines.append((f"{name}, {language or group}", cells))
    header = [task.measure, "change", *(f"over {control}" for control in controls)]
    caption = (
        f"{capital(task.measure)} of {rows[0].record} under interventions, and its change since the same model with "
        "nothing changed, paired item by item; small: 95 % intervals."
    )
    which = [label for label in dict.fromkeys(row.label for row in rows) if label]
    caption += f" Items: {joined(which)}." if which else ""
    if controls:
        caption += " Over a control: the change less the mean of its draws, interval and verdict for one more draw."
    else:
        caption += " Without controls: other neurons might do as much."
    caption += f" Languages are in {one.table}." if is_cut else ""
    return TaskTable(f"{capital(task.name)}, under interventions", caption, header, lines)


def under_lines(task: PageTask) -> tuple[list[str], list[list[Any]]]:
    """What interventions do, as columns and lines of a table: a line a number."""
    columns = [
        "model", "intervention", "operation", "strength", "measure", "control", "group", "language", "value", "low",
        "high", "is_change", "p_corrected", "beyond_noise", "beyond_control", "items",
    ]  # fmt: skip
    lines = [
        [row.record, row.set, row.operation, row.strength, row.measure, row.control, row.group, row.language, row.value,
         row.low, row.high, row.is_change, row.p_adjusted, row.beyond_noise, row.beyond_control, row.label]
        for row in task.under
    ]  # fmt: skip
    return columns, lines


def _places(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """The groups, then the languages."""
    groups = [(group, "") for group in _GROUPS if any(row.group == group and not row.language for row in rows)]
    return [*groups, *(("language", code) for code in dict.fromkeys(row.language for row in rows if row.language))]


def _number(row: Row | None) -> Cell:
    if row is None:
        return Cell("")
    if row.status == "diverged":
        return Cell(row.status)
    return Cell(number(row.value, _PLACES), interval(row.low, row.high, _PLACES) or "no interval")


def _change(row: Row | None) -> Cell:
    if row is None:
        return Cell("")
    if row.status == "diverged":
        return Cell(row.status)
    said = "" if row.beyond_noise is None else f", {VERDICTS[row.beyond_noise]}"
    low = ", under .2 at first" if row.status == "floor" else ""
    return Cell(signed(row.value, _PLACES), f"{interval(row.low, row.high, _PLACES, '+') or 'no interval'}{said}{low}")


def _over(row: Row | None, control: str) -> Cell:
    if row is None:
        return Cell("")
    if row.status == "diverged":
        return Cell(row.status)
    said = {True: ", beyond control", False: ", within control", None: ", no verdict"}[row.beyond_control]
    ends = interval(row.low, row.high, _PLACES, "+") or "no interval"
    return Cell(signed(row.value, _PLACES), f"{ends}{said if control == 'matched' else ''}")


def _against(row: Row) -> str:
    """Whether a share is another than by chance."""
    return {True: "beyond noise", False: "not told from it", None: ""}[row.beyond_noise]
