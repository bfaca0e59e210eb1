"""What options declare, taken from pydantic's JSON schema: a tree of fields, the keys in it, and both in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import cache, cached_property
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from alignlab.errors import did_you_mean

from .declare import INHERITS, NAME

ABSENT: Final[Any] = PydanticUndefined
Path = tuple[str | int, ...]
_LONGEST = 70
_NEAR = 0.7
# A value in words, a list of such, and a mapping to such.
_WORDS = {
    "integer": ("an integer", "a list of integers, such as [1, 2]", "a mapping of names to integers"),
    "number": ("a number", "a list of numbers, such as [0.1, 0.2]", "a mapping of names to numbers"),
    "string": ("text", "a list of texts, such as [a, b]", "a mapping of names to texts"),
    "boolean": ("true or false", "a list of true and false", "a mapping of names to true and false"),
    "object": ("a mapping", "a list of mappings", "a mapping of names to mappings"),
    "array": ("a list", "a list of lists", "a mapping of names to lists"),
    "": ("anything", "a list", "a mapping"),
}
_LIMITS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}


@dataclass(frozen=True)
class Field:
    """An option or a section.

    default: ABSENT where there is none. kinds: JSON schemas, of a union one for each of its members.
    choices: of a section the fields by the name that picks them, or under "" where there is one set of them.
    about: what each choice is, by its name.
    each: of a mapping of names to sections what each of these is. inherits: see `section`.
    """

    meaning: str
    unit: str
    default: Any
    required: bool
    kinds: list[dict[str, Any]]
    choices: dict[str, dict[str, Field]]
    each: Field | None = None
    inherits: tuple[str, ...] = ()
    about: dict[str, str] = field(default_factory=dict)

    def below(self, name: str) -> Field | None:
        """The option or section of that name in this one."""
        return self.each or self.members.get(name)

    @cached_property
    def members(self) -> dict[str, Field]:
        """The fields of all choices, and the name that picks one."""
        fields = {key: field for choice in self.choices.values() for key, field in choice.items()}
        if not self.by_name:
            return fields
        default = self.default[NAME] if isinstance(self.default, dict) else ABSENT
        return {NAME: Field(self.meaning, "", default, True, [{"enum": list(self.choices)}], {})} | fields

    @property
    def shared(self) -> dict[str, Field]:
        """Of several choices the fields that are the same in all of them."""
        if len(self.choices) < 2:
            return {}
        first, *others = self.choices.values()
        return {key: each for key, each in first.items() if all(other.get(key) == each for other in others)}

    @property
    def optional(self) -> bool:
        return any(kind.get("type") == "null" for kind in self.kinds)

    @property
    def by_name(self) -> bool:
        return bool(self.choices) and "" not in self.choices

    def expected(self, path: Path) -> str:
        """`an integer, at least 1 (tokens), or null`; path: of its key."""
        if self.choices:
            return f"a section with {one_of(path, self.members)}"
        if self.each is not None:
            return f"a mapping of names to sections, such as {dotted([*path, 'NAME', next(iter(self.each.members))])}"
        words = " or ".join(_describe(kind) for kind in self.kinds if kind.get("type") != "null")
        words += f" ({self.unit})" if self.unit else ""
        if self.optional:
            words += ", or null" if "," in words else " or null"
        return words


@cache
def schema_of(root: type[BaseModel]) -> Field:
    whole = root.model_json_schema()
    return _field(whole, whole.get("$defs", {}), required=True)


def keys_of(field: Field, prefix: str = "") -> Iterator[str]:
    """Every dotted key below `prefix`, sections and all choices included; a name that is free is called NAME."""
    if field.each is not None:
        yield from keys_of(field.each, f"{prefix}NAME.")
    for name, member in field.members.items():
        yield prefix + name
        yield from keys_of(member, f"{prefix}{name}.")


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


def one_of(path: Path, names: Iterable[str]) -> str:
    """The keys that a section may have."""
    return "one of " + ", ".join(dotted([*path, name]) for name in names) if names else "no keys"


def did_you_mean_key(root: Field, key: str) -> str:
    """`Did you mean 'model.source'?`: the last part of a key counts most, then the sections it stands in.

    What a key's words begin with is as near as the key: `learning_rate` is `lr`. Where several keys beside it end in it
    all are named, as neither is nearer than the other: `languages` is `show_languages` or `classify_languages`.
    """
    word = key.rpartition(".")[2]
    initials = "".join(part[:1] for part in word.split("_"))

    def nearness(candidate: str) -> list[float]:
        short = candidate.rpartition(".")[2]
        alike = SequenceMatcher(None, word, short).ratio()
        return [1.0 if len(short) > 1 and short == initials else alike, SequenceMatcher(None, key, candidate).ratio()]

    section = key.rpartition(".")[0]
    longer = [known for known in keys_of(root) if known.endswith(f"_{word}") and known.rpartition(".")[0] == section]
    if len(longer) > 1:
        return f"Did you mean {' or '.join(map(repr, longer))}?"
    candidates = [known for known in keys_of(root) if len(key) < _LONGEST and not key.startswith(f"{known}.")]
    near = max(candidates, key=nearness, default="")
    return f"Did you mean {near!r}?" if near and nearness(near)[0] >= _NEAR else ""


def did_you_mean_value(field: Field, key: str, value: Any) -> str:
    """The same for a value, or an item of it, that is none of those an option takes."""
    if isinstance(value, str) and value in field.choices:
        return f"Write {key}.{NAME}={value}."
    names = [name for kind in field.kinds for name in _choices(kind.get("items", kind)) if isinstance(name, str)]
    wrong = [item for item in (value if isinstance(value, list) else [value]) if item not in names]
    near = [did_you_mean(item, names) for item in wrong if isinstance(item, str) and len(item) < _LONGEST]
    return next(filter(None, near), "")


def _field(spec: dict[str, Any], defs: dict[str, Any], *, required: bool) -> Field:
    def resolved(part: dict[str, Any]) -> dict[str, Any]:
        return defs[part["$ref"].rpartition("/")[2]] | part if "$ref" in part else part

    def fields(body: dict[str, Any]) -> dict[str, Field]:
        needed = body.get("required", ())
        return {key: _field(child, defs, required=key in needed) for key, child in body["properties"].items()}

    spec = resolved(spec)
    kinds, choices, about = [resolved(kind) for kind in spec.get("anyOf", [spec])], {}, {}
    each: Field | None = None
    for kind in kinds:
        values = kind.get("additionalProperties")
        if isinstance(values, dict) and resolved(values).keys() & {"properties", "oneOf"}:
            each = _field(values, defs, required=True)
        if "properties" in kind:
            choices = {"": fields(kind)}
        for body in map(resolved, kind.get("oneOf", ())):
            members = fields(body)
            name = members.pop(NAME).kinds[0]["const"]
            choices[name], about[name] = members, " ".join(body.get("description", "").partition("\n\n")[0].split())
    meaning, unit, default = spec.get("description", ""), spec.get("unit", ""), spec.get("default", ABSENT)
    return Field(meaning, unit, default, required, kinds, choices, each, tuple(spec.get(INHERITS, ())), about)


def _describe(kind: dict[str, Any]) -> str:
    number, holds = {"array": (1, "items"), "object": (2, "additionalProperties")}.get(kind.get("type", ""), (0, ""))
    inner = kind.get(holds) if holds else kind
    item = inner if isinstance(inner, dict) else {}
    choices = ", ".join(map(show, _choices(item)))
    if choices and not holds:
        return "one of " * (len(_choices(item)) > 1) + choices
    words = _WORDS.get(item.get("type", ""), _WORDS[""])[number]
    if "enum" in kind.get("propertyNames", {}):
        words = words.replace("names", f"some of {', '.join(kind['propertyNames']['enum'])}")
    words += f" such as {item['examples'][0]}" if "examples" in item else ""
    limits = " and ".join(f"{word} {item[key]}" for key, word in _LIMITS.items() if key in item)
    return ", ".join(filter(None, [words, f"each one of {choices}" if choices else limits]))


def _choices(kind: dict[str, Any]) -> list[Any]:
    return [kind["const"]] if "const" in kind else list(kind.get("enum", ()))
