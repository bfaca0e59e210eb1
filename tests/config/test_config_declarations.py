"""Mistakes of the engineer who declares options are found the first time the schema is read."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from alignlab.config import load, option, section, variant


@dataclass
class BadDefault:
    rank: int = option(0, "rank", ge=1)


@dataclass
class BadDefaultType:
    rank: int = option("x", "rank")


@dataclass
class NoMeaning:
    rank: int = 3


@dataclass
class OddType:
    ranks: set[int] = option(None, "ranks")


@dataclass
class Named:
    name: str = option("x", "a name")


@dataclass
class NamedVariant:
    part: Named = variant({"a": Named}, "part", "a")


@dataclass
class Plain:
    size: int = option(1, "size")


@dataclass
class TwoNames:
    part: Plain = variant({"a": Plain, "b": Plain}, "part", "a")


@dataclass
class Nested:
    below: BadDefault = section(BadDefault, "below")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BadDefault, "BadDefault.rank: its default is 0; expected an integer, at least 1"),
        (BadDefaultType, "BadDefaultType.rank: its default is 'x'; expected an integer"),
        (Nested, "BadDefault.rank: its default is 0; expected an integer, at least 1"),
        (NoMeaning, "NoMeaning.rank: declare it with option(), section() or variant(), so that it has a meaning"),
        (OddType, "set[int] is not a type an option can have"),
        (NamedVariant, "NamedVariant.part: a variant may not have a field 'name': that key picks the variant"),
        (TwoNames, "TwoNames.part: two names for one dataclass; give each its own, a subclass will do"),
        (int, "int is not a dataclass"),
    ],
)
def test_a_bad_declaration(config, message):
    with pytest.raises(TypeError) as caught:
        load(config, [])
    assert str(caught.value) == message


def test_mutable_defaults_are_not_shared(root):
    for one in (load(root, [])[0], root()):
        one.data.languages.append("sw")
        one.trainer["x"] = 1
    for two in (load(root, [])[0], root()):
        assert two.data.languages == ["zh", "de"]
        assert two.trainer == {"max_steps": 100}
