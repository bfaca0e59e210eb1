"""An analysis in W&B: a run of its own with the same keys as a training, so that one dashboard shows both."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from alignlab.analysis.view import View
from alignlab.neurons.summary import CountRow
from alignlab.reporting.snapshots import Snapshot, scalars
from alignlab.reporting.wandb_media import media
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
        self._rows: list[CountRow] = []
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
        shown = replace(view.now, step=row, anchored=[replace(count, step=row) for count in view.now.anchored])
        self._rows += shown.anchored
        self.run.log_metrics(scalars(shown), row)
        self.run.log_media(partial(_media, shown, self._rows, len(self._rows)))

    def end(self, folder: Path) -> None:
        """Give the files of the results as an artifact, and end the run in bounded time."""
        self.run.log_results(f"analysis-{self.run.experiment.id}", [folder / file for file in FILES])
        self.run.finish()


def _media(snapshot: Snapshot, rows: list[CountRow], until: int) -> dict[str, Any]:
    return {RECORD: snapshot.label, **media(snapshot, rows[:until])}
