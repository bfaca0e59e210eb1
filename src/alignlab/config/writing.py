"""A config turned back into plain containers and into a document, and two of them compared."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import yaml

from .documents import RESOLVERS
from .schema import NAME, Variants, schema_of


def to_plain(config: Any) -> dict[str, Any]:
    """The config as dicts, lists and scalars; variants carry their `name`."""
    schema = schema_of(type(config))
    values: dict[str, Any] = {}
    for key, field in schema.fields.items():
        value = getattr(config, key)
        if not dataclasses.is_dataclass(value):
            values[key] = copy.deepcopy(value)
        elif isinstance(field, Variants):
            values[key] = {NAME: field.name_of(type(value)), **to_plain(value)}
        else:
            values[key] = to_plain(value)
    return values


def to_yaml(config: Any, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda plain: plain) -> str:
    """A document that loads back to an equal config, whatever other YAML reader looks at it too.

    change: made to the plain containers before they become text, such as hiding secrets, which YAML may quote or fold.
    """
    plain = _escaped(change(to_plain(config)))
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], ignore: Collection[str] = ()) -> list[str]:
    """The dotted keys whose values differ between two plain configs, in order.

    Keys and sections in `ignore` are passed over; a section that one of the two lacks is named once.
    """
    return [key for key in _differing(old, new, "") if not any(f"{key}.".startswith(f"{skip}.") for skip in ignore)]


def _differing(old: Any, new: Any, key: str) -> Iterator[str]:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        if not _same(old, new):
            yield key
        return
    for name in dict.fromkeys([*old, *new]):
        yield from _differing(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{key}.{name}" if key else str(name))


def _same(old: Any, new: Any) -> bool:
    both_nan = old != old and new != new
    return both_nan or (old == new and isinstance(old, bool) == isinstance(new, bool))


def _escaped(value: Any) -> Any:
    """A value in which `${` stands for itself when it is loaded again."""
    if isinstance(value, dict):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    return value


class _Absent:
    """What a config has at a key it lacks: equal to nothing but itself."""


_ABSENT = _Absent()


class _Dumper(yaml.SafeDumper):
    """Quotes all text that YAML 1.1, or our own reader, would take for something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in RESOLVERS:
    _Dumper.add_implicit_resolver(_tag, _pattern, _first)

_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)
