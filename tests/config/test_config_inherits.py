"""Sections in a mapping that are laid over sections of the same names at the top."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from alignlab.config import REQUIRED, Options, load, option, section, to_yaml
from alignlab.errors import InputError


class Words(Options):
    name: Literal["words"] = "words"
    count: int = option(8, "words to draw", ge=1)
    seed: int = option(0, "of the draw")


class Folder(Options):
    name: Literal["folder"] = "folder"
    path: str = option(REQUIRED, "a folder")
    count: int = option(3, "files to read", ge=1)


class Stop(Options):
    after: int = option(REQUIRED, "values")


class Stage(Options):
    source: Annotated[Words | Folder, Field(discriminator="name")] = section(Words, "where its texts come from")
    stop: Stop | None = section(None, "when it stops")
    own: int = option(1, "not inherited")


class Root(Options):
    source: Annotated[Words | Folder, Field(discriminator="name")] = section(Words, "where texts come from")
    stop: Stop | None = section(None, "when it stops")
    own: int = option(5, "of the top")
    stages: dict[str, Stage] = section({}, "parts", inherits=("source", "stop"))


def config(tmp_path: Path, text: str, *argv: str) -> tuple[Root, dict[str, str]]:
    (tmp_path / "x.yaml").write_text(text)
    return load(Root, [f"config={tmp_path}/x.yaml", *argv])


TEXT = """
source: {name: folder, path: a, count: 7}
stop: {after: 2}
own: 6
stages:
  one: {}
  two: {source: {path: b}, stop: null}
  three: {source: {name: words}}
"""


def test_a_section_is_laid_over_the_top(tmp_path: Path) -> None:
    found, where = config(tmp_path, TEXT)
    assert list(found.stages.items()) == [
        ("one", Stage(source=Folder(path="a", count=7), stop=Stop(after=2))),
        ("two", Stage(source=Folder(path="b", count=7))),
        ("three", Stage(source=Words(count=7), stop=Stop(after=2))),  # both know a count, and only one a path
    ]
    assert where["stages.one.source.count"].endswith("x.yaml:2")
    assert where["stages.two.source.path"].endswith("x.yaml:7")
    assert load(Root, [])[0].stages == {}


def test_the_command_line_reaches_the_top_and_every_section(tmp_path: Path) -> None:
    found, _ = config(tmp_path, TEXT, "source.count=9", "stages.two.source.count=1", "stages.four.own=2")
    assert [stage.source.count for stage in found.stages.values()] == [9, 1, 9, 9]
    assert found.stages["four"] == Stage(source=Folder(path="a", count=9), stop=Stop(after=2), own=2)


def test_what_is_written_loads_back(tmp_path: Path) -> None:
    found, _ = config(tmp_path, TEXT)
    assert config(tmp_path, to_yaml(found))[0] == found
    assert list(config(tmp_path, to_yaml(found))[0].stages) == ["one", "two", "three"]


def test_a_key_that_what_is_inherited_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        config(tmp_path, TEXT, "stages.one.source.seed=4", "stages.three.source.path=c")
    assert [str(problem) for problem in refused.value.problems] == [
        "command line: there is no key 'stages.one.source.seed' where stages.one.source.name is 'folder' (set to 4); "
        "expected one of stages.one.source.path, stages.one.source.count. It belongs to stages.one.source.name=words.",
        "command line: there is no key 'stages.three.source.path' where stages.three.source.name is 'words' (set to "
        "'c'); expected one of stages.three.source.count, stages.three.source.seed. "
        "It belongs to stages.three.source.name=folder.",
    ]


def test_a_mistake_at_the_top_is_told_once_and_others_each(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        config(tmp_path, TEXT, "source.count=0", "stages.two.source.count=-1", "stages.one.sourse.count=2")
    told = [str(problem) for problem in refused.value.problems]
    assert told == [
        "command line: there is no key 'stages.one.sourse.count' (set to 2). Did you mean 'stages.NAME.source.count'?",
        "command line: source.count is 0; expected an integer, at least 1.",
        "command line: stages.two.source.count is -1; expected an integer, at least 1.",
    ]
    with pytest.raises(InputError) as refused:
        config(tmp_path, "source: {name: folder}\nstages: {one: {}, two: {source: {path: [3]}}}\n")
    told = [str(problem) for problem in refused.value.problems]
    assert len(told) == 2
    assert told[0].startswith("source.path: not set")
    assert told[1].endswith("stages.two.source.path is [3]; expected text.")


def test_a_section_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stages.one is 3; expected a section with one of stages.one.source"):
        config(tmp_path, "stages: {one: 3}\n")


def test_a_mistyped_section_on_the_command_line_is_none_that_is_added(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        config(tmp_path, TEXT, "stages.tow.own=2", "stages.onee.source.count=3", "seed=x")
    told = [str(problem) for problem in refused.value.problems]
    assert (
        "command line: there is no 'stages.tow'. Did you mean 'two'? To add one of that name write it in a file."
        in told
    )
    assert any("there is no 'stages.onee'. Did you mean 'one'?" in line for line in told)
    found, _ = config(tmp_path, TEXT + "  tow: {own: 1}\n", "stages.tow.own=2")
    assert found.stages["tow"].own == 2
