"""Which models are asked which tasks, known before any weight is loaded; each made once, when first asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from alignlab.config import to_yaml
from alignlab.data.encoding import check_vocabulary
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluating.folder import EvaluationFolder
from alignlab.evaluating.interventions import Interventions, Under
from alignlab.evaluating.options import EvaluateOptions, is_task_name
from alignlab.evaluating.task import BuiltTask, apart_from, placed
from alignlab.evaluating.tasks import build
from alignlab.models.adapters import ModelLoader, folder_problems
from alignlab.models.distributed import local_rank
from alignlab.models.load import ModelConfig, embedding_rows
from alignlab.models.training_languages import common_languages
from alignlab.neurons.groups import REFERENCE
from alignlab.recording.counting import Origin
from alignlab.recording.effects import NO_INTERVENTION, Effects
from alignlab.redaction import hide, hide_all
from alignlab.run_models import NamedModel, check_run, models_of_run, named_models, precision_of_run
from alignlab.runs import RunFolder

# Part of every digest: raise it when the numbers of a record change.
_VERSION = 1


@dataclass(frozen=True)
class Work:
    """One task of one model.

    digest: what its record is named by.
    under: the intervention under which it is done, with its controls; None for the model as it is.
    """

    model: NamedModel
    task: BuiltTask
    digest: str
    under: Under | None = None

    @property
    def left_out(self) -> tuple[frozenset[str], frozenset[str]]:
        """Ids and clusters whose items are left out of what is compared, since the neurons were found on them."""
        nothing = frozenset[str](), frozenset[str]()
        return self.under.left_out if self.under is not None and self.task.names_texts else nothing

    @property
    def arms(self) -> int:
        return 1 if self.under is None else len(self.under.labels)


@dataclass
class EvaluationPlan:
    """Models, tasks and what the records are made from."""

    options: EvaluateOptions

    @cached_property
    def run(self) -> RunFolder | None:
        return None if self.options.run is None else RunFolder(Path(self.options.run).expanduser())

    @cached_property
    def folder(self) -> EvaluationFolder:
        options = self.options
        above = Path("runs") if self.run is None else self.run.path
        path = above / "evaluations" / options.name if options.folder is None else Path(options.folder).expanduser()
        return EvaluationFolder(path)

    @property
    def document(self) -> str:
        """The config as YAML, without secrets."""
        return to_yaml(self.options.model_copy(update={"dry_run": False}), hide_all)

    @cached_property
    def models(self) -> list[NamedModel]:
        """First to last. Raises InputError for a run or a step that is not there."""
        further = named_models(self.options.models)
        if self.run is None:
            return further
        assert self.options.model is not None
        return [*models_of_run(self.run.path, self.options.model.source, self.options.steps), *further]

    @cached_property
    def loader(self) -> ModelLoader:
        device = torch.device("cuda", local_rank()) if torch.cuda.is_available() else torch.device("cpu")
        config = ModelConfig.of(self.options.model or ModelConfig())
        return ModelLoader(
            config, self.options.model is not None, precision_of_run(self.run, self.options.precision), device
        )

    @cached_property
    def languages(self) -> tuple[tuple[str, ...], str]:
        """Those in training, and the one that they are aligned to."""
        said = common_languages([model.source for model in self.models])
        trained, reference = said[0] if said is not None else ((), REFERENCE)
        given = self.options
        return tuple(trained if given.trained is None else given.trained), given.reference or reference

    @cached_property
    def works(self) -> list[Work]:
        """Every task of every model, model after model: as the model is, and under each intervention.

        Raises InputError with what is wrong with all tasks and interventions.
        """
        _refuse_all([partial(ask, model) for model in self.models for ask in (self._tasks, self.under)])
        works = []
        for model in self.models:
            for task in self._tasks(model):
                works += [Work(model, task, self._digest(model, task, one), one) for one in (None, *self.under(model))]
        return works

    def under(self, model: NamedModel) -> list[Under]:
        """The interventions on a model."""
        if model not in self._under:
            self._under[model] = self._interventions.on(model)
        return self._under[model]

    @property
    def tasks(self) -> Sequence[BuiltTask]:
        """The tasks as the first model's tokenizer cuts them."""
        return self._tasks(self.models[0])

    def outline(self, model: NamedModel) -> nn.Module:
        """A model on the meta device: all its shapes, no weights."""
        source = self.loader.below(model.source).source
        if source not in self._outlines:
            self._outlines[source] = self.loader.below(model.source).build_meta()
        return self._outlines[source]

    def origin(self, model: NamedModel) -> Origin:
        trained, reference = self.languages
        return Origin(hide(model.source), step=model.step, trained_languages=trained, reference=reference)

    def check_options(self) -> None:
        """Refuse options that do not go together, before anything is read. Raises InputError."""
        options, problems = self.options, list[Problem]()
        if options.run is None and not options.models:
            fix = "Write run=runs/demo, or models=[FOLDER,FOLDER]."
            problems.append(Problem("command line", "neither a run nor models are set", "one of them", fix))
        if options.run is None and options.steps is not None:
            problems.append(Problem("steps", "set, and there is no run", "null", "Set run=FOLDER."))
        if not options.tasks:
            fix = "Write tasks.text.name=perplexity, or config=evaluate_demo."
            problems.append(Problem("tasks", "none", "one or more", fix))
        for name in options.tasks:
            if not is_task_name(name) or hide(name) != name:
                expected = "letters, digits, _ and -"
                problems.append(Problem("tasks", f"one is called {hide(name)!r:.60}", expected, "Call it otherwise."))
        for name in options.interventions:
            if not is_task_name(name) or hide(name) != name or name == NO_INTERVENTION:
                expected = f"letters, digits, _ and -, and not {NO_INTERVENTION}"
                found = f"one is called {hide(name)!r:.60}"
                problems.append(Problem("interventions", found, expected, "Call it otherwise."))
        problems += self._interventions.check_options()
        refuse_any(problems)
        if self.run is not None:
            check_run(self.run.path)
        refuse_any([fault for model in self.models for fault in folder_problems(model.source, deep=False)])

    def check(self) -> None:
        """Refuse what cannot be done, before any weight is loaded. Raises InputError with all that is found."""
        problems = []
        for work in self.works:
            try:
                with placed(work.task.name):
                    outline = self.outline(work.model)
                    check_vocabulary(work.task.texts, embedding_rows(outline))
                    work.task.check(outline)
            except InputError as error:
                problems += [one for one in error.problems if one not in problems]
        for work in self.works:
            if work.under is not None:
                problems += [one for one in _unfit(work) if one not in problems]
        measured = list(dict.fromkeys(code for task in self.tasks for code in task.items))
        expected = f"some of: {', '.join(measured)}"
        problems += [
            Problem("languages", f"no task has {code}", expected)
            for code in self.options.languages or ()
            if code not in measured
        ]
        refuse_any(problems)

    def __post_init__(self) -> None:
        self._interventions = Interventions(self.options, self.outline)
        self._under: dict[NamedModel, list[Under]] = {}
        self._built: dict[str, list[BuiltTask]] = {}
        self._outlines: dict[str, nn.Module] = {}

    def _tasks(self, model: NamedModel) -> list[BuiltTask]:
        """The tasks as the tokenizer of a model cuts them."""
        below = self.loader.below(model.source)
        if below.source not in self._built:
            tokenizer = below.build_tokenizer()
            built, problems = list[BuiltTask](), list[Problem]()
            for name, options in self.options.tasks.items():
                try:
                    built.append(build(name, options, tokenizer, self.languages[1]))
                except InputError as error:
                    problems += error.problems
            refuse_any(problems)
            self._built[below.source] = built
        return self._built[below.source]

    def _digest(self, model: NamedModel, task: BuiltTask, under: Under | None) -> str:
        made_from: list[Any] = [_VERSION, self.loader.digest(model.source), type(task).__name__, task.fingerprint]
        made_from += [] if under is None else [under.fingerprint]
        return hashlib.sha256(repr(made_from).encode()).hexdigest()[:24]


