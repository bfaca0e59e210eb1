"""A config turned back into plain containers and into a document, and two of them compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .declare import Options
from .documents import mapped, write
from .interpolation import escaped
from .schema import ABSENT, show


def to_plain(config: Options) -> dict[str, Any]:
    """The config as dicts, lists and scalars; of a choice by name with its `name`."""
    return config.model_dump()


def to_yaml(config: Options, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda plain: plain) -> str:
    """A document that loads back to an equal config, whatever other YAML reader looks at it too.

    change: made to the plain containers before they become text, such as hiding secrets, which YAML may quote or fold.
    """
    return write(mapped(change(to_plain(config)), escaped))


def as_override(key: str, value: Any) -> str:
    """The `key=value` by which a command line sets a plain value; `${` in it stands for itself."""
    return f"{key}={json.dumps(mapped(value, escaped), ensure_ascii=False)}"


@dataclass(frozen=True)
class Difference:
    """A dotted key that has two values; a value is `ABSENT` where a config has no such key."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        """`seed (0 there, 7 here)`; of long values what can be told apart."""
        old, new = (_told(value) for value in (self.old, self.new))
        if old != new:
            return f"{self.key} ({old} there, {new} here)"
        return f"{self.key} (both begin with {old})"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], ignore: Collection[str] = ()) -> list[Difference]:
    """Where two plain configs differ, in the order of their keys.

    Keys and sections in `ignore` are passed over; a section that one of the two lacks is named once.
    """
    found = _differing(old, new, "")
    return [one for one in found if not any(f"{one.key}.".startswith(f"{skip}.") for skip in ignore)]


def _told(value: Any) -> str:
    return "not set" if value is ABSENT else show(value)


def _differing(old: Any, new: Any, key: str) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _differing(old.get(name, ABSENT), new.get(name, ABSENT), f"{key}.{name}" if key else str(name))
    elif not ((old != old and new != new) or (old == new and isinstance(old, bool) == isinstance(new, bool))):
        yield Difference(key, old, new)
