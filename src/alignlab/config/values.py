"""One value against one option: its type, its bounds, and the words for what was expected."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

from .declare import Hint, Option
from .hints import arguments_of, members_of, origin_of
from .tree import Branch, Leaf, Tree, plain

_WORDS: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    Any: "anything",
}
_PLURALS: dict[Any, str] = {int: "integers", float: "numbers", str: "texts", bool: "true and false", Any: "anything"}
_LONGEST = 70


class MismatchError(Exception):
    """A value of another type than the option's: `tree` does not fit, `key` is its key below the option."""

    def __init__(self, tree: Tree, key: str = "") -> None:
        super().__init__(key)
        self.tree, self.key = tree, key


def convert(tree: Tree, hint: Hint) -> Any:
    """The value as the type says, or MismatchError. An integer may stand for a number; text never stands for one.

    Where text is wanted, a number is taken as it was written: `run.name=007` is the text `007`.
    """
    try:
        return _exact(tree, hint)
    except MismatchError:
        if tree.text is not None:
            try:
                return _exact(Leaf(tree.text, tree.origin), hint)
            except MismatchError:
                pass
        raise


def unmet(option: Option, value: Any) -> str | None:
    """What was expected of a value of the right type, or None if it is met."""
    for number in _items(value):
        if isinstance(number, int | float) and not isinstance(number, bool):
            within = (
                (option.ge is None or number >= option.ge)
                and (option.gt is None or number > option.gt)
                and (option.le is None or number <= option.le)
                and (option.lt is None or number < option.lt)
            )
            if not within:
                return expectation(option)
        if option.choices is not None and number is not None and number not in option.choices:
            return expectation(option)
    return option.check(value) if option.check is not None and value is not None else None


def expectation(option: Option) -> str:
    """`an integer, at least 1 (tokens), or null`."""
    kinds = [member for member in members_of(option.hint) if member is not type(None)]
    words = " or ".join(_describe(kind) for kind in kinds)
    if option.choices is not None:
        among = "one of " + ", ".join(show(choice) for choice in option.choices)
        words = f"{words}, each {among}" if origin_of(kinds[0]) in (list, dict) else among
    limits = [
        f"{word} {limit:g}"
        for word, limit in (
            ("at least", option.ge),
            ("above", option.gt),
            ("at most", option.le),
            ("below", option.lt),
        )
        if limit is not None
    ]
    if limits:
        words += ", " + " and ".join(limits)
    if option.unit:
        words += f" ({option.unit})"
    if type(None) in members_of(option.hint):
        words += ", or null" if "," in words else " or null"
    return words


def is_text(hint: Hint) -> bool:
    """Whether an option takes text and no list or mapping, so that `[x]` or `{x}` can only be meant as text."""
    members = members_of(hint)
    return str in members and not any(origin_of(member) in (list, dict) or member is Any for member in members)


def show(value: Any) -> str:
    """A value as it would be written in a config, on one line and without control characters."""
    text = _written(value)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 4] + " ..."


def _written(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return "[" + ", ".join(_written(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {_written(item)}" for key, item in value.items()) + "}"
    return repr(value)


def _exact(tree: Tree, hint: Hint) -> Any:
    if isinstance(tree, Leaf) and tree.fault:
        raise MismatchError(tree)
    origin, arguments = origin_of(hint), arguments_of(hint)
    if hint is Any:
        return plain(tree)
    if origin is typing.Union:
        for member in arguments:
            try:
                return _exact(tree, member)
            except MismatchError:
                continue
        raise MismatchError(tree)
    if origin is dict:
        return _mapping(tree, arguments[1])
    if isinstance(tree, Branch):
        raise MismatchError(tree)
    value = tree.value
    if origin is typing.Literal:
        fits = any(type(choice) is type(value) and choice == value for choice in arguments)
    elif origin is list:
        if isinstance(value, list):
            return [_item(tree, item, arguments[0]) for item in value]
        fits = False
    elif hint is float:
        if type(value) is int:
            return _as_float(tree, value)
        fits = type(value) is float
    else:
        fits = type(value) is hint
    if not fits:
        raise MismatchError(tree)
    return value


def _mapping(tree: Tree, hint: Hint) -> dict[str, Any]:
    if not isinstance(tree, Branch):
        raise MismatchError(tree)
    values = {}
    for key, child in tree.children.items():
        try:
            values[key] = convert(child, hint)
        except MismatchError as mismatch:
            raise MismatchError(mismatch.tree, f".{key}{mismatch.key}") from None
    return values


def _item(whole: Leaf, item: Tree, hint: Hint) -> Any:
    try:
        return convert(item, hint)
    except MismatchError:
        raise MismatchError(whole) from None


def _as_float(tree: Leaf, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise MismatchError(tree) from None


def _items(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    else:
        yield value


def _describe(hint: Hint) -> str:
    origin, arguments = origin_of(hint), arguments_of(hint)
    if origin is typing.Literal:
        return ("one of " if len(arguments) > 1 else "") + ", ".join(show(choice) for choice in arguments)
    if origin is list and arguments[0] in _PLURALS:
        return f"a list of {_PLURALS[arguments[0]]}, such as " + {int: "[1, 2]", float: "[0.1, 0.2]"}.get(
            arguments[0], "[a, b]"
        )
    if origin is dict and arguments[0] is str and arguments[1] in _PLURALS:
        return "a mapping" + ("" if arguments[1] is Any else f" of names to {_PLURALS[arguments[1]]}")
    if hint in _WORDS:
        return _WORDS[hint]
    raise TypeError(f"{hint} is not a type an option can have")
