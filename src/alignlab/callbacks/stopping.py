"""A training that is asked to stop ends after the step it is at, with a checkpoint from which it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import lightning as L
import torch

from alignlab import console
from alignlab.hooks import loud
from alignlab.models.distributed import is_first, over_ranks, world_size
from alignlab.signals import Stopped, asked_to_stop, handled

_AGAIN = 3.0  # seconds after which a signal is another one


class StopOnSignal(L.Callback):
    """Stops the training on Ctrl-C, SIGTERM and SIGUSR1, on all ranks after the same step; a second Ctrl-C at once.

    It has to stand before the tracker among the callbacks, so that no snapshot is begun when time is short; the
    snapshot of that step is taken when the training goes on.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._stack = ExitStack()
        self._steps_begun = False
        self._asked = 0.0
        self._leaving = False
        self._in_snapshot = False
        self._step = 0
        self._trainer: L.Trainer | None = None

    @contextmanager
    def abandonable(self) -> Iterator[bool]:
        """Surrounds the counting of a snapshot: gives whether to count, and leaves it where there is only one rank.

        Several ranks count to the end: one that left would leave the others waiting.
        """
        if self._trainer is not None and self._trainer.global_step >= self._trainer.max_steps:
            yield True  # the last step is done: a run that left out its snapshot would pass for finished
            return
        if self._leaving:
            yield False
            return
        self._in_snapshot = world_size() == 1
        try:
            yield True
        except Stopped:
            if not self._steps_begun or self._trainer is None:  # nothing is lost by ending at once
                raise
            # In this very step: the snapshot of an earlier one could not be taken later.
            self._leaving = self._trainer.should_stop = True
        finally:
            self._in_snapshot = False

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step
        self._trainer = trainer
        # In place of Lightning's own, which would broadcast from within whatever the process is doing, and which would
        # else be those of before to whom ours give way at the end.
        trainer._signal_connector.teardown()
        self._stack.enter_context(handled(self._note))
        if (number := asked_to_stop()) is not None:  # and yet here: Python has dropped what it raised
            raise Stopped(number)

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._steps_begun = True
        known = torch.tensor(self.signal or 0, device=pl_module.device)
        number = int(over_ranks(known, "max"))
        if number:
            self.signal = signal.Signals(number)
            self._leaving = trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._leaving = True

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._stack.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._stack.close()

    def _note(self, number: int) -> None:
        first, self.signal = self.signal is None, self.signal or signal.Signals(number)
        now = time.monotonic()
        # A launcher and a process group may each bring the same one; who sends it again later does not want to wait.
        if not first and (number == signal.SIGINT or now - self._asked > _AGAIN):
            raise Stopped(number)
        self._asked = now if first else self._asked
        if first and is_first():
            # The handler may have come between two parts of a line that is being printed.
            with suppress(OSError):
                os.write(2, b"\nStopping after this step, with a checkpoint (again: at once).\n")
        if self._in_snapshot or (not self._steps_begun and world_size() == 1):
            raise Stopped(number)


def requeue() -> str:
    """Where SLURM has warned of the time limit, put the job into its queue again; what was done, for people.

    Empty outside SLURM.
    """
    job = os.environ.get("SLURM_ARRAY_JOB_ID")
    job = f"{job}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if job else os.environ.get("SLURM_JOB_ID")
    if not job or not is_first():
        return ""
    try:
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
    except OSError as error:
        console.complain(f"SLURM's scontrol cannot be run ({error.strerror}): submit job {job} again yourself.")
        return ""
    if done.returncode:
        reason = (done.stderr.strip() or f"status {done.returncode}").splitlines()[0]
        console.complain(f"SLURM did not requeue job {job} ({reason}): submit it again yourself.")
        return ""
    return f"job {job} is requeued"
