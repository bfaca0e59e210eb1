"""What is prepared once before the first cell: pairs of preference for trainings by them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

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
    status, said = small.finish(small.start(tmp_path))
    assert status == 0, said
    made = tmp_path / "studies/small/before"
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


@pytest.mark.slow
def test_what_fails_is_told_and_no_cell_begins(tmp_path: Path) -> None:
    changed = config()
    changed["before"]["answers"]["set"]["model.source"] = str(tmp_path / "nowhere")  # type: ignore[index]
    small.write(tmp_path, changed)
    status, said = small.finish(small.start(tmp_path))
    assert status == 2
    assert "before.answers" in said
    assert "nowhere" in said
    assert not (tmp_path / "studies/small/cells").exists()
