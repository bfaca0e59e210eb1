"""Fine-tune a model and track its neurons: `python -m alignlab.train config=configs/demo.yaml [key=value ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace

from alignlab import console
from alignlab.atomic import write_text
from alignlab.callbacks.pretrained_checkpoint import state_path
from alignlab.config import to_plain, to_yaml
from alignlab.environment import environment
from alignlab.errors import InputError, Problem
from alignlab.experiment import Experiment, PlannedSteps, TrainConfig
from alignlab.models.distributed import bequeath, broadcast, inherited, is_first, join, wait_for_all
from alignlab.redaction import hide_all
from alignlab.reporting.closing import show_closing
from alignlab.reporting.estimates import Planned, check_fits
from alignlab.reporting.plan import plan_rows
from alignlab.runs import Start, check_writable
from alignlab.secret_settings import check_settings
from alignlab.verbs import end, run_verb

INTRO = "Fine-tune a language model on question translation and watch its neurons change."


# They are shown, are written by others (W&B; PEFT names the model in every adapter), and are file names.
NAMES = ("run.name", "run.folder", "model.source", "wandb.project", "wandb.entity", "wandb.tags")


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    check_settings(to_plain(config), NAMES)
    experiment = Experiment(config)
    # How a run was started is no part of what it is: the stored config, run as it is, must not replace the run.
    document = to_yaml(replace(config, dry_run=False, overwrite=False, resume="auto"), hide_all)
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
    config.model.check()
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
        weights_at_hand=config.model.weights_at_hand(),
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
        write_text(
            folder.environment, json.dumps(hide_all({**environment(), **experiment.provenance()}), indent=2) + "\n"
        )
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_verb(TrainConfig, run, verb="train", intro=INTRO, argv=sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    end(main())
