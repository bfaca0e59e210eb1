"""The config of every cell, made and checked before the first is begun: all mistakes at once, each with its line."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from typing import Any

from alignlab import console
from alignlab.command import with_origin
from alignlab.config import Options, load_over, to_plain, to_yaml
from alignlab.errors import MOST, InputError, Problem, refuse_any, some_of
from alignlab.evaluating.options import EvaluateOptions
from alignlab.intervening.options import InterveneOptions
from alignlab.neurons.identifiers import identifier_of, require_tau
from alignlab.options import AnalyzeOptions, TrainConfig
from alignlab.preparation.options import PreferencesOptions, ResponsesOptions
from alignlab.redaction import hide, hide_all
from alignlab.run_checks import check_monitored, check_sharding
from alignlab.runs import IGNORED
from alignlab.secret_settings import hidden_problems
from alignlab.stages import check_stages
from alignlab.studying.folder import State, StudyFolder
from alignlab.studying.grid import (
    TRAIN,
    Cell,
    Grid,
    Origins,
    Setting,
    asked_problems,
    grid_of,
    own_key_problems,
    settings_of,
)
from alignlab.studying.options import StudyOptions
from alignlab.studying.steps import Step, steps_of

_OPTIONS: dict[str, type[Options]] = {
    "train": TrainConfig,
    "analyze": AnalyzeOptions,
    "evaluate": EvaluateOptions,
    "intervene": InterveneOptions,
    "preferences": PreferencesOptions,
    "responses": ResponsesOptions,
}
_CHECKS: Sequence[Callable[[TrainConfig], object]] = (
    lambda config: require_tau(identifier_of(config.identifier)),
    check_stages,
    check_monitored,
    check_sharding,
)


@dataclass(frozen=True)
class Study:
    """A study whose cells are known and right.

    configs: of the training, by cell; of a suite there are none.
    before: what is prepared before the first cell.
    """

    options: StudyOptions
    grid: Grid
    steps: tuple[Step, ...]
    configs: dict[str, TrainConfig]
    folder: StudyFolder
    before: tuple[Step, ...] = ()

    @cached_property
    def combinations(self) -> list[tuple[str, ...]]:
        """The levels of all cells, each once."""
        return list(dict.fromkeys(cell.levels for cell in self.grid.cells))

    def levels(self, axis: str) -> list[str]:
        """Those of an axis that cells have, in their order."""
        place = self.grid.axes.index(axis)
        return list(dict.fromkeys(cell.levels[place] for cell in self.grid.cells))

    def steps_of(self, cell: Cell) -> list[Step]:
        """What is done for a cell, in this order."""
        return [step for step in self.steps if step.is_of(cell)]

    def state(self, cell: Cell) -> State:
        """How far a cell is, whoever works on it."""
        return self.folder.state(cell, self.steps_of(cell))

    def document(self, cell: Cell) -> str:
        """The config of a cell's training as YAML, which loads back to it; empty in a suite."""
        return to_yaml(self.configs[cell.name]) if self.configs else ""


def study_of(options: StudyOptions, origins: Origins) -> Study:
    """The study, with every cell's config. Raises InputError for all that is wrong with any of them.

    origins: where each key of `options` was set, as `load` gives it.
    """
    problems: list[Problem] = []
    cell = settings_of(options.cell.set, "cell.set", origins, problems)
    suite = bool(options.models)
    problems += own_key_problems(cell, but=("seed",) if suite else ())
    then = {name: settings_of(one.set, f"then.{name}.set", origins, problems) for name, one in options.then.items()}
    before = [
        Step(name, "prepare", one.config, tuple(settings_of(one.set, f"before.{name}.set", origins, problems)),
             f"before.{name}", one.prepare)
        for name, one in options.before.items()
    ]  # fmt: skip
    for step in before:
        problems += _named_problems(step.key, step.settings, own=("folder",))
    for name, settings in then.items():
        problems += own_key_problems(settings, but=("seed",)) + _named_problems(f"then.{name}", settings)
    problems += asked_problems(options, origins)
    if suite:
        problems += _named_problems("cell", cell)
    elif options.cell.config is None:
        where = _where(origins, "cell.config")
        problems.append(Problem(where, "not set", "a shipped config or file of alignlab.train, such as demo"))
    try:
        grid = grid_of(options, origins)
    except InputError as error:
        told = [*problems, *error.problems, *_problems_of_levels(options, cell, origins)]
        raise InputError(*dict.fromkeys(told)) from error
    steps = steps_of(options, cell, then)
    folder = StudyFolder.of(options)
    configs: dict[str, TrainConfig] = {}
    if suite or options.cell.config is not None:
        for step in [*before, *steps]:
            if step.verb != "train":
                problems += _step_problems(step, grid.cells[0], folder, origins)
        if not suite:
            problems += _make_configs(options, grid, cell, folder, origins, configs)
    refuse_any(list(dict.fromkeys(problems)))
    return Study(options, grid, tuple(steps), configs, folder, tuple(before))


def _problems_of_levels(options: StudyOptions, base: Sequence[Setting], origins: Origins) -> list[Problem]:
    """What is wrong with the config and with each level over it alone, where names or axes are wrong already."""
    if options.models or options.cell.config is None:
        return []
    levels = [(axis, level, given) for axis, some in options.axes.items() for level, given in some.items()]
    problems: list[Problem] = []
    for axis, level, given in levels[:MOST] or [("", "", {})]:
        settings = settings_of(given, f"axes.{axis}.{level}", origins, [])
        layers = [
            [(one.key, one.value, one.where) for one in some if all(one.key.split("."))] for some in (base, settings)
        ]
        try:
            load_over(TrainConfig, [f"config={options.cell.config}"], *layers, under="cell.set")
        except InputError as error:
            problems += [_named(problem, _where(origins, "cell.config")) for problem in error.problems]
    return problems


