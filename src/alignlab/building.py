"""What a planned run is trained with: module, loader, tracker, loggers, callbacks and the Lightning trainer."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from alignlab import console
from alignlab.callbacks.capability_tracker import CapabilityTracker
from alignlab.callbacks.neuron_tracker import NeuronTracker
from alignlab.callbacks.pretrained_checkpoint import PretrainedCheckpoint
from alignlab.callbacks.progress import EndOfBatch, Peak, TrainingProgress
from alignlab.callbacks.stop_early import History, Rule, StopEarly, best_of
from alignlab.callbacks.stopping import StopOnSignal
from alignlab.callbacks.validation import ValidationLoss
from alignlab.callbacks.wandb_neurons import WandbNeurons
from alignlab.config import to_plain
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import InputError, Problem, UnsupportedModelError
from alignlab.methods.base import AlignmentModule, Course
from alignlab.models.distributed import is_first, rank, world_size
from alignlab.models.flops import matrix_peak
from alignlab.models.precision import precision_name
from alignlab.models.training_languages import TrainingLanguages
from alignlab.neurons.identifiers import identifier_of
from alignlab.redaction import hide_all
from alignlab.reporting.metrics_csv import MetricsCsv
from alignlab.reporting.wandb_run import WandbConfig, WandbRun
from alignlab.run_plan import RunPlan
from alignlab.trainer_options import check_plan

# What W&B gets to upload the rest of a training that was stopped: who stopped it may not wait longer.
_STOPPED_SECONDS = 10.0


def check_trainer(plan: RunPlan) -> None:
    """Refuse arguments that `lightning.Trainer` does not take, or that the plan does not bear, before any work."""
    check_plan(plan.config.trainer)
    devices = plan.config.trainer.get("devices", 1)
    if not plan.wants_gpu and not plan.on_gpu and isinstance(devices, int) and devices > (os.cpu_count() or 1):
        found = f"{devices} processes on {os.cpu_count()} CPU cores"
        raise InputError(Problem("trainer.devices", found, "at most one a core"))
    _check_parts(plan, plan.ranks)
    elsewhere: dict[str, Any] = {}
    if plan.config.dry_run and plan.wants_gpu and not torch.cuda.is_available():
        console.complain("note: there is no GPU here; the plan is for a machine that has what trainer asks for")
        elsewhere = {"accelerator": "cpu", "devices": 1, "strategy": "auto"}
    try:
        _trainer(plan, 1, logger=False, callbacks=[], **elsewhere)
    except (MisconfigurationException, ValueError, TypeError, RuntimeError, ImportError) as error:
        raise InputError(Problem("trainer", str(error).strip(), "arguments that lightning.Trainer takes")) from error


def _check_parts(plan: RunPlan, ranks: int) -> None:
    """Refuse a step that has fewer examples than micro-batches."""
    examples = plan.config.data.examples_per_step
    if ranks * plan.accumulation > examples:
        found = f"{examples} for {ranks} ranks x {plan.accumulation} micro-batches"
        raise InputError(Problem("data.examples_per_step", found, "at least one example for each"))


def build_module(plan: RunPlan) -> AlignmentModule:
    """The Lightning module, with the weights loaded."""
    L.seed_everything(plan.config.seed, verbose=False)
    model = plan.method.prepare(plan.model.build())
    if plan.config.model.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    course = Course(
        plan.total_steps,
        plan.config.seed,
        plan.training,
        plan.tokenizer.pad_token_id or 0,
        plan.folder.reference,
        lambda: plan.provenance,
    )
    return plan.method.build(model, course)


def build_trainer(plan: RunPlan, done_steps: int) -> L.Trainer:
    """The Lightning trainer, with the callbacks and loggers of a run that goes on after `done_steps`."""
    config = plan.config
    metrics = MetricsCsv(plan.folder.metrics, done_steps)
    loggers: list[Any] = [metrics]
    if is_first():
        public = hide_all(to_plain(config))
        wandb_logger = WandbConfig.of(config.wandb).build(plan.folder, config.run.name, public, done_steps)
        loggers += [wandb_logger] if wandb_logger is not None else []
    in_wandb = [logger for logger in loggers if isinstance(logger, WandbRun)]
    stopping = StopOnSignal()
    tracker = NeuronTracker(
        plan.probe,
        folder=plan.folder.path,
        steps=plan.snapshot_steps(),
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
                steps=plan.evaluation_steps(),
                overwrite=True,
                abandonable=stopping.abandonable,
                trained=plan.trained_languages,
                reference=config.reference or "",
            )
        )
    stop_early = []
    if config.stopping is not None:
        looks = [(tracker, tracker.take_snapshot), *((one, one.evaluate) for one in capability)]
        stop_early.append(StopEarly(Rule(**to_plain(config.stopping)), metrics, looks))
    checkpoints = PretrainedCheckpoint(
        plan.folder,
        plan.tokenizer,
        plan.checkpoint_steps(),
        keep_last=config.checkpoints.keep_last,
        keep_steps=plan.snapshot_steps(),
        languages=TrainingLanguages(plan.trained_languages, config.reference or ""),
        share=next((run.log_checkpoint for run in in_wandb), None) if config.wandb.checkpoints else None,
        best=lambda steps: best_checkpoint(plan, metrics.history(config.checkpoints.best or ""), steps),
    )
    # Progress comes behind the tracker: the first snapshot is no part of the time that steps take.
    end_of_batch = EndOfBatch()
    progress = TrainingProgress(plan.total_steps, end_of_batch, in_wandb, lambda module: peak_of(plan, module))
    shown = [WandbNeurons(tracker, run, config.wandb.artifact) for run in in_wandb]
    callbacks = [
        end_of_batch,
        stopping,
        tracker,
        *capability,
        *shown,
        *_validation(plan),
        *stop_early,
        progress,
        checkpoints,
    ]
    return _trainer(plan, plan.total_steps, logger=loggers, callbacks=callbacks)


def peak_of(plan: RunPlan, module: AlignmentModule) -> Peak | None:
    """The matrix peak of the run's GPUs, measured on this one; None without a GPU, whose peak nobody else takes from,
    or where the model's operations cannot be counted, which is said.
    """
    if module.device.type != "cuda":
        return None
    try:
        flops = plan.method.flops(plan.outline)
    except UnsupportedModelError as error:
        console.complain(f"note: no share of the matrix peak is shown: {error}")
        return None
    name = precision_name(plan.config.trainer.get("precision")) or "32-true"
    computed = {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}
    dtype = computed.get(name.partition("-")[0], torch.float32)
    return Peak(matrix_peak(module.device, dtype) * world_size(), flops.of)


def _validation(plan: RunPlan) -> list[L.Callback]:
    """What measures the loss of the examples held out, where there are any."""
    asked = plan.config.data.validation
    if asked is None:
        return []
    pad_id, tokens = plan.tokenizer.pad_token_id or 0, asked.max_tokens_per_batch
    return [ValidationLoss(plan.training, plan.validation_steps(), pad_id=pad_id, max_tokens=tokens)]


def best_checkpoint(plan: RunPlan, history: History, steps: Collection[int]) -> int | None:
    """Of the steps that have a checkpoint the one at which the number of `checkpoints.best` was best; None for none."""
    best = best_of([one for one in history if one[0] in steps], plan.config.checkpoints.best_mode)
    return None if best is None else best[0]


def _trainer(plan: RunPlan, total_steps: int, **parts: Any) -> L.Trainer:
    defaults = {"use_distributed_sampler": False, "enable_model_summary": False, "log_every_n_steps": 1}
    # One pass of the loader is the whole run: epochs have become steps.
    ends = {"max_epochs": -1, "max_steps": total_steps}
    arguments: dict[str, Any] = {**defaults, **plan.config.trainer, **ends, **parts}
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

    def __init__(self, plan: RunPlan) -> None:
        super().__init__()
        self.plan = plan

    def train_dataloader(self) -> Any:
        """The loader of this rank, from the step on that comes next."""
        assert self.trainer is not None
        plan = self.plan
        _check_parts(plan, world_size())
        micro_batches = MicroBatches(
            plan.training.examples,
            plan.training.kind,
            plan.steps,
            accumulation=plan.accumulation,
            rank=rank(),
            ranks=world_size(),
            pad_id=plan.tokenizer.pad_token_id or 0,
        )
        return training_loader(
            micro_batches,
            first=self.trainer.global_step * plan.accumulation,
            workers=plan.config.data.workers,
            pin_memory=torch.cuda.is_available(),
        )


def close_loggers(trainer: L.Trainer, *, finished: bool) -> None:
    """End the W&B run, so that all of it is written; in little time where the training was stopped."""
    for logger in trainer.loggers:
        if isinstance(logger, WandbRun):
            logger.finish(exit_code=0 if finished else 1, seconds=None if finished else _STOPPED_SECONDS)
