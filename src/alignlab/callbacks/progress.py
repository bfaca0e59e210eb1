"""How far the training is and how fast: on the terminal, and the speed in W&B."""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger

from alignlab import console
from alignlab.hooks import loud
from alignlab.methods.base import AlignmentModule

_STEPS = 20  # over which speeds are taken

PER_SECOND, SHARE, MEMORY = "speed/tokens_per_second", "speed/share_of_matrix_peak", "speed/peak_memory_gb"


@dataclass(frozen=True)
class Peak:
    """What a step's operations are a share of.

    per_second: FLOPs a second of all ranks, as `matrix_peak` measures them.
    flops: of a step, by its `AlignmentModule.step_size`.
    """

    per_second: float
    flops: Callable[[Sequence[int]], int]


class Pace:
    """Tokens and operations a second over the last steps, of the time that was given to steps."""

    def __init__(self, steps: int = _STEPS) -> None:
        self._steps: deque[tuple[float, int, int]] = deque(maxlen=steps)

    def add(self, seconds: float, tokens: int, flops: int = 0) -> None:
        """A step more."""
        self._steps.append((seconds, tokens, flops))

    def per_second(self) -> tuple[float, float]:
        """Tokens and FLOPs."""
        seconds, tokens, flops = (sum(column) for column in zip(*self._steps, strict=True))
        return tokens / seconds, flops / seconds


class EndOfBatch(L.Callback):
    """Notes when a micro-batch is done. The first of all callbacks: what the others then do is no part of it."""

    at = 0.0

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.at = time.perf_counter()


class TrainingProgress(L.Callback):
    """A bar on a terminal, a line every ten seconds elsewhere: optimiser steps done, time left, loss, epoch, speed.

    What depends on the clock goes to `loggers` only, under `speed/`: files that a continued run repeats byte for byte
    have none of it. A step's time begins when all callbacks are done with the one before (`AlignmentModule.resumed`):
    waiting for its batches is part of it, and snapshots, evaluations and checkpoints are not.
    Peak memory is the device's where that is a GPU, else the process's, of rank zero.

    end_of_batch: among the callbacks of the trainer, before all others; this one comes behind all that take time.
    peak: made when the training starts; None where no share of it is to be shown.
    """

    def __init__(
        self,
        total_steps: int,
        end_of_batch: EndOfBatch,
        loggers: Sequence[Logger] = (),
        peak: Callable[[AlignmentModule], Peak | None] = lambda module: None,
    ) -> None:
        self.total_steps = total_steps
        self.end_of_batch = end_of_batch
        self.loggers = loggers
        self.peak = peak
        self._stack = ExitStack()
        self._advance: console.Advance | None = None
        self._step = 0
        self._seconds = 0.0  # of the step's micro-batches up to now
        self._pace = Pace()
        self._peak: Peak | None = None

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        assert isinstance(pl_module, AlignmentModule)
        self._step = trainer.global_step
        self._peak = self.peak(pl_module)
        self._advance = self._stack.enter_context(console.progress("Training", self.total_steps, self._step))

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, AlignmentModule)
        self._seconds += self.end_of_batch.at - pl_module.resumed
        if self._advance is None or trainer.global_step == self._step:
            return
        flops = self._peak.flops(pl_module.step_size) if self._peak is not None else 0
        self._pace.add(self._seconds, pl_module.step_size[0], flops)
        self._seconds = 0.0
        speed = self._speed(pl_module.device)
        loss = trainer.callback_metrics.get("train/loss")
        now = {} if loss is None else {"train/loss": float(loss)}
        self._advance(trainer.global_step - self._step, note=note({**pl_module.logged, **now, **speed}))
        self._step = trainer.global_step
        if self._step % trainer.log_every_n_steps == 0:
            for logger in self.loggers:
                logger.log_metrics(speed, step=self._step)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()

    def _speed(self, device: torch.device) -> dict[str, float]:
        tokens, flops = self._pace.per_second()
        share = {} if self._peak is None else {SHARE: flops / self._peak.per_second}
        return {PER_SECOND: tokens, **share, MEMORY: peak_memory(device) / 1e9}


def note(numbers: Mapping[str, float]) -> str:
    """The numbers as the progress line shows them; what there is none of is left out."""
    shown = {
        "train/loss": "loss {:.3f}",
        "train/gradient_norm": "gradient norm {:.3g}",
        "train/epoch": "epoch {:.2f}",
        "train/tokens": "{:,.0f} tokens",
        PER_SECOND: "{:,.0f} tokens/s",
        SHARE: "{:.0%} of the matrix peak",
        MEMORY: "{:.2f} GB",
    }
    return ", ".join(form.format(numbers[key]) for key, form in shown.items() if key in numbers)


def peak_memory(device: torch.device) -> int:
    """Bytes: the most that torch has held of a GPU, elsewhere that the process has held at all."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
