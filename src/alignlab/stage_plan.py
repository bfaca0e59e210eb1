"""What a stage of a training run will be: its text, its method and its steps. A run without stages is one of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import check_padding, check_vocabulary
from alignlab.data.overlap import Evaluated
from alignlab.data.training import TrainingData, load_training
from alignlab.errors import InputError, Problem
from alignlab.methods.base import Method
from alignlab.methods.registry import method_of
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.options import TrainConfig
from alignlab.trainer_options import MOST_STEPS


@dataclass
class StagePlan:
    """What a stage will be, each part made once, when it is first asked for.

    config: as that of a run of its own.  name: empty where the run has no stages.
    carries: whether it goes on with the adapter of the stage before.
    held_out_seed: by which examples are held out, the same in all stages: what one holds out of some text, no other
        that holds out the same share of it trains on.
    evaluated: documents that are looked for in the training text, where there are any.
    """

    config: TrainConfig
    model: ModelConfig
    tokenizer: Any
    name: str = ""
    carries: bool = False
    held_out_seed: int = 0
    evaluated: Evaluated | None = None

    @cached_property
    def method(self) -> Method:
        return method_of(self.config.method)

    @property
    def method_in_words(self) -> str:
        """Its name, and which weights it trains."""
        return f"{self.config.method.name}, {self.config.method.trainable}"

    @cached_property
    def training(self) -> TrainingData:
        examples = self.method.examples
        seed, evaluated = self.held_out_seed, self.evaluated
        return load_training(self.config.data, self.tokenizer, examples, seed=seed, evaluated=evaluated)

    @cached_property
    def trained_languages(self) -> tuple[str, ...]:
        """Languages of the training prompts, most frequent first in the data's order."""
        return tuple(dict.fromkeys(text.language for text in self.training.documents))

    @cached_property
    def shapes(self) -> nn.Module:
        """The prepared model on the meta device: all its shapes, no weights, whatever the text is."""
        if self.config.model.four_bit and self.config.method.trainable != "lora":
            found = f"{self.config.method.trainable}, and model.four_bit is true"
            fix = "Weights of 4 bits cannot be trained."
            raise InputError(Problem("method.trainable", found, "lora, or model.four_bit=false", fix))
        model = self.model.build_meta()
        check_padding(self.tokenizer.pad_token_id, embedding_rows(model))
        with torch.device("meta"):
            prepared: nn.Module = self.method.prepare(model)
        return prepared

    @cached_property
    def outline(self) -> nn.Module:
        """The same, of a model that knows all tokens of the text."""
        documents = [*self.training.documents, *self.training.validation_documents]
        check_vocabulary(documents, embedding_rows(self.shapes))
        return self.shapes

    @property
    def accumulation(self) -> int:
        return int(self.config.trainer.get("accumulate_grad_batches", 1))

    @cached_property
    def total_steps(self) -> int:
        """Its optimiser steps: `trainer.max_steps`, or else what `trainer.max_epochs` makes."""
        max_steps, max_epochs = self.config.trainer.get("max_steps"), self.config.trainer.get("max_epochs")
        if isinstance(max_steps, int) and max_steps > 0:
            return max_steps
        if max_steps in (None, -1) and isinstance(max_epochs, int | float) and max_epochs > 0:
            steps = self.training.steps_of_epochs(self.config.data.examples_per_step, max_epochs)
            if steps > MOST_STEPS:
                found = f"{max_epochs} are {steps:.3g} steps"
                raise InputError(Problem("trainer.max_epochs", found, f"at most {MOST_STEPS:,} steps"))
            return steps
        found = f"max_steps is {max_steps!r} and max_epochs {max_epochs!r}"
        raise InputError(Problem("trainer", found, "a number over 0 in one of them, so that the run has an end"))

    @cached_property
    def steps(self) -> StepPlan:
        """Which examples every step takes."""
        return self.training.plan(self.config.data.examples_per_step, self.total_steps, self.config.seed)

    def check(self) -> None:
        """Raise InputError for whatever is wrong with its data, its length and what it trains."""
        assert self.steps.total_steps
        assert self.outline is not None
