"""The same tracking for `transformers.Trainer` and those built on it, such as TRL's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignlab.callbacks.snapshot_taker import SnapshotTaker
from alignlab.errors import UnsupportedModelError
from alignlab.reporting.counts_table import scalars


class NeuronTrackerCallback(SnapshotTaker, TrainerCallback):
    """Snapshots in a training by `transformers.Trainer`: at step 0, every `every_n_steps` steps, and at the end.

    Where a snapshot and a checkpoint are due at one step, the snapshot comes first. Scalars go to `trainer_state.json`
    (`log_history`) and to the W&B run that is active, if any, under `neurons/...` with `neurons/step` as x-axis.
    Parameters and files are those of `SnapshotTaker`; `model` is handed the trainer's model.

    Raises `UnsupportedModelError` at the start of the training when the model's neurons cannot be counted exactly, or
    its weights are sharded over ranks.

        >>> from alignlab import NeuronTrackerCallback, load_run
        >>> from alignlab.models.load import DEMO_FOLDER
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
        >>> model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
        >>> tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
        >>> texts = {"en": ["seven birds sing", "run"], "de": ["sieben Vögel singen", "lauf"]}
        >>> data = [{"input_ids": [5, 6, 7], "labels": [5, 6, 7]}] * 4
        >>> quiet = dict(report_to="none", disable_tqdm=True, save_strategy="no")
        >>> arguments = TrainingArguments("checkpoints", max_steps=2, use_cpu=True, **quiet)
        >>> trainer = Trainer(model, arguments, train_dataset=data)
        >>> trainer.add_callback(NeuronTrackerCallback(texts, tokenizer, folder="runs/mine", show=False))
        >>> trainer.train().global_step  # doctest: +ELLIPSIS
        {'train_runtime': ...}
        2
        >>> load_run("runs/mine").steps
        (0, 2)
    """

    example: ClassVar[str] = "module.policy"

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any
    ) -> None:
        self._in_wandb: set[str] = set()
        _refuse_sharded(given["model"])
        self.start(self.find_model(given["model"]), state.global_step, main=state.is_world_process_zero)
        if state.global_step == 0:
            self.take_snapshot(args, state, given["model"])

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        # The last step too, before the Trainer saves it; others who stop the training may do so after this.
        if self.due(state.global_step) or control.should_training_stop:
            self._take_once(args, state, given["model"])

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        if control.should_training_stop:
            self._take_once(args, state, given["model"])

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **given: Any) -> None:
        # With load_best_model_at_end the weights may by now be those of an earlier step.
        if not args.load_best_model_at_end:
            self._take_once(args, state, given["model"])

    def take_snapshot(self, args: TrainingArguments, state: TrainerState, model: nn.Module) -> None:
        """Count, write, show and log; every rank has to call it."""
        snapshot = self.take(
            self.find_model(model), state.global_step, context=precision(args), main=state.is_world_process_zero
        )
        if snapshot is None:
            return
        values = scalars(snapshot)
        epoch = {} if state.epoch is None else {"epoch": state.epoch}
        state.log_history.append({**values, **epoch, "step": state.global_step})
        if state.is_world_process_zero:
            self._log_to_wandb(values)

    def _take_once(self, args: TrainingArguments, state: TrainerState, model: nn.Module) -> None:
        if not self.taken(state.global_step):
            self.take_snapshot(args, state, model)

    def _log_to_wandb(self, values: Mapping[str, float]) -> None:
        """Log to the active run, if there is one; without a step, which could not be behind that of other logs.

        The Trainer's own pattern `*` binds every key to `train/global_step`, and W&B prefers it to a second pattern: so
        each key is defined by name.
        """
        run = getattr(sys.modules.get("wandb"), "run", None)
        if run is None:
            return
        for key in values:
            if key not in self._in_wandb:
                axis = {"hidden": True} if key == "neurons/step" else {"step_metric": "neurons/step"}
                run.define_metric(key, **axis)
                self._in_wandb.add(key)
        run.log(dict(values))


def precision(args: TrainingArguments) -> Callable[[], AbstractContextManager[object]]:
    """The autocast of a Trainer with these arguments (`bf16`, `fp16`), to be entered around a forward.

    Accelerate has put it into the forward of the model that it prepared, where it also works in a counting pass; this
    one is for a model that sits inside the prepared one. The one within the other is the same as either.
    """
    # DeepSpeed converts the weights and needs no autocast.
    if getattr(args, "deepspeed_plugin", None) is not None or not (args.bf16 or args.fp16):
        return nullcontext
    return partial(torch.autocast, args.device.type, dtype=torch.bfloat16 if args.bf16 else torch.float16)


def _refuse_sharded(model: nn.Module) -> None:
    """Refuse weights of which each rank holds a part: all ranks would have to forward at once, and counting deals
    batches to ranks without regard to that.
    """
    weights = any(hasattr(weight, "ds_id") or hasattr(weight, "device_mesh") for weight in model.parameters())
    if weights or any(hasattr(module, "_fsdp_wrapped_module") for module in model.modules()):
        found = "its weights are sharded over ranks (FSDP, DeepSpeed ZeRO-3 or tensor parallelism)"
        raise UnsupportedModelError.of(type(model).__name__, found, "whole weights on every rank (one, or ddp)")
