"""Mistakes of the engineer who declares options are found the first time they are read."""

from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import Field, PydanticSchemaGenerationError, PydanticUserError

from alignlab.config import Options, load, option, section


class BadDefault(Options):
    rank: int = option(0, "rank", ge=1)


class BadDefaultType(Options):
    rank: int = option("x", "rank")


class Nested(Options):
    below: BadDefault = section(BadDefault, "below")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BadDefault, "rank: its default is 0; expected an integer, at least 1"),
        (BadDefaultType, "rank: its default is 'x'; expected an integer"),
        (Nested, "below.rank: its default is 0; expected an integer, at least 1"),
    ],
)
def test_a_bad_default(config, message):
    with pytest.raises(TypeError) as caught:
        load(config, [])
    assert str(caught.value) == message


def test_a_type_that_no_option_can_have():
    with pytest.raises(PydanticSchemaGenerationError):

        class Odd(Options):
            odd: object.__init__ = option(None, "odd")


def test_two_choices_of_one_name():
    class One(Options):
        name: Literal["a"] = "a"

    class Two(Options):
        name: Literal["a"] = "a"

    with pytest.raises((TypeError, PydanticUserError), match="'a'"):

        class Both(Options):
            part: Annotated[One | Two, Field(discriminator="name")] = section(One, "part")


def test_mutable_defaults_are_not_shared(root):
    for one in (load(root, [])[0], root()):
        one.data.languages.append("sw")
        one.trainer["x"] = 1
    for two in (load(root, [])[0], root()):
        assert two.data.languages == ["zh", "de"]
        assert two.trainer == {"max_steps": 100}


def test_options_are_taken_over_by_a_subclass_that_can_do_something():
    class Rank(Options):
        rank: int = option(3, "rank", ge=1)

    class Doubled(Rank):
        def double(self) -> int:
            return 2 * self.rank

    assert Doubled.of(Rank(rank=4)).double() == 8
