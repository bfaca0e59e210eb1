"""What options declare, taken from pydantic's JSON schema: a tree of fields, and the keys in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel

from .declare import NAME


class _Absent:
    """The default of what is left out where it is not given, and the value of what is not there."""


ABSENT: Final = _Absent  # the class itself, of which every copy is the same


@dataclass(frozen=True)
class Field:
    """An option or a section.

    spec: its JSON schema. kinds: of a union its members, else the schema itself.
    choices: of a section the fields by the name that picks them, or under "" where there is one set of them.
    members: the fields of all choices.
    """

    spec: dict[str, Any]
    kinds: list[dict[str, Any]]
    choices: dict[str, dict[str, Field]]
    required: bool

    @property
    def members(self) -> dict[str, Field]:
        return {key: field for fields in self.choices.values() for key, field in fields.items()}

    @property
    def default(self) -> Any:
        return self.spec.get("default", ABSENT)

    @property
    def meaning(self) -> str:
        return str(self.spec.get("description", ""))

    @property
    def optional(self) -> bool:
        return any(kind.get("type") == "null" for kind in self.kinds)

    @property
    def by_name(self) -> bool:
        return bool(self.choices) and "" not in self.choices


@cache
def schema_of(root: type[BaseModel]) -> Field:
    whole = root.model_json_schema()
    return _field(whole, whole.get("$defs", {}), required=True)


def keys_of(field: Field, prefix: str = "") -> Iterator[str]:
    """Every dotted key below `prefix`, sections and all choices included."""
    below = f"{prefix}." if prefix else ""
    yield from [prefix] * bool(prefix) + [below + NAME] * field.by_name
    for name, child in field.members.items():
        yield from keys_of(child, below + name)


def _field(spec: dict[str, Any], defs: dict[str, Any], *, required: bool) -> Field:
    def resolved(part: dict[str, Any]) -> dict[str, Any]:
        return defs[part["$ref"].rpartition("/")[2]] | part if "$ref" in part else part

    def fields(body: dict[str, Any], *skip: str) -> dict[str, Field]:
        parts = {key: child for key, child in body["properties"].items() if key not in skip}
        return {key: _field(child, defs, required=key in body.get("required", ())) for key, child in parts.items()}

    spec = resolved(spec)
    kinds, choices = [resolved(kind) for kind in spec.get("anyOf", [spec])], {}
    for kind in kinds:
        if "properties" in kind:
            choices = {"": fields(kind)}
        elif "discriminator" in kind:
            choices = {body["properties"][NAME]["const"]: fields(body, NAME) for body in map(resolved, kind["oneOf"])}
    return Field(spec, kinds, choices, required)
