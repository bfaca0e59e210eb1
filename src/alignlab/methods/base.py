"""What all methods share: the Lightning module around a model, its optimiser and the numbers logged at every step."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from alignlab import console
from alignlab.data.examples import Examples
from alignlab.data.training import TrainingData
from alignlab.errors import InputError
from alignlab.hooks import loud
from alignlab.methods.losses import share_of_step
from alignlab.methods.optimizer import OptimizerConfig
from alignlab.methods.options import TrainableOptions
from alignlab.methods.trainable import make_trainable
from alignlab.models.distributed import over_ranks, rank, world_size
from alignlab.models.flops import TextFlops, text_flops
from alignlab.models.sharding import shard

_TOKENS_SEEN = "alignlab_tokens_seen"  # in a checkpoint


@dataclass(frozen=True)
class Course:
    """What a method's module is told of the run, or the stage of a run, that it is for.

    total_steps: its optimiser steps, for the schedule.
    seed: of the dropout, together with the micro-batch and the rank: resumed is as unbroken.
    data, pad_id: what is trained on, and what fills its batches.
    reference: file of the run in which a method may keep what it needs of the model as it was before the first step.
    made_from: gives what the run is made from, data and model by their fingerprints.
    first: optimiser steps of the run before this stage of it.
    carries: whether the adapter is one that the stage before has trained, so that without it the model is another than
        before the first step.
    """

    total_steps: int
    seed: int
    data: TrainingData | None = None
    pad_id: int = 0
    reference: Path = Path("reference.safetensors")
    made_from: Callable[[], Mapping[str, Any]] = dict
    first: int = 0
    carries: bool = False


class Method(TrainableOptions, ABC):
    """What a method does with its options. examples: what it is trained on, as the data are to give it."""

    examples: ClassVar[Examples[Any]]

    def prepare(self, model: nn.Module) -> Any:
        """The model with its trainable weights; also on the meta device."""
        return make_trainable(model, self)

    def flops(self, prepared: nn.Module) -> TextFlops:
        """What a step costs by its texts. prepared: the model as it is trained, on the meta device."""
        return text_flops(prepared, backward=True)

    @abstractmethod
    def build(self, model: nn.Module, course: Course) -> AlignmentModule:
        """The Lightning module around a prepared model."""


class AlignmentModule(L.LightningModule):
    """Trains `model` on planned micro-batches; a method says only how a micro-batch's loss is summed.

    model: the model as it is trained (a PEFT wrapper or a plain one).

    step_size: of the last step, as `MicroBatches` has it: tokens, sum of squares of tokens, tokens learnt.
    tokens_seen: of the texts trained on up to now in this stage, over all ranks; padding is none. None where it is not
        known.
    logged: the row of numbers that was logged last.
    resumed: when, on `time.perf_counter`, the callbacks were done with the micro-batch before, or with the start.
    """

    def __init__(self, model: nn.Module, optimizer: OptimizerConfig, course: Course) -> None:
        super().__init__()
        self.model = model
        self.optimizer_config = optimizer
        self.course = course
        self.step_size = (0, 0, 0)
        self.tokens_seen: int | None = 0
        self.logged: dict[str, float] = {}
        self.resumed = 0.0
        self._step_sums: dict[str, Tensor] = {}
        self._row: dict[str, float] = {}
        self.strict_loading = False  # a checkpoint holds the trained weights only

    @abstractmethod
    def loss_sum(self, batch: dict[str, Tensor]) -> Tensor:
        """The loss summed over the units of a micro-batch, such as its answer tokens: () float32."""

    def sums(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is summed over the units of a micro-batch: `loss`, and whatever else is logged as its mean: () each."""
        return {"loss": self.loss_sum(batch)}

    def setup(self, stage: str) -> None:
        # Lightning loads a checkpoint before it converts the weights, and would round those of double precision.
        self.trainer.precision_plugin.convert_module(self)

    def configure_model(self) -> None:
        """Lightning calls it after `setup`, and before it loads a checkpoint."""
        if self.device_mesh is not None:
            shard(self.model, self.device_mesh["data_parallel"])

    def on_fit_start(self) -> None:
        # from_pretrained gives evaluation mode and Lightning keeps it: dropout and checkpointing would be silently off.
        self.model.train()

    def on_train_start(self) -> None:
        self.resumed = time.perf_counter()  # Lightning asks callbacks first

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.resumed = time.perf_counter()

    @loud
    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        number = int(batch["number"])
        torch.manual_seed(_mix(self.course.seed, number, rank()))
        accumulation = self.trainer.accumulate_grad_batches
        if self.course.first + number // accumulation != self.trainer.global_step:
            # As Lightning begins anew with a loader that ends too early.
            raise RuntimeError(f"micro-batch {number} came at step {self.trainer.global_step}")
        sums = self.sums(batch)
        before = {} if number % accumulation == 0 else self._step_sums
        self._step_sums = {
            name: before.get(name, torch.zeros_like(value)) + value.detach() / batch["step_weight"]
            for name, value in sums.items()
        }
        if (number + 1) % accumulation == 0:
            self._end_step(self.trainer.global_step + 1, batch)
        return share_of_step(sums["loss"], batch["step_weight"], ranks=world_size(), accumulation=accumulation)

    def _end_step(self, step: int, batch: dict[str, Tensor]) -> None:
        """Take the means of a whole step, over all its micro-batches and ranks, and what has been seen with it."""
        whole = over_ranks(torch.stack(list(self._step_sums.values())))
        means = dict(zip(self._step_sums, whole, strict=True))
        loss = means["loss"]
        if not torch.isfinite(loss):
            fix = "Lower method.optimizer.lr, clip (trainer.gradient_clip_val), or use a wider precision."
            raise InputError.of(f"step {step}", f"the loss is {float(loss)}", "a finite loss", fix)
        self.log("train/loss", loss, logger=False)  # for the progress bar and the user's callbacks
        tokens, squares, learnt = batch["step_size"].tolist()
        self.step_size = (tokens, squares, learnt)
        if self.tokens_seen is not None:
            self.tokens_seen += tokens
        self._row = {}
        if step % self.trainer.log_every_n_steps == 0:
            schedule: Any = self.lr_schedulers()
            seen, examples = batch["examples_seen"].tolist()
            self._row = {f"train/{name}": float(mean) for name, mean in means.items()}
            self._row["train/learning_rate"] = float(schedule.get_last_lr()[0])
            self._row["train/epoch"] = seen / examples
            if self.tokens_seen is not None:
                self._row["train/tokens"] = self.tokens_seen

    @loud
    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Log the step: its gradients are whole now, added up over micro-batches and ranks, and not yet clipped."""
        if not self._row:
            return
        weights = (weight for group in optimizer.param_groups for weight in group["params"])
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        # Of gradients of which this rank has its rows it is a sum that is still to be made.
        self._row["train/gradient_norm"] = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        self.logged = self._row
        # Not by self.log: it numbers steps from 0 and under accumulation takes the last micro-batch for the step.
        if self.trainer.is_global_zero:
            for logger in self.loggers:
                logger.log_metrics(self._row, step=self.trainer.global_step + 1)

    def configure_optimizers(self) -> Any:
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None
        return self.optimizer_config.build(self.model, self.course.total_steps, fused=not scaled)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.tokens_seen = checkpoint.get(_TOKENS_SEEN)
        if self.tokens_seen is None:
            console.complain("note: the run began with a version that did not count tokens: it goes on without them")

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint[_TOKENS_SEEN] = self.tokens_seen
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        # Of no use to a continuation: those of ours have none, and the time that Lightning's timer has seen pass was
        # that of another process.
        checkpoint["callbacks"] = {}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}


def _mix(*numbers: int) -> int:
    """One seed of several numbers, the same in every process."""
    return int.from_bytes(hashlib.sha256(" ".join(map(str, numbers)).encode()).digest()[:8]) % 2**63
