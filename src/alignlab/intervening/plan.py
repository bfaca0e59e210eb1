"""What will be done to which neurons of which models and measured on which text, known before any weight is loaded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab.config import to_yaml
from alignlab.environment import environment
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.options import TaskOptions
from alignlab.evaluation.tasks import Task, TaskConfig
from alignlab.intervening.folder import GridFolder
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.options import WITH_STRENGTH, InterveneOptions
from alignlab.intervening.subjects import Subject, subjects_of_run
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import local_rank
from alignlab.models.load import ModelConfig
from alignlab.models.options import PrecisionName
from alignlab.models.precision import precision_name
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.identifiers import identifier_of, reading_problems
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.redaction import hide, hide_all
from alignlab.run_models import check_run
from alignlab.runs import RunFolder


@dataclass
class GridPlan:
    """Models, text and outline, each made once, when it is first asked for."""

    options: InterveneOptions

    @cached_property
    def run(self) -> RunFolder | None:
        return None if self.options.run is None else RunFolder(Path(self.options.run).expanduser())

    @cached_property
    def subjects(self) -> list[Subject]:
        """The models whose neurons are changed. Raises InputError for a run or a step that is not there."""
        if self.run is not None:
            check_run(self.run.path)
        assert self.options.model is not None
        if self.run is None:
            return [Subject(hide(Path(self.options.model.source).name), self.options.model.source)]
        step = self.options.step
        steps = [step] if isinstance(step, int) else step
        return subjects_of_run(self.run.path, self.options.model.source, steps)

    @cached_property
    def folder(self) -> GridFolder:
        options = self.options
        above = Path("runs") if self.run is None else self.run.path
        path = above / "interventions" / options.name if options.folder is None else Path(options.folder).expanduser()
        return GridFolder(path, self.subjects, options.measures)

    @property
    def document(self) -> str:
        """The config as YAML, without secrets: which steps are meant is in it, however they were asked for."""
        changed: dict[str, Any] = {"dry_run": False}
        if self.run is not None:
            changed["step"] = [subject.step for subject in self.subjects]
        return to_yaml(self.options.model_copy(update=changed), hide_all)

    @cached_property
    def loader(self) -> ModelLoader:
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        assert self.options.model is not None
        return ModelLoader(ModelConfig.of(self.options.model), self.run is not None, self._precision(), device)

    @cached_property
    def base(self) -> ModelConfig:
        """The model without its adapter."""
        return self.loader.below(self.subjects[0].source)

    @cached_property
    def tokenizer(self) -> Any:
        return self.base.build_tokenizer()

    @cached_property
    def outline(self) -> nn.Module:
        """The model on the meta device: all its shapes, no weights."""
        return self.base.build_meta()

    @cached_property
    def sites(self) -> list[Site]:
        """The neurons' sites, found in the outline."""
        with torch.device("meta"):
            return find_sites(self.outline, self.grids[0].site)

    @cached_property
    def probe(self) -> Probe | PromptProbe:
        """The text on which the run has counted."""
        return ProbeConfig.of(self.options.probe).build(self.tokenizer)

    @cached_property
    def text(self) -> Probe | None:
        """Other text to measure on. Raises InputError for prompts without answers."""
        if self.options.text is None:
            return None
        text = ProbeConfig.of(self.options.text).build(self.tokenizer)
        if isinstance(text, PromptProbe):
            expected = "reference: documents as they are"
            raise InputError.of("text.responses", text.responses, expected, "Set text.responses=reference.")
        return text

    @cached_property
    def task(self) -> Task:
        """The problems: those that are set, else those of the run. Raises InputError where there are none."""
        options = self.options.evaluation
        if options is None and self.run is not None and isinstance(self.run.stored_config().get("evaluation"), dict):
            stored = self.run.stored_config()["evaluation"]
            options = TaskOptions.model_validate(
                {name: stored[name] for name in TaskOptions.model_fields if name in stored}
            )
        if options is None:
            fix = "Set evaluation.source, or measures=[perplexity]."
            raise InputError.of("measures", "accuracy, and there are no problems", "a run with problems", fix)
        return TaskConfig.of(options).build(self.tokenizer)

    @cached_property
    def grids(self) -> list[Grid]:
        """Of every model its grid."""
        return [Grid(self, subject) for subject in self.subjects]

    def check_options(self) -> None:
        """Refuse options that do not go together, before anything is read. Raises `InputError`."""
        options = self.options
        problems = []
        if options.run is None and options.model is None:
            fix = "Write run=runs/demo, or model.source=FOLDER neurons=SETS text.source.path=..."
            problems.append(Problem("command line", "neither a run nor a model is set", "one of them", fix))
        if options.run is None:
            needed = {"neurons": options.neurons, "text": options.text}
            problems += [
                Problem(name, "not set, and there is no run", "set for a model without a run")
                for name, value in needed.items()
                if value is None
            ]
            if options.step is not None:
                problems.append(Problem("step", "set, but there is no run", "null", "Set run=FOLDER."))
        if options.run is not None and options.neurons is None:
            fix = "Take another, or set neurons=FILE and text.source: sets that analyze has written, and other text."
            problems += [replace(one, fix=fix) for one in reading_problems(identifier_of(options.identifier))]
        with_strength = [name for name in options.operations if name in WITH_STRENGTH]
        if options.strengths != [1.0] and not with_strength:
            found = f"{options.strengths}, but {' and '.join(options.operations)} has none"
            problems.append(Problem("strengths", found, f"an operation with one: {', '.join(WITH_STRENGTH)}"))
        if options.neurons is not None and options.run is None and "matched" in options.controls:
            fix = "Set controls=[random], or also run=FOLDER."
            problems.append(Problem("controls", "matched, but no run has counted the neurons", "random", fix))
        if options.text is not None and options.same_documents and options.identify_shards is not None:
            problems.append(Problem("identify_shards", "set beside same_documents=true", "one of them"))
        refuse_any(problems)

    def check(self) -> None:
        """Refuse what cannot be done, before any weight is loaded. Raises `InputError`."""
        for grid in self.grids:
            grid.check()

    def made_from(self) -> dict[str, Any]:
        """Fingerprints of text, weights, neurons and batches, beside versions and the machine."""
        of_grids = [grid.fingerprints() for grid in self.grids]
        joined = {name: [one[name] for one in of_grids] for name in of_grids[0]}
        hidden: dict[str, Any] = hide_all({**environment(), **joined})
        return hidden

    def _precision(self) -> PrecisionName:
        if self.options.precision is not None or self.run is None:
            return self.options.precision or "32-true"
        trainer = self.run.stored_config().get("trainer")
        trained_in = trainer.get("precision") if isinstance(trainer, dict) else None
        name = precision_name(trained_in)
        if name is None:
            found, fix = f"the run's is {trained_in!r}", "Set precision=bf16-mixed."
            raise InputError.of("precision", found, "one that intervene knows", fix)
        return name
