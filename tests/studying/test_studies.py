"""Studies of real runs: their table is that of the runs by themselves, killed and continued, shared and retried."""

from __future__ import annotations

import csv
import json
import random
import shutil
import signal
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import yaml
from scipy import stats

import alignlab.train
from alignlab.config import load
from alignlab.neurons.table import read_csv
from alignlab.studying.configs import study_of
from alignlab.studying.options import StudyOptions
from alignlab.studying.table import write_table

from . import small

pytestmark = pytest.mark.slow  # every cell is a process, which takes seconds to import what it needs


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Path:
    """The folder of a study of four cells that nobody has stopped."""
    folder = tmp_path_factory.mktemp("whole")
    small.write(folder, small.small(model_folder, baseline={"aligned": "zh"}))
    status, said = small.finish(small.start(folder, "jobs=2"))
    assert status == 0, said
    (folder / "said.txt").write_text(said, encoding="utf-8")
    return folder / "studies/small"


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_number_of_every_run_is_in_the_table_once(whole: Path) -> None:
    rows = rows_of(whole / "study.csv")
    assert {row["cell"] for row in rows} == {f"{name}+seed{seed}" for name in ("zh", "zh-de") for seed in (0, 1)}
    for cell in {row["cell"] for row in rows}:
        own = [row for row in rows if row["cell"] == cell]
        run = read_csv(whole / "cells" / cell / "run/neurons.csv")
        assert [float(row["value"]) for row in own] == [row.value for row in run]
        assert {(row["aligned"], row["seed"]) for row in own} == {tuple(cell.split("+seed"))}
        values = [{key: text for key, text in row.items() if key not in ("value", "se")} for row in own]
        assert len({json.dumps(one) for one in values}) == len(values)  # no two numbers under one description


