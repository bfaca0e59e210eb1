"""How a component declares its options: the one source of types, defaults, bounds, help and error messages.

class Lora(Options):
    rank: int = option(16, "rank of the adapter", ge=1)
    targets: list[str] = option(["q_proj", "v_proj"], "modules that get an adapter")

class Method(Options):
    lora: Lora | None = section(Lora, "low-rank adapters; null trains every weight")
    data: Folder | Generated = section(Folder, "where text comes from; each has a `name: Literal[...]` of its own")
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

NAME: Final = "name"
EXPECTED: Final = "expected"  # type of the errors of `check`
INHERITS: Final = "inherits"
REQUIRED: Final[Any] = ...  # the default of an option that has none


class Options(BaseModel):
    """Values as they are written: text is no number, 2.7 no integer, true no 1; an integer is a number too."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    @classmethod
    def of(cls, options: Options) -> Self:
        """The same options, as a subclass that can do something with them."""
        return cls(**{name: getattr(options, name) for name in type(options).model_fields})


def option(
    default: Any, meaning: str, *, unit: str = "", check: Callable[[Any], str | None] | None = None, **bounds: Any
) -> Any:
    """An option with its default (`REQUIRED` for none), its meaning, and what it accepts beyond its type.

    bounds: ge, gt, le, lt. check: gets the value, unless it is null, and returns what was expected, or None.
    A text default may hold `${other.key}`. A mapping's default is merged with what is set, not replaced by it.
    """

    def checked(value: Any) -> Any:
        if check is not None and value is not None and (expected := check(value)) is not None:
            raise PydanticCustomError(EXPECTED, "{words}", {"words": expected})
        return value

    field: Any = Field(default, description=meaning, json_schema_extra={"unit": unit} if unit else None, **bounds)
    field.metadata.append(AfterValidator(checked))
    return field


def section(default: Any, meaning: str, *, inherits: Collection[str] = ()) -> Any:
    """Options in options: `default` is their class (of a choice by `name`, the one that is taken), None or REQUIRED.

    When a higher layer (a later file, the command line) switches `name`, keys of lower layers that only the one
    switched off knows are dropped without a word; keys that both know stay.

    inherits: of a mapping of names to sections at the top of a config. What is set at the top for these keys is a layer
    below the keys of the same names in each of the sections: `stages.NAME.data` is laid over `data`.
    """
    if not isinstance(default, type):
        return Field(default, description=meaning, json_schema_extra={INHERITS: list(inherits)} if inherits else None)
    named = getattr(default, "model_fields", {}).get(NAME)
    extra: Any = {"default": {NAME: named.default}} if named else None
    return Field(default_factory=default, description=meaning, json_schema_extra=extra)
