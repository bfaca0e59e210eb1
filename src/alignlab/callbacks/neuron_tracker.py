"""Watch a model's neurons while it trains: count, classify and log them at every snapshot."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from alignlab.callbacks.snapshot_taker import SnapshotTaker, find_model
from alignlab.hooks import loud
from alignlab.reporting.snapshots import scalars

__all__ = ["NeuronTracker", "find_model"]


class NeuronTracker(SnapshotTaker, L.Callback):
    """Snapshots in a Lightning training: at step 0, every `every_n_steps` optimiser steps, and at the end.

        tracker = NeuronTracker({"en": english, "de": german}, tokenizer, every_n_steps=100, folder="runs/mine")
        trainer = L.Trainer(callbacks=[tracker], ...)

    Their scalars go to every logger of the trainer under `neurons/...` with `neurons/step` as x-axis, their tables to
    the terminal. Parameters and files are those of `SnapshotTaker`; `model` is handed the Lightning module.

    Raises `UnsupportedModelError` at the start of the fit when the model's neurons cannot be counted exactly.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                logger.experiment.define_metric("neurons/step", hidden=True)
                logger.experiment.define_metric("neurons/*", step_metric="neurons/step")

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.prepare(self.find_model(pl_module))
        if trainer.global_step == 0:
            self.begin(main=trainer.is_global_zero)
            self.take_snapshot(trainer, pl_module)
            return
        self.pick_up(trainer.global_step, main=trainer.is_global_zero)
        if self.due(trainer.global_step):  # the training was stopped before it could be taken
            self.take_snapshot(trainer, pl_module)

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.due(trainer.global_step):
            self.take_snapshot(trainer, pl_module)

    @loud
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.due_at_end(trainer.global_step):
            self.take_snapshot(trainer, pl_module)

    def take_snapshot(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Count, write, show and log; every rank has to call it."""
        snapshot = self.take(
            self.find_model(pl_module),
            trainer.global_step,
            context=trainer.precision_plugin.forward_context,
            main=trainer.is_global_zero,
        )
        if snapshot is not None and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(scalars(snapshot), step=snapshot.step)
