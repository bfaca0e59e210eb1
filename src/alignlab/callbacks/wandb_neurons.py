"""Counts of neurons as W&B artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import lightning as L

from alignlab.reporting.wandb_run import WandbRun
from alignlab.runs import step_name, step_of


class WandbNeurons(L.Callback):
    """Give the files of `NeuronTracker` to the W&B run; it has to stand behind the tracker among the callbacks.

    folder: that of the tracker; the files lie in its folder `neurons`.
    which: `last` takes the file of the last step, `all` each as it appears, and those that a continued run finds
        there: of a file that W&B has it makes no new version. `none` takes none.
    """

    def __init__(self, folder: Path, which: Literal["none", "last", "all"]) -> None:
        self.folder = folder / "neurons"
        self.which = which
        self._given: set[int] = set()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.which == "all":
            for path in sorted(self.folder.glob("step-*.safetensors")):
                if step_of(path) <= trainer.global_step:
                    self._give(trainer, step_of(path))

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.which == "all":
            self._give(trainer, trainer.global_step)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not at the end of the training: a run that was killed after its last step has none when it is continued.
        if self.which != "none":
            self._give(trainer, trainer.global_step)

    def _give(self, trainer: L.Trainer, step: int) -> None:
        path = self.folder / f"{step_name(step)}.safetensors"
        if step in self._given or not trainer.is_global_zero or not path.is_file():
            return
        self._given.add(step)
        for logger in trainer.loggers:
            if isinstance(logger, WandbRun):
                logger.log_counts(path)
