"""From the folders of a run's evaluations to what the page shows of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from alignlab.console import plain
from alignlab.errors import InputError, Problem
from alignlab.manifest import kind_of, verify
from alignlab.neurons.table import Row, read_csv
from alignlab.recording.effects import Effects
from alignlab.regular_files import read_regular
from alignlab.reporting.page.evaluations import PageEvaluation, PageTask
from alignlab.reporting.page_capability import languages_of

KIND = "evaluation"
_FIX = "Restore it from a copy, or move the folder away to have the page without it."


def read_evaluations(run: Path) -> tuple[list[PageEvaluation], list[str]]:
    """What was asked of a run's models, by folder in the order of their names; and a note for each without a table.

    Folders of other kinds are somebody else's, and left alone. Raises InputError for files that are damaged.
    """
    found, notes = [], []
    for folder in sorted(path for path in (run / "evaluations").glob("*") if path.is_dir()):
        if kind_of(folder) != KIND:
            continue
        if (folder / "records.json").is_file():
            one = _read(folder)
            found.append(replace(one, tasks=[task for task in one.tasks if task.is_shown]))
            notes += [
                f"Task {task.name} of evaluation {one.name} is not shown: its numbers are of its parts; they are in "
                f"{one.table}."
                for task in one.tasks
                if not task.is_shown
            ]
        else:
            notes.append(f"Evaluation {plain(folder.name)} is not shown: it is not finished.")
    return found, notes


def _read(folder: Path) -> PageEvaluation:
    if faults := verify(folder, deep=False):
        raise InputError(*(Problem(str(folder), fault, "the file that was written", _FIX) for fault in faults))
    table, records = folder / "table.csv", _records(folder)
    try:
        rows = read_csv(table)
    except UnicodeDecodeError as error:
        raise _damaged(table, error) from None
    by_task: dict[str, list[Row]] = {}
    for row in rows:
        by_task.setdefault(row.task, []).append(row)
    tasks = []
    for name, of_task in by_task.items():
        if name not in records:
            raise _damaged(folder / "records.json", f"there is no record of {name!r}")
        there = {row.language for row in of_task if row.group == "language"}
        languages = [one for one in languages_of(Effects.load(folder / records[name])) if one.code in there]
        tasks.append(PageTask(plain(name), of_task, languages))
    return PageEvaluation(plain(folder.name), plain(str(table)), tasks)


def _records(folder: Path) -> Mapping[str, str]:
    """By task the file of one of its records, which says whose languages are in training."""
    path = folder / "records.json"
    try:
        return {str(one["task"]): str(one["file"]) for one in json.loads(read_regular(path))}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, why: object) -> InputError:
    return InputError(Problem(str(path), f"it is damaged ({why})", "the file that was written", _FIX))
