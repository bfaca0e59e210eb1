"""An analysis in W&B: a run of its own with the same keys as a training, so that one dashboard shows both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from alignlab.analysis.view import View
from alignlab.reporting.counts_table import scalars
from alignlab.reporting.wandb_media import Course
from alignlab.reporting.wandb_run import WandbRun

RECORD = "neurons/record"
FILES = ("table.csv", "sets.safetensors", "report.html", "config.yaml")


class WandbAnalysis:
    """Gives records to a W&B run in their order; a row of its history is a record. Within it, a failure fails the run.

    by_step: a record's row is its optimiser step, as in training; else its place among the records, from 0.
    """

    def __init__(self, run: WandbRun, by_step: bool) -> None:
        self.run = run
        self.by_step = by_step
        self._course = Course()
        self._number = -1

    def __enter__(self) -> WandbAnalysis:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None:
            self.run.finish(exit_code=1)

    def add(self, view: View) -> None:
        """A record's scalars, figures and table."""
        self._number += 1
        row = view.now.step if self.by_step else self._number
        rows, changes = ([replace(one, step=row) for one in some] for some in (view.now.rows, view.now.changes))
        shown = replace(view.now, step=row, rows=rows, changes=changes)
        self.run.log_metrics(scalars(shown), row)
        self.run.log_media(partial(_named, shown.label, self._course.add(shown)))

    def end(self, folder: Path) -> None:
        """Give the files of the results as an artifact, and end the run in bounded time."""
        self.run.log_results(f"analysis-{self.run.experiment.id}", [folder / file for file in FILES])
        self.run.finish()


def _named(label: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {RECORD: label, **make()}