def test_a_cell_is_the_run_that_its_config_gives_by_itself(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = whole / "cells/zh-de+seed1/config.yaml"
    written = yaml.safe_load(config.read_text(encoding="utf-8"))
    assert written["seed"] == 1
    assert written["data"]["train"]["languages"] == ["zh", "de"]
    assert written["trainer"]["max_steps"] == 2
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert alignlab.train.main([f"config={config}", "run.folder=alone"]) == 0
    assert Path("alone/neurons.csv").read_bytes() == (whole / "cells/zh-de+seed1/run/neurons.csv").read_bytes()


def test_the_summary_is_that_of_the_seeds_by_hand(whole: Path) -> None:
    rows = rows_of(whole / "summary.csv")
    ends: dict[tuple[str, str, str], dict[int, list[float]]] = {}
    for cell in (whole / "cells").iterdir():
        aligned, seed = cell.name.split("+seed")
        for row in read_csv(cell / "run/neurons.csv"):
            usual = row.thresholds == "anchored" and row.convention == "paper" and not row.since
            # Of the languages that are unseen in both, which is Swahili alone.
            of = row.language if row.language == "sw" else row.group
            if usual and of in ("sw", "unseen") and row.kind == "related" and row.layer is None and row.step in (0, 2):
                ends.setdefault((aligned, row.kind, of), {}).setdefault(int(seed), []).append(row.value)
    found = 0
    for aligned in ("zh", "zh-de"):
        pairs = [ends[aligned, "related", "unseen"][seed] for seed in (0, 1)]
        others = [ends["zh", "related", "sw"][seed] for seed in (0, 1)]
        expected = {
            "value": [last for _, last in pairs],
            "change": [last - first for first, last in pairs],
            "difference": [pair[1] - other[1] for pair, other in zip(pairs, others, strict=True)],
        }
        for row in rows:
            if (row["aligned"], row["measure"], row["group"]) != (aligned, "related neurons", "unseen") or row["layer"]:
                continue
            found += 1
            values = np.array(expected[row["what"]])
            assert float(row["value"]) == pytest.approx(values.mean())
            assert row["seeds"] == "2"
            if values.std() > 0:
                low, high = stats.t.interval(0.95, 1, values.mean(), stats.sem(values))
                assert float(row["seeds_low"]) == pytest.approx(max(low, 0) if row["what"] == "value" else low)
                assert float(row["seeds_high"]) == pytest.approx(high)
            else:
                assert row["seeds_low"] == ""
    assert found == 5  # the baseline differs from nothing


def test_it_says_what_it_will_do_and_what_it_wrote(whole: Path) -> None:
    said = (whole.parents[1] / "said.txt").read_text(encoding="utf-8")
    assert "cells      4: 2 aligned (zh, zh-de) x 2 seeds (0, 1)" in said
    assert "8 steps, about " in said
    assert "4 of 4 cells" in said
    assert "Related neurons, neurons" in said
    assert "Traceback" not in said
    page = (whole / "study.html").read_text(encoding="utf-8")
    assert "Related neurons" in page
    assert "zh-de+seed1" in page


def test_what_is_finished_is_never_run_again(whole: Path) -> None:
    def state() -> dict[str, Any]:
        files = [path for path in whole.rglob("*") if path.is_file() and path.parent != whole and path.name != ".lock"]
        return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before, table = state(), (whole / "study.csv").read_bytes()
    status, said = small.finish(small.start(whole.parents[1]))
    assert status == 0, said
    assert "begins" not in said
    assert state() == before
    assert (whole / "study.csv").read_bytes() == table


def alive(folder: Path) -> list[psutil.Process]:
    """Processes of cells in a folder."""
    running = psutil.process_iter(["cmdline", "cwd"])
    return [
        one for one in running if one.info["cwd"] == str(folder) and "alignlab.train" in (one.info["cmdline"] or [])
    ]


def test_killed_at_random_moments_it_ends_with_the_same_table(whole: Path, tmp_path: Path, model_folder: Path) -> None:
    small.write(tmp_path, small.small(model_folder, baseline={"aligned": "zh"}))
    draw = random.Random(0)
    for _ in range(2):
        process = small.start(tmp_path, "jobs=2")
        time.sleep(draw.uniform(5, 30))
        for child in psutil.Process(process.pid).children(recursive=True):
            if draw.random() < 0.7:  # some live on alone, as where the scheduler alone is killed
                child.kill()
        process.kill()
        process.wait()
    for _ in range(30):  # those left alone end by themselves; until then their cells are others'
        status, said = small.finish(small.start(tmp_path, "jobs=2", "retry=failed"))
        assert status == 0, said
        if (tmp_path / "studies/small/study.csv").read_bytes() == (whole / "study.csv").read_bytes():
            break
        time.sleep(1)
    assert (tmp_path / "studies/small/study.csv").read_bytes() == (whole / "study.csv").read_bytes()
    assert (tmp_path / "studies/small/summary.csv").read_bytes() == (whole / "summary.csv").read_bytes()
    assert not list((tmp_path / "studies").rglob("*.partial"))


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_asked_to_stop_it_ends_its_children_and_goes_on(
    whole: Path, tmp_path: Path, model_folder: Path, number: signal.Signals
) -> None:
    small.write(tmp_path, small.small(model_folder, baseline={"aligned": "zh"}))
    process = small.start(tmp_path, "jobs=2")
    for line in process.stdout or ():
        if "begins" in line:
            break
    time.sleep(2)
    process.send_signal(number)
    status, said = small.finish(process)
    assert status == 128 + number, said
    assert f"Stopped by {number.name} with" in said
    assert "The same command goes on" in said
    assert "Traceback" not in said
    assert alive(tmp_path) == []
    status, said = small.finish(small.start(tmp_path, "jobs=2"))
    assert status == 0, said
    assert (tmp_path / "studies/small/study.csv").read_bytes() == (whole / "study.csv").read_bytes()


def test_two_at_once_share_the_cells_and_do_none_twice(whole: Path, tmp_path: Path, model_folder: Path) -> None:
    small.write(tmp_path, small.small(model_folder, baseline={"aligned": "zh"}))
    both = [small.start(tmp_path), small.start(tmp_path)]
    ended = [small.finish(process) for process in both]
    assert [status for status, _ in ended] == [0, 0], ended
    begun = [line.partition(":")[0] for _, said in ended for line in said.splitlines() if line.endswith("run begins")]
    assert sorted(begun) == sorted({path.name for path in (tmp_path / "studies/small/cells").iterdir()})
    assert all("run begins" in said for _, said in ended)  # each has done a part
    assert (tmp_path / "studies/small/study.csv").read_bytes() == (whole / "study.csv").read_bytes()


def test_a_cell_that_fails_is_kept_apart_told_and_retried(tmp_path: Path, model_folder: Path) -> None:
    later = tmp_path / "later"  # a model that is there when the study is planned, and damaged when its cell begins
    later.symlink_to(model_folder)
    config = small.small(model_folder)
    config["axes"] = {"which": {"good": {}, "bad": {"model.source": str(later)}}}
    config["seeds"] = [0]
    small.write(tmp_path, config)
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for file in model_folder.iterdir():
        if file.name != "model.safetensors":
            (damaged / file.name).write_bytes(file.read_bytes())
    (damaged / "model.safetensors").write_bytes(b"no weights at all")
    process = small.start(tmp_path)
    for line in process.stdout or ():
        if "good+seed0: run begins" in line:
            later.unlink()
            later.symlink_to(damaged)
            break
    status, said = small.finish(process)
    assert status == 1, said
    assert "bad+seed0 has failed at run" in said
    assert "retry=failed" in said
    told = json.loads((tmp_path / "studies/small/cells/bad+seed0/failed.json").read_text())
    assert told["says"] in (tmp_path / "studies/small/cells/bad+seed0/log.txt").read_text()
    table = rows_of(tmp_path / "studies/small/study.csv")
    assert {row["cell"] for row in table} == {"good+seed0"}
    later.unlink()
    later.symlink_to(model_folder)
    status, said = small.finish(small.start(tmp_path))
    assert status == 1, said  # it is told of again, and not tried
    assert "run begins" not in said
    status, said = small.finish(small.start(tmp_path, "retry=failed"))
    assert status == 0, said
    assert {row["cell"] for row in rows_of(tmp_path / "studies/small/study.csv")} == {"good+seed0", "bad+seed0"}
    assert not (tmp_path / "studies/small/cells/bad+seed0/failed.json").exists()


def test_what_is_asked_then_is_in_the_table_under_its_name(tmp_path: Path, model_folder: Path) -> None:
    config = small.small(model_folder)
    config["axes"], config["seeds"] = {}, [3]
    task = {"name": "perplexity", "source": {"name": "builtin:wordproblems", "split": "test", "count": 3,
                                             "languages": ["en", "de"]}}  # fmt: skip
    config["then"] = {"likely": {"verb": "evaluate", "set": {"tasks.text": task}}}
    small.write(tmp_path, config)
    status, said = small.finish(small.start(tmp_path))
    assert status == 0, said
    cell = tmp_path / "studies/small/cells/seed3"
    asked = [row for row in rows_of(tmp_path / "studies/small/study.csv") if row["source"] == "likely"]
    assert [float(row["value"]) for row in asked] == [row.value for row in read_csv(cell / "likely/table.csv")]
    assert {row["task"] for row in asked} == {"text"}
    config["then"]["likely"]["set"]["tasks.text"]["source"]["count"] = 2
    small.write(tmp_path, config)
    status, said = small.finish(small.start(tmp_path))
    assert status == 2
    assert "then.likely was asked with other settings" in said


def test_a_study_that_is_done_goes_on_with_what_is_asked_of_some_cells(
    whole: Path, tmp_path: Path, model_folder: Path
) -> None:
    done = tmp_path / "studies/small"
    shutil.copytree(whole, done)
    runs = [path for path in sorted(done.glob("cells/*/run/**/*")) if path.is_file()]
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in runs}
    config = small.small(model_folder, baseline={"aligned": "zh"})
    asked = {"verb": "analyze", "set": {"analyses": ["kinds"]}, "levels": {"aligned": ["zh-de"]}}
    small.write(tmp_path, config | {"then": {"again": asked}})
    status, said = small.finish(small.start(tmp_path, "dry_run=true"))
    assert status == 0, said
    assert "of 2 cells (aligned zh-de)" in said
    status, said = small.finish(small.start(tmp_path, "jobs=2"))
    assert status == 0, said
    assert sorted(line for line in said.splitlines() if line.endswith(" begins")) == [
        f"zh-de+seed{seed}: again begins" for seed in (0, 1)
    ]
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in runs} == before
    rows = rows_of(done / "study.csv")
    assert {row["cell"] for row in rows if row["source"] == "again"} == {"zh-de+seed0", "zh-de+seed1"}
    assert len({row["cell"] for row in rows}) == 4
    # Asked of more, it is asked of those alone that have not been asked; what is asked stays as it was.
    config["then"] = {"again": asked | {"levels": {}}}
    small.write(tmp_path, config)
    status, said = small.finish(small.start(tmp_path, "jobs=2"))
    assert status == 0, said
    assert sorted(line for line in said.splitlines() if line.endswith(" begins")) == [
        f"zh+seed{seed}: again begins" for seed in (0, 1)
    ]


