"""A training run as configured: its parts, what they were made from, and the trainer that runs them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from alignlab.callbacks.neuron_tracker import NeuronTracker
from alignlab.callbacks.pretrained_checkpoint import PretrainedCheckpoint
from alignlab.callbacks.progress import TrainingProgress
from alignlab.callbacks.stopping import StopOnSignal
from alignlab.callbacks.wandb_neurons import WandbNeurons
from alignlab.config import to_plain
from alignlab.data.batching import StepPlan, steps_of_epochs
from alignlab.data.encoding import Encoded, check_vocabulary, fingerprint
from alignlab.data.training import MicroBatches, training_loader
from alignlab.errors import InputError, Problem
from alignlab.methods.registry import method_of
from alignlab.models.distributed import is_first, rank, world_size
from alignlab.models.load import ModelConfig, embedding_rows, identity
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.identifiers import identifier_of
from alignlab.options import TrainConfig
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.redaction import hide_all
from alignlab.reporting.metrics_csv import MetricsCsv
from alignlab.reporting.wandb_run import WandbConfig, WandbRun
from alignlab.runs import RunFolder

# What would break the plan, in which every step, its examples and the end are known before the first; with what each
# may be. The end is trainer.max_steps or trainer.max_epochs.
PLAN_BREAKERS: dict[str, tuple[Any, ...]] = {
    "fast_dev_run": (None, False, 0),
    "limit_train_batches": (None, 1.0),
    "overfit_batches": (None, 0, 0.0),
    "min_steps": (None,),
    "min_epochs": (None,),
    "reload_dataloaders_every_n_epochs": (None, 0),
    "use_distributed_sampler": (None, False),
    "barebones": (None, False),
}
# What W&B gets to upload the rest of a training that was stopped: who stopped it may not wait longer.
_STOPPED_SECONDS = 10.0


@dataclass
class Experiment:
    """The parts of a run, each made once, when it is first asked for."""

    config: TrainConfig

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.config.run.folder).expanduser())

    @cached_property
    def tokenizer(self) -> Any:
        return ModelConfig.of(self.config.model).build_tokenizer()

    @cached_property
    def training(self) -> Encoded:
        return self.config.data.encode(self.tokenizer)

    @cached_property
    def probe(self) -> Probe | PromptProbe:
        return ProbeConfig.of(self.config.probe).build(self.tokenizer)

    @cached_property
    def trained_languages(self) -> tuple[str, ...]:
        """Languages of the training prompts, most frequent first in the data's order."""
        return tuple(dict.fromkeys(document.language for document in self.training.documents))

    @cached_property
    def outline(self) -> nn.Module:
        """The prepared model on the meta device: all its shapes, no weights."""
        model = ModelConfig.of(self.config.model).build_meta()
        documents = [*self.training.documents, *(d for ds in self.probe.documents.values() for d in ds)]
        check_vocabulary(documents, embedding_rows(model))
        with torch.device("meta"):
            prepared: nn.Module = method_of(self.config.method).prepare(model)
        return prepared

    @cached_property
    def sites(self) -> list[Site]:
        """The neurons' sites, found in the outline."""
        with torch.device("meta"):
            return find_sites(self.outline, self.config.probe.site)

    @property
    def accumulation(self) -> int:
        return int(self.config.trainer.get("accumulate_grad_batches", 1))

    @cached_property
    def total_steps(self) -> int:
        """Optimiser steps of the run: `trainer.max_steps`, or else what `trainer.max_epochs` makes."""
        documents, examples = len(self.training.documents), self.config.data.examples_per_step
        max_steps, max_epochs = self.config.trainer.get("max_steps"), self.config.trainer.get("max_epochs")
        if isinstance(max_steps, int) and max_steps > 0:
            return max_steps
        if max_steps in (None, -1) and isinstance(max_epochs, int | float) and max_epochs > 0:
            return steps_of_epochs(documents, examples, max_epochs)
        found = f"max_steps is {max_steps!r} and max_epochs {max_epochs!r}"
        raise InputError(Problem("trainer", found, "a number over 0 in one of them, so that the run has an end"))

    @cached_property
    def plan(self) -> StepPlan:
        lengths = tuple(len(document) for document in self.training.documents)
        return StepPlan(lengths, self.config.data.examples_per_step, self.total_steps, self.config.seed)

    def check_trainer(self) -> None:
        """Refuse arguments that `lightning.Trainer` does not take, before anything expensive."""
        self._check_plan_breakers()
        devices = self.config.trainer.get("devices", 1)
        if not self.on_gpu and isinstance(devices, int) and devices > (os.cpu_count() or 1):
            found = f"{devices} processes on {os.cpu_count()} CPU cores"
            raise InputError(Problem("trainer.devices", found, "at most one a core"))
        self._check_parts(self.ranks)
        try:
            self._trainer(1, logger=False, callbacks=[])
        except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
            raise InputError(
                Problem("trainer", str(error).strip(), "arguments that lightning.Trainer takes")
            ) from error

    def _check_plan_breakers(self) -> None:
        """Refuse arguments with which a run would end early, or train on other examples, and yet pass for finished."""
        given = self.config.trainer
        problems = []
        for key, allowed in PLAN_BREAKERS.items():
            value = given.get(key)
            if not any(value == one and type(value) is type(one) for one in allowed):
                fix = "Leave it out. For a short run set trainer.max_steps, for a look at the plan dry_run=true."
                expected = "a run whose steps are planned before the first"
                problems.append(Problem(f"trainer.{key}", f"{value!r} breaks the plan of the run", expected, fix))
        if problems:
            raise InputError(*problems)

    def _check_parts(self, ranks: int) -> None:
        """Refuse a step that has fewer examples than micro-batches."""
        examples = self.config.data.examples_per_step
        if ranks * self.accumulation > examples:
            found = f"{examples} for {ranks} ranks x {self.accumulation} micro-batches"
            raise InputError(Problem("data.examples_per_step", found, "at least one example for each"))

    @property
    def on_gpu(self) -> bool:
        """Whether the run is on CUDA devices."""
        return (
            str(self.config.trainer.get("accelerator", "auto")) in {"auto", "gpu", "cuda"} and torch.cuda.is_available()
        )

    @property
    def checkpoint_every(self) -> int | None:
        return self.config.checkpoints.every_n_steps or self.config.tracker.every_n_steps

    def snapshot_steps(self) -> list[int]:
        """The steps at which neurons are counted."""
        every = self.config.tracker.every_n_steps
        return sorted({0, self.total_steps, *(range(0, self.total_steps, every) if every else ())})

    def checkpoint_steps(self) -> list[int]:
        """The steps at which weights are saved."""
        every = self.checkpoint_every
        return sorted({self.total_steps, *(range(every, self.total_steps, every) if every else ())})

    def checkpoints_kept(self) -> int:
        """How many checkpoints lie on the disk at the end."""
        steps, last = self.checkpoint_steps(), self.config.checkpoints.keep_last
        return len(steps) if last is None else len({*steps[-last:], *(set(steps) & set(self.snapshot_steps()))})

    def provenance(self) -> dict[str, Any]:
        """What the run is made from beside its config: fingerprints of the tokenised data, the model's revision."""
        return {
            "data_fingerprint": fingerprint(self.training.documents),
            "probe_fingerprint": self.probe.fingerprint,
            "model": dict(zip(("source", "revision"), identity(self.outline), strict=True)),
            "model_fingerprint": ModelConfig.of(self.config.model).fingerprint(),
        }

    def build_module(self) -> L.LightningModule:
        """The Lightning module, with the weights loaded."""
        L.seed_everything(self.config.seed, verbose=False)
        model = method_of(self.config.method).prepare(ModelConfig.of(self.config.model).build())
        if self.config.model.gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        return method_of(self.config.method).build(model, total_steps=self.total_steps, seed=self.config.seed)

    @property
    def ranks(self) -> int:
        """Processes that will train, as far as the config tells (`devices: auto` is counted as one)."""
        devices, nodes = self.config.trainer.get("devices", 1), self.config.trainer.get("num_nodes", 1)
        count: int = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) else 1
        return max(world_size(), count * int(nodes), 1)

    def build_loader(self, first_step: int) -> Any:
        """The loader of this rank, from `first_step` on; to be called once the ranks are connected."""
        self._check_parts(world_size())
        micro_batches = MicroBatches(
            self.training.documents,
            self.plan,
            accumulation=self.accumulation,
            rank=rank(),
            ranks=world_size(),
            pad_id=self.tokenizer.pad_token_id or 0,
        )
        first = first_step * self.accumulation
        return training_loader(
            micro_batches, first=first, workers=self.config.data.workers, pin_memory=torch.cuda.is_available()
        )

    def build_tracker(self, stopping: StopOnSignal) -> NeuronTracker:
        return NeuronTracker(
            self.probe,
            folder=self.folder.path,
            steps=self.snapshot_steps(),
            overwrite=True,  # what the run folder holds has been decided on before
            abandonable=stopping.abandonable,
            trained=self.trained_languages,
            identifier=identifier_of(self.config.identifier),
            loss=self.config.tracker.loss,
            statistics=self.config.tracker.statistics,
        )

    def build_trainer(self, done_steps: int) -> L.Trainer:
        """The Lightning trainer, with the callbacks and loggers of the run."""
        loggers: list[Any] = [MetricsCsv(self.folder.metrics, done_steps)]
        if is_first():
            shown = hide_all(to_plain(self.config))
            wandb_logger = WandbConfig.of(self.config.wandb).build(self.folder, self.config.run.name, shown, done_steps)
            if wandb_logger is not None:
                loggers.append(wandb_logger)
        stopping = StopOnSignal()
        tracker = self.build_tracker(stopping)
        return self._trainer(
            self.total_steps,
            logger=loggers,
            callbacks=[
                stopping,
                tracker,
                WandbNeurons(tracker, self.config.wandb.artifact),
                # Behind the tracker: the first snapshot is no part of the time that steps take.
                TrainingProgress(self.total_steps),
                PretrainedCheckpoint(
                    self.folder,
                    self.tokenizer,
                    self.checkpoint_steps(),
                    keep_last=self.config.checkpoints.keep_last,
                    keep_steps=self.snapshot_steps(),
                ),
            ],
        )

    def _trainer(self, total_steps: int, **parts: Any) -> L.Trainer:
        defaults: dict[str, Any] = {
            "use_distributed_sampler": False,
            "enable_model_summary": False,
            "log_every_n_steps": 1,
        }
        # One pass of the loader is the whole run: epochs have become steps.
        ends = {"max_epochs": -1, "max_steps": total_steps}
        return L.Trainer(
            **(defaults | self.config.trainer | ends),
            **parts,
            plugins=_environment(),
            # Where Lightning, under SLURM, looks for checkpoints of its own to go on from: never there.
            default_root_dir=self.folder.checkpoints / "lightning",
            enable_checkpointing=True,
            enable_progress_bar=False,
        )

    def close_loggers(self, trainer: L.Trainer, *, finished: bool) -> None:
        """End the W&B run, so that all of it is written; in little time where the training was stopped."""
        for logger in trainer.loggers:
            if isinstance(logger, WandbRun):
                logger.finish(exit_code=0 if finished else 1, seconds=None if finished else _STOPPED_SECONDS)


def _environment() -> list[ClusterEnvironment] | None:
    """The launcher's environment, where that is SLURM: without Lightning's own way to save and requeue, which would be
    a second one beside ours.
    """
    if not SLURMEnvironment.detect():
        return None
    return [TorchElasticEnvironment() if TorchElasticEnvironment.detect() else SLURMEnvironment(auto_requeue=False)]


class PlannedSteps(L.LightningDataModule):
    """Gives Lightning the loader when it asks: the ranks are connected then, and the steps done are known."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self.experiment = experiment

    def train_dataloader(self) -> Any:
        assert self.trainer is not None
        return self.experiment.build_loader(self.trainer.global_step)
