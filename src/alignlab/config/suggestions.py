"""The nearest right key to a wrong one, also when it stands in another section."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, Literal

from .declare import Option
from .hints import arguments_of, origin_of
from .schema import Field, Section, child, child_names, keys_of

_NEAR = 0.7


def suggest(schema: Section, key: str) -> str:
    """`Did you mean 'model.source'?`, or an empty string if no key is near."""
    mended = _mended(schema, key.split("."))
    whole = bool(mended) and mended.count(".") == key.count(".")
    near = mended if whole else _elsewhere(schema, key) or mended
    return f"Did you mean {near!r}?" if near and not key.startswith(f"{near}.") else ""


def suggest_choice(option: Option, value: Any) -> str:
    """The same for a value, or an item of it, that is none of those an option takes."""
    choices = option.choices or (arguments_of(option.hint) if origin_of(option.hint) is Literal else ())
    names = [choice for choice in choices if isinstance(choice, str)]
    wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in choices]
    near = [nearest(item, names) for item in wrong if isinstance(item, str)]
    return next((f"Did you mean {name!r}?" for name in near if name), "")


def nearest(name: str, names: Iterable[str]) -> str:
    """The nearest of `names`, or an empty string."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1, cutoff=_NEAR)), "")


def _mended(field: Field, parts: list[str]) -> str:
    """The key with each wrong part replaced by the nearest of its section, as far as there is one."""
    head, rest = parts[0], parts[1:]
    names = child_names(field)
    near = head if head in names else nearest(head, names)
    if not near:
        return ""
    below = child(field, near)
    if not rest or below is None:
        return near
    if isinstance(below, Option):  # only a mapping has keys below it, and those are free
        return ".".join([near, *rest]) if origin_of(below.hint) is dict else near
    mended = _mended(below, rest)
    return f"{near}.{mended}" if mended else near


def _elsewhere(schema: Section, key: str) -> str:
    """The nearest key of the whole schema: its last part counts most, then the sections it stands in."""

    def nearness(candidate: str) -> tuple[float, float]:
        last = _ratio(key.rpartition(".")[2], candidate.rpartition(".")[2])
        return (last, _ratio(key, candidate))

    best = max(keys_of(schema, sections=True), key=nearness, default="")
    return best if nearness(best)[0] >= _NEAR else ""


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other).ratio()
