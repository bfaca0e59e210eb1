"""Checkpoints that transformers and PEFT load: a folder a step, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from alignlab.atomic import whole_folder
from alignlab.methods.base import AlignmentModule
from alignlab.runs import RunFolder

STATE = "trainer.ckpt"


class PretrainedCheckpoint(Checkpoint):
    """Save every `every_n_steps` optimiser steps and at the end.

    `checkpoints/step-*` holds what `save_pretrained` writes (a PEFT adapter, or the full model), the tokenizer, and
    `trainer.ckpt` with the trained weights, the optimiser and the loop, from which Lightning goes on.
    Being a Lightning `Checkpoint` it runs after all other callbacks: where there is a checkpoint, there is the
    snapshot.
    """

    def __init__(self, folder: RunFolder, tokenizer: Any, every_n_steps: int | None) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.every_n_steps = every_n_steps
        self._saved: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == self._saved:
            return
        assert isinstance(pl_module, AlignmentModule)
        self._saved = trainer.global_step
        target = self.folder.checkpoint(trainer.global_step)
        # Collecting the state is collective; rank zero writes.
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        if trainer.is_global_zero:
            with whole_folder(target) as partial:
                trainer.strategy.checkpoint_io.save_checkpoint(state, partial / STATE)
                pl_module.model.save_pretrained(partial)  # type: ignore[operator]
                self.tokenizer.save_pretrained(partial)
        trainer.strategy.barrier("alignlab checkpoint")


def state_path(folder: RunFolder, step: int) -> Path:
    """The file from which Lightning goes on."""
    return folder.checkpoint(step) / STATE
