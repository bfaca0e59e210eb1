"""What all methods share: the Lightning module around a model, its optimiser and the numbers logged at every step."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn

from alignlab.data.examples import Examples
from alignlab.data.training import TrainingData
from alignlab.errors import InputError
from alignlab.hooks import loud
from alignlab.methods.losses import share_of_step
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import TrainableOptions
from alignlab.methods.trainable import make_trainable
from alignlab.models.distributed import over_ranks, rank, world_size


@dataclass(frozen=True)
class Course:
    """What a method's module is told of the run that it is for.

    total_steps: optimiser steps of the run, for the schedule.
    seed: of the dropout, together with the micro-batch and the rank: resumed is as unbroken.
    data, pad_id: what is trained on, and what fills its batches.
    reference: file of the run in which a method may keep what it needs of the model as it was before the first step.
    made_from: gives what the run is made from, data and model by their fingerprints.
    """

    total_steps: int
    seed: int
    data: TrainingData | None = None
    pad_id: int = 0
    reference: Path = Path("reference.safetensors")
    made_from: Callable[[], Mapping[str, Any]] = dict


class Method(TrainableOptions, ABC):
    """What a method does with its options. examples: what it is trained on, as the data are to give it."""

    examples: ClassVar[Examples[Any]]

    def prepare(self, model: nn.Module) -> Any:
        """The model with its trainable weights; also on the meta device."""
        return make_trainable(model, self)

    @abstractmethod
    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        """The Lightning module around a prepared model."""


class AlignmentModule(L.LightningModule):
    """Trains `model` on planned micro-batches; a method says only how a micro-batch's loss is summed.

    model: the model as it is trained (a PEFT wrapper or a plain one).
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, course: Course) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.course = course
        self._step_sums: dict[str, Tensor] = {}
        self.strict_loading = False  # a checkpoint holds the trained weights only

    @abstractmethod
    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss summed over the units of a micro-batch, such as its answer tokens: () float32."""

    def sums(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is summed over the units of a micro-batch: `loss`, and whatever else is logged as its mean: () each."""
        return {"loss": self.loss_sum(batch)}

    def on_fit_start(self) -> None:
        # from_pretrained gives evaluation mode and Lightning keeps it: dropout and checkpointing would be silently off.
        self.model.train()

    @loud
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        number = int(batch["number"])
        torch.manual_seed(_mix(self.course.seed, number, rank()))
        accumulation = self.trainer.accumulate_grad_batches
        if number // accumulation != self.trainer.global_step:
            # As Lightning begins anew with a loader that ends too early.
            raise RuntimeError(f"micro-batch {number} came at step {self.trainer.global_step}")
        sums = self.sums(batch)
        before = {} if number % accumulation == 0 else self._step_sums
        self._step_sums = {
            name: before.get(name, torch.zeros_like(value)) + value.detach() / batch["step_weight"]
            for name, value in sums.items()
        }
        if (number + 1) % accumulation == 0:
            self._log_step(number // accumulation + 1)
        return share_of_step(sums["loss"], batch["step_weight"], ranks=world_size(), accumulation=accumulation)

    def _log_step(self, step: int) -> None:
        """Log the means of a whole step: over all its micro-batches and ranks."""
        whole = over_ranks(torch.stack(list(self._step_sums.values())))
        means = dict(zip(self._step_sums, whole, strict=True))
        loss = means["loss"]
        if not torch.isfinite(loss):
            fix = "Lower method.optimizer.lr, clip (trainer.gradient_clip_val), or use a wider precision."
            raise InputError.of(f"step {step}", f"the loss is {float(loss)}", "a finite loss", fix)
        self.log("train/loss", loss, logger=False)  # for the progress bar and the user's callbacks
        # Not by self.log: it numbers steps from 0 and under accumulation takes the last micro-batch for the step.
        if self.trainer.is_global_zero and step % self.trainer.log_every_n_steps == 0:
            schedule: Any = self.lr_schedulers()
            values = {f"train/{name}": float(mean) for name, mean in means.items()}
            values["train/learning_rate"] = float(schedule.get_last_lr()[0])
            for logger in self.loggers:
                logger.log_metrics(values, step=step)

    def configure_optimizers(self) -> Any:
        return self.optimizer_config.build(self.model, self.course.total_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        # Of no use to a continuation: those of ours have none, and the time that Lightning's timer has seen pass was
        # that of another process.
        checkpoint["callbacks"] = {}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}


def _mix(*numbers: int) -> int:
    """One seed of several numbers, the same in every process."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()[:8]) % 2**63
