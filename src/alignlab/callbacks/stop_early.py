"""A training ends when a logged number has not got better for some time; and which step had the best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import lightning as L
import torch

from alignlab import console
from alignlab.callbacks.schedule import ScheduledCallback
from alignlab.errors import InputError, did_you_mean
from alignlab.hooks import loud
from alignlab.models.distributed import from_first, over_ranks
from alignlab.reporting.metrics_csv import OF_MODEL, MetricsCsv

Mode = Literal["max", "min"]
History = Sequence[tuple[int, float]]


def best_of(history: History, mode: Mode, min_delta: float = 0.0) -> tuple[int, float] | None:
    """The step with the best number, and this: the first that no later one exceeds by more than `min_delta`.

    history: steps and numbers, in order.  None without a number; what is not finite is never the best.
    """
    found: tuple[int, float] | None = None
    for step, value in history:
        if math.isfinite(value) and (found is None or _gain(value, found[1], mode) > min_delta):
            found = step, value
    return found


def of_stage(history: History, key: str, first: int) -> History:
    """What a stage has logged of a number that began after step `first`, 0 for the whole run.

    What is measured of the model on text that all stages share counts at that step too: there the stage begins. Losses
    of that step are of the stage before, on other text.
    """
    begins = first if key.startswith(OF_MODEL) or not first else first + 1
    return [(step, value) for step, value in history if step >= begins]


@dataclass(frozen=True)
class Rule:
    """When a training ends: when of the last `patience` values of a logged number none was a new best.

    monitor: its key, such as `capability/trained/right`.  mode: whether the highest or the lowest is best.
    min_delta: by more than which a value has to exceed the best.
    """

    monitor: str
    mode: Mode = "max"
    patience: int = 3
    min_delta: float = 0.0


@dataclass(frozen=True)
class Stop:
    """Why a training has ended before its last step.

    monitor, value: the number and its value at the end.  best, best_step: its best, and where.  rule: in words.
    """

    monitor: str
    value: float
    best: float | None
    best_step: int | None
    rule: str


def reason_to_stop(history: History, rule: Rule) -> Stop | None:
    """Why a training is to end by the numbers that it has logged up to now; None where it goes on."""
    best = best_of(history, rule.mode, rule.min_delta)
    since = sum(best is None or step > best[0] for step, _ in history)
    if since < rule.patience:
        return None
    more = f" by more than {rule.min_delta}" if rule.min_delta else ""
    better = "higher" if rule.mode == "max" else "lower"
    return Stop(
        monitor=rule.monitor,
        value=history[-1][1],
        best=None if best is None else best[1],
        best_step=None if best is None else best[0],
        rule=f"{rule.monitor} has not been {better}{more} for {rule.patience} time{'s' * (rule.patience > 1)} in a row",
    )


class StopEarly(L.Callback):
    """Ends the training by a rule on a logged number, on all ranks after the same step.

    It has to stand behind all that log the number. The history of a continued run is that of its `metrics.csv`.

    metrics: where the number is logged.
    first: steps of the run before this stage of it; what was logged before does not count (`of_stage`).
    last_looks: callbacks that are to have looked at the model at the end.
    """

    def __init__(
        self,
        rule: Rule,
        metrics: MetricsCsv,
        last_looks: Sequence[ScheduledCallback] = (),
        first: int = 0,
    ) -> None:
        self.rule = rule
        self.metrics = metrics
        self.first = first
        self.last_looks = last_looks
        self.stop: Stop | None = None
        self._step = 0
        self._checked = False

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step
        if self._step:
            # It may have been killed between its last step and the word that it has ended.
            self._look(trainer, pl_module)

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not self._checked:
            from_first(lambda: self._check() if trainer.is_global_zero else None)
            self._checked = True
        self._look(trainer, pl_module)

    def _look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        history = of_stage(
            self.metrics.history(self.rule.monitor) if trainer.is_global_zero else [], self.rule.monitor, self.first
        )
        # Only where the number is new: what was decided on before is not decided on again at every step.
        found = reason_to_stop(history, self.rule) if history and history[-1][0] == self._step else None
        if not int(over_ranks(torch.tensor(int(found is not None), device=pl_module.device), "max")):
            return
        self.stop = Stop(**from_first(lambda: asdict(found) if found is not None else {}))
        trainer.should_stop = True
        for callback in self.last_looks:
            if not callback.taken(self._step):
                callback.look_and_log(trainer, pl_module)
        console.say(f"\nThe training ends after step {self._step}: {self.stop.rule}.")

    def _check(self) -> None:
        """Refuse a number that nothing logs; some are logged only where the training is validated."""
        keys = self.metrics.keys
        if self.rule.monitor in keys or self.rule.monitor.startswith("validation/"):
            return
        near = did_you_mean(self.rule.monitor, keys)
        expected = "a number that is logged" if near else f"one of: {', '.join(sorted(keys))}"
        raise InputError.of("stopping.monitor", f"nothing logs {self.rule.monitor!r}", expected, near)


def _gain(value: float, best: float, mode: Mode) -> float:
    return value - best if mode == "max" else best - value
