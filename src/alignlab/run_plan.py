"""What a training run will be, known before any weight is loaded, and what it is made from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab.checksums import of_values
from alignlab.data.encoding import check_vocabulary, fingerprint
from alignlab.data.overlap import Evaluated, Overlap
from alignlab.data.records import Record
from alignlab.data.training import parts_of
from alignlab.errors import InputError, Problem, refuse_any, some_of
from alignlab.evaluation.options import TaskOptions
from alignlab.evaluation.tasks import Task, TaskConfig, in_training
from alignlab.methods.trainable import neurons_fingerprint
from alignlab.models.distributed import world_size
from alignlab.models.load import ModelConfig, embedding_rows, identity
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.identifiers import identifier_of, size_problems
from alignlab.options import TrainConfig
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.reporting.estimates import Planned, PlannedStage
from alignlab.runs import RunFolder
from alignlab.stage_plan import StagePlan
from alignlab.stages import in_stage, stage_configs
from alignlab.trainer_options import SHARDED, planned_ranks

# More snapshots or checkpoints than any disk holds.
_MOST_WRITTEN = 1_000_000


@dataclass
class RunPlan:
    """What a run will be, as its config has it: text, model and steps, each made once, when it is first asked for.

    No weights are loaded for any of it. Steps are numbered through all stages. A stage may end early, which those after
    it follow: what depends on that takes `ends`, the last steps of the stages that have ended.
    """

    config: TrainConfig

    @cached_property
    def folder(self) -> RunFolder:
        return RunFolder(Path(self.config.run.folder).expanduser())

    @cached_property
    def model(self) -> ModelConfig:
        return ModelConfig.of(self.config.model)

    @cached_property
    def tokenizer(self) -> Any:
        return self.model.build_tokenizer()

    @cached_property
    def made_stages(self) -> tuple[StagePlan, ...]:
        """The stages in their order, the run itself where it has none: nothing of them has been looked at."""
        carries = [stage.adapter == "carry" for stage in self.config.stages.values()] or [False]
        return tuple(
            StagePlan(config, self.model, self.tokenizer, name, carried, self.config.seed, self.evaluated)
            for (name, config), carried in zip(stage_configs(self.config).items(), carries, strict=True)
        )

    @cached_property
    def stages(self) -> tuple[StagePlan, ...]:
        """The same. Raises InputError for all mistakes in them."""
        problems: dict[Problem, None] = {}
        for stage in self.made_stages:
            try:
                with in_stage(self.config, stage.name):
                    stage.check()
            except InputError as error:
                problems |= dict.fromkeys(error.problems)
        refuse_any(list(problems))
        return self.made_stages

    @cached_property
    def probe(self) -> Probe | PromptProbe:
        return ProbeConfig.of(self.config.probe).build(self.tokenizer)

    @cached_property
    def task(self) -> Task | None:
        """The problems that the model answers while it trains; None where there are to be none."""
        options = self.config.evaluation
        if options is None:
            return None
        records, source = self.problems, options.source
        known: dict[str, None] = {}
        for stage in self.stages:
            for name, part in parts_of(stage.config.data).items():
                same = _place(part.source) == _place(source)
                known |= dict.fromkeys(in_training(records, stage.training.contents[name], same_source=same))
        if known:
            found = f"{len(known):,} problems are in the training data too: {some_of(list(known))}"
            fix = "Take another split or file, or leave them out of the training."
            raise InputError(Problem("evaluation.source", found, "problems that are not trained on", fix))
        task = TaskConfig(**{name: getattr(options, name) for name in TaskOptions.model_fields})
        built = task.build_from(records, self.tokenizer, options.source.clusters)
        return built.after({document.cluster for stage in self.stages for document in stage.training.documents})

    @cached_property
    def problems(self) -> list[Record]:
        """The records of which the problems are taken; none where the model answers none."""
        return [] if self.config.evaluation is None else self.config.evaluation.source.load()

    @cached_property
    def evaluated(self) -> Evaluated:
        """The problems by language, which are looked for in the training text while it is loaded."""
        documents: dict[str, list[str]] = {}
        with suppress(InputError):  # which is told where the task is made of them, once the stages are right
            for record in self.problems:
                documents.setdefault(record.language, []).append(record.prompt)
        return Evaluated(documents)

    @property
    def overlap(self) -> dict[str, Overlap]:
        """By language how much of the problems' text is in the training text of all stages."""
        loaded = [stage.training for stage in self.stages]  # in which they are looked for
        return self.evaluated.found() if loaded else {}

    @cached_property
    def trained_languages(self) -> tuple[str, ...]:
        """Languages of the training prompts of all stages, in the order in which they are first trained on."""
        return self.trained_by(len(self.stages))

    def trained_by(self, number: int) -> tuple[str, ...]:
        """Those of the first so many stages."""
        return tuple(dict.fromkeys(code for stage in self.stages[:number] for code in stage.trained_languages))

    @cached_property
    def outline(self) -> nn.Module:
        """The model on the meta device, as the first stage trains it: all its shapes, no weights."""
        model = self.stages[0].outline
        probed = [document for documents in self.probe.documents.values() for document in documents]
        check_vocabulary([*probed, *(self.task.prompts if self.task is not None else [])], embedding_rows(model))
        return model

    @cached_property
    def sites(self) -> list[Site]:
        """The neurons' sites, found in the outline. Raises InputError where the identifier would select no neuron."""
        with torch.device("meta"):
            found = find_sites(self.outline, self.config.probe.site)
        refuse_any(size_problems(identifier_of(self.config.identifier), len(found) * found[0].width))
        return found

    def planned_ends(self, ends: Sequence[int] = ()) -> list[int]:
        """The last steps of all stages; of those that have not ended, the planned ones."""
        lengths = [stage.total_steps for stage in self.stages[len(ends) :]]
        return [*ends[:-1], *accumulate(lengths, initial=ends[-1])] if ends else list(accumulate(lengths))

    def total_steps(self, ends: Sequence[int] = ()) -> int:
        """Optimiser steps of the run."""
        return self.planned_ends(ends)[-1]

    @property
    def wants_gpu(self) -> bool:
        """Whether the config asks for CUDA devices, wherever it is read."""
        return self.config.trainer.get("accelerator") in {"gpu", "cuda"}

    @property
    def on_gpu(self) -> bool:
        """Whether the run is on CUDA devices."""
        asked = self.wants_gpu or self.config.trainer.get("accelerator", "auto") == "auto"
        return asked and torch.cuda.is_available()

    def snapshot_steps(self, ends: Sequence[int] = ()) -> list[int]:
        """The steps at which neurons are counted."""
        return [0, *self._every("tracker", self.config.tracker.every_n_steps, ends)]

    def evaluation_steps(self, ends: Sequence[int] = ()) -> list[int]:
        """The steps at which the model answers problems; none where it is not to."""
        if self.config.evaluation is None:
            return []
        if (interval := self.config.evaluation.every_n_steps) is None:
            return self.snapshot_steps(ends)
        return [0, *self._every("evaluation", interval, ends)]

    def checkpoint_steps(self, ends: Sequence[int] = ()) -> list[int]:
        """The steps at which weights are saved."""
        if (interval := self.config.checkpoints.every_n_steps) is not None:
            return self._every("checkpoints", interval, ends)
        return self._every("tracker", self.config.tracker.every_n_steps, ends)

    def validation_steps(self, stage: StagePlan, ends: Sequence[int] = ()) -> list[int]:
        """The steps at which the loss of the examples that a stage holds out is measured; none where there are none."""
        asked = stage.config.data.validation
        if asked is None:
            return []
        if asked.every_n_steps is None:
            return self.snapshot_steps(ends)
        return [0, *self._every("data.validation", asked.every_n_steps, ends)]

    def _every(self, section: str, interval: int | None, ends: Sequence[int]) -> list[int]:
        """Every so many steps, and the last of each stage. section: of the config, in which the interval stands."""
        lasts = self.planned_ends(ends)
        number = lasts[-1] // (interval or lasts[-1])
        if number > _MOST_WRITTEN:
            found = f"{interval} of {lasts[-1]:,} steps, so {number:,} times"
            raise InputError(Problem(f"{section}.every_n_steps", found, f"at most {_MOST_WRITTEN:,} times"))
        return sorted({*(range(interval, lasts[-1], interval) if interval else ()), *lasts})

    def checkpoints_kept(self) -> int:
        """How many checkpoints lie on the disk at the end."""
        steps, last = self.checkpoint_steps(), self.config.checkpoints.keep_last
        return len(steps) if last is None else len({*steps[-last:], *(set(steps) & set(self.snapshot_steps()))})

    @cached_property
    def provenance(self) -> dict[str, Any]:
        """What the run is made from beside its config: fingerprints of the data, the model and the neurons."""
        neurons = [neurons_fingerprint(stage.config.method) for stage in self.stages]
        return {
            "data_fingerprint": fingerprint(
                document
                for stage in self.stages
                for document in (*stage.training.documents, *stage.training.validation_documents)
            ),
            "probe_fingerprint": self.probe.fingerprint,
            "model": dict(zip(("source", "revision"), identity(self.outline), strict=True)),
            "model_fingerprint": self.model.fingerprint(),
            "neurons_fingerprint": neurons[0] if len(neurons) == 1 else of_values(neurons),
            **({"evaluation_fingerprint": self.task.fingerprint} if self.task is not None else {}),
        }

    def _merged(self) -> int:
        """How many models with merged adapters lie on the disk at the end."""
        return sum(
            before.config.method.trainable == "lora" and not stage.carries for before, stage in pairwise(self.stages)
        )

    @property
    def ranks(self) -> int:
        """Processes that will train, as far as the config tells."""
        return max(world_size(), planned_ranks(self.config.trainer))

    def planned(self) -> Planned:
        """What people are shown of it."""
        return Planned(
            stages=[
                PlannedStage(
                    stage.name,
                    stage.method_in_words,
                    stage.outline,
                    stage.training,
                    stage.steps,
                    stage.accumulation,
                    last,
                )
                for stage, last in zip(self.stages, self.planned_ends(), strict=True)
            ],
            merged=self._merged(),
            sites=self.sites,
            probe=self.probe,
            trained_languages=self.trained_languages,
            snapshot_steps=self.snapshot_steps(),
            checkpoints=self.checkpoints_kept(),
            ranks=self.ranks,
            sharded=self.config.trainer.get("strategy") == SHARDED,
            machines=self.config.trainer.get("num_nodes", 1),
            gradient_checkpointing=self.config.model.gradient_checkpointing,
            weights_at_hand=self.model.weights_at_hand(),
            four_bit=self.config.model.four_bit,
            statistics=tuple(self.config.tracker.statistics),
            top_rate=getattr(self.config.identifier, "top_rate", None),
            task=self.task,
            overlap=self.overlap,
            evaluation_steps=self.evaluation_steps(),
        )


def _place(source: Any) -> tuple[str, str]:
    """By which two sources are known to be one, of which one id means one thing."""
    return source.name, getattr(source, "path", "")
