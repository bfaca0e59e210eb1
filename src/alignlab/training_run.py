"""A training run, from its config to its end: planned, trained and tracked, and what was written said."""

from __future__ import annotations

import gc
import json
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from typing import Any

from lightning import Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher

from alignlab import console
from alignlab.atomic import write_text
from alignlab.building import (
    PlannedSteps,
    StageRun,
    best_checkpoint,
    build_loggers,
    build_module,
    build_trainer,
    check_trainer,
    close_loggers,
)
from alignlab.callbacks.pretrained_checkpoint import STATE, check_state
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
from alignlab.run_checks import (
    check_continued,
    check_monitored,
    check_sharding,
    faults_of_finished,
    tell_of_ranks,
)
from alignlab.run_plan import RunPlan
from alignlab.runs import Start, check_writable
from alignlab.secret_settings import check_settings
from alignlab.signals import Stopped, asked_to_stop, is_end_of_worker
from alignlab.stage_ends import End, last_steps, read_ends, write_ends
from alignlab.stage_start import make_start
from alignlab.stages import check_stages

# They are shown, are written by others (W&B; PEFT names the model in every adapter), and are file names.
NAMES = ("run.name", "run.folder", "model.source", "wandb.project", "wandb.entity", "wandb.group", "wandb.tags")


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    check_settings(to_plain(config), NAMES)
    require_tau(identifier_of(config.identifier))
    check_stages(config)
    check_monitored(config)
    check_sharding(config)
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
    note = plan.config.labels.note
    labels = [("labels", note)] if note else []
    console.table([*plan_rows(planned), *labels, ("run folder", str(plan.folder.path))])
    return planned


def train(plan: RunPlan, start: Start, document: str) -> None:
    """Train from the start or from the last checkpoint, stage after stage, to the end."""
    folder, names = plan.folder, [stage.name for stage in plan.stages]
    made_from = from_first(lambda: hide_all(plan.provenance))
    # Every rank reads them: the copies that Lightning launches cannot be told anything yet.
    steps = folder.checkpoint_steps() if start == "continue" else []
    done = steps[-1] if steps else 0
    ends = read_ends(folder, done, names)
    if start == "continue":
        from_first(lambda: check_continued(folder, made_from, plan.total_steps(last_steps(ends))))
        from_first(lambda: tell_of_ranks(folder, plan.config))
    began, launcher = time.monotonic(), None
    loggers: list[Logger] = []
    while True:
        run = StageRun(plan, last_steps(ends))
        if run.ends:
            from_first(partial(make_ready, run, done))
        module = build_module(run)
        if is_first() and start == "new" and not loggers:
            # Not before the model is there: a refusal until here leaves the folder as it was.
            folder.clear()
            folder.begin(document)
            write_text(folder.environment, json.dumps(hide_all({**environment(), **made_from}), indent=2) + "\n")
        wait_for_all()
        _say_where(run, done, goes_on=start == "continue" and not loggers)
        goes_on, loggers = not loggers, loggers or build_loggers(plan, done)
        trainer = build_trainer(run, loggers, goes_on=goes_on, elapsed=time.monotonic() - began)
        launcher = launcher or trainer.strategy.launcher
        checkpoint = folder.checkpoint(done) / STATE if done > run.first else None
        if checkpoint is not None:
            from_first(partial(check_state, folder, done))
        try:
            trainer.fit(module, datamodule=PlannedSteps(run), ckpt_path=checkpoint, weights_only=True)
        except (Stopped, RuntimeError) as error:
            # At once: ranks that Lightning has started would wait for this one.
            if isinstance(launcher, _SubprocessScriptLauncher):
                launcher.kill(signal.SIGKILL)
            asked = asked_to_stop() or _stopping(trainer).signal
            if asked is not None and is_end_of_worker(error):  # one that has just begun is ended by the signal too
                raise Stopped(asked) from error
            raise
        end = end_stage(run, trainer, ends)
        if end is None:
            return
        done, ends = trainer.global_step, [*ends, end]
        del trainer, module  # before the next stage loads its model
        gc.collect()


def make_ready(run: StageRun, done: int) -> None:
    """Make what a stage after the first begins with, unless it has begun: the run has done `done` steps."""
    folder = run.plan.folder
    if done == run.first:
        folder.reference.unlink(missing_ok=True)  # of a stage before
        make_start(run.plan, run.ends)


def end_stage(run: StageRun, trainer: Trainer, ends: Sequence[End]) -> End | None:
    """What is written down of a stage that has ended, where another follows; else the run ends, and it is None.

    ends: of the stages before. A run that has taken its last step is marked as finished, and it is said what it wrote;
    of any other it is said how it goes on.
    """
    plan, step, total = run.plan, trainer.global_step, run.plan.total_steps(run.ends)
    stopped = _stopping(trainer).signal
    early = next((one.stop for one in trainer.callbacks if isinstance(one, StopEarly)), None)
    ended = step >= run.last or (early is not None and stopped is None)
    finished = ended and run.stage is plan.stages[-1]
    end: End = {"name": run.stage.name, "step": step, **_why(run.last, early)}
    if ended and not finished:
        from_first(lambda: write_ends(plan.folder, [*ends, end]))
        if stopped is None:
            return end
    if trainer.is_global_zero:
        close_loggers(trainer.loggers, finished=finished)
    if finished:
        if trainer.is_global_zero:
            stages = {"stages": [*ends, end]} if run.stage.name else {}
            plan.folder.finish({"step": step, **_why(total, early), **_best(run, step), **stages})
        show_run_summary(plan.folder)
        return None
    where = f"after step {step} of {total}, with a checkpoint"
    if stopped is not None:
        queued = requeue() if stopped == signal.SIGUSR1 else ""
        raise Stopped(stopped, f"{where}; {queued}" if queued else where)
    if plan.config.trainer.get("max_time") is None:
        raise RuntimeError(f"the training ended after step {step} of {total}, and nothing had asked it to")
    console.say(f"\nStopped {where}: trainer.max_time is over. The same command goes on from there.")
    return None


def _why(planned: int, early: Stop | None) -> dict[str, Any]:
    """Of an end before the planned one: which that was, and why."""
    return {} if early is None else {"planned_steps": planned, "stopped": asdict(early)}


def _best(run: StageRun, step: int) -> dict[str, Any]:
    """Which checkpoint is the best, where that is asked, at the end of a run of so many steps."""
    plan = run.plan
    if (monitor := plan.config.checkpoints.best) is None:
        return {}
    history = [(at, value) for at, key, value in read_metrics(plan.folder.metrics, step) if key == monitor]
    best = best_checkpoint(plan, history, plan.folder.checkpoint_steps(), run.first)
    if best is None:
        console.complain(f"note: no checkpoint is named as best: nothing logged {monitor!r} at a step that has one")
        return {"best": None}
    return {"best": {"step": best, "monitor": monitor, "value": dict(history)[best]}}


def _say_where(run: StageRun, done: int, *, goes_on: bool) -> None:
    """Say at which step the run is, and in which stage."""
    if done and goes_on:
        console.say(f"Continuing after step {done}.")
    elif goes_on:
        console.say("There is no checkpoint to continue from: the run begins again at step 0.")
    if run.stage.name:
        number = f"{len(run.ends) + 1} of {len(run.plan.stages)}"
        console.say(f"\nStage {run.stage.name} ({number}): steps {run.first + 1} to {run.last}.")


def _stopping(trainer: Trainer) -> StopOnSignal:
    return next(one for one in trainer.callbacks if isinstance(one, StopOnSignal))
