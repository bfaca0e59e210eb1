"""Malformed studies: refused before the first cell, all mistakes at once, each with its line and without a traceback."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, get_args

import pytest

import alignlab.study
from alignlab.studying.configs import _OPTIONS
from alignlab.studying.options import Prepared, Verb
from alignlab.studying.steps import Step

from . import small

LONG = "x" * 120


def changed(model: Path, **over: Any) -> dict[str, Any]:
    return small.small(model) | over


def with_cell(model: Path, **set_: Any) -> dict[str, Any]:
    config = small.small(model)
    config["cell"]["set"] |= set_
    return config


CASES: dict[str, tuple[dict[str, Any], str]] = {
    "a level that is a path": ({"axes": {"a": {"../x": {}, "y": {"data.max_length": 99}}}}, "'../x'"),
    "a level of a space": ({"axes": {"a": {" ": {}}}}, "' '"),
    "a level with what joins names": ({"axes": {"a": {"x+seed0": {}}}}, "'x+seed0'"),
    "a level that steers the terminal": ({"axes": {"a": {"x\x1b[2J": {}}}}, "x\\x1b[2J"),
    "a level of markup": ({"axes": {"a": {"<script>": {}}}}, "<script>"),
    "a level that is a formula": ({"axes": {"a": {"=1+1": {}}}}, "'=1+1'"),
    "a level too long for a folder": ({"axes": {"a": {LONG: {}}, "b": {LONG: {}}}}, "at most 200"),
    "levels alike but for case": ({"axes": {"a": {"ZH": {}, "zh": {"data.max_length": 99}}}}, "would share a folder"),
    "an axis with a column's name": ({"axes": {"step": {"x": {}}}}, "the axis is called 'step'"),
    "an axis that is no name": ({"axes": {"a b": {"x": {}}}}, "the axis is called 'a b'"),
    "an axis without levels": ({"axes": {"a": {}}}, "it has no levels"),
    "axes that are a list": ({"axes": ["zh"]}, "axes is"),
    "a level that is no mapping": ({"axes": {"a": {"zh": "data.train.languages=[zh]"}}}, "axes"),
    "a key that there is not": ({"axes": {"a": {"x": {"data.train.langs": ["zh"]}}}}, "data.train.langs"),
    "a value of another kind": ({"axes": {"a": {"x": {"trainer.max_steps": "many"}}}}, "trainer.max_steps is 'many'"),
    "a language that there is not": ({"axes": {"a": {"x": {"reference": "qqq"}}}}, "qqq"),
    "a method that there is not": ({"axes": {"a": {"x": {"method.name": "supervized"}}}}, "Did you mean 'supervised'?"),
    "a key with an empty part": ({"axes": {"a": {"x": {"data..train": 1}}}}, "a key with an empty part"),
    "a key that is set twice": ({"axes": {"a": {"x": {"data.max_length": 9, "data": {"max_length": 8}}}}}, "set here too"),
    "axes that set one key": (
        {"axes": {"a": {"x": {"data.max_length": 9}}, "b": {"y": {"data.max_length": 8}}}}, "axes that set different keys"),
    "the seed in a level": ({"axes": {"a": {"x": {"seed": 3}}}}, "Write seeds: [0, 1] at the top."),
    "the run's folder in a level": ({"axes": {"a": {"x": {"run.folder": "elsewhere"}}}}, "which a study sets itself"),
    "two cells that are the same": ({"axes": {"a": {"x": {}, "y": {}}}}, "have the same config"),
    "no seeds": ({"seeds": []}, "one seed or more"),
    "a seed twice": ({"seeds": [1, 1]}, "each once"),
    "a seed below 0": ({"seeds": [-1]}, "from 0"),
    "all skipped": ({"skip": [{"aligned": "zh"}, {"aligned": "zh-de"}]}, "every cell is skipped"),
    "a skipped axis that is not there": ({"skip": [{"alined": "zh"}]}, "Did you mean 'aligned'?"),
    "a skipped level that is not there": ({"skip": [{"aligned": "sw"}]}, "aligned has no level 'sw'"),
    "an empty entry of skip": ({"skip": [{}]}, "which would skip all"),
    "a baseline that is not there": ({"baseline": {"aligned": "sw"}}, "aligned has no level 'sw'"),
    "a config that is not there": ({"cell": {"config": "dmo"}}, "Did you mean 'demo'?"),
    "no config": ({"cell": {"set": {}}}, "a shipped config or file of alignlab.train"),
    "then a verb that there is not": ({"then": {"x": {"verb": "train"}}}, "then.x.verb"),
    "then named as the run": ({"then": {"run": {"verb": "evaluate"}}}, "neither run nor counts"),
    "then with a path for a name": ({"then": {"../x": {"verb": "evaluate"}}}, "'../x'"),
    "then a key that there is not": ({"then": {"x": {"verb": "evaluate", "set": {"task": 1}}}}, "task"),
    "then of an axis that there is not": (
        {"then": {"x": {"verb": "evaluate", "levels": {"alined": ["zh"]}}}}, "Did you mean 'aligned'?"),
    "then of a level that there is not": (
        {"then": {"x": {"verb": "evaluate", "levels": {"aligned": ["zw"]}}}}, "aligned has no level 'zw'"),
    "then of no level": ({"then": {"x": {"verb": "evaluate", "levels": {"aligned": []}}}}, "no level of aligned"),
    "then of levels that are no list": ({"then": {"x": {"verb": "evaluate", "levels": {"aligned": "zh"}}}}, "levels"),
    "models beside axes": ({"models": ["builtin:demo"]}, "set beside models"),
    "a model without a name": ({"axes": {}, "models": ["@main"]}, "'@main'"),
    "models that would share a folder": ({"axes": {}, "models": ["a/b", "a-b"]}, "would share a folder"),
    "devices twice": ({"devices": ["0", "0"]}, "each once"),
    "a device of two processes": ({"devices": ["0", "0,1"]}, "each once"),
    "no jobs": ({"jobs": 0}, "at least 1"),
    "more cells than anyone has": ({"seeds": list(range(20_000))}, "at most 10,000"),
    "a name that is a path": ({"study": {"name": "../x"}}, "study.name"),
}  # fmt: skip


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)

    def refuse(config: dict[str, Any], *more: str) -> str:
        small.write(tmp_path, config)
        assert alignlab.study.main(["config=small.yaml", *more]) == 2
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        assert "\x1b" not in captured.err
        assert captured.err.strip()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["small.yaml"]  # nothing is written
        return captured.err

    return refuse


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_study_is_refused(case: str, refused: Any, model_folder: Path) -> None:
    over, expected = CASES[case]
    said = refused(changed(model_folder, **over))
    assert expected in said, said
    assert "small.yaml" in said or case == "no config", said  # which is on no line


def test_all_mistakes_are_told_at_once_each_with_its_line(refused: Any, model_folder: Path, tmp_path: Path) -> None:
    config = with_cell(model_folder, **{"tracker.every": 1})
    config["axes"]["method"] = {"one": {"method.nam": "causal"}, "t wo": {"trainer.max_steps": 0.5}}
    config["axes"]["aligned"]["zh"] = {"data.train.languages": ["zz"], "run": {"name": "x"}}
    said = refused(config)
    for part in ("tracker.every", "method.nam", "'t wo'", "trainer.max_steps", "run.name", "'zz'"):
        assert part in said, (part, said)
    lines = (tmp_path / "small.yaml").read_text(encoding="utf-8").splitlines()
    number = next(at for at, line in enumerate(lines, start=1) if "t wo" in line)
    assert f"small.yaml:{number}: axes.method.t wo" in said


def test_all_mistakes_in_the_cells_configs_are_told_at_once(refused: Any, model_folder: Path, tmp_path: Path) -> None:
    config = small.small(model_folder)
    config["axes"]["method"] = {"one": {"method.nam": "causal"}, "two": {"trainer.max_steps": "x"}}
    config["axes"]["aligned"]["zh"] = {"data.train.languages": 3}
    config["claims"] = {"rise": {"title": "T", "says": "S", "source": "nurons", "measure": "m"}}
    said = refused(config)
    lines = (tmp_path / "small.yaml").read_text(encoding="utf-8").splitlines()
    for part in ("method.nam", "trainer.max_steps: x", "data.train.languages: 3", "rise:"):
        number = next(at for at, line in enumerate(lines, start=1) if part in line)
        assert f"small.yaml:{number}: " in said, (part, said)
    assert len(said.strip().splitlines()) == 4  # each once, though several cells have it


@pytest.mark.parametrize("given", ["cell.set.trainer.max_step=3", "cell.set.method.nam=causal", "cell.set.seed=3"])
def test_what_was_typed_is_named_by_the_key_that_was_typed(given: str, refused: Any, model_folder: Path) -> None:
    said = refused(small.small(model_folder), given)
    assert said.strip().startswith(f"command line: {given.partition('=')[0]}: "), said


def test_a_secret_is_written_nowhere(refused: Any, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    said = refused(with_cell(model_folder, **{"wandb.tags": ["${oc.env:HF_TOKEN}"]}))
    assert "abcdefghijklmnop" not in said
    assert "secret" in said


def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model_folder: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    small.write(tmp_path, small.small(model_folder))
    (tmp_path / "studies/small").mkdir(parents=True)
    (tmp_path / "studies/small/thesis.tex").write_text("years", encoding="utf-8")
    assert alignlab.study.main(["config=small.yaml"]) == 2
    assert "it holds something else" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "studies/small").iterdir()] == ["thesis.tex"]


def test_ranks_are_refused(refused: Any, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "2 ranks of one study" in refused(small.small(model_folder)).replace("small.yaml", "")


def test_every_command_of_a_study_is_checked_by_its_own_options() -> None:
    asked = {"train", *get_args(Verb), *get_args(Prepared)}
    assert set(_OPTIONS) == asked, f"_OPTIONS of studying/configs.py: {sorted(set(_OPTIONS) ^ asked)}"


@pytest.mark.parametrize(
    ("verb", "kind"),
    [("train", ""), *((one, "") for one in get_args(Verb)), *(("prepare", one) for one in get_args(Prepared))],
)
def test_the_command_of_every_verb_is_there(verb: str, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Where it is not, a cell fails once it has been trained."""
    module, *before = Step("asked", verb, None, (), "then.asked", kind).command
    assert importlib.import_module(f"alignlab.{module}").main([*before, "--help"]) == 0
    assert " ".join([f"alignlab.{module}", *before]) in capsys.readouterr().out
