"""Fine-tune a model and track its neurons: `python -m alignlab.train config=configs/demo.yaml [key=value ...]`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from alignlab import console
from alignlab.atomic import write_text
from alignlab.callbacks.pretrained_checkpoint import state_path
from alignlab.config import to_yaml
from alignlab.environment import environment
from alignlab.experiment import Experiment, TrainConfig
from alignlab.models.distributed import world_size
from alignlab.reporting.closing import show_closing
from alignlab.reporting.plan import Planned, plan_rows
from alignlab.runs import Start, check_writable
from alignlab.verbs import run_verb

INTRO = "Fine-tune a language model on question translation and watch its neurons change."


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    experiment = Experiment(config)
    folder = experiment.folder
    document = to_yaml(config)
    check_writable(folder.path)
    start: Start = folder.start(document, resume=config.resume, overwrite=config.overwrite)
    if start == "finished" and not config.dry_run:
        console.say(f"{folder.path} holds this run, finished. Set overwrite=true to run it again.")
        show_closing(folder)
        return
    show_plan(experiment)
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return
    with folder.locked():
        train(experiment, start, document)


def show_plan(experiment: Experiment) -> None:
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
        checkpoints=len(experiment.checkpoint_steps()),
        accumulation=experiment.accumulation,
        ranks=world_size(),
        gradient_checkpointing=config.model.gradient_checkpointing,
        weights_at_hand=config.model.weights_at_hand(),
    )
    console.heading(f"Plan of {config.run.name}")
    console.table([*plan_rows(planned), ("run folder", str(experiment.folder.path))])


def train(experiment: Experiment, start: Start, document: str) -> None:
    """Train from the start or from the last checkpoint, to the end."""
    folder = experiment.folder
    module = experiment.build_module()
    if start == "new":
        folder.clear()
    steps = folder.checkpoint_steps()
    done = steps[-1] if steps else 0
    write_text(folder.config, document)
    write_text(folder.environment, json.dumps({**environment(), **experiment.provenance()}, indent=2) + "\n")
    if done:
        console.say(f"Continuing after step {done}.")
    trainer = experiment.build_trainer(done)
    loader = experiment.build_loader(done)
    trainer.fit(module, loader, ckpt_path=state_path(folder, done) if done else None, weights_only=True)
    folder.finish({"step": trainer.global_step})
    experiment.close_loggers(trainer)
    show_closing(folder)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_verb(TrainConfig, run, verb="train", intro=INTRO, argv=sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
