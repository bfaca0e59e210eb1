"""The options of `train`, `analyze` and `report`. Like all modules called options this one imports no torch."""

from __future__ import annotations

import re
from typing import Any, Literal

from alignlab.analysis.options import USUAL, AnalysisName, CountsFormat
from alignlab.config import REQUIRED, Options, option, section
from alignlab.console import has_controls
from alignlab.data.options import DataConfig
from alignlab.errors import InputError, Problem
from alignlab.evaluation.options import EvaluationOptions
from alignlab.labels import LABELS_MEANING, Labelled, LabelsOptions
from alignlab.languages import check_codes
from alignlab.methods.options import MethodOptions, QuestionTranslationOptions
from alignlab.models.options import ModelOptions, PrecisionName
from alignlab.neurons.options import Convention, IdentifierOptions, TernaryOptions
from alignlab.recording.options import Denominator, ProbeOptions, Statistic, TextsOptions
from alignlab.reporting.options import WandbOptions
from alignlab.trainer_options import StageTrainerOptions, TrainerOptions

MOST_RUNS = 4
REFERENCE_MEANING = "language that the others are aligned to, neither trained nor unseen; null: as the counts say"
_LONGEST = 255  # bytes of a name, on every usual file system


def check_name(name: str) -> str | None:
    """What the name of a run has to be, if this is none: the run's folder is called so."""
    if not 0 < len(name.encode(errors="surrogateescape")) <= _LONGEST:
        return f"a name of 1 to {_LONGEST} bytes"
    if "/" in name or name in {".", ".."} or has_controls(name):
        return "a name without / and control characters (folders go into run.folder)"
    return None


def check_folder(folder: str) -> str | None:
    """What a folder has to be called, if this one cannot be made."""
    parts = folder.split("/")
    if any(len(part.encode(errors="surrogateescape")) > _LONGEST for part in parts):
        return f"names of at most {_LONGEST} bytes"
    return "a path without control characters" if has_controls(folder) else None


class RunConfig(Options):
    """Where the run is kept."""

    name: str = option("run", "name of the run, without secrets: W&B shows it", check=check_name)
    folder: str = option("runs/${run.name}", "folder of the run", check=check_folder)


class TrackerConfig(Options):
    """When neurons are looked at."""

    every_n_steps: int | None = option(
        100,
        "snapshot this often, beside the first and the last step; null: those two only",
        unit="optimiser steps",
        ge=1,
    )
    loss: bool = option(True, "also measure the loss of the counted tokens of each language")
    statistics: list[Statistic] = option(
        ["documents"],
        "counted beside the firings of each neuron: documents, those with a firing; moments, sum and sum of squares of "
        "its activations; maximum, the highest of them",
    )


class CheckpointConfig(Options):
    """When the weights are saved."""

    every_n_steps: int | None = option(
        None, "save this often, beside the last step; null: whenever there is a snapshot", unit="optimiser steps", ge=1
    )
    keep_last: int | None = option(
        None, "keep this many of the last, and those of steps with a snapshot; null keeps all", ge=1
    )
    best: str | None = option(
        None,
        "logged number by which one checkpoint is kept and named as the best, such as capability/trained/right",
    )
    best_mode: Literal["max", "min"] = option("max", "whether the highest or the lowest is best")


class StoppingConfig(Options):
    """When the training ends before its last step."""

    monitor: str = option(REQUIRED, "logged number that is looked at, such as capability/trained/right")
    mode: Literal["max", "min"] = option("max", "whether the highest or the lowest is best")
    patience: int = option(3, "values in a row without a new best after which the training ends", unit="values", ge=1)
    min_delta: float = option(0.0, "by more than which a value has to exceed the best", ge=0)


class StageOptions(Options):
    """A part of a training: on data and by a method of its own, from the weights that the stage before ended with."""

    data: DataConfig = section(DataConfig, "what it is trained on; what is not set is as in data")
    method: MethodOptions = section(QuestionTranslationOptions, "how it is trained; what is not set is as in method")
    stopping: StoppingConfig | None = section(
        None, "when it ends before its last step; what is not set is as in stopping"
    )
    trainer: StageTrainerOptions = section({}, "its length and gradients; what is not set is as in trainer")
    adapter: Literal["merge", "carry"] = option(
        "merge",
        "what becomes of the adapter of the stage before; merge: it is merged into the weights, and a new one begins; "
        "carry: it is trained on",
    )


class TrainConfig(Labelled):
    """Everything about a training run."""

    dry_run: bool = option(False, "print the plan and stop")
    resume: Literal["auto", "never"] = option("auto", "auto: continue an unfinished run of the same config")
    overwrite: bool = option(False, "replace a run that is in the folder")
    seed: int = option(0, "of the order of examples, the adapters' start and the dropout", ge=0, lt=2**32)
    run: RunConfig = section(RunConfig, "where the run is kept")
    reference: str | None = option(
        "en",
        "language (or label) that the others are to be aligned to, neither trained nor unseen in tables; null for none",
        check=check_codes,
    )
    labels: LabelsOptions = section(LabelsOptions, LABELS_MEANING)
    model: ModelOptions = section(ModelOptions, "which model is fine-tuned")
    data: DataConfig = section(DataConfig, "what is trained on")
    method: MethodOptions = section(QuestionTranslationOptions, "how it is trained")
    stages: dict[str, StageOptions] = section(
        {},
        "parts of the training, one after another, by name; each is laid over data, method, stopping and trainer, has "
        "an optimiser and a schedule of its own, and goes on from the weights of the one before",
        inherits=("data", "method", "stopping"),
    )
    probe: ProbeOptions = section(ProbeOptions, "on which text neurons are counted")
    tracker: TrackerConfig = section(TrackerConfig, "when neurons are looked at")
    evaluation: EvaluationOptions | None = section(None, "problems that the model answers while it trains; null: none")
    identifier: IdentifierOptions = section(TernaryOptions, "how neurons are classified")
    stopping: StoppingConfig | None = section(None, "when the training ends before its last step; null: never")
    checkpoints: CheckpointConfig = section(CheckpointConfig, "when the weights are saved")
    wandb: WandbOptions = section(WandbOptions, "Weights & Biases")
    trainer: TrainerOptions = section({"max_epochs": 1}, "arguments of lightning.Trainer; of others its own defaults")


