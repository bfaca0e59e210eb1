"""What is trained on, as options."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from alignlab.config import Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source, TrainingSource, WordProblems


class ValidationOptions(Options):
    """Examples that are not trained on: a part of the training data, or a source of their own."""

    share: float | None = option(None, "share of the training examples, in whole clusters", gt=0, lt=1)
    examples: int | None = option(None, "number of them instead", unit="examples", ge=1)
    source: Source | None = section(None, "records of their own instead")
    prompts: Prompts | None = section(None, "how these become text; null: as data.prompts")
    every_n_steps: int | None = option(
        None,
        "measure the loss this often, beside the first and the last step; null: at every snapshot",
        unit="optimiser steps",
        ge=1,
    )
    max_tokens_per_batch: int = option(8192, "tokens of a batch, padding included", unit="tokens", ge=1)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [name for name in ("share", "examples", "source") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"{' and '.join(given) or 'nothing'} is set; expected one of share, examples, source")
        return self


class DataConfig(Options):
    """What is trained on, and in which portions."""

    root: str | None = option(None, "folder for use as ${data.root} in other keys")
    train: TrainingSource = section(WordProblems, "where the training records come from")
    prompts: Prompts = section(Prompts, "how a record becomes text")
    validation: ValidationOptions | None = section(None, "examples held out, of which the loss is measured")
    examples_per_step: int = option(
        32, "examples of an optimiser step, over ranks and accumulation", unit="examples", ge=1, le=1_000_000
    )
    max_length: int = option(512, "tokens at which an example is cut", unit="tokens", ge=2, le=10_000_000)
    workers: int = option(0, "processes that prepare batches", ge=0, le=1024)
