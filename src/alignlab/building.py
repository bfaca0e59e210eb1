"""What a planned run is trained with: module, loader, tracker, loggers, callbacks and the Lightning trainer.

Every stage of a run has a trainer of its own: an optimiser, a schedule and a loader end with it, and Lightning ties
these to a fit, also where it goes on from a checkpoint. What a run has once is handed on: loggers and step number.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.callbacks import Timer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from alignlab import console
from alignlab.callbacks.capability_tracker import CapabilityTracker
from alignlab.callbacks.neuron_tracker import NeuronTracker
from alignlab.callbacks.pretrained_checkpoint import PretrainedCheckpoint
from alignlab.callbacks.progress import EndOfBatch, Peak, TrainingProgress
from alignlab.callbacks.stop_early import History, Rule, StopEarly, best_of, of_stage
from alignlab.callbacks.stopping import StopOnSignal
from alignlab.callbacks.validation import ValidationLoss
from alignlab.callbacks.wandb_neurons import WandbNeurons
from alignlab.config import to_plain
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import InputError, Problem, UnsupportedModelError, refuse_any
from alignlab.methods.base import AlignmentModule, Course
from alignlab.models.distributed import is_first, rank, world_size
from alignlab.models.flops import matrix_peak
from alignlab.models.precision import precision_name
from alignlab.models.sharded_strategy import ShardedStrategy
from alignlab.models.training_languages import TrainingLanguages
from alignlab.neurons.identifiers import identifier_of
from alignlab.redaction import hide_all
from alignlab.reporting.metrics_csv import OF_MODEL, MetricsCsv
from alignlab.reporting.wandb_config import WandbConfig
from alignlab.reporting.wandb_run import WandbRun
from alignlab.run_plan import RunPlan
from alignlab.stage_plan import StagePlan
from alignlab.stage_start import load_adapter, load_start, start_of
from alignlab.stages import in_stage
from alignlab.trainer_options import SHARDED, check_plan

# What W&B gets to upload the rest of a training that was stopped: who stopped it may not wait longer.
_STOPPED_SECONDS = 10.0


def check_trainer(plan: RunPlan) -> None:
    """Refuse arguments that `lightning.Trainer` does not take, or that the plan does not bear, before any work."""
    check_plan(plan.config.trainer)
    devices = plan.config.trainer.get("devices", 1)
    if not plan.wants_gpu and not plan.on_gpu and isinstance(devices, int) and devices > (os.cpu_count() or 1):
        found = f"{devices} processes on {os.cpu_count()} CPU cores"
        raise InputError(Problem("trainer.devices", found, "at most one a core"))
    problems: list[Problem] = []
    for stage in plan.stages:
        try:
            with in_stage(plan.config, stage.name):
                _check_parts(stage, plan.ranks)
        except InputError as error:
            problems += error.problems
    refuse_any(problems)
    check_arguments(plan)


def check_arguments(plan: RunPlan) -> None:
    """Refuse arguments that `lightning.Trainer` does not take. No text is read for it."""
    elsewhere: dict[str, Any] = {}
    if plan.config.dry_run and plan.wants_gpu and not torch.cuda.is_available():
        console.complain("note: there is no GPU here; the plan is for a machine that has what trainer asks for")
        elsewhere = {"accelerator": "cpu", "devices": 1, "strategy": "auto"}
    try:
        for stage in plan.made_stages:
            _trainer(plan, stage, 1, logger=False, callbacks=[], **elsewhere)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(Problem("trainer", str(error).strip(), "arguments that lightning.Trainer takes")) from error


def _check_parts(stage: StagePlan, ranks: int) -> None:
    """Refuse a step that has fewer examples than micro-batches."""
    examples = stage.config.data.examples_per_step
    if ranks * stage.accumulation > examples:
        found = f"{examples} for {ranks} ranks x {stage.accumulation} micro-batches"
        raise InputError(Problem("data.examples_per_step", found, "at least one example for each"))


@dataclass(frozen=True)
class StageRun:
    """A stage of a run that is trained: `ends` are the last steps of those before it."""

    plan: RunPlan
    ends: tuple[int, ...] = ()

    @property
    def stage(self) -> StagePlan:
        return self.plan.stages[len(self.ends)]

    @property
    def first(self) -> int:
        """Optimiser steps of the run before it."""
        return self.ends[-1] if self.ends else 0

    @property
    def last(self) -> int:
        """Those of the run at its planned end."""
        return self.first + self.stage.total_steps


def build_module(run: StageRun) -> AlignmentModule:
    """The Lightning module, with the weights loaded with which the stage begins."""
    plan, stage = run.plan, run.stage
    start = start_of(plan, run.ends)
    L.seed_everything(stage.config.seed, verbose=False)
    model = stage.method.prepare(load_start(plan, start))
    load_adapter(model, start)
    if plan.config.model.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    course = Course(
        stage.total_steps,
        stage.config.seed,
        stage.training,
        plan.tokenizer.pad_token_id or 0,
        plan.folder.reference,
        lambda: {**plan.provenance, **({"model_fingerprint": start.fingerprint} if run.ends else {})},
        run.first,
        start.adapter is not None,
    )
    return stage.method.build(model, course)


def build_loggers(plan: RunPlan, done_steps: int) -> list[Logger]:
    """The loggers of a run, the same for all its stages, that goes on after `done_steps`."""
    loggers: list[Logger] = [MetricsCsv(plan.folder.metrics, done_steps)]
    if is_first():
        public = hide_all(to_plain(plan.config))
        in_wandb = WandbConfig.of(plan.config.wandb).build(plan.folder, plan.config.run.name, public, done_steps)
        loggers += [in_wandb] if in_wandb is not None else []
    return loggers


def build_trainer(run: StageRun, loggers: list[Logger], *, goes_on: bool, elapsed: float = 0.0) -> L.Trainer:
    """The Lightning trainer of a stage, with its callbacks.

    goes_on: whether it is the first that this process trains: what an earlier one has left is shared too.
    elapsed: seconds that this process has trained, which `trainer.max_time` is over.
    """
    plan, stage, ends = run.plan, run.stage, run.ends
    config = plan.config
    metrics = next(logger for logger in loggers if isinstance(logger, MetricsCsv))
    in_wandb = [logger for logger in loggers if isinstance(logger, WandbRun)]
    stopping = StopOnSignal()
    tracker = NeuronTracker(
        plan.probe,
        folder=plan.folder.path,
        steps=plan.snapshot_steps(ends),
        overwrite=True,  # what the run folder holds has been decided on before
        planned=True,
        abandonable=stopping.abandonable,
        trained=plan.trained_languages,
        reference=config.reference or "",
        identifier=identifier_of(config.identifier),
        loss=config.tracker.loss,
        statistics=config.tracker.statistics,
    )
    capability = []
    if plan.task is not None:
        capability.append(
            CapabilityTracker(
                plan.task,
                folder=plan.folder.path,
                steps=plan.evaluation_steps(ends),
                overwrite=True,
                abandonable=stopping.abandonable,
                trained=plan.trained_languages,
                reference=config.reference or "",
            )
        )
    stop_early = []
    if stage.config.stopping is not None:
        looks = [tracker, *capability]
        stop_early.append(StopEarly(Rule(**to_plain(stage.config.stopping)), metrics, looks, run.first))
    checkpoints = PretrainedCheckpoint(
        plan.folder,
        plan.tokenizer,
        plan.checkpoint_steps(ends),
        keep_last=config.checkpoints.keep_last,
        keep_steps=plan.snapshot_steps(ends),
        languages=TrainingLanguages(plan.trained_by(len(ends) + 1), config.reference or ""),
        share=next((run.log_checkpoint for run in in_wandb), None) if config.wandb.checkpoints else None,
        best=lambda steps: best_checkpoint(plan, metrics.history(config.checkpoints.best or ""), steps, run.first),
        goes_on=goes_on,
    )
    # Progress comes behind the tracker: the first snapshot is no part of the time that steps take.
    end_of_batch = EndOfBatch()
    progress = TrainingProgress(plan.total_steps(ends), end_of_batch, in_wandb, lambda module: peak_of(run, module))
    shown = [WandbNeurons(tracker, run, config.wandb.artifact) for run in in_wandb]
    callbacks = [
        end_of_batch,
        stopping,
        tracker,
        *capability,
        *shown,
        *_validation(run),
        *stop_early,
        progress,
        checkpoints,
    ]
    parts: dict[str, Any] = {"logger": loggers, "callbacks": callbacks}
    if (limit := Timer(config.trainer.get("max_time")).time_remaining()) is not None:
        parts["max_time"] = timedelta(seconds=max(limit - elapsed, 0))
    trainer = _trainer(plan, stage, run.last, **parts)
    # Steps are numbered through all stages; a checkpoint of this one, where there is one, says more.
    trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = run.first
    return trainer


def peak_of(run: StageRun, module: AlignmentModule) -> Peak | None:
    """The matrix peak of the run's GPUs, measured on this one; None without a GPU, whose peak nobody else takes from,
    or where the model's operations cannot be counted, which is said.
    """
    if module.device.type != "cuda":
        return None
    try:
        flops = run.stage.method.flops(run.stage.outline)
    except UnsupportedModelError as error:
        console.complain(f"note: no share of the matrix peak is shown: {error}")
        return None
    name = precision_name(run.plan.config.trainer.get("precision")) or "32-true"
    computed = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
    dtype = computed.get(name.partition("-")[0], torch.float32)
    return Peak(matrix_peak(module.device, dtype) * world_size(), flops.of)


def _validation(run: StageRun) -> list[L.Callback]:
    """What measures the loss of the examples held out, where there are any."""
    plan, asked = run.plan, run.stage.config.data.validation
    if asked is None:
        return []
    pad_id, tokens = plan.tokenizer.pad_token_id or 0, asked.max_tokens_per_batch
    steps = plan.validation_steps(run.stage, run.ends)
    return [ValidationLoss(run.stage.training, steps, pad_id=pad_id, max_tokens=tokens, first=run.first)]


def best_checkpoint(plan: RunPlan, history: History, steps: Collection[int], first: int = 0) -> int | None:
    """Of the steps that have a checkpoint the one at which the number of `checkpoints.best` was best; None for none.

    first: steps before the stage that is trained. Losses of stages before it are of other text, and not compared.
    """
    if not (plan.config.checkpoints.best or "").startswith(OF_MODEL):
        history = of_stage(history, "", first)
    best = best_of([one for one in history if one[0] in steps], plan.config.checkpoints.best_mode)
    return None if best is None else best[0]


def _trainer(plan: RunPlan, stage: StagePlan, last_step: int, **parts: Any) -> L.Trainer:
    defaults = {"use_distributed_sampler": False, "enable_model_summary": False, "log_every_n_steps": 1}
    # One pass of the loader is the whole stage: epochs have become steps.
    ends = {"max_epochs": -1, "max_steps": last_step}
    arguments: dict[str, Any] = {**defaults, **stage.config.trainer, **ends, **parts}
    if arguments.get("strategy") == SHARDED:
        arguments["strategy"] = ShardedStrategy()
    return L.Trainer(
        **arguments,
        plugins=_environment(),
        # Where Lightning, under SLURM, looks for checkpoints of its own to go on from: never there.
        default_root_dir=plan.folder.checkpoints / "lightning",
        enable_checkpointing=True,
        enable_progress_bar=False,
    )


def _environment() -> list[ClusterEnvironment] | None:
    """The launcher's environment, where that is SLURM: without Lightning's own way to save and requeue, which would be
    a second one beside ours.
    """
    if not SLURMEnvironment.detect():
        return None
    return [TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment(auto_requeue=False)]


class PlannedSteps(L.LightningDataModule):
    """Gives Lightning the loader when it asks: the ranks are connected then, and the steps done are known."""

    def __init__(self, run: StageRun) -> None:
        super().__init__()
        self.run = run

    def train_dataloader(self) -> Any:
        """The loader of this rank, from the step on that comes next."""
        assert self.trainer is not None
        plan, stage = self.run.plan, self.run.stage
        _check_parts(stage, world_size())
        micro_batches = MicroBatches(
            stage.training.examples,
            stage.training.kind,
            stage.steps,
            accumulation=stage.accumulation,
            rank=rank(),
            ranks=world_size(),
            pad_id=plan.tokenizer.pad_token_id or 0,
        )
        return training_loader(
            micro_batches,
            first=(self.trainer.global_step - self.run.first) * stage.accumulation,
            workers=stage.config.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


def close_loggers(loggers: Collection[Logger], *, finished: bool) -> None:
    """End the W&B run, so that all of it is written; in little time where the training was stopped."""
    for logger in loggers:
        if isinstance(logger, WandbRun):
            logger.finish(exit_code=0 if finished else 1, seconds=None if finished else _STOPPED_SECONDS)
