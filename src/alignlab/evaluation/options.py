"""What a model is asked while it trains, as options."""

from __future__ import annotations

from alignlab.config import Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source


class TaskOptions(Options):
    """Problems whose answers end with a number, which the model answers greedily."""

    name: str = option("problems", "of the task, in tables")
    source: Source = section(
        {"name": "builtin:wordproblems", "split": "test"}, "where the problems come from; none may be in training"
    )
    prompts: Prompts = section(Prompts, "how a problem becomes text")
    max_texts: int = option(250, "problems of each language", unit="problems", ge=1)
    max_new_tokens: int = option(256, "at which an answer is cut", unit="tokens", ge=1)
    max_tokens_per_batch: int = option(8192, "size of a batch, padding and answers included", unit="tokens", ge=1)
    seed: int = option(0, "which problems are taken", ge=0)


class EvaluationOptions(TaskOptions):
    """What the model is asked while it trains, and when."""

    every_n_steps: int | None = option(
        None,
        "answer this often, beside the first and the last step; null: whenever neurons are looked at",
        unit="optimiser steps",
        ge=1,
    )


class ObjectOptions(Options):
    """Parallel items whose answers, in every language, are what LSS scores behind the prompt in each."""

    source: Source | None = section(
        None, "where the items come from, with the same id in all languages; null takes that of the problems"
    )
    prompts: Prompts | None = section(None, "how a prompt becomes text; null takes that of the problems")
    delimiter: str | None = option(
        None, "between a prompt and its object; null: nothing behind white space, a space behind anything else"
    )
    max_texts: int = option(100, "items of each language", unit="items", ge=2)
    seed: int = option(0, "which items are taken", ge=0)
