"""How a component declares its options: the one source of defaults, checks, help and error messages.

@dataclass
class LoraConfig:
    rank: int = option(16, "rank of the adapter", ge=1)
    targets: list[str] = option(["q_proj", "v_proj"], "modules that get an adapter")

@dataclass
class MethodConfig:
    lora: LoraConfig | None = section(LoraConfig, "low-rank adapters; null trains every weight")
    data: Folder | Generated = variant({"folder": Folder, "generated": Generated}, "where text comes from", "folder")
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

METADATA: Final = "alignlab"

# A type as written in a dataclass: a class, a union, a Literal, list[str] ... Python 3.11 has no better name for it.
Hint: TypeAlias = Any
Check: TypeAlias = Callable[[Any], str | None]


class Required:
    """The default of an option that has none."""

    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED: Final = Required()


@dataclass(frozen=True)
class Option:
    """A leaf of the configuration. `hint`, its type, is filled in from the dataclass it stands in."""

    default: Any
    meaning: str
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[Any, ...] | None = None
    check: Check | None = None
    keys: Callable[[], Collection[str]] | None = None
    hint: Hint = None


@dataclass(frozen=True)
class SectionOf:
    """A field that is itself a dataclass."""

    config: type
    meaning: str
    default: Any


@dataclass(frozen=True)
class VariantOf:
    """A field whose dataclass is picked by the key `name`."""

    choices: Mapping[str, type]
    meaning: str
    default: Any


def option(
    default: Any,
    meaning: str,
    *,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    choices: Collection[Any] | None = None,
    check: Check | None = None,
    keys: Callable[[], Collection[str]] | None = None,
) -> Any:
    """An option with its default (`REQUIRED` for none), its meaning, and what it accepts beyond its type.

    Bounds and `choices` hold for each item of a list and each value of a mapping. `check` gets the whole value and
    returns what was expected, or None when all is well. `keys` gives the keys a free-form mapping may have.
    A text default may hold `${other.key}`. A mapping's default is merged with what is set, not replaced by it.
    """
    allowed = None if choices is None else tuple(choices)
    spec = Option(default, meaning, unit, ge, gt, le, lt, allowed, check, keys)
    return _field(default, spec)


def section(config: type, meaning: str, default: Any = ...) -> Any:
    """A nested dataclass. `default=None` leaves an optional section (`X | None`) out until one of its keys is set."""
    return _field(config if default is ... else default, SectionOf(config, meaning, default))


def variant(choices: Mapping[str, type], meaning: str, default: Any) -> Any:
    """A section whose key `name` picks its dataclass; `default` is a name, None (left out) or `REQUIRED`.

    When a higher layer (a later file, the command line) switches `name`, keys of lower layers that only the variant
    switched off knows are dropped without a word; keys that both know stay.
    """
    return _field(choices[default] if isinstance(default, str) else default, VariantOf(dict(choices), meaning, default))


def _field(default: Any, spec: Option | SectionOf | VariantOf) -> Any:
    metadata = {METADATA: spec}
    if default is REQUIRED:
        return dataclasses.field(kw_only=True, metadata=metadata)
    if isinstance(default, type):
        return dataclasses.field(kw_only=True, default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return dataclasses.field(kw_only=True, default_factory=lambda: copy.deepcopy(default), metadata=metadata)
    return dataclasses.field(kw_only=True, default=default, metadata=metadata)
