"""From the command line to a config: layers read and merged, checked against the schema, and built."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from alignlab.errors import InputError, Problem

from .arguments import read_arguments
from .completion import Absent, Chosen, Completion, Member, Setting
from .files import read_files
from .interpolation import interpolate
from .schema import NAME, schema_of
from .suggestions import suggest_choice
from .tree import Branch, leaves, merge_branches, plain
from .values import MismatchError, convert, expectation, show, unmet

T = TypeVar("T")

# From all that is set, a config file to lie beneath it, and which of that file's keys count; None for no file.
Beneath = Callable[[Mapping[str, Any]], tuple[Path, Collection[str]] | None]


def load(root: type[T], argv: Sequence[str], beneath: Beneath = lambda tree: None) -> tuple[T, dict[str, str]]:
    """The config that `argv` (`config=FILE`, `key.sub=value`) asks for, and where each of its keys was set.

    Where: `configs/demo.yaml:12`, `command line` or `default`. Raises one InputError with everything that is wrong:
    first what cannot be read, and once all can, what does not fit.

    beneath: for verbs on a run, whose config gives them defaults.
    """
    config, overrides, problems = read_arguments(argv)
    files = () if config is None else (config,)
    layers, faults = read_files(*files)
    if problems + faults:
        raise InputError(*problems, *faults)
    tree = functools.reduce(merge_branches, (*layers, overrides))
    lower = beneath(plain(tree))
    if lower is not None:
        path, keys = lower
        layers, faults = read_files(str(path), *files)
        if faults:
            raise InputError(*faults)
        some = {key: child for key, child in layers[0].children.items() if key in keys}
        tree = functools.reduce(merge_branches, (replace(layers[0], children=some), *layers[1:], overrides))

    schema = schema_of(root)
    completion = Completion(schema)
    chosen, faults = interpolate(completion.section(schema, tree), schema)
    builder = _Builder(completion.problems + faults)
    built: T = builder.section(chosen)
    if builder.problems:
        raise InputError(*builder.problems)
    return built, builder.provenance


class _Unfit:
    """What stands for a member that cannot be built; why is among the problems."""


_UNFIT = _Unfit()


@dataclass
class _Builder:
    problems: list[Problem]
    provenance: dict[str, str] = field(default_factory=dict)

    def section(self, chosen: Chosen) -> Any:
        """The dataclass of a section, or _UNFIT if a problem in or below it stands in its way."""
        if chosen.key:
            self.provenance[chosen.key] = chosen.where
        if chosen.name is not None:
            self.provenance[f"{chosen.key}.{NAME}"] = chosen.named
        values = {name: self.member(member) for name, member in chosen.members.items()}
        if any(values.get(known.name, _UNFIT) is _UNFIT for known in dataclasses.fields(chosen.config)):
            return _UNFIT
        try:
            return chosen.config(**values)
        except InputError as error:
            self.problems += error.problems
        except ValueError as error:  # a check of the dataclass itself, in __post_init__
            where = f"{chosen.where}: {chosen.key}" if chosen.key else chosen.where
            self.problems.append(Problem(where, str(error)))
        return _UNFIT

    def member(self, member: Member) -> Any:
        if isinstance(member, Chosen):
            return self.section(member)
        if isinstance(member, Absent):
            self.provenance[member.key] = member.where
            return None
        return self.setting(member)

    def setting(self, setting: Setting) -> Any:
        option, tree = setting.option, setting.tree
        self.provenance[setting.key] = tree.origin.where
        self.provenance |= {key: leaf.origin.where for key, leaf in leaves(tree, setting.key)}
        try:
            value = convert(tree, option.hint)
        except MismatchError as mismatch:
            fault = "" if isinstance(mismatch.tree, Branch) else mismatch.tree.fault
            found = f"{setting.key}{mismatch.key} is {show(plain(mismatch.tree))}" + (f" ({fault})" if fault else "")
            fix = suggest_choice(option, plain(mismatch.tree))
            self.problems.append(Problem(mismatch.tree.origin.where, found, expectation(option), fix))
            return _UNFIT
        expected = unmet(option, value)
        if expected is None:
            return value
        fix = suggest_choice(option, value)
        self.problems.append(Problem(tree.origin.where, f"{setting.key} is {show(value)}", expected, fix))
        return _UNFIT
