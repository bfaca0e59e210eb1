"""A training run, from its config to its end: planned, trained and tracked, and what was written said."""

from __future__ import annotations

import json
from contextlib import nullcontext

from alignlab import console
from alignlab.atomic import write_text
from alignlab.callbacks.pretrained_checkpoint import state_path
from alignlab.config import to_yaml
from alignlab.environment import environment
from alignlab.errors import InputError, Problem
from alignlab.experiment import Experiment, PlannedSteps
from alignlab.hiding import hide_secrets
from alignlab.models.distributed import bequeath, broadcast, inherited, is_first, join, wait_for_all
from alignlab.models.load import ModelConfig
from alignlab.options import TrainConfig
from alignlab.reporting.closing import show_closing
from alignlab.reporting.estimates import Planned, check_fits
from alignlab.reporting.plan import plan_rows
from alignlab.runs import Start, check_writable


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    experiment = Experiment(config)
    # How a run was started is no part of what it is: the stored config, run as it is, must not replace the run.
    document = to_yaml(config.model_copy(update={"dry_run": False, "overwrite": False, "resume": "auto"}), hide_secrets)
    experiment.check_trainer()
    join()
    start = decide(experiment, document)
    if start == "finished" and not config.dry_run:
        console.say(f"{experiment.folder.path} holds this run, finished. Set overwrite=true to run it again.")
        show_closing(experiment.folder)
        return
    planned = show_plan(experiment)
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return
    check_fits(planned, experiment.folder.path, on_gpu=experiment.on_gpu)
    ModelConfig.of(config.model).check()
    with experiment.folder.locked() if is_first() else nullcontext():
        train(experiment, start, document)


def decide(experiment: Experiment, document: str) -> Start:
    """Whether the run is new, goes on or is finished: rank zero looks, the others are told; a refusal is everyone's."""
    if (told := inherited()) is not None:
        return told  # type: ignore[no-any-return]
    start: Start | None = None
    refusal: list[Problem] = []
    if is_first():
        config, folder = experiment.config, experiment.folder
        try:
            check_writable(folder.path)
            start = folder.start(document, resume=config.resume, overwrite=config.overwrite)
        except InputError as error:
            refusal = list(error.problems)
    start, refusal = broadcast((start, refusal))
    if refusal:
        raise InputError(*refusal)
    bequeath(start)
    assert start is not None
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
        weights_at_hand=ModelConfig.of(config.model).weights_at_hand(),
        statistics=tuple(config.tracker.statistics),
    )
    console.heading(f"Plan of {config.run.name}")
    console.table([*plan_rows(planned), ("run folder", str(experiment.folder.path))])
    return planned


def train(experiment: Experiment, start: Start, document: str) -> None:
    """Train from the start or from the last checkpoint, to the end."""
    folder = experiment.folder
    if is_first():
        if start == "new":
            folder.clear()
        write_text(folder.config, document)
        write_text(folder.environment, json.dumps({**environment(), **experiment.provenance()}, indent=2) + "\n")
    wait_for_all()
    module = experiment.build_module()
    steps = folder.checkpoint_steps()
    done = steps[-1] if steps else 0
    if done:
        console.say(f"Continuing after step {done}.")
    trainer = experiment.build_trainer(done)
    checkpoint = state_path(folder, done) if done else None
    trainer.fit(module, datamodule=PlannedSteps(experiment), ckpt_path=checkpoint, weights_only=True)
    if trainer.is_global_zero:
        experiment.close_loggers(trainer)
        folder.finish({"step": trainer.global_step})
    show_closing(folder)
