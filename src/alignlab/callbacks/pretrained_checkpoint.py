"""Checkpoints that transformers and PEFT load: a folder a step, whole or not at all."""

from __future__ import annotations

import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError

from alignlab.atomic import remove, whole_folder
from alignlab.errors import InputError, Problem
from alignlab.methods.base import AlignmentModule
from alignlab.runs import RunFolder

STATE = "trainer.ckpt"


class PretrainedCheckpoint(Checkpoint):
    """Save every `every_n_steps` optimiser steps and at the end.

    `checkpoints/step-*` holds what `save_pretrained` writes (a PEFT adapter, or the full model), the tokenizer, and
    `trainer.ckpt` with the trained weights, the optimiser and the loop, from which Lightning goes on.
    Of these the last `keep_last` are kept (all where it is None) and those of `keep_steps`.
    Being a Lightning `Checkpoint` it runs after all other callbacks: where there is a checkpoint, there is the
    snapshot.
    """

    def __init__(
        self,
        folder: RunFolder,
        tokenizer: Any,
        every_n_steps: int | None,
        *,
        keep_last: int | None = None,
        keep_steps: Collection[int] = (),
    ) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.every_n_steps = every_n_steps
        self.keep_last = keep_last
        self.keep_steps = frozenset(keep_steps)
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
            try:
                with whole_folder(target) as partial:
                    trainer.strategy.checkpoint_io.save_checkpoint(state, partial / STATE)
                    pl_module.model.save_pretrained(partial)  # type: ignore[operator]
                    self.tokenizer.save_pretrained(partial)
            except (OSError, RuntimeError, SafetensorError) as error:  # torch.save reports a full disk as RuntimeError
                fix = "Make room and give the same command again: it continues from the checkpoint before."
                found = f"the checkpoint could not be written ({error})"
                raise InputError(Problem(str(target), found, "space and permission to write", fix)) from error
            self._remove_old()
        trainer.strategy.barrier("alignlab checkpoint")

    def _remove_old(self) -> None:
        if self.keep_last is None:
            return
        for step in self.folder.checkpoint_steps()[: -self.keep_last]:
            if step not in self.keep_steps:
                remove(self.folder.checkpoint(step))


def state_path(folder: RunFolder, step: int) -> Path:
    """The file from which Lightning goes on, once it has been seen to be whole."""
    path = folder.checkpoint(step) / STATE
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        fix = f"Remove the folder {path.parent} to continue from the checkpoint before it."
        raise InputError(Problem(str(path), f"it cannot be read ({error})", "a whole checkpoint", fix)) from error
    return path
