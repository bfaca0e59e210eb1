"""The main paper's study as it is shipped: planned in full, and run in a reduction to two cells."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import alignlab

PAPER = Path(alignlab.__file__).parent / "configs" / "paper.yaml"
TWO = [
    "seeds=[0]", "skip=[{aligned: zh}, {aligned: sw-th}, {aligned: nine}, {method: preference}]",
    "before.answers.set.source.count=4", "cell.set={trainer.max_steps: 2, tracker.every_n_steps: null, "
    "evaluation.source.count: 4, evaluation.max_new_tokens: 64, probe.source.count: 8, wandb.mode: disabled}",
    "then.deactivated.set.max_documents=8", "then.neurons_sure.set.resamples=10",
    "then.beside_controls.set.max_documents=4", "then.beside_controls.set.seeds=2",
    "then.english_apart.set.resamples=10",
]  # fmt: skip


def command(folder: Path, *arguments: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "400"}
    call = [sys.executable, "-m", "alignlab.study", "config=paper", *arguments]
    done = subprocess.run(call, cwd=folder, env=environment, text=True, capture_output=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_placebo_is_compared_with_what_sees_as_many_texts() -> None:
    """English pairs are too few for one by preference."""
    claims = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["claims"].values()
    compared = [claim for claim in claims if claim.get("what") == "difference"]
    assert compared
    assert all(claim["levels"]["method"] == ["answers"] for claim in compared)


@pytest.mark.slow
def test_the_whole_of_it_is_planned(tmp_path: Path) -> None:
    said = command(tmp_path, "dry_run=true")
    assert "50: 5 aligned (placebo, zh, zh-de, sw-th, nine) x 2 method (answers, preference) x 5 seeds" in said
    assert "25 cells, until pairs is prepared" in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_cells_of_it_tell_of_every_claim(tmp_path: Path) -> None:
    said = command(tmp_path, *TWO)
    claims = yaml.safe_load(PAPER.read_text(encoding="utf-8"))["claims"]
    page = (tmp_path / "studies/paper/study.html").read_text(encoding="utf-8")
    for claim in claims.values():
        assert claim["title"] in said
        after = said[said.index(claim["title"]) :]
        assert after[after.index("Found: ") :].startswith("Found: of "), claim[
            "title"
        ]  # the names are those of numbers
    assert page.count("<h2") >= len(claims)
    assert "2 of 2 cells" in said
    again = command(tmp_path, *TWO)
    assert "begins" not in again
