"""Types as dataclasses write them, taken apart."""

from __future__ import annotations

import types
import typing
from typing import Any

from .declare import Hint


def origin_of(hint: Hint) -> Any:
    """`list` of `list[str]`, `Union` of a union however it is written, None of a plain class."""
    origin: Any = typing.get_origin(hint)
    return typing.Union if origin is types.UnionType else origin


def arguments_of(hint: Hint) -> tuple[Any, ...]:
    return typing.get_args(hint)


def members_of(hint: Hint) -> tuple[Any, ...]:
    """The members of a union; any other type is its own only member."""
    return arguments_of(hint) if origin_of(hint) is typing.Union else (hint,)
