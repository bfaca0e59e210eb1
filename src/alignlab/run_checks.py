"""Whether a run is still what it was: before it goes on, and where it is found finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from alignlab import console
from alignlab.callbacks.pretrained_checkpoint import LOGGED
from alignlab.environment import differing_sources, differing_versions, environment, read_environment
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.manifest import checksum, verify
from alignlab.marks import is_ours
from alignlab.models.precision import precision_name
from alignlab.neurons.counts_file import check_step
from alignlab.options import TrainConfig
from alignlab.recording.effects import Effects
from alignlab.redaction import hide_all
from alignlab.reporting.metrics_csv import metrics_digest, read_metrics
from alignlab.runs import RunFolder, snapshot_files, step_name, step_of
from alignlab.stages import stage_configs
from alignlab.trainer_options import SHARDED, planned_ranks

# Strategies of Lightning that share out weights in ways of their own.
_SHARDS_OTHERWISE = ("fsdp", "deepspeed", "model_parallel", "xla")
_SHARDED_PRECISIONS = ("32-true", "bf16-true", "16-true", "bf16-mixed")


def check_monitored(config: TrainConfig) -> None:
    """Refuse, before anything runs, to look at a number that this training, or this stage of it, will not log.

    So is a loss of which the highest would be the best: `max` is the default, and would keep the worst checkpoint.
    """
    stages = stage_configs(config)
    asked = []
    for name, stage in stages.items():
        if stage.stopping is not None:
            section = f"stages.{name}.stopping" if name else "stopping"
            asked.append(
                (f"{section}.monitor", stage.stopping.monitor, f"{section}.mode", stage.stopping.mode, [stage])
            )
    if config.checkpoints.best:
        modes = "checkpoints.best_mode", config.checkpoints.best_mode
        asked.append(("checkpoints.best", config.checkpoints.best, *modes, [*stages.values()]))
    problems = []
    for where, key, mode_where, mode, among in asked:
        sections = {
            "train/": "",
            "neurons/": "",
            "capability/": "evaluation" if config.evaluation is None else "",
            "validation/": "data.validation" if all(stage.data.validation is None for stage in among) else "",
        }
        missing = next((section for start, section in sections.items() if key.startswith(start)), None)
        if missing is None:
            expected = f"a key of metrics.csv, which begins with one of {', '.join(sections)}"
            problems.append(Problem(where, f"nothing logs {key!r}", expected))
        elif missing:
            problems.append(Problem(where, f"nothing logs {key!r} without {missing}", fix=f"Set {missing} too."))
        elif mode == "max" and "loss" in key.split("/")[1:]:
            expected = "min, as a loss is the better the lower it is"
            problems.append(Problem(mode_where, f"'max' of {key!r}", expected, f"Set {mode_where}=min."))
    refuse_any(problems)


def check_continued(folder: RunFolder, made_from: Mapping[str, Any], total_steps: int) -> None:
    """Refuse to go on with other data or another model than the run began with; tell of other versions.

    made_from: `RunPlan.provenance` of now.
    """
    stored = read_environment(folder.environment)
    if problems := differing_sources(stored, made_from, str(folder.path)):
        raise InputError(*problems)
    for line in differing_versions(stored, hide_all(environment())):
        console.complain(f"note: {line}")
    steps = folder.checkpoint_steps()
    done = steps[-1] if steps else 0
    if done > total_steps:
        found = f"there is a checkpoint of step {done}, and the run has {total_steps} steps"
        raise InputError(Problem(str(folder.checkpoints), found, "checkpoints of this run", "Move it elsewhere."))
    _check_metrics(folder, done)
    earlier = (folder.checkpoint(step) for step in steps[:-1])  # the last is verified whole before it is loaded
    problems = [
        Problem(str(path), "; ".join(faults), "a whole checkpoint", "Restore it, or remove the folder.")
        for path in earlier
        if (faults := verify(path, deep=False))
    ]
    if problems:
        raise InputError(*problems)


def tell_of_ranks(folder: RunFolder, config: TrainConfig) -> None:
    """Say it where a run goes on with other ranks than it began with."""
    began, now = (planned_ranks(trainer) for trainer in (folder.stored_config().get("trainer", {}), config.trainer))
    if began != now:
        console.complain(
            f"note: the run began on {began} rank{'s' * (began > 1)} and goes on on {now}: its steps are the same but "
            "for rounding, and where dropout falls"
        )


def check_sharding(config: TrainConfig) -> None:
    """Refuse, before anything is loaded, to shard what cannot be sharded, and in ways in which nothing can be counted.

    Raises InputError for all of it.
    """
    asked, where = config.trainer.get("strategy", "auto"), "trainer.strategy"
    if asked.startswith(_SHARDS_OTHERWISE):
        found = f"{asked!r}, under which checkpoints would be incomplete and neurons miscounted"
        fix = f"{SHARDED} shares out weights, gradients and Adam's moments (FSDP2)."
        raise InputError(Problem(where, found, f"auto, ddp, or {SHARDED}", fix))
    if asked != SHARDED:
        return
    problems = []
    devices = config.trainer.get("devices", 1)
    if devices in ("auto", -1):
        fix = "Write trainer.devices=2, say: the plan tells what each of them holds."
        problems.append(Problem("trainer.devices", f"{devices!r}, and {where} is {SHARDED}", "a number of ranks", fix))
    elif planned_ranks(config.trainer) == 1:
        fix = "Set trainer.devices=2 or more, or leave out trainer.strategy."
        problems.append(Problem(where, f"{SHARDED}, and there is one rank", "two ranks or more", fix))
    precision = config.trainer.get("precision")
    if precision is not None and precision_name(precision) not in _SHARDED_PRECISIONS:
        expected = f"one of {', '.join(_SHARDED_PRECISIONS)}"
        problems.append(Problem("trainer.precision", f"{precision!r}, and {where} is {SHARDED}", expected))
    if config.trainer.get("accelerator") == "mps":
        problems.append(Problem("trainer.accelerator", f"'mps', and {where} is {SHARDED}", "cpu or gpu"))
    if config.model.four_bit:
        fix = f"Weights of 4 bits cannot be parted: set model.four_bit=false, or {where}=ddp."
        problems.append(Problem("model.four_bit", f"true, and {where} is {SHARDED}", "false", fix))
    for name, stage in stage_configs(config).items():
        if stage.method.trainable == "neurons":
            key = f"stages.{name}.method.trainable" if name else "method.trainable"
            found = f"neurons, and {where} is {SHARDED}"
            fix = "Rows of some neurons lie on some ranks only: take ddp for them."
            problems.append(Problem(key, found, "lora or full", fix))
    refuse_any(problems)


def faults_of_finished(folder: RunFolder) -> list[str]:
    """What is missing, or not as it was written, in a finished run: a line each.

    Of snapshots the headers are read, of the last checkpoint all, of the others the sizes.
    """
    faults = [f"{path}: there is no such file" for path in (folder.metrics, folder.table) if not path.is_file()]
    faults += [
        f"{path}: it is damaged" for path in (folder.metrics, folder.table) if path.is_file() and not is_ours(path)
    ]
    there = {step_of(path) for path in folder.snapshots()}
    for step in folder.snapshot_steps_expected():
        if step not in there:
            faults.append(f"{folder.neurons / step_name(step)}.safetensors: there is no such file")
    for path in folder.snapshots():
        try:
            check_step(path, step_of(path))
        except InputError as error:
            faults += [str(problem) for problem in error.problems]
    faults += _faults_of_answers(folder)
    steps = folder.checkpoint_steps()
    for step in steps:
        found = verify(folder.checkpoint(step), deep=step == steps[-1])
        faults += [f"{folder.checkpoint(step)}: {fault}" for fault in found]
    for model in folder.merged_models():
        faults += [f"{model}: {fault}" for fault in verify(model, deep=False)]
    return faults if steps else [*faults, f"{folder.checkpoints}: there is no checkpoint any more"]


def _faults_of_answers(folder: RunFolder) -> list[str]:
    """Of what the model answered: the table, and a record with its answers at each step that is in it."""
    records = {step_of(path) for path in snapshot_files(folder.evaluation, "safetensors")}
    if not records and not folder.evaluation.is_dir():
        return []
    table = folder.evaluation_table
    if not table.is_file():
        return [f"{table}: there is no such file"]
    faults = [] if is_ours(table) else [f"{table}: it is damaged"]
    tables = {step_of(path) for path in snapshot_files(folder.evaluation, "csv")}
    for step in sorted(records | tables):
        record, answers = (folder.evaluation / f"{step_name(step)}.{suffix}" for suffix in ("safetensors", "jsonl"))
        try:
            written = Effects.load(record).answers_checksum
        except InputError as error:
            faults += [str(problem) for problem in error.problems]
            continue
        if not answers.is_file():
            faults.append(f"{answers}: there is no such file")
        elif checksum(answers) != written:
            faults.append(f"{answers}: it is damaged")
    return faults


def _check_metrics(folder: RunFolder, done: int) -> None:
    """Refuse a log of which the numbers are not those that the last checkpoint has seen."""
    read_metrics(folder.metrics, done)
    if done and not folder.metrics.is_file():
        console.complain(f"note: {folder.metrics} lacks the steps up to {done}; the run goes on without them")
        return
    logged = folder.checkpoint(done) / LOGGED
    if done and logged.is_file():
        seen = json.loads(logged.read_text(encoding="utf-8"))["metrics"]
        if seen != metrics_digest(folder.metrics, done):
            found = f"its numbers up to step {done} are not those that were logged"
            fix = "Restore it from a copy, or remove it to go on without the numbers of the steps before."
            raise InputError(Problem(str(folder.metrics), found, "the log of this run", fix))
