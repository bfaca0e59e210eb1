"""The loss of examples that are held out, while a model trains."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import lightning as L
import torch

from alignlab import console
from alignlab.data.batching import token_budget_batches
from alignlab.data.training import TrainingData
from alignlab.hooks import loud
from alignlab.methods.base import AlignmentModule
from alignlab.models.distributed import over_ranks
from alignlab.models.modes import evaluating
from alignlab.models.sharding import dealt


class ValidationLoss(L.Callback):
    """Measures the method's loss on the examples held out, in evaluation mode, and logs it as `validation/loss`.

    It is the mean over all their units, such as answer tokens or pairs; what else the method logs of a step is logged
    of them too.

    Where a stage of a training begins after another, the numbers of that step are those of the stage before, on its own
    examples. Its first ones are logged as `validation/start/loss`, as `train/loss` is: with the step that comes next.

    data: whose `validation` is measured.  steps: when.  pad_id: fills batches of at most `max_tokens` tokens.
    first: steps of the run before the stage.
    """

    def __init__(
        self, data: TrainingData, steps: Collection[int], *, pad_id: int, max_tokens: int, first: int = 0
    ) -> None:
        self.data = data
        self.steps = frozenset(steps)
        self.first = first
        self.pad_id = pad_id
        self._batches = token_budget_batches([len(example) for example in data.validation], max_tokens)
        self._weight = sum(data.kind.weight(example) for example in data.validation)
        self._done = 0  # the step that was last measured, or at which an earlier process ended

    @loud
    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._done = trainer.global_step
        if trainer.global_step == 0:
            self._log(trainer, pl_module, "validation/", 0, "at step 0")
        elif trainer.global_step == self.first:
            step = self.first + 1
            self._log(trainer, pl_module, "validation/start/", step, f"before step {step}, the first of the stage")

    @loud
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step in self.steps and trainer.global_step != self._done:
            self._done = trainer.global_step
            self._log(trainer, pl_module, "validation/", self._done, f"at step {self._done}")

    def _log(self, trainer: L.Trainer, pl_module: L.LightningModule, section: str, step: int, when: str) -> None:
        means = self.measure(trainer, pl_module)
        console.say(f"Validation loss {when}: {means['loss']:.4f}")
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.log_metrics({f"{section}{name}": mean for name, mean in means.items()}, step=step)

    def measure(self, trainer: L.Trainer, module: Any) -> dict[str, float]:
        """The means over all units by name; every rank has to call it. Batches are dealt to the ranks in turn."""
        assert isinstance(module, AlignmentModule)
        sums: dict[str, torch.Tensor] = {}
        # Also where forwards are not collective: of its batch every rank learns what there is to add up.
        for numbers, counts in dealt(self._batches, collective=True):
            batch = self.data.kind.collate([self.data.validation[number] for number in numbers], self.pad_id)
            batch["index"] = torch.tensor(numbers) + len(self.data.examples)
            on_device = {name: tensor.to(module.device) for name, tensor in batch.items()}
            with torch.no_grad(), evaluating(module), trainer.precision_plugin.forward_context():
                found = module.sums(on_device)
            for name, value in found.items():
                sums[name] = sums.get(name, torch.zeros((), dtype=torch.float64)) + counts * value.double().cpu()
        whole = over_ranks(torch.stack(list(sums.values())).to(module.device)).tolist()
        return {name: total / self._weight for name, total in zip(sums, whole, strict=True)}
