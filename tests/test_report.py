"""The command: the page of a run, and of several."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from alignlab.report import main
from alignlab.train import main as train

SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.source.count=6", "probe.max_texts=6",
    "probe.source.languages=[en,zh,de]", "data.train.count=12", "data.examples_per_step=4", "wandb.mode=disabled",
    "probe.shards=3", "evaluation=null",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "mine"
    assert train([*SMALL, f"run.folder={folder}"]) == 0
    return folder


def test_the_page_of_a_run(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "mine")
    capsys.readouterr()
    assert main([f"run={tmp_path / 'mine'}", "resamples=20"]) == 0
    printed = capsys.readouterr().out
    assert "3 snapshots" in printed
    page = tmp_path / "mine/report.html"
    assert str(page) in printed
    text = page.read_text(encoding="utf-8")
    assert 1_000_000 < len(text.encode()) < 6_000_000
    for part in ("mine", "95 % interval", "step 2", "identifier:", "<html lang"):
        assert part in text, part
    assert not (tmp_path / "mine/report.html.partial").exists()


def test_several_runs_and_another_file(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "other")
    assert main([f"runs=[{run},{tmp_path / 'other'}]", "intervals=none", f"file={tmp_path / 'both.html'}"]) == 0
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "other" in text
    hints = re.findall(r"To have it: ([^<]*)", text.partition('<script type="application/json"')[0])
    assert hints
    assert all(hint.startswith("python -m alignlab.") for hint in hints), hints
    assert not (run / "report.html").exists()


def test_a_dry_run_and_refusals(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(run.rglob("*"))
    assert main([f"run={run}", "dry_run=true"]) == 0
    for argv, message in (
        (["runs=[]"], "run: 0 runs; expected 1 to 4. Write run=runs/demo"),
        ([f"run={tmp_path / 'no'}"], "there is no such folder; expected the folder of a run"),
        ([f"run={tmp_path}"], "the folder holds no snapshot"),
        ([f"run={run / 'neurons.csv'}"], "it is a file; expected the folder of a run"),
        ([f"run={run}", "interval=all"], "Did you mean 'intervals'?"),
        ([f"run={run}", "intervals=al"], "Did you mean 'all'?"),
    ):
        capsys.readouterr()
        assert main(argv) == 2
        assert message in capsys.readouterr().err
    assert sorted(run.rglob("*")) == before
