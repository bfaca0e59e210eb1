"""Watch what a model can do while it trains: let it answer problems, check the answers, and log how many are right."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import nn

from alignlab import console
from alignlab.analysis.capability import capability_rows
from alignlab.callbacks.capability_files import CapabilityFiles
from alignlab.callbacks.schedule import ScheduledCallback
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.evaluation.answering import Answered, answer, check_can_answer
from alignlab.evaluation.tasks import Task, build_task
from alignlab.models.distributed import from_first
from alignlab.models.finite import check_finite
from alignlab.models.load import identity
from alignlab.models.modules import find_model
from alignlab.neurons.groups import REFERENCE
from alignlab.recording.counting import Origin
from alignlab.recording.effects import Effects
from alignlab.reporting.capability_table import scalars, show


class CapabilityTracker(ScheduledCallback):
    """Answers to problems in a Lightning training: at step 0, every `every_n_steps` optimiser steps, and at the end.

    The model answers greedily, in batches dealt to all ranks; neither it nor the random numbers of the training change.
    What was right goes, problem by problem, to `<folder>/evaluation/step-*.safetensors`, the answers beside it as
    `.jsonl`, and accuracies with their paired changes since step 0 as `.csv`; the tables of all steps to
    `<folder>/evaluation.csv`. Accuracies go to every logger of the trainer under `capability/...`, such as
    `capability/right/zh` and `capability/trained/right`, with `capability/step` as x-axis, and to the trainer's
    `callback_metrics`; a table to the terminal.

    problems: a `Task`, or records whose answers end with the number that is right.
    tokenizer: needed with records only.
    every_n_steps: optimiser steps between evaluations; None takes the first and the last step only.
    steps: the very steps at which the model answers, instead; a training that ends elsewhere has none there.
    folder: where the folder `evaluation` is made.
    overwrite: replace what an earlier training left in the folder; by default it is refused.
    trained: languages in training.
    reference: the language that they are aligned to; all others of the problems are unseen. Empty for none.
    max_new_tokens: at which an answer is cut; of a `Task` its own.
    model: gives the Hugging Face model of a Lightning module that holds several; by default the one it holds.
    show: print a table at every evaluation.
    abandonable: entered around the answering; gives whether to answer, and may end it by swallowing what is raised.

    Raises `InputError` for records without a tokenizer, or without a number in an answer; at the start of the fit for a
    model that cannot generate, or has too few positions.

        >>> import lightning, torch
        >>> from alignlab import CapabilityTracker
        >>> from alignlab.data.records import Record
        >>> from alignlab.models.load import DEMO_FOLDER
        >>> from transformers import AutoModelForCausalLM, AutoTokenizer
        >>> class Tuning(lightning.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.model = AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
        ...     def training_step(self, batch, index):
        ...         return self.model(input_ids=batch, labels=batch).loss
        ...     def configure_optimizers(self):
        ...         return torch.optim.SGD(self.parameters(), lr=0.1)
        >>> problems = [Record("0", "en", "Anna has 2 apples and buys 3 more. How many has she?", "5")]
        >>> tokenizer = AutoTokenizer.from_pretrained(DEMO_FOLDER)
        >>> tracker = CapabilityTracker(problems, tokenizer, max_new_tokens=8, folder="runs/mine", show=False)
        >>> off = ["logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"]
        >>> trainer = lightning.Trainer(max_steps=2, callbacks=[tracker], **dict.fromkeys(off, False))
        >>> trainer.fit(Tuning(), torch.utils.data.DataLoader(torch.randint(3, 300, (4, 6)), batch_size=2))
        >>> tracker.last.step
        2
    """

    charts = "capability/"

    def __init__(
        self,
        problems: Task | Sequence[Record],
        tokenizer: Any = None,
        *,
        folder: Path | str,
        every_n_steps: int | None = None,
        steps: Collection[int] | None = None,
        overwrite: bool = False,
        trained: Sequence[str] = (),
        reference: str = REFERENCE,
        max_new_tokens: int = 256,
        model: Callable[[Any], nn.Module] | None = None,
        show: bool = True,
        abandonable: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(True),
    ) -> None:
        if not isinstance(problems, Task):
            if tokenizer is None:
                raise InputError.of(type(self).__name__, "records without a tokenizer", "the model's tokenizer")
            problems = build_task(problems, tokenizer, max_new_tokens=max_new_tokens)
        self.task = problems
        self.files = CapabilityFiles(Path(folder))
        self.every_n_steps = every_n_steps
        self.steps = steps
        self.overwrite = overwrite
        self.trained = tuple(trained)
        self.reference = reference
        self.find_model = model or self._find_model
        self.show = show
        self.abandonable = abandonable
        self.first: Effects | None = None
        self.last: Effects | None = None

    def begin(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.first = self.last = None
        step, main = trainer.global_step, trainer.is_global_zero
        check_can_answer(self.task, self.find_model(pl_module))
        if step:
            from_first(lambda: self.files.check_earlier(step, self.task, self.steps or ()) if main else None)
            # Every rank reads for itself what the first has found whole.
            self.first, self.last = self._recalled(0), self._recalled(step)
        else:
            from_first(lambda: self.files.clear(overwrite=self.overwrite) if main else None)

    def taken(self, step: int) -> bool:
        """Whether the last answers are those of this step."""
        return self.last is not None and self.last.step == step

    def look(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, float] | None:
        """Answer, check, write and show, and give the scalars; every rank has to call it.

        Raises InputError for trained weights that are not finite.
        """
        model, step = self.find_model(pl_module), trainer.global_step
        check_finite(model, step)
        name, revision = identity(model)
        answered: Answered | None = None
        with self.abandonable() as wanted:
            if wanted:
                answered = answer(
                    model,
                    self.task,
                    origin=Origin(name, revision, step, self.trained, self.reference),
                    context=trainer.precision_plugin.forward_context,
                    progress=lambda count: console.progress(f"Answering at step {step}", count),
                )
        if answered is None:
            return None
        rows = capability_rows(answered.effects, self.first)
        self.last = answered.effects
        self.first = self.first or answered.effects
        values = scalars(rows)
        trainer.callback_metrics.update({key: torch.tensor(value) for key, value in values.items()})
        if trainer.is_global_zero:
            self.files.write(answered, rows)
            if self.show:
                show(rows)
        return values

    def _recalled(self, step: int) -> Effects | None:
        return self.files.load(step, self.task) if self.files.record(step).is_file() else None

    def _find_model(self, module: nn.Module) -> nn.Module:
        return find_model(module, f"{type(self).__name__}(..., model=lambda module: module.student)")
