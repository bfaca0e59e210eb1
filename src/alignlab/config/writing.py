"""A config turned back into plain containers and into a document, and two of them compared."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import yaml

from .declare import Options
from .documents import SCALARS, each_text
from .interpolation import escaped


def to_plain(config: Options) -> dict[str, Any]:
    """The config as dicts, lists and scalars; of a choice by name with its `name`."""
    return config.model_dump()


def to_yaml(config: Options, change: Callable[[dict[str, Any]], dict[str, Any]] = lambda plain: plain) -> str:
    """A document that loads back to an equal config, whatever other YAML reader looks at it too.

    change: made to the plain containers before they become text, such as hiding secrets, which YAML may quote or fold.
    """
    plain = each_text(change(to_plain(config)), escaped)
    return yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110)


def differences(old: Mapping[str, Any], new: Mapping[str, Any], ignore: Collection[str] = ()) -> list[str]:
    """The dotted keys whose values differ between two plain configs, in order.

    Keys and sections in `ignore` are passed over; a section that one of the two lacks is named once.
    """
    return [key for key in _differing(old, new, "") if not any(f"{key}.".startswith(f"{skip}.") for skip in ignore)]


def _differing(old: Any, new: Any, key: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys([*old, *new]):
            yield from _differing(old.get(name, _Absent), new.get(name, _Absent), f"{key}.{name}" if key else str(name))
    elif not ((old != old and new != new) or (old == new and isinstance(old, bool) == isinstance(new, bool))):
        yield key


class _Absent:
    """What a config has at a key it lacks: equal to nothing but itself."""


class _Dumper(yaml.SafeDumper):
    """Quotes all text that YAML 1.1, or our own reader, would take for something else; writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _) in SCALARS.items():
    if not _tag.endswith(":str"):
        _Dumper.add_implicit_resolver(_tag, _pattern, None)

_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)
