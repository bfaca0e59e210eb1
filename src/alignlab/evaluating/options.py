"""What which models are asked, as options; one class for each kind of task."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from alignlab.config import REQUIRED, Options, option, section
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Source
from alignlab.data.sources.choices import ChoiceSource
from alignlab.data.sources.translation import check_request
from alignlab.intervening.options import ControlName, ScopeName
from alignlab.interventions.options import OperationOptions, ZeroOptions
from alignlab.labels import LABELS_MEANING, Labelled, LabelsOptions
from alignlab.languages import check_codes
from alignlab.models.options import ModelOptions, PrecisionName, SiteName
from alignlab.neurons.options import Convention, IdentifierOptions, TernaryOptions
from alignlab.options import check_folder, check_name
from alignlab.recording.options import ProbeOptions, Scope

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


class Translation(Options):
    """Sentences that a model translates, from the reference into every other language or back: BLEU and chrF++."""

    name: Literal["translation"] = "translation"
    source: Source = section(
        _TEST, "parallel text: the prompt of a record is the sentence; sentences of one id say the same"
    )
    direction: Literal["from_reference", "into_reference"] = option(
        "from_reference", "from the reference into every other language of the source, or from each of these into it"
    )
    template: str = option(
        "Translate the following sentences from {source} to {target}.\n{text}\n",
        "what is asked; {text}, {source} and {target} (English names), {source_code} and {target_code} are filled in",
        check=check_request,
    )
    prompts: Prompts | None = section(None, "how a request becomes text, such as a chat template; null leaves it")
    tokenizer: str | None = option(
        None, "by which BLEU is counted, as sacrebleu calls it, such as flores200; null takes that of the language"
    )
    max_texts: int = option(250, "sentences, the same ones in every language", unit="sentences", ge=2)
    max_new_tokens: int = option(256, "at which an answer is cut", unit="tokens", ge=1)
    temperature: float = option(0.0, "by which logits are divided; 0 takes the likeliest token", ge=0, le=100)
    top_p: float = option(1.0, "share of probability of the likeliest tokens, of which one is drawn", gt=0, le=1)
    seed: int = option(0, "which sentences are taken, and of the draws", ge=0)


class Mexa(Options):
    """Parallel sentences, of which it is measured how many lie nearest to their translation, at every layer: MEXA."""

    name: Literal["mexa"] = "mexa"
    source: Source = section(
        _TEST, "parallel text, some in the reference: the prompt of a record is the sentence; sentences of one id match"
    )
    pooling: Literal["weighted", "last"] = option(
        "weighted", "how a sentence is embedded: the mean of its tokens, weighted by their place, or the last token"
    )
    max_texts: int = option(100, "sentences, the same ones in every language", unit="sentences", ge=2)
    seed: int = option(0, "which sentences are taken", ge=0)


class Harness(Options):
    """Tasks of lm-evaluation-harness, by name or from files of your own; needs the extra lmeval, and one process."""

    name: Literal["harness"] = "harness"
    task: str = option(
        REQUIRED, "its name there, such as arc_easy; with {language} for the code where a task has one for each"
    )
    languages: list[str] = option(
        REQUIRED,
        "those that take the place of {language}, or the one of a task without it",
        check=lambda codes: check_codes(codes) if codes else "one language or more",
    )
    spelled: dict[str, str] = option({}, "how names of tasks spell a code otherwise, such as {zh: zho_Hans}")
    folder: str | None = option(None, "with task files (.yaml) of your own, beside those that the harness has")
    few_shot: int | None = option(None, "examples before each document; null: as the task says", ge=0)
    chat: bool = option(False, "wrap prompts in the tokenizer's chat template")
    limit: int | None = option(None, "first documents to take of each task; null takes all", unit="documents", ge=1)
    batch_size: int = option(8, "of a forward", unit="requests", ge=1)
    seed: int = option(0, "of the examples, and of what a task draws", ge=0)


EvaluationTask = Annotated[
    Problems | Perplexity | MultipleChoice | Translation | Mexa | Harness, Field(discriminator="name")
]


class InterventionOptions(Options):
    """What is done to a model while it does its tasks: an operation on the neurons that an expression names."""

    neurons: str = option(
        REQUIRED,
        "which ones, such as 'specific(zh) | related(zh)': of the run's counts specific(zh), related(zh) and above(zh) "
        "are the language's, general and selected are for all, zh is all that the identifier finds of it; of a file "
        "the names of its sets; joined by ~ - & | and parentheses",
    )
    sets: str | None = option(None, "file of neuron sets (NeuronSets.save); null: what the run has counted")
    found_at: int | Literal["last"] | None = option(
        None,
        "of the run, by whose counts neurons are found, for every model the same; null: of each checkpoint its own",
        unit="optimiser steps",
        check=lambda step: "a step from 0, last or null" if isinstance(step, int) and step < 0 else None,
    )
    site: SiteName | None = option(None, "where the neurons have to be; null: where the counts or the sets are")
    layers: str | None = option(None, "of the neurons, from 0, such as '0-7, 12'; null takes all")
    operation: OperationOptions = section(ZeroOptions, "what becomes of their activations")
    language: str | None = option(
        None,
        "whose mean activations add, replace and diff_mean take, of the documents on which neurons were found; null: "
        "that which `neurons` names, where it names one",
    )
    scope: ScopeName = option("all", "tokens at which they are changed: all, those of the prompt, or those behind it")


class EvaluateOptions(Labelled):
    """What models can do: tasks asked of checkpoints of a run, or of any models, with or without interventions."""

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
    interventions: dict[str, InterventionOptions] = section(
        {}, "under what every task is done besides, by names of your own; each is compared with the model as it is"
    )
    controls: list[ControlName] = option(
        ["random", "matched"],
        "neurons of no language that are changed in the place of those of each intervention, as many in every layer: "
        "drawn at random, or alike in how often they are active in its language",
        check=lambda names: "each once" if len(set(names)) < len(names) else None,
    )
    seeds: int = option(5, "draws of each control; a verdict takes two or more", unit="draws", ge=1, le=1000)
    among: int = option(10, "a matched neuron is drawn among so many that are nearest", ge=1)
    identifier: IdentifierOptions = section(TernaryOptions, "how neurons are found; by default as in the run")
    kinds: Convention = option("paper", "which neurons count as of a kind, as in alignlab.analyze")
    probe: ProbeOptions = section(ProbeOptions, "the text on which the run has counted its neurons; as in the run")
    identify_shards: list[int] | None = option(
        None, "shards of the probe by whose counts neurons are found; null takes every other one, from 0"
    )
    same_documents: bool = option(
        False, "find neurons on all shards, and do not leave out what shares an id or a cluster with the probe"
    )
    max_tokens_per_batch: int = option(
        8192, "of a forward, padding, all tokens that may come and all arms included", unit="tokens", ge=1
    )
    labels: LabelsOptions = section(LabelsOptions, f"{LABELS_MEANING}; by default as in the run")
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
