"""When a callback does what it does: at the start, at given steps or every so many, and at the end."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import lightning as L
from lightning.pytorch.loggers import WandbLogger

from alignlab.callbacks.whole_layers import check_strategy
from alignlab.hooks import loud
from alignlab.reporting.wandb_charts import define_charts


class Schedule:
    """Base of callbacks that look at a model at some steps.

    every_n_steps: optimiser steps between two looks; None takes the first and the last step only.
    steps: the very steps, instead; a training that ends elsewhere has none there.
    """

    every_n_steps: int | None
    steps: Collection[int] | None

    @abstractmethod
    def taken(self, step: int) -> bool:
        """Whether the last look was at this step."""

    def due(self, step: int) -> bool:
        """Whether to look after this step."""
        if self.steps is not None:
            return step in self.steps and not self.taken(step)
        return self.every_n_steps is not None and step % self.every_n_steps == 0 and not self.taken(step)

    def due_at_end(self, step: int) -> bool:
        """Whether to look where the training ends."""
        return self.steps is None and not self.taken(step)


class ScheduledCallback(Schedule, L.Callback):
    """A callback of Lightning that looks at the model at these steps, and hands what it finds to the loggers.

    charts: with which its numbers begin in W&B, one of `reporting.wandb_charts.AXES`.

    Raises `UnsupportedModelError` where a fit is set up under a strategy whose ranks do not run whole layers of one
    model.
    """

    charts: ClassVar[str]

    @abstractmethod
    def begin(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Prepare for a training that begins, or goes on, at the trainer's step; every rank calls it."""

    @abstractmethod
    def look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> Mapping[str, float] | None:
        """Look at the model now, and give the numbers to log; None where it was left. Every rank calls it."""

    def look_and_log(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look at the model now and log what was found; every rank has to call it."""
        found = self.look(trainer, pl_module)
        if found is not None and trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics(dict(found), step=trainer.global_step)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        check_strategy(trainer.strategy)
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and trainer.is_global_zero:
                define_charts(logger.experiment, self.charts)

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.begin(trainer, pl_module)
        # After a later step where the training was stopped before it could look.
        if trainer.global_step == 0 or self.due(trainer.global_step):
            self.look_and_log(trainer, pl_module)

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.due(trainer.global_step):
            self.look_and_log(trainer, pl_module)

    @loud
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.due_at_end(trainer.global_step):
            self.look_and_log(trainer, pl_module)
