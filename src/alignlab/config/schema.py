"""The schema of a configuration: what a dataclass and the dataclasses in it declare, with every type resolved."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .declare import METADATA, REQUIRED, Hint, Option, SectionOf, VariantOf
from .hints import members_of
from .tree import DEFAULT, from_plain
from .values import MismatchError, convert, expectation, unmet

NAME = "name"


@dataclass(frozen=True)
class Section:
    """One dataclass: its fields, whether it may be null (`optional`) and is there by default (`present`)."""

    config: type
    fields: dict[str, Field]
    meaning: str = ""
    optional: bool = False
    present: bool = True


@dataclass(frozen=True)
class Variants:
    """A choice of dataclasses by name; `default` is a name, None or `REQUIRED`."""

    choices: dict[str, Section]
    meaning: str
    default: object
    optional: bool

    def name_of(self, config: type) -> str:
        return next(name for name, section in self.choices.items() if section.config is config)


Field: TypeAlias = Option | Section | Variants


_schemas: dict[type, Section] = {}


def schema_of(config: type) -> Section:
    """The schema of a dataclass; TypeError if it declares something no configuration can set."""
    if config in _schemas:
        return _schemas[config]
    if not dataclasses.is_dataclass(config):
        raise TypeError(f"{config.__name__} is not a dataclass")
    hints = typing.get_type_hints(config)
    fields = {
        field.name: _field(f"{config.__name__}.{field.name}", field.metadata.get(METADATA), hints[field.name])
        for field in dataclasses.fields(config)
    }
    return _schemas.setdefault(config, Section(config, fields))


def keys_of(field: Field, prefix: str = "", *, sections: bool = False) -> Iterator[str]:
    """Every dotted key below `prefix`, those of all variants included; with `sections`, the sections' own keys too."""
    if isinstance(field, Option):
        yield prefix
        return
    if sections and prefix:
        yield prefix
    seen = set()
    below = prefix + "." if prefix else ""
    if isinstance(field, Variants):
        yield below + NAME
    for section in field.choices.values() if isinstance(field, Variants) else [field]:
        for name, child in section.fields.items():
            for key in keys_of(child, below + name, sections=sections):
                if key not in seen:
                    seen.add(key)
                    yield key


def child_names(field: Field) -> list[str]:
    """The keys directly under a section, those of all variants included."""
    if isinstance(field, Section):
        return list(field.fields)
    if isinstance(field, Variants):
        return list(dict.fromkeys([NAME, *(name for section in field.choices.values() for name in section.fields)]))
    return []


def child(field: Field, name: str) -> Field | None:
    """The field called `name` directly under a section, in whichever variant has it first."""
    sections = field.choices.values() if isinstance(field, Variants) else [field] if isinstance(field, Section) else []
    return next((section.fields[name] for section in sections if name in section.fields), None)


def _field(place: str, spec: object, hint: Hint) -> Field:
    optional = type(None) in members_of(hint)
    if isinstance(spec, SectionOf):
        section = schema_of(spec.config)
        return dataclasses.replace(section, meaning=spec.meaning, optional=optional, present=spec.default is not None)
    if isinstance(spec, VariantOf):
        choices = {name: schema_of(config) for name, config in spec.choices.items()}
        if len(set(spec.choices.values())) < len(choices):
            raise TypeError(f"{place}: two names for one dataclass; give each its own, a subclass will do")
        if any(NAME in section.fields for section in choices.values()):
            raise TypeError(f"{place}: a variant may not have a field 'name': that key picks the variant")
        return Variants(choices, spec.meaning, spec.default, optional)
    if isinstance(spec, Option):
        bound = dataclasses.replace(spec, hint=hint)
        _check_default(place, bound)
        return bound
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return schema_of(hint)
    raise TypeError(f"{place}: declare it with option(), section() or variant(), so that it has a meaning")


def _check_default(place: str, option: Option) -> None:
    if option.default is REQUIRED or (isinstance(option.default, str) and "${" in option.default):
        expectation(option)  # refuses a type that cannot be configured
        return
    try:
        fault = unmet(option, convert(from_plain(option.default, DEFAULT), option.hint))
    except MismatchError:
        fault = expectation(option)
    if fault:
        raise TypeError(f"{place}: its default is {option.default!r}; expected {fault}")