def test_a_suite_of_models_is_counted_and_asked(tmp_path: Path, model_folder: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(model_folder)
    task = {"name": "perplexity", "source": {"name": "builtin:wordproblems", "split": "test", "count": 3,
                                             "languages": ["en", "de"]}}  # fmt: skip
    probe = {"source": {"name": "builtin:wordproblems", "split": "probe", "count": 4, "languages": ["en", "de"]}}
    config = {
        "study": {"name": "small"},
        "models": [str(model_folder), str(other)],
        "cell": {"set": {"probe": probe, "identifier.top_rate": 0.3}},
        "then": {"likely": {"verb": "evaluate", "set": {"tasks.text": task}}},
    }
    small.write(tmp_path, config)
    status, said = small.finish(small.start(tmp_path))
    assert status == 0, said
    rows = rows_of(tmp_path / "studies/small/study.csv")
    assert len({row["model"] for row in rows}) == 2
    assert {row["source"] for row in rows} == {"counts", "likely"}
    by_model: dict[str, list[tuple[str, ...]]] = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append((row["measure"], row["group"], row["language"], row["value"]))
    one, two = by_model.values()
    assert one == two  # they are one model under two names


def test_memory_does_not_grow_with_the_cells(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the table: the numbers of one cell at a time are held."""
    monkeypatch.chdir(whole.parents[1])
    study = study_of(*load(StudyOptions, ["config=small.yaml"]))

    def peak(times: int) -> int:
        cells = [*study.grid.cells] * times
        tracemalloc.start()
        for _ in write_table(study, cells, tmp_path / "table.csv", lambda *_: None):
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    peak(1)
    assert peak(10) < 1.2 * peak(1)
