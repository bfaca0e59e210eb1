"""Layers of settings laid over one another and over what options declare: names chosen, unknown keys refused."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alignlab.errors import Problem, did_you_mean

from .declare import NAME
from .documents import Layer, Path
from .schema import ABSENT, Field
from .words import MOST, did_you_mean_key, dotted, one_of, show


@dataclass
class Settings(Layer):
    """All layers as one. ranks: how high the layer is that set a key. names: those that picked a section, by rank."""

    ranks: dict[Path, int] = field(default_factory=dict)
    names: dict[Path, list[tuple[int, Any]]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    refused: set[Path] = field(default_factory=set)

    def refuse(self, path: Path, found: str, expected: str = "", fix: str = "", *, where: str = "") -> Any:
        self.problems.append(Problem(where or self.where(path), found, expected, fix))
        self.refused.add(path)
        return ABSENT

    def found(self, path: Path, value: Any) -> str:
        fault = f" ({self.faults[path]})" if path in self.faults else ""
        return f"{dotted(path)} is {show(at(self.values, path) if fault else value)}{fault}"

    def where(self, path: Path) -> str:
        """Where a key was set, or what it stands in, if that is one value; `default` where nobody did."""
        known = [path[:end] for end in range(len(path), 0, -1) if path[:end] in self.origins]
        return self.origins[known[0]] if known else "default"


def lay(layers: Sequence[Layer], top: Sequence[Layer], schema: Field) -> Settings:
    """The layers, lowest first, and over them `top`, which counts as one layer; unknown keys are refused."""
    settings = Settings()
    for rank, layer in enumerate([*layers, *top]):
        for path in layer.origins:
            settings.texts.pop(path, None)
            settings.faults.pop(path, None)
            settings.ranks[path] = min(rank, len(layers))
            if path[-1] == NAME:
                settings.names.setdefault(path[:-1], []).append((settings.ranks[path], at(layer.values, path)))
        settings.origins |= layer.origins
        settings.texts |= layer.texts
        settings.faults |= layer.faults
        known = _known(schema, layer.values)
        _refuse_unknown(settings, schema, layer, known)
        settings.values = _merged(settings.values, known)
    there = {path for path in settings.origins if at(settings.values, path) is not ABSENT}
    settings.origins = {path: settings.origins[path] for path in there}
    return settings


def complete(settings: Settings, field: Field, value: Any, path: Path = ()) -> Any:
    """The value with all defaults filled in, or ABSENT."""
    if value is ABSENT:
        value = {} if field.choices and field.default is ABSENT else copy.deepcopy(field.default)
    elif isinstance(value, dict) and isinstance(field.default, dict):
        value = copy.deepcopy(field.default) | value
    if not field.choices or (value is None and field.optional):
        return value
    key, names = dotted(path), [NAME] * field.by_name + list(field.members)
    if not isinstance(value, dict):
        fix = f"Write {key}.{NAME}={value}." if isinstance(value, str) and value in field.choices else ""
        return settings.refuse(path, settings.found(path, value), f"a section with {one_of(path, names)}", fix)
    name = value.get(NAME, ABSENT) if field.by_name else ""
    if not isinstance(name, str) or name not in field.choices:
        settings.refused.add(path)
        choices = "one of " + ", ".join(map(show, field.choices))
        if name is ABSENT:
            expected, fix = f"{choices}: {field.meaning}", f"Set it with {key}.{NAME}=NAME."
            return settings.refuse((*path, NAME), "not set", expected, fix, where=f"{key}.{NAME}")
        near = did_you_mean(str(name), field.choices)
        return settings.refuse((*path, NAME), settings.found((*path, NAME), name), choices, near)
    fields = field.choices[name]
    for part in value.keys() - fields.keys() - ({NAME} if field.by_name else set()):
        owners = [other for other in field.choices if part in field.choices[other]]
        if not _switched_off(settings, field, (*path, part), owners):
            found = f"there is no key '{key}.{part}' where {key}.{NAME} is {name!r} (set to {show(value[part])})"
            settings.refuse((*path, part), found, one_of(path, fields), f"It belongs to {key}.{NAME}={owners[0]}.")
    filled = {part: complete(settings, child, value.get(part, ABSENT), (*path, part)) for part, child in fields.items()}
    named = {NAME: name} if field.by_name else {}
    return named | {part: child for part, child in filled.items() if child is not ABSENT}


def at(values: Any, path: Path) -> Any:
    """The value of a key, or ABSENT."""
    for part in path:
        if not isinstance(values, dict) or part not in values:
            return ABSENT
        values = values[part]
    return values


def _merged(lower: Any, upper: Any) -> Any:
    """Mappings merge key by key, all else is replaced. OmegaConf's own merge fails where a mapping replaces a list."""
    if isinstance(lower, dict) and isinstance(upper, dict):
        return lower | {key: _merged(lower.get(key), child) for key, child in upper.items()}
    return upper


def _known(field: Field, value: Any) -> Any:
    """The value without the keys that no choice of its sections has."""
    if not field.choices or not isinstance(value, dict):
        return value
    known = {part: _known(child, value[part]) for part, child in field.members.items() if part in value}
    return known | ({NAME: value[NAME]} if field.by_name and NAME in value else {})


def _refuse_unknown(settings: Settings, schema: Field, layer: Layer, known: Any) -> None:
    """Refuse the keys of a layer that are not among the known; a mapping with one key in it is named by that key."""
    for path in layer.origins:
        if at(known, path) is not ABSENT or at(known, path[:-1]) is ABSENT:
            continue
        if len(settings.problems) >= MOST:  # only counted: the nearest of many keys takes its time
            settings.refuse(path, "there is no such key")
            continue
        value, below, field = at(layer.values, path), path, schema
        for part in path[:-1]:
            field = field.members[str(part)]
        while isinstance(value, dict) and len(value) == 1:
            below, value = (*below, *value), next(iter(value.values()))
        fix = did_you_mean_key(schema, dotted(below))
        if "." in str(path[-1]):
            fix = f"In a file, write the parts of {show(path[-1])} one below the other: a section, and the key in it."
        found = f"there is no key {show(dotted(below))}" + (
            "" if isinstance(value, dict) else f" (set to {show(value)})"
        )
        expected = "" if fix else one_of(path[:-1], [NAME] * field.by_name + list(field.members))
        settings.refuse(below, found, expected, fix)


def _switched_off(settings: Settings, field: Field, path: Path, owners: list[str]) -> bool:
    """Whether a key was right for the name that its own layer saw, and a higher layer has switched that off."""
    rank = max(rank for key, rank in settings.ranks.items() if key[: len(path)] == path)
    seen = [name for above, name in settings.names.get(path[:-1], ()) if above <= rank]
    return (seen or [field.default[NAME] if isinstance(field.default, dict) else None])[-1] in owners
