"""Values and expectations in words, and the nearest right word to a wrong one."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher
from typing import Any

from alignlab.errors import did_you_mean

from .schema import Field, keys_of

MOST = 20  # problems that are told; of the others only their number
_WORDS = {"integer": "an integer", "number": "a number", "string": "text", "boolean": "true or false"}
_LISTS = {
    "integer": "a list of integers, such as [1, 2]",
    "number": "a list of numbers, such as [0.1, 0.2]",
    "string": "a list of texts, such as [a, b]",
}
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_LONGEST = 70
_NEAR = 0.7


def expectation(field: Field) -> str:
    """`an integer, at least 1 (tokens), or null`."""
    words = " or ".join(_describe(kind) for kind in field.kinds if kind.get("type") != "null")
    words += f" ({field.spec['unit']})" if "unit" in field.spec else ""
    return words + ((", or null" if "," in words else " or null") if field.optional else "")


def show(value: Any) -> str:
    """A value as it would be written in a config, on one line, short and without control characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        text = f"[{', '.join(map(show, value[:_LONGEST]))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{show(key)}: {show(value[key])}' for key in list(value)[:_LONGEST])}}}"
    else:
        text = repr(value[:_LONGEST] if isinstance(value, str) else value)
    return text if len(text) < _LONGEST else text[: _LONGEST - 4] + " ..."


def dotted(path: Iterable[object]) -> str:
    return ".".join(map(str, path))


def one_of(path: Iterable[object], names: Iterable[str]) -> str:
    """The keys that a section may have."""
    return "one of " + ", ".join(dotted([*path, name]) for name in names) if names else "no keys"


def did_you_mean_key(root: Field, key: str) -> str:
    """`Did you mean 'model.source'?`: the last part of a key counts most, then the sections it stands in."""
    near, nearness = "", (_NEAR, 0.0)
    for candidate in keys_of(root) if len(key) < _LONGEST else ():
        pairs = (key.rpartition(".")[2], candidate.rpartition(".")[2]), (key, candidate)
        last, whole = (SequenceMatcher(None, *pair).ratio() for pair in pairs)
        if (last, whole) > nearness and not key.startswith(f"{candidate}."):
            near, nearness = candidate, (last, whole)
    return f"Did you mean {near!r}?" if near else ""


def did_you_mean_value(field: Field, value: Any) -> str:
    """The same for a value, or an item of it, that is none of those an option takes."""
    names = [name for kind in field.kinds for name in _choices(kind.get("items", kind)) if isinstance(name, str)]
    wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in names]
    near = [did_you_mean(item, names) for item in wrong if isinstance(item, str) and len(item) < _LONGEST]
    return next(filter(None, near), "")


def _describe(kind: dict[str, Any]) -> str:
    choices = _choices(kind)
    if choices:
        return "one of " * (len(choices) > 1) + ", ".join(map(show, choices))
    if kind.get("type") == "array":
        item = kind.get("items", {})
        each = ", ".join(map(show, _choices(item)))
        return _LISTS.get(item.get("type"), "a list") + (f", each one of {each}" if each else _limits(item))
    if kind.get("type") == "object":
        item = kind.get("additionalProperties") or {}
        plural = (
            "" if item is True else {"number": "numbers", "integer": "integers", "string": "texts"}.get(item["type"])
        )
        return f"a mapping of names to {plural}{_limits(item)}" if plural else "a mapping"
    example = f" such as {kind['examples'][0]}" if "examples" in kind else ""
    return _WORDS.get(kind.get("type", ""), "anything") + example + _limits(kind)


def _choices(kind: dict[str, Any]) -> list[Any]:
    return [kind["const"]] if "const" in kind else list(kind.get("enum", ()))


def _limits(kind: dict[str, Any]) -> str:
    limits = [f"{word} {kind[key]}" for key, word in _LIMITS.items() if key in kind]
    return (", " + " and ".join(limits)) if limits else ""
