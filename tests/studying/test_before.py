"""What is prepared once before the first cell: pairs of preference for trainings by them."""

from __future__ import annotations

import json
import shutil
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

import alignlab.prepare
from alignlab.study import main

from . import small

BEFORE = "${study.root}/${study.name}/before"
DEMO = {
    "trainer.max_steps": 1, "tracker.every_n_steps": 1, "probe.source.count": 3, "probe.max_texts": 3,
    "probe.shards": 3, "probe.source.languages": ["en", "zh"], "data.examples_per_step": 2,
    "wandb.mode": "disabled", "evaluation": None,
}  # fmt: skip


def config() -> dict[str, object]:
    return {
        "study": {"name": "small", "root": "studies"},
        "before": {
            "answers": {
                "prepare": "responses",
                "config": "prepare_demo",
                "set": {"source.count": 6, "source.languages": ["zh"], "samples": 3, "temperature": 1.5,
                        "max_new_tokens": 64},
            },
            "pairs": {"prepare": "preferences", "set": {"responses": f"{BEFORE}/answers"}},
        },
        "cell": {
            "config": "demo_preference",
            "set": {**DEMO, "data.train.path": f"{BEFORE}/pairs/train.jsonl", "data.train.languages": ["zh"]},
        },
        "seeds": [0, 1],
    }  # fmt: skip


@pytest.mark.slow
def test_pairs_are_made_once_and_cells_train_on_them(tmp_path: Path) -> None:
    small.write(tmp_path, config())
    status, said = small.finish(small.start(tmp_path, "dry_run=true"))
    assert status == 0, said
    assert "2 cells, until pairs is prepared" in " ".join(said.split())
    assert not (tmp_path / "studies").exists()
    made = tmp_path / "studies/small/before"
    # Answers that somebody has drawn first, as on many GPUs, are found there.
    by_hand = ["config=prepare_demo", "source.count=6", "source.languages=[zh]", "samples=3", "temperature=1.5"]
    by_hand += ["max_new_tokens=64", f"folder={made / 'answers'}"]
    assert alignlab.prepare.main(["responses", *by_hand]) == 0
    drawn = (made / "answers/responses.jsonl").stat().st_mtime_ns
    status, said = small.finish(small.start(tmp_path))
    assert status == 0, said
    assert (made / "answers/responses.jsonl").stat().st_mtime_ns == drawn
    pairs = [json.loads(line) for line in (made / "pairs/train.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {pair["language"] for pair in pairs} == {"zh"}
    times = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    status, said = small.finish(small.start(tmp_path, "seeds=[0,1,2]"))
    assert status == 0, said
    assert "answers begins" not in said
    assert {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()} == times
    status, said = small.finish(small.start(tmp_path, "seeds=[0,1,2]", "before.answers.set.samples=4"))
    assert status == 2
    assert "before.answers: it was prepared with other settings" in " ".join(said.split())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"before": {"answers": {"prepare": "respones"}}}, "Did you mean 'responses'"),
        ({"before": {"answers": {"prepare": "responses", "set": {"sampels": 3}}}}, "Did you mean 'samples'"),
        ({"before": {"answers": {"prepare": "responses", "set": {"folder": "x"}}}}, "which a study sets itself"),
        ({"before": {"../x": {"prepare": "responses"}}}, "it is called '../x'"),
        ({"before": {"answers": {"prepare": "preferences"}}}, "responses"),
    ],
)
def test_what_cannot_be_prepared_is_refused(
    tmp_path: Path,
    changed: dict[str, object],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    small.write(tmp_path, config() | changed)
    monkeypatch.chdir(tmp_path)
    assert main(["config=small.yaml", "dry_run=true"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("before.answers.set.model.source", "nowhere", "before.answers.set.model.source: nowhere"),
        ("before.pairs.set.rule", {"name": "translation_reward", "model": {"source": "nowhere"}},
         "before.pairs.set.rule.model.source: nowhere"),
        ("before.answers.set.languages", ["th"], "before.answers: languages: the source has none in th"),
        ("cell.set.model.source", "nowhere", "cell seed0: model.source: nowhere"),
        ("cell.set.probe.source.languages", ["xx"], "xx"),
        ("cell.set.trainer.strategy", "dp5", "dp5"),
        ("cell.set.method.lora.targets", ["q_porj"], "q_porj"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_before_hours_of_preparation(
    key: str,
    value: object,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Though no cell can be planned as long as its data are not there."""
    changed: Any = config()
    section, _, name = key.partition(".set.")
    owner = reduce(getitem, section.split("."), changed)
    owner.setdefault("set", {})[name] = value
    small.write(tmp_path, changed)
    monkeypatch.chdir(tmp_path)
    assert main(["config=small.yaml"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert "before/pairs" not in told  # which is not there yet, and is no mistake
    assert not (tmp_path / "studies/small/before").exists()  # nothing has begun
    assert [path.name for path in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.slow
def test_what_fails_is_told_and_no_cell_begins(tmp_path: Path, model_folder: Path) -> None:
    changed: Any = config()
    damaged = shutil.copytree(model_folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"no weights at all")
    changed["before"]["answers"]["set"]["model.source"] = str(damaged)
    small.write(tmp_path, changed)
    status, said = small.finish(small.start(tmp_path))
    assert status == 2
    assert "before.answers" in said
    assert "damaged" in said
    assert not (tmp_path / "studies/small/cells").exists()
