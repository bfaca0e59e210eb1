"""Fine-tune a model and track its neurons: `python -m alignlab.train config=configs/demo.yaml [key=value ...]`."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from lightning import Trainer

from alignlab import console
from alignlab.atomic import write_text
from alignlab.callbacks.pretrained_checkpoint import state_path
from alignlab.callbacks.stopping import StopOnSignal, requeue
from alignlab.config import to_plain, to_yaml
from alignlab.environment import differing_sources, differing_versions, environment, read_environment
from alignlab.errors import InputError, Problem
from alignlab.experiment import Experiment, PlannedSteps, TrainConfig
from alignlab.models.distributed import bequeath, from_first, inherited, is_first, join, wait_for_all
from alignlab.neurons.identifiers import require_tau
from alignlab.redaction import hide_all
from alignlab.reporting.closing import show_closing
from alignlab.reporting.estimates import Planned, check_fits
from alignlab.reporting.metrics_csv import read_metrics
from alignlab.reporting.plan import plan_rows
from alignlab.runs import RunFolder, Start, check_writable
from alignlab.secret_settings import check_settings
from alignlab.signals import Stopped
from alignlab.verbs import end, run_verb

INTRO = "Fine-tune a language model on question translation and watch its neurons change."


# They are shown, are written by others (W&B; PEFT names the model in every adapter), and are file names.
NAMES = ("run.name", "run.folder", "model.source", "wandb.project", "wandb.entity", "wandb.tags")


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    check_settings(to_plain(config), NAMES)
    require_tau(config.identifier)
    experiment = Experiment(config)
    # How a run was started is no part of what it is: the stored config, run as it is, must not replace the run.
    document = to_yaml(replace(config, dry_run=False, overwrite=False, resume="auto"), hide_all)
    experiment.check_trainer()
    join()
    with ExitStack() as held:
        start = decide(experiment, document, held)
        if start == "finished" and not config.dry_run:
            console.say(f"{experiment.folder.path} holds this run, finished. Set overwrite=true to run it again.")
            show_closing(experiment.folder)
            return
        planned = show_plan(experiment)
        if config.dry_run:
            console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
            return
        check_fits(planned, experiment.folder.path, on_gpu=experiment.on_gpu)
        config.model.check()
        train(experiment, start, document)


def decide(experiment: Experiment, document: str, held: ExitStack) -> Start:
    """Whether the run is new, goes on or is finished: rank zero looks, the others are told; a refusal is everyone's.

    It looks once it holds the folder, so that what it finds stays so; `held` gives the folder up.
    """
    if (told := inherited()) is not None:
        return told  # type: ignore[no-any-return]
    config, folder = experiment.config, experiment.folder

    def look() -> Start:
        check_writable(folder.path)
        if not config.dry_run:
            held.enter_context(folder.locked())
        return folder.start(document, resume=config.resume, overwrite=config.overwrite)

    start = from_first(look)
    bequeath(start)
    return start


def show_plan(experiment: Experiment) -> Planned:
    """Print what the run will do."""
    config = experiment.config
    planned = Planned(
        model=experiment.outline,
        sites=experiment.sites,
        training=experiment.training,
        plan=experiment.plan,
        probe=experiment.probe,
        trained_languages=experiment.trained_languages,
        snapshot_steps=experiment.snapshot_steps(),
        checkpoints=experiment.checkpoints_kept(),
        accumulation=experiment.accumulation,
        ranks=experiment.ranks,
        gradient_checkpointing=config.model.gradient_checkpointing,
        weights_at_hand=config.model.weights_at_hand(),
        statistics=tuple(config.tracker.statistics),
    )
    console.heading(f"Plan of {config.run.name}")
    console.table([*plan_rows(planned), ("run folder", str(experiment.folder.path))])
    return planned


def train(experiment: Experiment, start: Start, document: str) -> None:
    """Train from the start or from the last checkpoint, to the end."""
    folder = experiment.folder
    made_from = from_first(lambda: hide_all(experiment.provenance()))
    if start == "continue":
        from_first(lambda: check_continued(folder, made_from, experiment.total_steps))
    module = experiment.build_module()
    if is_first() and start == "new":
        # Not before the model is there: a refusal until here leaves the folder as it was.
        folder.clear()
        folder.begin(document)
        write_text(folder.environment, json.dumps(hide_all({**environment(), **made_from}), indent=2) + "\n")
    wait_for_all()
    steps = folder.checkpoint_steps()
    done = steps[-1] if steps else 0
    if done:
        console.say(f"Continuing after step {done}.")
    trainer = experiment.build_trainer(done)
    checkpoint = state_path(folder, done) if done else None
    trainer.fit(module, datamodule=PlannedSteps(experiment), ckpt_path=checkpoint, weights_only=True)
    end_run(experiment, trainer)


def end_run(experiment: Experiment, trainer: Trainer) -> None:
    """Mark a run as finished that has taken its last step, and say what it wrote; say of any other how it goes on."""
    folder, step, total = experiment.folder, trainer.global_step, experiment.total_steps
    stopped = next(one.signal for one in trainer.callbacks if isinstance(one, StopOnSignal))
    if trainer.is_global_zero:
        experiment.close_loggers(trainer, finished=step >= total)
    if step >= total:
        if trainer.is_global_zero:
            folder.finish({"step": step})
        show_closing(folder)
        return
    where = f"after step {step} of {total}, with a checkpoint"
    if stopped is not None:
        queued = requeue() if stopped == signal.SIGUSR1 else ""
        raise Stopped(stopped, f"{where}; {queued}" if queued else where)
    if experiment.config.trainer.get("max_time") is None:
        raise RuntimeError(f"the training ended after step {step} of {total}, and nothing had asked it to")
    console.say(f"\nStopped {where}: trainer.max_time is over. The same command goes on from there.")


def check_continued(folder: RunFolder, made_from: Mapping[str, Any], total_steps: int) -> None:
    """Refuse to go on with other data or another model than the run began with; tell of other versions.

    made_from: what `Experiment.provenance` gives now.
    """
    stored = read_environment(folder.environment)
    if problems := differing_sources(stored, made_from, str(folder.path)):
        raise InputError(*problems)
    for line in differing_versions(stored, hide_all(environment())):
        console.complain(f"note: {line}")
    steps = folder.checkpoint_steps()
    done = steps[-1] if steps else 0
    read_metrics(folder.metrics, done)
    if done and not folder.metrics.is_file():
        console.complain(f"note: {folder.metrics} lacks the steps up to {done}; the run goes on without them")
    if done > total_steps:
        found = f"there is a checkpoint of step {done}, and the run has {total_steps} steps"
        raise InputError(Problem(str(folder.checkpoints), found, "checkpoints of this run", "Move it elsewhere."))


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_verb(TrainConfig, run, verb="train", intro=INTRO, argv=sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    end(main())
