"""A mapping of free names to sections: defaults, layers, and every mistake in it with its key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from alignlab.config import REQUIRED, Options, help_text, load, option, section, to_yaml
from alignlab.errors import InputError


class Words(Options):
    name: Literal["words"] = "words"
    count: int = option(8, "words to draw", ge=1)


class Folder(Options):
    name: Literal["folder"] = "folder"
    path: str = option(REQUIRED, "a folder")
    count: int = option(3, "files to read", ge=1)


class Part(Options):
    source: Annotated[Words | Folder, Field(discriminator="name")] = section(Words, "where texts come from")
    weight: int = option(1, "its share", ge=1)


class Root(Options):
    parts: dict[str, Part] = section(REQUIRED, "the parts, by any name")
    seed: int = option(0, "of the order")


FILE = """
parts:
  one: {weight: 3, source: {name: folder, path: a}}
  two: {}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "x.yaml").write_text(FILE)
    return f"config={tmp_path}/x.yaml"


def test_each_name_has_the_defaults_of_the_section(file: str) -> None:
    config, where = load(Root, [file])
    assert config.parts == {"one": Part(source=Folder(path="a"), weight=3), "two": Part()}
    assert where["parts.one.weight"].endswith("x.yaml:3")
    assert where["parts.two.weight"] == "default"


def test_layers_merge_name_by_name(file: str) -> None:
    arguments = ["parts.two.weight=5", "parts.one.source.count=7", "parts.new.source.name=words"]
    config, _ = load(Root, [file, *arguments])
    assert list(config.parts) == ["one", "two", "new"]
    assert [part.weight for part in config.parts.values()] == [3, 5, 1]
    assert config.parts["one"].source == Folder(path="a", count=7)


def test_a_choice_in_it_is_switched_as_elsewhere(file: str) -> None:
    config, _ = load(Root, [file, "parts.one.source.name=words"])
    assert config.parts["one"].source == Words(count=8)


def test_what_is_written_loads_back(file: str, tmp_path: Path) -> None:
    config, _ = load(Root, [file])
    (tmp_path / "y.yaml").write_text(to_yaml(config))
    assert load(Root, [f"config={tmp_path}/y.yaml"])[0] == config


def test_every_mistake_is_told_with_its_key(file: str) -> None:
    arguments = [
        "parts.one.weigth=2",
        "parts.two.weight=0",
        "parts.two.source.path=b",
        "parts.three.source.name=fodler",
        "parts.four=5",
    ]
    with pytest.raises(InputError) as refused:
        load(Root, [file, *arguments])
    assert sorted(str(problem) for problem in refused.value.problems) == sorted(
        [
            "command line: there is no key 'parts.one.weigth' (set to 2). Did you mean 'parts.NAME.weight'?",
            "command line: there is no key 'parts.two.source.path' where parts.two.source.name is 'words' (set to "
            "'b'); expected one of parts.two.source.count. It belongs to parts.two.source.name=folder.",
            "command line: parts.two.weight is 0; expected an integer, at least 1.",
            "command line: parts.three.source.name is 'fodler'; expected one of 'words', 'folder'. "
            "Did you mean 'folder'?",
            "command line: parts.four is 5; expected a section with one of parts.four.source, parts.four.weight.",
        ]
    )


def test_something_else_than_a_mapping_is_refused() -> None:
    with pytest.raises(InputError, match=r"parts is 3; expected a mapping of names to sections, such as .*NAME.source"):
        load(Root, ["parts=3"])
    with pytest.raises(InputError, match=r"parts: not set; expected a mapping of names to sections"):
        load(Root, [])


def test_help_has_the_keys_where_they_are_asked_for() -> None:
    assert "parts: the parts, by any name (--help parts has the keys of one)" in help_text(Root, "prog", "Intro.")
    assert "parts.NAME.weight=1" in help_text(Root, "prog", "Intro.", key="parts")
    assert help_text(Root, "prog", "Intro.", key="parts.any.weight").startswith("parts.any.weight=1")
