"""From the command line to a config: layers read and laid over one another, checked by pydantic, and built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alignlab.errors import InputError, Problem

from .declare import EXPECTED, Options
from .documents import Path, paths
from .files import COMMAND_LINE, Files, read_arguments
from .interpolation import interpolate, put, refuse
from .layers import Settings, complete, lay
from .schema import Field, schema_of
from .words import MOST, did_you_mean_value, dotted, expectation

T = TypeVar("T", bound=Options)

# From all that is set, a config file to lie beneath it, and which of that file's keys count; None for no file.
Beneath = Callable[[Mapping[str, Any]], tuple[FilePath, Collection[str]] | None]


def load(root: type[T], argv: Sequence[str], beneath: Beneath = lambda tree: None) -> tuple[T, dict[str, str]]:
    """The config that `argv` (`config=FILE`, `key.sub=value`) asks for, and where each of its keys was set.

    Where: `configs/demo.yaml:12`, `command line` or `default`. Raises one InputError with everything that is wrong:
    first what cannot be read, and once all can, what does not fit.

    beneath: for verbs on a run, whose config gives them defaults.
    """
    schema = schema_of(root)
    configs, overrides, problems = read_arguments(argv)
    files = Files(problems=problems)
    for name in configs[:1]:
        files.follow(name, FilePath.cwd(), f"{COMMAND_LINE}: config={name}")
    _raise(files.problems)
    settings = lay(files.layers, overrides, schema)
    lower = beneath(settings.values)
    if lower is not None:
        below = Files()
        below.follow(str(lower[0]), FilePath.cwd(), COMMAND_LINE)
        _raise(below.problems)
        for layer in below.layers:
            layer.values = {key: value for key, value in layer.values.items() if key in lower[1]}
            layer.origins = {path: where for path, where in layer.origins.items() if path[0] in lower[1]}
        settings = lay([*below.layers, *files.layers], overrides, schema)

    values = complete(settings, schema, settings.values)
    for fault in _validated(root, values)[1]:
        path, _ = _placed(schema, fault["loc"], values)
        if fault["type"] == "string_type" and path in settings.texts:  # run.name=007 is the text 007
            put(values, path, settings.texts[path])
    unresolved = interpolate(values)
    settings.refused |= set(unresolved)
    config, faults = _validated(root, values)
    for fault in faults:
        _refuse(settings, schema, values, fault)
    refuse(settings, schema, unresolved)
    _raise(settings.problems)
    assert config is not None
    return config, {dotted(path): settings.origins.get(path, "default") for path in paths(values)}


def _validated(root: type[T], values: Any) -> tuple[T | None, list[ErrorDetails]]:
    try:
        return root.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _placed(schema: Field, loc: Sequence[str | int], value: Any) -> tuple[Path, Field]:
    """The key that pydantic's `loc` is about, which also names choices and members of unions, and its option."""
    path: Path = ()
    field, chosen = schema, not schema.by_name
    for part in loc:
        if field.choices and not chosen:
            chosen = True
        elif (isinstance(value, dict) and part in value) or part in field.members or isinstance(part, int):
            field = field.members.get(str(part), field)
            path, chosen = (*path, part), not field.by_name
            value = value[part] if isinstance(part, int) or part in value else None
    return path, field


def _refuse(settings: Settings, schema: Field, values: Any, fault: ErrorDetails) -> None:
    """Say in our words what pydantic found, once for each key."""
    path, field = _placed(schema, fault["loc"], values)
    path = path[: next((i for i, part in enumerate(path) if isinstance(part, int)), None)]
    if any(path[: len(refused)] == refused for refused in settings.refused):
        return
    where, key, value = settings.where(path), dotted(path), values
    if fault["type"] == "missing":
        expected = f"{expectation(field)}: {field.meaning}"
        settings.refuse(path, "not set", expected, f"Set it with {key}=VALUE.", where=key)
    elif field.choices:  # a check of the section itself
        settings.refuse(path, str(fault["ctx"]["error"]), where=f"{where}: {key}" if key else where)
    else:
        for part in path:
            value = value[part]
        expected = fault["ctx"]["words"] if fault["type"] == EXPECTED else expectation(field)
        if where == "default" and "${" not in str(field.default):
            raise TypeError(f"{key}: its default is {value!r}; expected {expected}")
        settings.refuse(path, settings.found(path, value), expected, did_you_mean_value(field, value))


def _raise(problems: Sequence[Problem]) -> None:
    if len(problems) > MOST:
        raise InputError(*problems[:MOST], Problem("...", f"and {len(problems) - MOST:,} more"))
    if problems:
        raise InputError(*problems)
