"""From the command line to a config: layers read and laid over one another, checked by pydantic, and built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import getitem
from pathlib import Path as FilePath
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from alignlab.errors import refuse_any

from .declare import EXPECTED, NAME, Options
from .documents import Node, merged
from .files import Sources
from .interpolation import interpolate, refuse_unresolved
from .schema import Field, Path, did_you_mean_value, dotted, one_of, schema_of, show
from .settings import Settings, complete

T = TypeVar("T", bound=Options)

# From all that is set, a config file to be read before it, and which of that file's keys count; None for no file.
BaseOf = Callable[[Mapping[str, Any]], tuple[FilePath, Collection[str]] | None]


def load(root: type[T], argv: Sequence[str], base_of: BaseOf = lambda settings: None) -> tuple[T, dict[str, str]]:
    """The config that `argv` (`config=FILE`, `key.sub=value`) asks for, and where each of its keys was set.

    Where: `configs/demo.yaml:12`, `command line` or `default`. Raises one InputError with everything that is wrong:
    first what cannot be read, and once all can, what does not fit.

    base_of: for verbs on a run, whose config gives them defaults.
    """
    return _loaded(root, _read(argv), base_of)


def load_over(
    root: type[T], argv: Sequence[str], *over: Sequence[tuple[str, Any, str]], under: str = ""
) -> tuple[T, dict[str, str]]:
    """As `load`, with layers over what `argv` asks for: of each setting its dotted key, value, and where it was set.

    under: the key of another config at which the user sets keys of this one; problems name them so.
    """
    layers = [[Node.under(key.split("."), value, where) for key, value, where in layer] for layer in over]
    return _loaded(root, [*_read(argv), *layers], under=under)


def _loaded(
    root: type[T], layers: list[list[Node]], base_of: BaseOf = lambda settings: None, under: str = ""
) -> tuple[T, dict[str, str]]:
    settings = Settings(schema_of(root), under=under)
    base = base_of(reduce(merged, chain(*layers), settings.root).plain())
    if base is not None:
        file, keys = base
        for node in chain(*_read([f"config={file}"])):
            settings.lay([Node({key: child for key, child in node.value.items() if key in keys})])
    for layer in layers:
        settings.lay(layer)
    settings.inherit()
    values = complete(settings.schema, settings.root)
    for fault in _validated(root, values)[1]:
        path, field = _placed(settings.schema, fault["loc"], values)
        text = settings.at(path).text
        if fault["type"] == "string_type" and text is not None:  # run.name=007 is the text 007
            reduce(getitem, path[:-1], values)[path[-1]] = text
        elif fault["type"] == "extra_forbidden" or (field.choices and fault["type"] != "value_error"):
            _refuse(settings, values, fault)  # no section, whatever it refers to
            settings.refused.add(path)
            del reduce(getitem, path[:-1], values)[path[-1]]
    values, unresolved = interpolate(values)
    settings.refused |= set(unresolved)
    config, faults = _validated(root, values)
    for fault in faults:
        _refuse(settings, values, fault)
    refuse_unresolved(settings, unresolved)
    refuse_any(settings.problems)
    assert config is not None
    return config, {dotted(path): settings.at(path).where for path in _keys(values)}


def _read(argv: Sequence[str]) -> list[list[Node]]:
    sources = Sources()
    sources.read_arguments(argv)
    refuse_any(sources.problems)
    return sources.layers


def _validated(root: type[T], values: Any) -> tuple[T | None, list[ErrorDetails]]:
    try:
        return root.model_validate(values), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _placed(schema: Field, loc: Sequence[str | int], value: Any) -> tuple[Path, Field]:
    """The key that pydantic's `loc` is about, which also names choices and members of unions, and its option."""
    path: Path = ()
    field, chosen, choice = schema, not schema.by_name, ""
    for part in loc:
        if field.choices and not chosen:
            chosen, choice = True, str(part)
        elif (isinstance(value, dict) and part in value) or part in field.members or isinstance(part, int):
            # Choices may have options of one name with other limits.
            field = field.choices.get(choice, {}).get(str(part)) or field.below(str(part)) or field
            path, chosen, choice = (*path, part), not field.by_name, ""
            value = value[part] if isinstance(part, int) or part in value else None
    return path, field


def _refuse(settings: Settings, values: Any, fault: ErrorDetails) -> None:
    """Say in our words what pydantic found, once for each key."""
    path, field = _placed(settings.schema, fault["loc"], values)
    if fault["type"].startswith("union_tag"):
        path, field = (*path, NAME), field.members[NAME]
    path = path[: next((i for i, part in enumerate(path) if isinstance(part, int)), None)]
    for told in filter(None, (path, settings.inherited(path))):
        if any(told[: len(refused)] == refused for refused in settings.refused):
            return
    section, key, where = reduce(getitem, path[:-1], values), dotted(path), settings.trail(path)[-1].where
    if path and path[-1] not in section:
        expected = ": ".join(filter(None, (field.expected(path), field.meaning)))
        given = settings.given_as(key)
        settings.refuse(path, "not set", expected, f"Set it with {given}=VALUE.", where=given)
    elif fault["type"] == "extra_forbidden":
        around = reduce(lambda field, part: field.below(str(part)) or field, path[:-1], settings.schema)
        owner = next(name for name, fields in around.choices.items() if path[-1] in fields)
        name, found = f"{dotted(path[:-1])}.{NAME}", f"(set to {show(section[path[-1]])})"
        found = f"there is no key '{key}' where {name} is {section[NAME]!r} {found}"
        settings.refuse(path, found, one_of(path[:-1], around.choices[section[NAME]]), f"It belongs to {name}={owner}.")
    elif field.choices and fault["type"] == "value_error":  # a check of the section itself
        settings.refuse(path, str(fault["ctx"]["error"]), where=f"{where}: {key}" if key else where)
    else:
        value, node = section[path[-1]], settings.at(path)
        expected = fault["ctx"]["words"] if fault["type"] == EXPECTED else field.expected(path)
        if where == "default" and "${" not in str(field.default):
            raise TypeError(f"{key}: its default is {value!r}; expected {expected}")
        found = f"{key} is {show(node.value)} ({node.fault})" if node.fault else f"{key} is {show(value)}"
        settings.refuse(path, found, expected, did_you_mean_value(field, key, value))


def _keys(value: Any) -> Iterator[Path]:
    """Of nested mappings the paths of all keys."""
    for key, child in value.items() if isinstance(value, dict) else ():
        yield (key,)
        yield from ((key, *below) for below in _keys(child))
