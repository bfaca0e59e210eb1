"""Checkpoints that transformers and PEFT load: a folder a step, whole or not at all."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from safetensors import SafetensorError

from alignlab import console
from alignlab.atomic import discard, whole_folder
from alignlab.errors import InputError
from alignlab.hooks import loud
from alignlab.manifest import NAME, strangers, verify
from alignlab.methods.base import AlignmentModule
from alignlab.models.finite import check_finite
from alignlab.models.load import DEMO, DEMO_FOLDER
from alignlab.models.sharding import whole_weights
from alignlab.models.training_languages import TrainingLanguages, write_training_languages
from alignlab.reporting.metrics_csv import metrics_digest
from alignlab.runs import RunFolder
from alignlab.signals import is_end_of_worker

STATE = "trainer.ckpt"
# What the run had written beside its checkpoints by then.
LOGGED = "logged.json"


class PretrainedCheckpoint(Checkpoint):
    """Save after the optimiser steps `steps`, and wherever the training ends.

    `checkpoints/step-*` holds what `save_pretrained` writes (a PEFT adapter, or the full model), the tokenizer,
    `trainer.ckpt` with the trained weights, the optimiser and the loop, from which Lightning goes on, `alignlab.json`
    with the `languages` that are trained, and the list of these files with their checksums.
    Of these the last `keep_last` are kept (all where it is None), those of `keep_steps`, and of all that are there the
    one that `best` names. One of another step, where the training was stopped, goes when the next one is there. Weights
    that are not finite are never saved, and a checkpoint in which somebody has put files of their own is never removed.
    `share` is given each checkpoint that stays, in a run that goes on (`goes_on`) those of before too, and the names of
    the files that are the training's own.
    Being a Lightning `Checkpoint` it runs after all other callbacks: where there is a checkpoint, there is the
    snapshot, unless the training was stopped right there.
    """

    def __init__(
        self,
        folder: RunFolder,
        tokenizer: Any,
        steps: Collection[int],
        *,
        keep_last: int | None = None,
        keep_steps: Collection[int] = (),
        languages: TrainingLanguages | None = None,
        share: Callable[[Path, Collection[str]], None] | None = None,
        best: Callable[[Collection[int]], int | None] = lambda steps: None,
        goes_on: bool = True,
    ) -> None:
        self.folder = folder
        self.tokenizer = tokenizer
        self.steps = frozenset(steps)
        self.keep_last = keep_last
        self.keep_steps = frozenset(keep_steps)
        self.languages = languages
        self.share = share  # not log: Lightning gives callbacks a method of that name
        self.best = best
        self.goes_on = goes_on
        self._saved: int | None = None

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._saved = trainer.global_step
        if trainer.is_global_zero and self.goes_on:
            for step in self.folder.checkpoint_steps():
                if step <= trainer.global_step:
                    self._share(step)

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step in self.steps:
            self._save(trainer, pl_module)

    @loud
    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save(trainer, pl_module)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.global_step == self._saved:
            return
        assert isinstance(pl_module, AlignmentModule)
        check_finite(pl_module.model, trainer.global_step)
        self._saved = trainer.global_step
        target = self.folder.checkpoint(trainer.global_step)
        # Collecting the state, and the weights of a sharded model, is collective; rank zero writes.
        state = trainer._checkpoint_connector.dump_checkpoint(weights_only=False)
        weights = whole_weights(pl_module.model)
        if trainer.is_global_zero:
            try:
                with whole_folder(target, "checkpoint") as partial:
                    trainer.strategy.checkpoint_io.save_checkpoint(state, partial / STATE)
                    pl_module.model.save_pretrained(partial, state_dict=weights)  # type: ignore[operator]
                    _name_the_demo(partial)
                    self.tokenizer.save_pretrained(partial)
                    if self.languages is not None:
                        write_training_languages(partial, self.languages)
                    logged = {"metrics": metrics_digest(self.folder.metrics, trainer.global_step)}
                    (partial / LOGGED).write_text(json.dumps(logged) + "\n", encoding="utf-8")
            except (OSError, RuntimeError, SafetensorError) as error:  # torch.save reports a full disk as RuntimeError
                if is_end_of_worker(error):
                    raise
                raise InputError.of(
                    str(target),
                    f"the checkpoint could not be written ({error})",
                    "space and permission to write",
                    "Make room and give the same command again: it continues from the checkpoint before.",
                ) from error
            self._remove_old()
            self._share(trainer.global_step)
        trainer.strategy.barrier("alignlab checkpoint")

    def _share(self, step: int) -> None:
        """Hand over a checkpoint, unless it may be removed while it is on its way."""
        stays = step in self.keep_steps or (step in self.steps and self.keep_last is None)
        if self.share is not None and stays:
            self.share(self.folder.checkpoint(step), (STATE, LOGGED))

    def _remove_old(self) -> None:
        """Of the checkpoints before the one that has just been saved, remove those that are not to be kept."""
        steps = self.folder.checkpoint_steps()
        planned = [step for step in steps if step in self.steps]
        kept = {*planned[-(self.keep_last or len(planned)) :], *self.keep_steps, steps[-1], self.best(steps)}
        for folder in (self.folder.checkpoint(step) for step in steps if step not in kept):
            if strangers(folder):
                console.complain(f"{folder} is kept: it also holds files that alignlab did not write.")
            else:
                discard(folder)


def _name_the_demo(folder: Path) -> None:
    """Let an adapter of the demo model name it as configs do: where the package lies is no one else's business."""
    config, card = folder / "adapter_config.json", folder / "README.md"
    if not config.is_file():
        return
    named = json.loads(config.read_text(encoding="utf-8"))
    if named["base_model_name_or_path"] != str(DEMO_FOLDER):
        return
    text = json.dumps(named | {"base_model_name_or_path": DEMO}, indent=2, sort_keys=True, ensure_ascii=False)
    config.write_text(text + "\n", encoding="utf-8")
    if card.is_file():
        card.write_text(card.read_text(encoding="utf-8").replace(str(DEMO_FOLDER), DEMO), encoding="utf-8")


def check_state(folder: RunFolder, step: int) -> None:
    """Refuse a checkpoint from which Lightning cannot go on, as it is not as it was written."""
    path = folder.checkpoint(step) / STATE
    fix = f"Remove the folder {path.parent} to continue from the checkpoint before it."
    if folder.has_mark and not (path.parent / NAME).is_file():  # runs of earlier versions have neither
        raise InputError.of(str(path.parent / NAME), "there is no such file", "the list of its files", fix)
    if faults := verify(path.parent):
        raise InputError.of(str(path.parent), "; ".join(faults), "a whole checkpoint", fix)
    try:
        torch.load(path, map_location="meta", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        raise InputError.of(str(path), f"it cannot be read ({error})", "a whole checkpoint", fix) from error
