"""What is prepared once for all cells of a study, before the first of them, such as pairs of preference."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from alignlab import console
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.folder_lock import is_held
from alignlab.studying.configs import Study, options_of
from alignlab.studying.early import models_told_early, questions_told_early
from alignlab.studying.folder import PREPARED, StudyFolder
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.running import Worker

_BETWEEN_LOOKS = 0.5  # seconds
_CELL = Cell(PREPARED, (), None, ())


@dataclass(frozen=True)
class BeforeFolder(StudyFolder):
    """The folder `before` of a study, worked on as a cell is."""

    def cell(self, cell: Cell) -> Path:
        return self.path / cell.name


def before_of(study: Study) -> Study | None:
    """What is prepared, as a study of one cell; None where nothing is."""
    if not study.before:
        return None
    folder = BeforeFolder(study.folder.path)
    return replace(study, grid=Grid((), (_CELL,), 0), steps=study.before, configs={}, folder=folder, before=())


def is_prepared(study: Study) -> bool:
    """Whether all is there that cells begin with."""
    before = before_of(study)
    return before is None or before.state(_CELL) == "finished"


def not_there_yet(study: Study) -> str:
    """How paths end of the folder of what is prepared; empty where all is there."""
    return "" if is_prepared(study) else f"{study.options.study.name}/{_CELL.name}/"


def check_before(study: Study) -> None:
    """Refuse what was prepared with other settings, and models or questions that cannot be read. Raises InputError."""
    before = before_of(study)
    if before is None:
        return
    if before.state(_CELL) != "finished":
        steps = [(step.key, options_of(step, _CELL, before.folder)) for step in before.steps]
        refuse_any(models_told_early(steps, weights=not study.options.dry_run))
        refuse_any(questions_told_early(steps, not_there_yet(study)))
    changed = before.folder.asked_otherwise(_CELL, before.steps)
    if changed:
        fix = "Give the study another name, or write what was."
        found = "it was prepared with other settings"
        raise InputError(*(Problem(step.key, found, "those of before", fix) for step in changed))


def prepare(study: Study) -> None:
    """Prepare what is not there yet, or wait until another process has.

    Raises InputError where it fails, and Stopped where it was asked to stop.
    """
    before = before_of(study)
    while before is not None and before.state(_CELL) != "finished":
        # What has failed is begun again: no cell can do without.
        worker = Worker(replace(before, options=before.options.model_copy(update={"jobs": 1, "retry": "failed"})))
        worker.work()
        failure = before.folder.failure(_CELL)
        if failure is not None:
            log = before.folder.log(_CELL)
            raise InputError.of(f"before.{failure.step}", failure.says, "a preparation that ends well", f"See {log}.")
        if worker.elsewhere:
            console.say("before: another process prepares it; waiting")
            while is_held(before.folder.cell(_CELL)):
                time.sleep(_BETWEEN_LOOKS)
