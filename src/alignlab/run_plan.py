"""What a training run will be, known before any weight is loaded, and what it is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import check_padding, check_vocabulary, fingerprint
from alignlab.data.training import TrainingData, load_training, parts_of
from alignlab.errors import InputError, Problem, some_of
from alignlab.evaluation.options import TaskOptions
from alignlab.evaluation.tasks import Task, TaskConfig, in_training
from alignlab.methods.base import Method
from alignlab.methods.registry import method_of
from alignlab.methods.trainable import neurons_fingerprint
from alignlab.models.distributed import world_size
from alignlab.models.load import ModelConfig, embedding_rows, identity
from alignlab.models.sites import Site, find_sites
from alignlab.options import TrainConfig
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.reporting.estimates import Planned
from alignlab.runs import RunFolder
from alignlab.trainer_options import MOST_STEPS

# More snapshots or checkpoints than any disk holds.
_MOST_WRITTEN = 1_000_000


@dataclass
class RunPlan:
    """What a run will be, as its config has it: text, model and steps, each made once, when it is first asked for.

    No weights are loaded for any of it.
    """

    config: TrainConfig

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.config.run.folder).expanduser())

    @cached_property
    def model(self) -> ModelConfig:
        return ModelConfig.of(self.config.model)

    @cached_property
    def method(self) -> Method:
        return method_of(self.config.method)

    @cached_property
    def tokenizer(self) -> Any:
        return self.model.build_tokenizer()

    @cached_property
    def training(self) -> TrainingData:
        return load_training(self.config.data, self.tokenizer, self.method.examples, seed=self.config.seed)

    @cached_property
    def probe(self) -> Probe | PromptProbe:
        return ProbeConfig.of(self.config.probe).build(self.tokenizer)

    @cached_property
    def task(self) -> Task | None:
        """The problems that the model answers while it trains; None where there are to be none."""
        options = self.config.evaluation
        if options is None:
            return None
        records, source = options.source.load(), options.source
        known: dict[str, None] = {}
        for part in parts_of(self.config.data).values():
            same = part.source.name == source.name and getattr(part.source, "path", "") == getattr(source, "path", "")
            known |= dict.fromkeys(in_training(records, part.source.load(), same_source=same))
        if known:
            found = f"{len(known):,} problems are in the training data too: {some_of(list(known))}"
            fix = "Take another split or file, or leave them out of the training."
            raise InputError(Problem("evaluation.source", found, "problems that are not trained on", fix))
        task = TaskConfig(**{name: getattr(options, name) for name in TaskOptions.model_fields})
        built = task.build_from(records, self.tokenizer, options.source.clusters)
        return built.after({document.cluster for document in self.training.documents})

    @cached_property
    def trained_languages(self) -> tuple[str, ...]:
        """Languages of the training prompts, most frequent first in the data's order."""
        return tuple(dict.fromkeys(example.language for example in self.training.examples))

    @cached_property
    def outline(self) -> nn.Module:
        """The prepared model on the meta device: all its shapes, no weights."""
        if self.config.model.four_bit and self.config.method.trainable != "lora":
            found = f"{self.config.method.trainable}, and model.four_bit is true"
            fix = "Weights of 4 bits cannot be trained."
            raise InputError(Problem("method.trainable", found, "lora, or model.four_bit=false", fix))
        model = self.model.build_meta()
        probed = (document for documents in self.probe.documents.values() for document in documents)
        documents = [*self.training.documents, *self.training.validation_documents, *probed]
        documents += self.task.prompts if self.task is not None else []
        check_vocabulary(documents, embedding_rows(model))
        check_padding(self.tokenizer.pad_token_id, embedding_rows(model))
        with torch.device("meta"):
            prepared: nn.Module = self.method.prepare(model)
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
        max_steps, max_epochs = self.config.trainer.get("max_steps"), self.config.trainer.get("max_epochs")
        if isinstance(max_steps, int) and max_steps > 0:
            return max_steps
        if max_steps in (None, -1) and isinstance(max_epochs, int | float) and max_epochs > 0:
            steps = self.training.steps_of_epochs(self.config.data.examples_per_step, max_epochs)
            if steps > MOST_STEPS:
                found = f"{max_epochs} are {steps:.3g} steps"
                raise InputError(Problem("trainer.max_epochs", found, f"at most {MOST_STEPS:,} steps"))
            return steps
        found = f"max_steps is {max_steps!r} and max_epochs {max_epochs!r}"
        raise InputError(Problem("trainer", found, "a number over 0 in one of them, so that the run has an end"))

    @cached_property
    def steps(self) -> StepPlan:
        """Which examples every step takes."""
        return self.training.plan(self.config.data.examples_per_step, self.total_steps, self.config.seed)

    @property
    def wants_gpu(self) -> bool:
        """Whether the config asks for CUDA devices, wherever it is read."""
        return self.config.trainer.get("accelerator") in {"gpu", "cuda"}

    @property
    def on_gpu(self) -> bool:
        """Whether the run is on CUDA devices."""
        asked = self.wants_gpu or self.config.trainer.get("accelerator", "auto") == "auto"
        return asked and torch.cuda.is_available()

    def snapshot_steps(self) -> list[int]:
        """The steps at which neurons are counted."""
        return [0, *self._every("tracker", self.config.tracker.every_n_steps)]

    def evaluation_steps(self) -> list[int]:
        """The steps at which the model answers problems; none where it is not to."""
        if self.config.evaluation is None:
            return []
        if (interval := self.config.evaluation.every_n_steps) is None:
            return self.snapshot_steps()
        return [0, *self._every("evaluation", interval)]

    def checkpoint_steps(self) -> list[int]:
        """The steps at which weights are saved."""
        if (interval := self.config.checkpoints.every_n_steps) is not None:
            return self._every("checkpoints", interval)
        return self._every("tracker", self.config.tracker.every_n_steps)

    def _every(self, section: str, interval: int | None) -> list[int]:
        """Every so many steps, and the last. section: of the config, in which the interval stands."""
        number = self.total_steps // (interval or self.total_steps)
        if number > _MOST_WRITTEN:
            found = f"{interval} of {self.total_steps:,} steps, so {number:,} times"
            raise InputError(Problem(f"{section}.every_n_steps", found, f"at most {_MOST_WRITTEN:,} times"))
        return [*(range(interval, self.total_steps, interval) if interval else ()), self.total_steps]

    def validation_steps(self) -> list[int]:
        """The steps at which the loss of the examples held out is measured; none where there are none."""
        asked = self.config.data.validation
        if asked is None:
            return []
        if asked.every_n_steps is None:
            return self.snapshot_steps()
        return [0, *self._every("data.validation", asked.every_n_steps)]

    def checkpoints_kept(self) -> int:
        """How many checkpoints lie on the disk at the end."""
        steps, last = self.checkpoint_steps(), self.config.checkpoints.keep_last
        return len(steps) if last is None else len({*steps[-last:], *(set(steps) & set(self.snapshot_steps()))})

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the run is made from beside its config: fingerprints of the data, the model and the neurons."""
        return {
            "data_fingerprint": fingerprint([*self.training.documents, *self.training.validation_documents]),
            "probe_fingerprint": self.probe.fingerprint,
            "model": dict(zip(("source", "revision"), identity(self.outline), strict=True)),
            "model_fingerprint": self.model.fingerprint(),
            "neurons_fingerprint": neurons_fingerprint(self.config.method),
            **({"evaluation_fingerprint": self.task.fingerprint} if self.task is not None else {}),
        }

    @property
    def ranks(self) -> int:
        """Processes that will train, as far as the config tells (`devices: auto` is counted as one)."""
        devices, nodes = self.config.trainer.get("devices", 1), self.config.trainer.get("num_nodes", 1)
        if isinstance(devices, list):
            devices = len(devices)
        count = devices if isinstance(devices, int) else 1
        return max(world_size(), count * int(nodes), 1)

    def planned(self) -> Planned:
        """What people are shown of it."""
        return Planned(
            model=self.outline,
            sites=self.sites,
            training=self.training,
            plan=self.steps,
            probe=self.probe,
            trained_languages=self.trained_languages,
            snapshot_steps=self.snapshot_steps(),
            checkpoints=self.checkpoints_kept(),
            accumulation=self.accumulation,
            ranks=self.ranks,
            gradient_checkpointing=self.config.model.gradient_checkpointing,
            weights_at_hand=self.model.weights_at_hand(),
            four_bit=self.config.model.four_bit,
            statistics=tuple(self.config.tracker.statistics),
            top_rate=self.config.identifier.top_rate,
            task=self.task,
            evaluation_steps=self.evaluation_steps(),
        )
