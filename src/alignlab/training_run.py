"""A training run, from its config to its end: planned, trained and tracked, and what was written said."""

from __future__ import annotations

import json
import signal
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lightning import Trainer
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from alignlab import console
from alignlab.atomic import write_text
from alignlab.building import PlannedSteps, best_checkpoint, build_module, build_trainer, check_trainer, close_loggers
from alignlab.callbacks.pretrained_checkpoint import state_path
from alignlab.callbacks.stop_early import Stop, StopEarly
from alignlab.callbacks.stopping import StopOnSignal, requeue
from alignlab.config import to_plain, to_yaml
from alignlab.environment import environment
from alignlab.errors import InputError
from alignlab.models.distributed import from_first, is_first, join, leave_to_launched, left_by_launcher, wait_for_all
from alignlab.neurons.identifiers import identifier_of, require_tau
from alignlab.options import TrainConfig
from alignlab.redaction import hide_all
from alignlab.reporting.estimates import Planned, check_fits
from alignlab.reporting.metrics_csv import read_metrics
from alignlab.reporting.plan import plan_rows
from alignlab.reporting.run_summary import show_run_summary
from alignlab.run_checks import check_continued, check_monitored, faults_of_finished
from alignlab.run_plan import RunPlan
from alignlab.runs import Start, check_writable
from alignlab.secret_settings import check_settings
from alignlab.signals import Stopped, asked_to_stop, is_end_of_worker

# They are shown, are written by others (W&B; PEFT names the model in every adapter), and are file names.
NAMES = ("run.name", "run.folder", "model.source", "wandb.project", "wandb.entity", "wandb.group", "wandb.tags")


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    check_settings(to_plain(config), NAMES)
    require_tau(identifier_of(config.identifier))
    check_monitored(config)
    plan = RunPlan(config)
    # How a run was started is no part of what it is: the stored config, run as it is, must not replace the run.
    document = to_yaml(config.model_copy(update={"dry_run": False, "overwrite": False, "resume": "auto"}), hide_all)
    check_trainer(plan)
    join()
    with ExitStack() as held:
        start = decide(plan, document, held)
        if start == "finished" and not config.dry_run:
            console.say(f"{plan.folder.path} holds this run, finished. Set overwrite=true to run it again.")
            for line in faults_of_finished(plan.folder) if is_first() else ():
                console.complain(f"note: {line}")
            show_run_summary(plan.folder)
            return
        planned = show_plan(plan)
        if config.dry_run:
            for problem in plan.model.four_bit_problems():
                console.complain(f"note: without dry_run this would be refused: {problem}")
            console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
            return
        check_fits(planned, plan.folder.path, on_gpu=plan.on_gpu)
        plan.model.check()
        train(plan, start, document)


def decide(plan: RunPlan, document: str, held: ExitStack) -> Start:
    """Whether the run is new, goes on or is finished: rank zero looks, the others are told; a refusal is everyone's.

    It looks once it holds the folder, so that what it finds stays so; `held` gives the folder up.
    """
    if (told := left_by_launcher()) is not None:
        return told  # type: ignore[no-any-return]
    config, folder = plan.config, plan.folder

    def look() -> Start:
        check_writable(folder.path)
        folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
        if not config.dry_run:
            held.enter_context(folder.locked())
        if config.dry_run and config.overwrite and (folder.snapshots() or folder.checkpoint_steps()):
            console.complain(f"note: overwrite=true removes the run that is in {folder.path}")
        try:
            return folder.start(document, resume=config.resume, overwrite=config.overwrite)
        except InputError as error:
            if not config.dry_run:
                raise
            console.complain(
                "\n".join(f"note: without dry_run this would be refused: {each}" for each in error.problems)
            )
            return "new"

    start = from_first(look)
    leave_to_launched(start)
    return start


def show_plan(plan: RunPlan) -> Planned:
    """Print what the run will do."""
    planned = plan.planned()
    console.heading(f"Plan of {plan.config.run.name}")
    console.table([*plan_rows(planned), ("run folder", str(plan.folder.path))])
    return planned


def train(plan: RunPlan, start: Start, document: str) -> None:
    """Train from the start or from the last checkpoint, to the end."""
    folder = plan.folder
    made_from = from_first(lambda: hide_all(plan.provenance))
    if start == "continue":
        from_first(lambda: check_continued(folder, made_from, plan.total_steps))
    module = build_module(plan)
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
    elif start == "continue":
        console.say("There is no checkpoint to continue from: the run begins again at step 0.")
    trainer = build_trainer(plan, done)
    checkpoint = Path(from_first(lambda: str(state_path(folder, done)))) if done else None
    try:
        trainer.fit(module, datamodule=PlannedSteps(plan), ckpt_path=checkpoint, weights_only=True)
    except (Stopped, RuntimeError) as error:
        # At once: ranks that Lightning has started would wait for this one.
        if isinstance(trainer.strategy.launcher, _SubprocessScriptLauncher):
            trainer.strategy.launcher.kill(signal.SIGKILL)
        asked = asked_to_stop() or _stopping(trainer).signal
        if asked is not None and is_end_of_worker(error):  # one that has just begun is ended by the signal too
            raise Stopped(asked) from error
        raise
    end_run(plan, trainer)


def end_run(plan: RunPlan, trainer: Trainer) -> None:
    """Mark a run as finished that has taken its last step, and say what it wrote; say of any other how it goes on."""
    folder, step, total = plan.folder, trainer.global_step, plan.total_steps
    stopped = _stopping(trainer).signal
    early = next((one.stop for one in trainer.callbacks if isinstance(one, StopEarly)), None)
    ended = step >= total or (early is not None and stopped is None)
    if trainer.is_global_zero:
        close_loggers(trainer, finished=ended)
    if ended:
        if trainer.is_global_zero:
            folder.finish(_end(plan, step, early))
        show_run_summary(folder)
        return
    where = f"after step {step} of {total}, with a checkpoint"
    if stopped is not None:
        queued = requeue() if stopped == signal.SIGUSR1 else ""
        raise Stopped(stopped, f"{where}; {queued}" if queued else where)
    if plan.config.trainer.get("max_time") is None:
        raise RuntimeError(f"the training ended after step {step} of {total}, and nothing had asked it to")
    console.say(f"\nStopped {where}: trainer.max_time is over. The same command goes on from there.")


def _end(plan: RunPlan, step: int, early: Stop | None) -> dict[str, Any]:
    """What is written down of the end of a run: its last step, why it is not the planned one, the best checkpoint."""
    end: dict[str, Any] = {"step": step}
    if early is not None:
        end |= {"planned_steps": plan.total_steps, "stopped": asdict(early)}
    if (monitor := plan.config.checkpoints.best) is not None:
        rows = read_metrics(plan.folder.metrics, step)
        history = [(at, value) for at, key, value in rows if key == monitor]
        best = best_checkpoint(plan, history, plan.folder.checkpoint_steps())
        if best is None:
            console.complain(f"note: no checkpoint is named as best: nothing logged {monitor!r} at a step that has one")
        end["best"] = None if best is None else {"step": best, "monitor": monitor, "value": dict(history)[best]}
    return end


def _stopping(trainer: Trainer) -> StopOnSignal:
    return next(one for one in trainer.callbacks if isinstance(one, StopOnSignal))
