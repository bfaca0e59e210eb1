"""What finished cells have left, as one long table: every number with its cell, levels and seed."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignlab.atomic import whole_file
from alignlab.errors import InputError
from alignlab.neurons.table import ANCHORED, Row, guarded, read_csv
from alignlab.studying.configs import Study
from alignlab.studying.grid import TRAIN, Cell

_QUANTILE = 1.959964
NEURONS, CAPABILITY = "neurons", "capability"
DEGREE = "neurons of degree"
_PLAIN = ("kinds", "losses", "capability")  # analyses whose measures need not say of which they are
COLUMNS = (
    "source", "record", "step", "since", "group", "language", "other", "layer", "measure", "task", "set", "operation",
    "strength", "control", "label", "value", "unit", "denominator", "se", "status",
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """One number of a cell.

    source: of what it is told: `neurons`, `capability`, or the name under which it was asked.
    measure: what was measured, and how, where that is not the usual: kinds of neurons are those of the paper, at the
        thresholds of the first record.
    se: its standard error over documents; None where none was computed. From the deviation of resamples where a row has
        one, else half the width of its 95 % interval by 1.96, which is about that: of 40 independent documents up to
        2 % less, and of few clusters, or of shares near 0 or 1, more.
    line: of its table, 0 below the header. It is not written.
    """

    source: str
    record: str
    step: int | None
    since: str
    group: str
    language: str
    other: str
    layer: int | None
    measure: str
    task: str
    set: str
    operation: str
    strength: float | None
    control: str
    label: str
    value: float
    unit: str
    denominator: int | None
    se: float | None
    status: str
    line: int | None = None

    @classmethod
    def of(cls, row: Row, source: str, line: int | None = None) -> Number:
        """The number of a row."""
        same = {name: getattr(row, name) for name in COLUMNS if name not in ("source", "measure", "se", "since")}
        since = row.since or row.since_before
        return cls(source=source, measure=measure_of(row), se=standard_error(row), since=since, line=line, **same)


def measure_of(row: Row) -> str:
    """What a row measures, in words that no other row of its place has."""
    name = row.measure
    if row.kind:
        kind = f"{row.kind} to {row.to_kind}" if row.to_kind else row.kind
        name = f"{kind} neurons" + (f": {row.measure}" if row.measure else "")
    elif row.degree is not None:
        name = f"{DEGREE} {row.degree}" + (f": {row.measure}" if row.measure else "")
    name = name if row.analysis in _PLAIN else ": ".join(filter(None, (row.analysis, name)))
    if row.analysis not in _PLAIN and row.kind == "" and row.task:
        name = row.measure  # of a task, which its column says
    further = [row.thresholds if row.thresholds not in ("", ANCHORED) else ""]
    further += [row.convention if row.convention not in ("", "paper") else "", row.compared, row.site]
    # Not as it is: `all` is a way of counting kinds too.
    further += [f"scope {row.scope}" if row.scope else ""]
    further += [
        f"on {row.classified_on}" if row.classified_on else "",
        f"draw {row.seed}" if row.seed is not None else "",
    ]
    further += ["since the record before" if row.since_before else ""]
    return ", ".join([name, *filter(None, further)])


def standard_error(row: Row) -> float | None:
    """Over documents, as far as the row tells: what stands beside a mean of controls is how these differ."""
    if row.control and row.low is None:
        return None
    if row.sd is not None and math.isfinite(row.sd):
        return row.sd
    if row.low is None or row.high is None or not math.isfinite(row.high - row.low):
        return None
    return (row.high - row.low) / 2 / _QUANTILE


def numbers_of(study: Study, cell: Cell) -> Iterator[Number]:
    """Every number that a finished cell has left. Raises InputError for a table that is damaged or missing."""
    config = study.configs.get(cell.name)
    answers = config is not None and config.evaluation is not None
    for step in study.steps_of(cell):
        for table in study.folder.results(cell, step, answers=answers):
            source = step.name if step.name != TRAIN else (NEURONS if table.stem == "neurons" else CAPABILITY)
            for line, row in enumerate(_rows(table, study.folder.made_anew(cell, step))):
                yield Number.of(row, source, line)


def _rows(table: Path, fix: str) -> list[Row]:
    if not table.is_file():
        raise InputError.of(str(table), "there is no such file", "the table of a step that is done", fix)
    try:
        return read_csv(table)
    except InputError as error:
        # What the command of the step advises is for a run that goes on.
        raise InputError(*(replace(problem, fix=fix) for problem in error.problems)) from error


def write_table(
    study: Study, cells: Sequence[Cell], path: Path, leave_out: Callable[[Cell, InputError], None]
) -> Iterator[tuple[Cell, list[Number]]]:
    """Write the table cell by cell, and give the numbers of each: memory is that of one.

    leave_out: told of the cells whose results are damaged or missing; the table has nothing of them.
    The file is there, whole, once all were taken.
    """
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["cell", *study.grid.axes, "seed", *COLUMNS])
        for cell in cells:
            try:
                numbers = list(numbers_of(study, cell))
            except InputError as error:
                leave_out(cell, error)
                continue
            of_cell = [cell.name, *cell.levels, "" if cell.seed is None else cell.seed]
            writer.writerows([*of_cell, *(_cell(getattr(number, name)) for name in COLUMNS)] for number in numbers)
            yield cell, numbers


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows by the names of their columns, whole or not at all."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_cell(row.get(name)) for name in header] for row in rows)
    with whole_file(path) as partial:
        partial.write_text(out.getvalue(), encoding="utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return guarded(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return "" if value is None else value
