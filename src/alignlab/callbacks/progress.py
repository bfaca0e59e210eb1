"""How far the training is, on the terminal."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import lightning as L

from alignlab import console
from alignlab.hooks import loud


class TrainingProgress(L.Callback):
    """A bar on a terminal, a line every ten seconds elsewhere: optimiser steps done, time left, loss."""

    def __init__(self, total_steps: int) -> None:
        self.total_steps = total_steps
        self._stack = ExitStack()
        self._advance: console.Advance | None = None
        self._step = 0

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step
        self._advance = self._stack.enter_context(console.progress("Training", self.total_steps, self._step))

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._advance is not None and trainer.global_step > self._step:
            loss = trainer.callback_metrics.get("train/loss")
            self._advance(trainer.global_step - self._step, note="" if loss is None else f"loss {float(loss):.3f}")
            self._step = trainer.global_step

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()
