"""A small configuration with one of everything, and the two ways a load can end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import ConfigDict, Field, model_validator, with_config
from typing_extensions import TypedDict

import alignlab
from alignlab.config import REQUIRED, Options, load, option, section
from alignlab.errors import InputError
from alignlab.languages import check_codes


class Words(Options):
    name: Literal["words"] = "words"
    templates: int = option(8, "templates to draw from", ge=1, le=30)
    max_texts: int = option(100, "texts of each language", unit="texts", ge=1)


class Folder(Options):
    name: Literal["folder"] = "folder"
    path: str = option(REQUIRED, "a folder with one file a language")
    max_texts: int = option(100, "texts of each language", unit="texts", ge=1)


class Data(Options):
    root: str = option("data", "where files lie")
    languages: list[str] = option(["zh", "de"], "languages in training", check=check_codes)
    source: Annotated[Words | Folder, Field(discriminator="name")] = section(Words, "where texts come from")
    prompt: str = option("{question}", "what the model is asked")
    shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = option({}, "share of a language")
    weights: list[Annotated[float, Field(gt=0)]] = option([], "weights of the parts")
    column: int | str = option(0, "number or name of the column")
    limit: int | None = option(None, "texts in all", unit="texts", ge=1)


class Adapter(Options):
    rank: int = option(16, "rank of the adapter", ge=1)
    alpha: int = option(32, "scale of the adapter", ge=1)
    dropout: float = option(0.0, "dropout on the adapter's input", ge=0, lt=1)
    targets: list[Literal["q_proj", "v_proj"]] = option(["q_proj"], "modules that get an adapter")

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.alpha < self.rank:
            raise ValueError(f"alpha ({self.alpha}) is below rank ({self.rank})")
        return self


class Ema(Options):
    decay: float = option(0.99, "decay of the average", gt=0, lt=1)


class Method(Options):
    learning_rate: float = option(1e-4, "peak learning rate", gt=0)
    warmup: int | float | None = option(None, "steps, or a part of them")
    adapter: Adapter | None = section(Adapter, "the adapter; null trains every weight")
    ema: Ema | None = section(None, "average of the weights")


class Run(Options):
    name: str = option("demo", "name of the run")
    folder: str = option("runs/${run.name}", "where everything is written")
    note: str | None = option(None, "a word on the run")


@with_config(ConfigDict(strict=True, extra="forbid"))
class Trainer(TypedDict, total=False):
    """Only what is given is there."""

    max_steps: Annotated[int, Field(ge=-1, description="steps")]
    precision: Annotated[str | int, Field(description="bits")]
    logger: Annotated[Any, Field(description="where to")]


class Root(Options):
    dry_run: bool = option(False, "print the plan and stop")
    resume: Literal["auto", "never"] = option("auto", "what to do with a run that is there")
    top: Literal["largest"] | Annotated[float, Field(ge=0)] = option("largest", "the threshold")
    run: Run = section(Run, "the run")
    data: Data = section(Data, "texts")
    method: Method = section(Method, "training")
    trainer: Trainer = section({"max_steps": 100}, "arguments of the trainer")
    spelled: dict[str, str] = option({"ja": "jp"}, "other spellings")


Files = Mapping[str, str]
Load = Callable[..., tuple[Root, dict[str, str]]]


@pytest.fixture
def root() -> type[Root]:
    return Root


@pytest.fixture(autouse=True)
def nothing_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages list the shipped configs, and those come and go."""
    monkeypatch.setattr(alignlab, "__file__", str(tmp_path / "nowhere/__init__.py"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loaded(here: Path) -> Load:
    """loaded("run.name=x", files={"a.yaml": "..."}): the config and where its keys were set."""

    def run(*argv: str, files: Files | None = None) -> tuple[Root, dict[str, str]]:
        _write(here, files or {})
        return load(Root, argv)

    return run


@pytest.fixture
def refused(here: Path) -> Callable[..., list[str]]:
    """The messages of a load that must fail."""

    def run(*argv: str, files: Files | None = None, config: type = Root) -> list[str]:
        _write(here, files or {})
        with pytest.raises(InputError) as caught:
            load(config, argv)
        return [str(problem) for problem in caught.value.problems]

    return run


def _write(folder: Path, files: Files) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
