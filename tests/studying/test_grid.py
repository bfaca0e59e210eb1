"""Cells against loops over their axes, and what is set over their configs."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from alignlab.config import load, load_over, to_plain
from alignlab.options import TrainConfig
from alignlab.studying.configs import study_of
from alignlab.studying.grid import grid_of
from alignlab.studying.options import StudyOptions

from . import small


def loaded(folder: Path, config: dict[str, object], *more: str) -> tuple[StudyOptions, dict[str, str]]:
    return load(StudyOptions, [f"config={small.write(folder, config)}", *more])


def test_every_combination_is_a_cell_but_for_those_skipped(tmp_path: Path) -> None:
    axes = {
        "a": {"x": {}, "y": {"data.max_length": 99}},
        "b": {"0.1": {}, "0.2": {"method.optimizer.lr": 0.2}, "u": {"method.optimizer.lr": 0.3}},
    }
    skip = [{"a": "x", "b": 0.1}, {"seed": 7, "b": "u"}]
    grid = grid_of(*loaded(tmp_path, {"axes": axes, "seeds": [5, 7], "skip": skip}))
    expected = [
        (f"{a}+{b}+seed{seed}", (a, b), seed)
        for seed in (5, 7)
        for a in ("x", "y")
        for b in ("0.1", "0.2", "u")
        if not (a == "x" and b == "0.1") and not (seed == 7 and b == "u")
    ]
    assert [(cell.name, cell.levels, cell.seed) for cell in grid.cells] == expected
    assert grid.skipped == 12 - len(expected)
    assert grid.axes == ("a", "b")


def test_a_cell_is_compared_with_the_baseline_of_its_other_axes(tmp_path: Path) -> None:
    axes = {"a": {"x": {}, "y": {"data.max_length": 9}}, "b": {"u": {}, "v": {"method.optimizer.lr": 0.3}}}
    grid = grid_of(*loaded(tmp_path, {"axes": axes}))
    for cell, (a, b) in zip(grid.cells, itertools.product("xy", "uv"), strict=True):
        assert grid.baseline_of(cell, {"a": "x"}) == (None if a == "x" else ("x", b))
        assert grid.baseline_of(cell, {"a": "x", "b": "v"}) == (None if (a, b) == ("x", "v") else ("x", "v"))
        assert grid.baseline_of(cell, {}) is None


@pytest.mark.parametrize("written", ["dotted", "nested"])
def test_a_cells_config_is_that_of_the_command_line(tmp_path: Path, model_folder: Path, written: str) -> None:
    config = small.small(model_folder)
    if written == "nested":
        config["axes"]["aligned"]["zh-de"] = {"data": {"train": {"languages": ["zh", "de"]}}}
    study = study_of(*loaded(tmp_path, config, "cell.set.trainer.max_steps=9", "cell.set.evaluation=null"))
    argv = [f"{key}={'null' if value is None else value}" for key, value in small.SET.items()]
    argv += [f"model.source={model_folder}", "trainer.max_steps=9", "data.train.languages=[zh,de]", "seed=1"]
    argv += ["run.name=zh-de+seed1", "run.folder=studies/small/cells/zh-de+seed1/run"]
    expected, _ = load(TrainConfig, ["config=demo", *argv])
    assert to_plain(study.configs["zh-de+seed1"]) == to_plain(expected)


def test_seeds_beyond_the_second_have_what_the_whole_config_would_give(tmp_path: Path, model_folder: Path) -> None:
    study = study_of(*loaded(tmp_path, small.small(model_folder, seeds=[4, 5, 6])))
    for cell in study.grid.cells:
        over = [(one, value, "") for one, value in {**small.SET, "model.source": str(model_folder)}.items()]
        levels = [(one.key, one.value, "") for one in cell.settings]
        own = {"seed": cell.seed, "run.name": cell.name, "run.folder": f"studies/small/cells/{cell.name}/run"}
        config, _ = load_over(TrainConfig, ["config=demo"], over, levels, [(k, v, "") for k, v in own.items()])
        assert to_plain(study.configs[cell.name]) == to_plain(config)


def test_what_refers_to_the_seed_follows_it(tmp_path: Path, model_folder: Path) -> None:
    config = small.small(model_folder, seeds=[4, 5, 6])
    config["cell"]["set"] |= {"method.lora.rank": "\\${seed}", "wandb.group": "${study.name}"}
    study = study_of(*loaded(tmp_path, config))
    for cell in study.grid.cells:
        assert study.configs[cell.name].method.lora.rank == cell.seed
        assert study.configs[cell.name].wandb.group == "small"


def test_two_hundred_cells_are_checked_in_seconds(tmp_path: Path, model_folder: Path) -> None:
    axes = {
        "aligned": {code: {"data.train.languages": [code]} for code in ("zh", "de", "sw", "th", "es")},
        "rate": {f"r{n}": {"method.optimizer.lr": n * 1e-4} for n in range(1, 9)},
    }
    began = time.process_time()
    study = study_of(*loaded(tmp_path, small.small(model_folder, axes=axes, seeds=[0, 1, 2, 3, 4])))
    assert len(study.configs) == 200
    assert time.process_time() - began < 60  # some seconds; what would load each cell's model takes an hour
