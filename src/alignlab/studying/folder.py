"""The folder of a study: a folder for each cell, which says how far it is; the table and the page."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from alignlab.atomic import name_being_written, write_text
from alignlab.config import differences
from alignlab.errors import InputError, Problem
from alignlab.folder_lock import LOCK, is_held, locked
from alignlab.manifest import NAME, kind_of
from alignlab.redaction import comparable
from alignlab.regular_files import read_regular
from alignlab.runs import IGNORED, RunFolder
from alignlab.studying.grid import Cell
from alignlab.studying.options import StudyOptions
from alignlab.studying.steps import Step

KIND = "study"
PREPARED = "before"  # the folder of what is prepared first, in the study's
State = Literal["open", "begun", "failed", "finished"]
_LOCK_KEY = "study.name"


@dataclass(frozen=True)
class Failure:
    """Of which step a cell has failed, with which status, and the last line of its log."""

    step: str
    status: int
    says: str


@dataclass(frozen=True)
class StudyFolder:
    """Names of what is in it, and how far its cells are."""

    path: Path

    @classmethod
    def of(cls, options: StudyOptions) -> StudyFolder:
        return cls(Path(options.study.root).expanduser() / options.study.name)

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def cells(self) -> Path:
        return self.path / "cells"

    @property
    def table(self) -> Path:
        """Every number of every finished cell."""
        return self.path / "study.csv"

    @property
    def summary(self) -> Path:
        """The same over seeds."""
        return self.path / "summary.csv"

    @property
    def page(self) -> Path:
        return self.path / "study.html"

    def cell(self, cell: Cell) -> Path:
        return self.cells / cell.name

    def log(self, cell: Cell) -> Path:
        return self.cell(cell) / "log.txt"

    def cell_config(self, cell: Cell) -> Path:
        return self.cell(cell) / "config.yaml"

    def _state_file(self, cell: Cell) -> Path:
        return self.cell(cell) / "state.json"

    def _failed_file(self, cell: Cell) -> Path:
        return self.cell(cell) / "failed.json"

    def check_ours(self) -> None:
        """Refuse a folder that holds something else. Nothing is written to find out. Raises InputError."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError.of(f"study.name ({self.path})", "it is a file", "a folder", "Name another.")
        entries = list(self.path.iterdir()) if self.path.exists() else []
        # What is prepared first may have been there first, by a command on more machines than a study gives it.
        if all(entry.name in (LOCK, PREPARED) or name_being_written(entry) is not None for entry in entries):
            return
        kind = kind_of(self.path) if (self.path / NAME).is_file() else None
        if kind != KIND:
            found = f"it holds {'something else' if kind is None else f'files of the kind {kind}'}"
            raise InputError(Problem(f"study.name ({self.path})", found, "a new folder, or a study", "Name another."))

    def begin(self, document: str) -> None:
        """Say whose folder it is, and of which study. document: its config as YAML."""
        with self.locked():
            if not (self.path / NAME).is_file():
                write_text(self.path / NAME, json.dumps({"kind": KIND, "files": {}}, indent=2) + "\n")
            if not self.config.is_file() or self.config.read_bytes() != document.encode():
                write_text(self.config, document)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold what all processes of a study write; one that comes second waits."""
        while True:
            with suppress(InputError):
                held = locked(self.path, _LOCK_KEY)
                held.__enter__()
                break
            if not is_held(self.path):
                with locked(self.path, _LOCK_KEY):  # what it refuses is no other process
                    pass
            time.sleep(0.05)
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    def check_continued(self, cells: Mapping[str, tuple[Cell, str]], steps: Sequence[Step]) -> None:
        """Refuse cells that have begun with another config, or that the study has no longer. Raises InputError.

        cells: by name, with their configs as YAML.  Cells that have not begun, such as those of further seeds, may
        come to those that are there.
        """
        problems: list[Problem] = []
        fix = "Give the study another name, or write what was."
        entries = sorted(self.cells.iterdir()) if self.cells.is_dir() else []
        begun = [entry for entry in entries if entry.is_dir() and any(file.name != LOCK for file in entry.iterdir())]
        for entry in begun:
            if entry.name not in cells:
                found = "it has begun, and the study has no such cell any more"
                problems.append(Problem(str(entry), found, "the cells that it began with, and others", fix))
                continue
            cell, document = cells[entry.name]
            told = _changed(entry / "config.yaml", document)
            if told:
                found = f"it began with another config; different are {'; '.join(told)}"
                problems.append(Problem(str(entry), found, "the config that it began with", fix))
            problems += [
                Problem(
                    str(entry),
                    f"{step.key} was asked with other settings",
                    "those of then",
                    f"{fix} A new name asks anew.",
                )
                for step in self.asked_otherwise(cell, steps)
            ]
        if problems:
            more = len(problems) - 8
            told_of = [*problems[:8], *([Problem("...", f"and {more:,} more")] if more > 0 else [])]
            raise InputError(*told_of)

    def asked_otherwise(self, cell: Cell, steps: Sequence[Step]) -> list[Step]:
        """Steps of a cell that were asked with other settings, but for its training."""
        asked = {name: one.get("asked") for name, one in self._state(cell).items()}
        own = [step for step in steps if step.verb != "train" and step.is_of(cell)]
        return [step for step in own if asked.get(step.name, step.digest) != step.digest]

    def begin_cell(self, cell: Cell, document: str) -> None:
        """Write down its config, and that what has failed is begun again."""
        if document and not self.cell_config(cell).is_file():
            write_text(self.cell_config(cell), document)
        self._failed_file(cell).unlink(missing_ok=True)

    def state(self, cell: Cell, steps: Sequence[Step]) -> State:
        """How far a cell is, whoever works on it."""
        if all(self.is_done(cell, step) for step in steps if step.is_of(cell)):
            return "finished"
        if self._failed_file(cell).is_file():
            return "failed"
        return "begun" if self._state(cell) or self.log(cell).is_file() else "open"

    def is_done(self, cell: Cell, step: Step) -> bool:
        """Whether a step of a cell has ended well."""
        if not self._state(cell).get(step.name, {}).get("done"):
            return False
        return step.verb != "train" or RunFolder(self.cell(cell) / step.name).finished.is_file()

    def end_step(self, cell: Cell, step: Step, seconds: float, *, done: bool) -> None:
        """Write down that a step has ended, or was stopped, after so many seconds more."""
        state = self._state(cell)
        before = state.get(step.name, {})
        state[step.name] = {
            "asked": step.digest,
            "done": done,
            "seconds": round(before.get("seconds", 0.0) + seconds, 1),
        }
        write_text(self._state_file(cell), json.dumps(state, indent=2) + "\n")

    def taken(self, cell: Cell) -> dict[str, float]:
        """Seconds that each step of a cell has taken so far, by its name."""
        taken = {name: one.get("seconds") for name, one in self._state(cell).items()}
        return {name: float(seconds) for name, seconds in taken.items() if isinstance(seconds, int | float)}

    def fail(self, cell: Cell, failure: Failure) -> None:
        """Set a cell apart."""
        told = {"step": failure.step, "status": failure.status, "says": failure.says}
        write_text(self._failed_file(cell), json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    def failure(self, cell: Cell) -> Failure | None:
        """Of what a cell has failed; None for one that has not."""
        try:
            told = json.loads(read_regular(self._failed_file(cell)))
            return Failure(str(told["step"]), int(told["status"]), str(told["says"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return Failure("", 1, f"{self._failed_file(cell)} is damaged")

    def results(self, cell: Cell, step: Step, *, answers: bool) -> list[Path]:
        """The tables that a step has left, or should have. answers: whether a training asks problems."""
        folder = self.cell(cell) / step.name
        if step.verb != "train":
            return [folder / "table.csv"]
        run = RunFolder(folder)
        return [run.table, *([run.evaluation_table] if answers or run.evaluation_table.exists() else [])]

    def made_anew(self, cell: Cell, step: Step) -> str:
        """What to do where results of a step are damaged or gone."""
        cause = f"{self.cell(cell)}"
        if step.verb != "train":
            cause = f"{self.cell(cell) / step.name} and {self._state_file(cell)}"
        return f"Restore it from a copy, or remove {cause}: the same command makes it anew."

    def _state(self, cell: Cell) -> dict[str, Any]:
        """By step what is known of it; nothing where no step has ended, or nobody can tell: it is then done again."""
        try:
            state = json.loads(read_regular(self._state_file(cell)))
        except (OSError, ValueError, RecursionError):
            return {}
        good = isinstance(state, dict) and all(isinstance(one, dict) for one in state.values())
        return state if good else {}


def _changed(stored: Path, document: str) -> list[str]:
    """In which keys a cell's config is another than it began with; nothing where none was written yet."""
    try:
        text = read_regular(stored).decode("utf-8")
    except FileNotFoundError:
        return []
    if text == document:
        return []
    try:
        old = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        old = None
    if not isinstance(old, dict):
        return [f"all of it: {stored.name} cannot be read"]
    new = yaml.safe_load(document) if document else {}
    return [str(one) for one in differences(comparable(old), comparable(new), ignore=IGNORED)]