def named(effects: Effects, plan: EvaluationPlan, work: Work) -> Effects:
    """A record as its model and task are called now: one model may be a step of a run, and be named by itself."""
    origin = plan.origin(work.model)
    names = ("model", "revision", "step", "trained_languages", "reference")
    about: dict[str, Any] = {name: getattr(origin, name) for name in names}
    if work.under is not None:
        labels = zip(work.under.labels, effects.labels, strict=True)
        about["labels"] = tuple(replace(label, digest=stored.digest) for label, stored in labels)
    return replace(effects, task=work.task.name, **about)


def _refuse_all(asked: Iterable[Callable[[], object]]) -> None:
    """Ask all, and refuse everything that they refuse, each once."""
    problems = list[Problem]()
    for one in asked:
        try:
            one()
        except InputError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    refuse_any(problems)


def _unfit(work: Work) -> list[Problem]:
    """Scopes that a task cannot have, and languages of which every item shares an id or a cluster with what neurons
    were found on.
    """
    assert work.under is not None
    if work.under.options.scope != "all" and not work.task.tells_prompts:
        found = f"{work.under.options.scope}, and tasks.{work.task.name} does not tell where prompts end"
        return [Problem(f"interventions.{work.under.name}.scope", found, "all", "Or leave out this task.")]
    left = {text.language for text in work.task.texts if apart_from(text, *work.left_out)}
    fix = "Take other text, other identify_shards, or set same_documents=true, which tables then say."
    found = "all items in {} share an id or a cluster with the documents on which neurons were found"
    return [
        Problem(f"tasks.{work.task.name}", found.format(code), f"others, for interventions.{work.under.name}", fix)
        for code in work.task.items
        if code not in left
    ]
