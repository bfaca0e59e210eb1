"""Counts of neurons in W&B: their files as artifacts, figures and the table of each snapshot."""

from __future__ import annotations

from typing import Any, Literal

import lightning as L

from alignlab.callbacks.snapshot_taker import SnapshotTaker
from alignlab.hooks import loud
from alignlab.neurons.table import read_csv
from alignlab.reporting.wandb_media import SnapshotsInWandb
from alignlab.reporting.wandb_run import WandbRun
from alignlab.runs import snapshot_files, step_name, step_of


class WandbNeurons(L.Callback):
    """Give what `NeuronTracker` finds to the W&B run; it has to stand behind the tracker among the callbacks.

    tracker: whose snapshots are shown; the files lie in its folder `neurons`.
    run: where they are shown; it is in one process only, and so is this.
    which: `last` takes the file of the last step, `all` each as it appears, and those that a continued run finds
        there: of a file that W&B has it makes no new version. `none` takes none.
    """

    def __init__(self, tracker: SnapshotTaker, run: WandbRun, which: Literal["none", "last", "all"]) -> None:
        self.tracker = tracker
        self.run = run
        self.which = which
        self.folder = tracker.folder / "neurons"
        self._given: set[int] = set()
        self._shown: int | None = None
        self._shows: SnapshotsInWandb | None = None

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.tracker.recalled and self.tracker.last is not None:
            self._shown = self.tracker.last.step
        self._show()
        if self.which == "all":
            for path in snapshot_files(self.folder, "safetensors"):
                if step_of(path) <= trainer.global_step:
                    self._give(step_of(path))

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._show()
        if self.which == "all":
            self._give(trainer.global_step)

    @loud
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._show()

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not at the end of the training: a run that was killed after its last step has none when it is continued.
        if self.which != "none" and self.tracker.taken(trainer.global_step):
            self._give(trainer.global_step)

    def _show(self) -> None:
        """The figures of the last snapshot, unless they are shown."""
        snapshot = self.tracker.last
        if snapshot is None or snapshot.step == self._shown:
            return
        self._shown = snapshot.step
        if self._shows is None:
            tables = [path for path in snapshot_files(self.folder, "csv") if step_of(path) < snapshot.step]
            self._shows = SnapshotsInWandb(self.run, (row for path in tables for row in read_csv(path)))
        self._shows.draw(snapshot)

    def _give(self, step: int) -> None:
        path = self.folder / f"{step_name(step)}.safetensors"
        if step not in self._given and path.is_file():
            self._given.add(step)
            self.run.log_counts(path)
