"""What which models are asked, as options; one class for each kind of task."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from alignlab.config import REQUIRED, Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source
from alignlab.data.sources.choices import ChoiceSource
from alignlab.languages import check_codes
from alignlab.models.options import ModelOptions, PrecisionName
from alignlab.options import check_folder, check_name
from alignlab.recording.options import Scope

_TEST = {"name": "builtin:wordproblems", "split": "test"}
_TASK_NAME = re.compile(r"\w[\w-]*")


class Problems(Options):
    """Problems whose answers end with a number: how many are right, and the language of the answers."""

    name: Literal["problems"] = "problems"
    source: Source = section(_TEST, "where the problems come from, with the right answers")
    prompts: Prompts = section(Prompts, "how a problem becomes text")
    max_texts: int = option(250, "problems of each language", unit="problems", ge=1)
    max_new_tokens: int = option(256, "at which an answer is cut", unit="tokens", ge=1)
    temperature: float = option(0.0, "by which logits are divided; 0 takes the likeliest token", ge=0, le=100)
    top_p: float = option(1.0, "share of probability of the likeliest tokens, of which one is drawn", gt=0, le=1)
    seed: int = option(0, "which problems are taken, and of the draws", ge=0)


class Perplexity(Options):
    """Text of which the likelihood is measured: nats a token, and perplexity."""

    name: Literal["perplexity"] = "perplexity"
    source: Source = section(_TEST, "where the text comes from")
    prompts: Prompts = section(Prompts, "how a record becomes text")
    scope: Scope = option("all", "tokens that count: all, or those of the answer")
    count_special_tokens: bool = option(False, "count BOS, EOS and template tokens too")
    max_texts: int = option(250, "documents of each language", unit="documents", ge=1)
    max_length: int = option(1024, "tokens at which a document is cut", unit="tokens", ge=2)
    seed: int = option(0, "which documents are taken", ge=0)


class MultipleChoice(Options):
    """Questions with options, of which the likeliest is what the model chooses: XCOPA, XWinograd, any file."""

    name: Literal["multiple_choice"] = "multiple_choice"
    questions: ChoiceSource = section(REQUIRED, "where questions, options and what is right come from")
    prompts: Prompts | None = section(None, "how contexts become text, such as a chat template; null leaves them")
    max_texts: int | None = option(None, "questions of each language; null takes all", unit="questions", ge=1)
    seed: int = option(0, "which questions are taken, where not all", ge=0)


EvaluationTask = Annotated[Problems | Perplexity | MultipleChoice, Field(discriminator="name")]


class EvaluateOptions(Options):
    """What models can do: tasks asked of checkpoints of a run, or of any models."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, whose base and checkpoints are asked")
    steps: list[int | Literal["last"]] | None = option(
        None,
        "of the run, such as [0,last]; 0 is the base; null takes all that have a checkpoint",
        unit="optimiser steps",
        check=lambda steps: _check_steps(steps),
    )
    models: list[str] = option(
        [],
        "folders or Hub ids of models or PEFT adapters; changes are since the first; in a run these come behind it",
        check=lambda models: None if len(set(models)) == len(models) else "models, each once",
    )
    model: ModelOptions | None = section(
        None, "how models are loaded, and the base of adapters; by default as in the run, or as they say"
    )
    precision: PrecisionName | None = option(None, "of the passes; null: as the run was trained, else 32-true")
    data: str | None = option(None, "folder that paths of tasks name as ${data}")
    tasks: dict[str, EvaluationTask] = section({}, "what is asked, by names of your own; `name` says of which kind")
    max_tokens_per_batch: int = option(
        8192, "of a forward, padding and all tokens that may come included", unit="tokens", ge=1
    )
    trained: list[str] | None = option(
        None, "languages in training, for the groups of tables; null: as the run or the models say", check=check_codes
    )
    reference: str | None = option(
        None,
        "language that the others are aligned to, neither trained nor unseen; null: as they say, else en",
        check=lambda code: check_codes([code]),
    )
    languages: list[str] | None = option(
        None,
        "languages of the tables and of their groups, of those that are measured; null takes all; asks no model again",
        check=lambda codes: check_codes(codes) if codes else "one language or more, or null",
    )
    name: str = option("evaluation", "of the results' folder, in evaluations/ of the run", check=check_name)
    folder: str | None = option(
        None, "folder of the results; null: evaluations/NAME in the run, else in runs/", check=check_folder
    )


def is_task_name(name: str) -> bool:
    """Whether a task may be called so: the names are keys of a config."""
    return _TASK_NAME.fullmatch(name) is not None


def _check_steps(steps: list[Any]) -> str | None:
    good = steps and len(set(steps)) == len(steps) and all(step == "last" or step >= 0 for step in steps)
    return None if good else "steps from 0, or last, each once"
