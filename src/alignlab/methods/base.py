"""What all methods share: the Lightning module around a model, its optimiser and the numbers logged at every step."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from alignlab.errors import InputError
from alignlab.hooks import loud
from alignlab.methods.losses import share_of_step
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.models.distributed import over_ranks, rank, world_size


class AlignmentModule(L.LightningModule):
    """Trains `model` on planned micro-batches; a method says only how a micro-batch's loss is summed.

    model: the model as it is trained (a PEFT wrapper or a plain one).
    total_steps: optimiser steps of the run, for the schedule.
    seed: of the dropout, together with the micro-batch and the rank: resumed is as unbroken.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, *, total_steps: int, seed: int) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.total_steps = total_steps
        self.seed = seed
        self._step_loss = torch.zeros(())
        self.strict_loading = False  # a checkpoint holds the trained weights only

    @abstractmethod
    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss summed over the answer tokens of a micro-batch: () float32."""

    def on_fit_start(self) -> None:
        # from_pretrained gives evaluation mode and Lightning keeps it: dropout and checkpointing would be silently off.
        self.model.train()

    @loud
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        number = int(batch["number"])
        torch.manual_seed(_mix(self.seed, number, rank()))
        accumulation = self.trainer.accumulate_grad_batches
        if number // accumulation != self.trainer.global_step:
            # As Lightning begins anew with a loader that ends too early.
            raise RuntimeError(f"micro-batch {number} came at step {self.trainer.global_step}")
        loss_sum = self.loss_sum(batch)
        if number % accumulation == 0:
            self._step_loss = torch.zeros_like(loss_sum)
        self._step_loss = self._step_loss + loss_sum.detach() / batch["step_tokens"]
        if (number + 1) % accumulation == 0:
            self._log_step(number // accumulation + 1)
        return share_of_step(loss_sum, batch["step_tokens"], ranks=world_size(), accumulation=accumulation)

    def _log_step(self, step: int) -> None:
        """Log the loss of a whole step: over all its micro-batches and ranks."""
        loss = over_ranks(self._step_loss)
        if not torch.isfinite(loss):
            fix = "Lower method.optimizer.lr, clip (trainer.gradient_clip_val), or use a wider precision."
            raise InputError.of(f"step {step}", f"the loss is {float(loss)}", "a finite loss", fix)
        self.log("train/loss", loss, logger=False)  # for the progress bar and the user's callbacks
        # Not by self.log: it numbers steps from 0 and under accumulation takes the last micro-batch for the step.
        if self.trainer.is_global_zero and step % self.trainer.log_every_n_steps == 0:
            schedule: Any = self.lr_schedulers()
            values = {"train/loss": float(loss), "train/learning_rate": float(schedule.get_last_lr()[0])}
            for logger in self.loggers:
                logger.log_metrics(values, step=step)

    def configure_optimizers(self) -> Any:
        return self.optimizer_config.build(self.model, self.total_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        # Of no use to a continuation: those of ours have none, and the time that Lightning's timer has seen pass was
        # that of another process.
        checkpoint["callbacks"] = {}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}


def _mix(*numbers: int) -> int:
    """One seed of several numbers, the same in every process."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()[:8]) % 2**63