def _where(origins: Origins, key: str) -> str:
    where = origins.get(key, "default")
    return key if where == "default" else f"{where}: {key}"


_OWN = ("folder", "name", "models", "run.folder", "model.source", "model.revision")


def _named_problems(key: str, settings: Sequence[Setting], own: Sequence[str] = _OWN) -> list[Problem]:
    """What the study says of where a step's results lie, and of which model it is asked."""
    return [
        Problem(one.where, f"{one.key} of {key} is set, which a study sets itself", "other keys", "Leave it out.")
        for one in settings
        if one.key in own
    ]


def options_of(step: Step, cell: Cell, folder: StudyFolder) -> Options:
    """The options of a command that is asked of a cell. Raises InputError for what is wrong with them."""
    bare = replace(step, settings=(), config=None).asked(cell, folder.cell(cell))
    argv = [*([f"config={step.config}"] if step.config is not None else []), *bare]
    settings = [(one.key, one.value, one.where) for one in step.settings]
    return load_over(_OPTIONS[step.kind or step.verb], argv, settings, under=f"{step.key}.set")[0]


def _step_problems(step: Step, cell: Cell, folder: StudyFolder, origins: Origins) -> list[Problem]:
    """What is wrong with a command that is asked of every cell, as far as can be told before a cell is there."""
    try:
        config = options_of(step, cell, folder)
    except InputError as error:
        where = _where(origins, f"{step.key}.config")
        return [_named(problem, where) for problem in error.problems]
    told = hidden_problems(to_plain(config))
    return [replace(problem, where=f"{step.key}: {problem.where}") for problem in told]


def _named(problem: Problem, where: str) -> Problem:
    """The problem at the key of the study in the place of the command line, which nobody has typed."""
    if problem.where.startswith("command line"):
        return replace(problem, where=where)
    return problem


def _make_configs(
    options: StudyOptions,
    grid: Grid,
    base: Sequence[Setting],
    folder: StudyFolder,
    origins: Origins,
    configs: dict[str, TrainConfig],
) -> list[Problem]:
    """Put the config of every cell into `configs`; what is wrong with any."""
    problems: list[Problem] = []
    by_levels = defaultdict(list)
    for cell in grid.cells:
        by_levels[cell.levels].append(cell)
    with console.progress("Checking cells", len(grid.cells)) as advance:
        for cells in by_levels.values():
            try:
                for cell, config in _of_seeds(options, cells, base, folder):
                    configs[cell.name] = config
            except InputError as error:
                where = _where(origins, "cell.config")
                problems += [_named(problem, where) for problem in error.problems]
            advance(len(cells))
    if not problems:
        problems += _equal_problems(grid, configs, origins)
    return problems


def _of_seeds(
    options: StudyOptions, cells: Sequence[Cell], base: Sequence[Setting], folder: StudyFolder
) -> Iterator[tuple[Cell, TrainConfig]]:
    """The configs of cells that differ in their seeds: where the first two differ in nothing else, nor do the others.

    Raises InputError for what is wrong with them.
    """
    made = []
    for cell in cells[:2]:
        made.append(_load(options, cell, base, folder))
        yield cell, made[-1]
    plain = [{key: value for key, value in to_plain(one).items() if key not in ("seed", "run")} for one in made]
    for cell in islice(cells, 2, None):
        if plain[0] == plain[1]:
            run = made[0].run.model_copy(update={"name": cell.name, "folder": str(folder.cell(cell) / TRAIN)})
            yield cell, made[0].model_copy(update={"seed": cell.seed, "run": run})
        else:
            yield cell, _load(options, cell, base, folder)


def _load(options: StudyOptions, cell: Cell, base: Sequence[Setting], folder: StudyFolder) -> TrainConfig:
    own = {"seed": cell.seed, "run.name": cell.name, "run.folder": str(folder.cell(cell) / TRAIN)}
    layers = [[(one.key, one.value, one.where) for one in some] for some in (base, cell.settings)]
    layers.append([(key, value, f"cell {cell.name}") for key, value in own.items()])
    config, origins = load_over(TrainConfig, [f"config={options.cell.config}"], *layers, under="cell.set")
    problems: list[Problem] = hidden_problems(to_plain(config))
    if not problems and hide(text := json.dumps(to_plain(config))) != text:
        secret = next(key for key, value in _flat(to_plain(config)) if hide_all(value) != value)
        fix = "Leave it to the variable that the library reads itself, such as HF_TOKEN or WANDB_API_KEY."
        problems.append(Problem(secret, "it holds a secret, and every cell's config is written to a file", "none", fix))
    for check in _CHECKS:
        try:
            check(config)
        except InputError as error:
            problems += error.problems
    refuse_any([with_origin(problem, origins) for problem in problems])
    return config


def _flat(plain: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(plain, dict):
        for key, value in plain.items():
            yield from _flat(value, f"{above}.{key}" if above else str(key))
    else:
        yield above, plain


def _equal_problems(grid: Grid, configs: dict[str, TrainConfig], origins: Origins) -> list[Problem]:
    """Cells that would be the same run under two names."""
    same = defaultdict(list)
    ignored = {key for key in IGNORED if "." not in key}
    for cell in grid.cells:
        plain = {key: value for key, value in to_plain(configs[cell.name]).items() if key not in ignored}
        same[json.dumps(plain, sort_keys=True)].append(cell.name)
    return [
        Problem(_where(origins, "axes"), f"the cells {some_of(names)} have the same config", "cells that differ",
                "Leave all but one out (skip), or let their levels set what differs.")
        for names in same.values()
        if len(names) > 1
    ]  # fmt: skip
