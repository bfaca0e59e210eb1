"""What will be done to which neurons of which models and measured on which text, known before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab.config import to_yaml
from alignlab.data.prompts import Prompts
from alignlab.environment import environment
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.options import TaskOptions
from alignlab.evaluation.tasks import Task, TaskConfig
from alignlab.intervening import falling
from alignlab.intervening.folder import GridFolder
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.objects import Objects, build_objects
from alignlab.intervening.options import WITH_STRENGTH, WITH_TEXTS, InterveneOptions
from alignlab.intervening.subjects import Subject, at_sites, subjects_of_run
from alignlab.models.adapters import ModelLoader
from alignlab.models.distributed import local_rank
from alignlab.models.load import ModelConfig
from alignlab.neurons.counts_file import read_header
from alignlab.neurons.groups import group_languages
from alignlab.neurons.identifiers import identifier_of, reading_problems
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.redaction import hide, hide_all
from alignlab.run_models import check_run, precision_of_run
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
        base = self.options.model.source
        found = subjects_of_run(self.run.path, base, steps)
        if self.options.sites is None:
            return found
        return at_sites(found, self.options.sites, self.run.path, base, self.loader.digest)

    @cached_property
    def languages(self) -> list[str] | None:
        """Those that are measured; None for all. Raises InputError where none is of the group that is asked for."""
        options = self.options
        if options.group is None:
            return options.languages
        snapshot = self.subjects[0].snapshot
        assert snapshot is not None
        header = read_header(snapshot)
        known = group_languages(header.languages, header.trained_languages, header.reference)
        of_group = list(known.get(options.group, ()))
        found = [code for code in of_group if options.languages is None or code in options.languages]
        if not found:
            have = f"{options.group}, and of those the run has {' '.join(of_group) or 'none'}"
            raise InputError.of("group", have, "one or more languages that are measured", "Leave group out.")
        return found

    @cached_property
    def folder(self) -> GridFolder:
        options = self.options
        above = Path("runs") if self.run is None else self.run.path
        path = above / "interventions" / options.name if options.folder is None else Path(options.folder).expanduser()
        within_run = self.run is not None and options.folder is None
        return GridFolder(path, self.subjects, options.measures, within_run)

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
        precision = precision_of_run(self.run, self.options.precision)
        return ModelLoader(ModelConfig.of(self.options.model), self.run is not None, precision, device)

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
    def probe(self) -> Probe | PromptProbe:
        """The text on which the run has counted."""
        return ProbeConfig.of(self.options.probe).build(self.tokenizer)

    @cached_property
    def text(self) -> Probe | None:
        """Other text to measure on. Raises InputError for prompts without answers."""
        if self.options.text is None:
            return None
        try:
            text = ProbeConfig.of(self.options.text).build(self.tokenizer)
        except InputError as error:
            raise InputError(*map(_of_text, error.problems)) from None
        if isinstance(text, PromptProbe):
            expected = "reference: documents as they are"
            raise InputError.of("text.responses", text.responses, expected, "Set text.responses=reference.")
        return text

    @cached_property
    def problems(self) -> TaskOptions | None:
        """Where problems come from: what is set, else as in the run."""
        options = self.options.evaluation
        if options is None and self.run is not None and isinstance(self.run.stored_config().get("evaluation"), dict):
            stored = self.run.stored_config()["evaluation"]
            options = TaskOptions.model_validate(
                {name: stored[name] for name in TaskOptions.model_fields if name in stored}
            )
        return options

    @cached_property
    def task(self) -> Task:
        """The problems: those that are set, else those of the run. Raises InputError where there are none."""
        if self.problems is None:
            fix = "Set evaluation.source, or measures=[perplexity]."
            raise InputError.of("measures", "accuracy, and there are no problems", "a run with problems", fix)
        return TaskConfig.of(self.problems).build(self.tokenizer)

    def objects(self, used: tuple[Collection[str], Collection[str]]) -> Objects:
        """The parallel items of LSS but those of these ids and clusters. Raises InputError where there are none."""
        options, problems = self.options.objects, self.problems
        source = options.source or (problems.source if problems is not None else None)
        if source is None:
            fix = "Set objects.source, or leave lss out of measures."
            raise InputError.of("measures", "lss, and there are no parallel items", "a run with problems", fix)
        of_problems = problems.prompts if problems is not None and options.source is None else Prompts()
        return build_objects(
            source.load(),
            self.tokenizer,
            options,
            options.prompts or of_problems,
            clusters=source.clusters,
            languages=self.languages,
            used=used,
        )

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
            of_runs: dict[str, object] = {"step": options.step, "identify_shards": options.identify_shards}
            of_runs["same_documents"] = options.same_documents or None
            problems += [
                Problem(
                    name, "set, but there is no run", "null" if name != "same_documents" else "false", "Set run=FOLDER."
                )
                for name, value in of_runs.items()
                if value is not None
            ]
            if options.group is not None:
                problems.append(Problem("group", "set, but there is no run that says what was trained", "null"))
            if options.sites is not None:
                problems.append(Problem("sites", "set, but there is no run that has counted there", "null"))
        if options.run is not None and options.neurons is None:
            fix = "Take another, or set neurons=FILE and text.source: sets that analyze has written, and other text."
            problems += [replace(one, fix=fix) for one in reading_problems(identifier_of(options.identifier))]
        problems += falling.option_problems(options) if "fallback" in options.measures else []
        with_strength = [name for name in options.operations if name in WITH_STRENGTH]
        if options.strengths != [1.0] and not with_strength:
            found = f"{options.strengths}, but {' and '.join(options.operations)} has none"
            problems.append(Problem("strengths", found, f"an operation with one: {', '.join(WITH_STRENGTH)}"))
        if options.neurons is not None and options.run is None and "matched" in options.controls:
            fix = "Set controls=[random], or also run=FOLDER."
            problems.append(Problem("controls", "matched, but no run has counted the neurons", "random", fix))
        if options.text is None and options.same_documents and options.identify_shards is not None:
            problems.append(Problem("identify_shards", "set beside same_documents=true", "one of them"))
        problems += _without_use(options)
        if options.neurons is not None and options.run is not None and options.sites is not None:
            problems.append(Problem("sites", "set beside a file of neurons, which says its own", "one of them"))
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


def _without_use(options: InterveneOptions) -> list[Problem]:
    """Options that would change nothing, since another one is not set."""
    problems = []
    if options.replace_by != "mean" and "replace" not in options.operations:
        found = f"{options.replace_by}, but operations has no replace"
        problems.append(Problem("replace_by", found, "operations=[replace]"))
    if options.percentile != 90 and options.replace_by != "percentile":
        found = f"{options.percentile:g}, but replace_by is {options.replace_by}"
        problems.append(Problem("percentile", found, "replace_by=percentile"))
    if not options.anchored and (options.neurons is not None or options.run is None):
        problems.append(Problem("anchored", "false, but the sets are those of a file", "true, or no file of neurons"))
    written = " ".join([options.each or "", *options.sets.values()])
    if options.beside is not None and not re.search(r"\b(pure|compound)\s*\(|\bgeneric\b", written):
        fix = "Write each='pure(g)', or the like in sets."
        problems.append(Problem("beside", "set, but no expression asks for it", "pure, compound or generic", fix))
    for name, value in options.fallback:
        if value is not None and "fallback" not in options.measures:
            problems.append(Problem(f"fallback.{name}", "set, but measures has no fallback", "measures=[fallback]"))
    if options.evaluation is not None and not {*WITH_TEXTS, "lss"} & set(options.measures):
        found = "set, but measures has none that takes problems"
        problems.append(Problem("evaluation", found, f"{', '.join(WITH_TEXTS)} or lss among measures"))
    return problems


def _of_text(problem: Problem) -> Problem:
    """What is wrong with the other text, by its own key: a probe does not know by which it was asked for."""
    where, fix = (re.sub(r"\bprobe\b", "text", part) for part in (problem.where, problem.fix))
    return replace(problem, where=where, fix=fix)