class ReportConfig(Options):
    """What is reported."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run")
    runs: list[str] = option([], "folders of up to four runs, side by side")
    reference: str | None = option(None, REFERENCE_MEANING)
    intervals: Literal["none", "ends", "all"] = option(
        "ends", "resample shards of documents, for an interval of every count and change: of the first and last, or all"
    )
    resamples: int = option(200, "resamples of each record", ge=2)
    workspace: bool = option(False, "also save a dashboard in the W&B project of the (first) run")
    log: bool = option(False, "also log the page to W&B, as a run of its own that names the (first) run")
    file: str | None = option(None, "where the page is written; null: report.html in the (first) run")
    png: str | None = option(None, "folder to which every figure is written as PNG too, with an installed Chromium")

    @property
    def folders(self) -> list[str]:
        """All runs. Raises InputError for none or too many."""
        folders = [*([self.run] if self.run is not None else []), *self.runs]
        if not 0 < len(folders) <= MOST_RUNS:
            fix = "Write run=runs/demo, or runs=[runs/a,runs/b]."
            raise InputError(Problem("run", f"{len(folders)} runs", f"1 to {MOST_RUNS}", fix))
        return folders


def _neurons(values: Any) -> str | None:
    good = isinstance(values, list) and all(re.fullmatch(r"\d+\.\d+", str(value)) for value in values)
    return None if good else "layers and neurons from 0, such as ['3.127', '0.5']"


class AnalyzeOptions(Labelled):
    """Everything about an analysis."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, all of whose snapshots are analysed")
    recount: bool = option(False, "count the checkpoints of the run again, on `probe`, instead of its snapshots")
    models: list[str] = option(
        [], "folders or Hub ids of models or PEFT adapters to count and compare, first to last; in a run also steps"
    )
    model: ModelOptions | None = section(
        None, "how models are loaded, and the base of adapters; by default as in the run, or as they say"
    )
    probe: ProbeOptions = section(ProbeOptions, "on which text models are counted; by default as in the run")
    against: ProbeOptions | None = section(None, "a second probe, on which every model is counted too")
    control: ProbeOptions | None = section(
        None, "text of the same languages whose scores identifier.name=attribution subtracts; nothing is counted on it"
    )
    precision: PrecisionName | None = option(None, "of counting; null: as the run was trained, else 32-true")
    counts: str | None = option(None, "file of counts, or folder of published ones")
    counts_format: CountsFormat = option("alignlab", "who wrote `counts`")
    counts_tag: str | None = option(None, "part of the names of published files after the code; null where all agree")
    show_languages: list[str] | None = option(
        None, "languages that tables and page show, of those that are classified; no number changes; null shows all"
    )
    classify_languages: list[str] | None = option(
        None,
        "languages on which neurons are classified, as if no other had been counted; null takes all. Of published "
        "counts the codes in the names of their files",
    )
    shards: list[int] | None = option(None, "groups of documents to count, by number from 0; null takes all")
    trained: list[str] | None = option(
        None, "languages in training; null takes those that the counts or checkpoints name"
    )
    reference: str | None = option(None, REFERENCE_MEANING)
    labels: LabelsOptions = section(LabelsOptions, f"{LABELS_MEANING}; by default as in the run")
    identifier: IdentifierOptions = section(TernaryOptions, "how neurons are classified; by default as in the run")
    denominator: Denominator | None = option(
        None, "of counts at experts.act, of what probabilities are shares: all tokens, or routed ones; null: as counted"
    )
    kinds: Convention = option(
        "paper",
        "which neurons count as of a kind; paper: specific and related from the selection, general from all; "
        "selection: from the selection; all: from all, by degree",
    )
    analyses: list[AnalysisName] = option(USUAL, "what is asked")
    neurons: list[str] = option(
        [], "neurons of single_neuron_profile, and of texts, as layer.neuron from 0", check=_neurons
    )
    texts: TextsOptions | None = section(
        None, "which text drives the neurons of the last record, read once more for it; null: not asked"
    )
    intervals: Literal["none", "ends", "all"] = option(
        "none", "resample shards of documents, for an interval of every count and change: of the first and last, or all"
    )
    resamples: int = option(200, "resamples of each record", ge=2)
    seed: int = option(0, "of the resamples", ge=0)
    log: bool = option(False, "also log to W&B, as a run of its own that names the run that is analysed")
    wandb: WandbOptions = section(WandbOptions, "Weights & Biases, where log is true; by default as in the run")
    folder: str | None = option(
        None, "where tables and sets are written; null: analysis/<identifier>-<digest> in the run, else in runs/"
    )
