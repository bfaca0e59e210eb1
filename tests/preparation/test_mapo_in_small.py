"""MAPO in small, from end to end: question translation, answers, rewards by a translation model, DPO on the pairs."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path

import pytest

import alignlab.prepare
import alignlab.train

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny_translators import make_nllb

SMALL = [
    "trainer.max_steps=3", "tracker.every_n_steps=3", "probe.source.count=8", "probe.max_texts=8",
    "probe.source.languages=[en,zh,de,sw]", "data.examples_per_step=4", "wandb.mode=disabled",
    "evaluation.source.count=2", "evaluation.source.languages=[en,zh]", "evaluation.max_new_tokens=8",
]  # fmt: skip


@pytest.mark.slow
def test_from_translated_questions_to_preferences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_nllb(Path("nllb"))
    first = ["config=demo_translation", "run.folder=translated", "method.trainable=full", "method.optimizer.lr=1e-5"]
    assert alignlab.train.main([*first, "data.train.count=12", *SMALL]) == 0
    model = "model.source=translated/checkpoints/step-000003"
    asked = ["config=prepare_demo", model, "source.languages=[zh,de,en]", "source.count=6", "temperature=1.5"]
    assert alignlab.prepare.main(["responses", *asked, "max_new_tokens=64"]) == 0
    rule = ["rule.name=translation_reward", "rule.model.source=nllb", "rule.max_tokens=128", "dev_every=3"]
    capsys.readouterr()
    assert alignlab.prepare.main(["preferences", "responses=prepared/demo", *rule]) == 0
    assert "\nRewards\n" in capsys.readouterr().out
    parts = {
        part: list(map(json.loads, Path(f"prepared/demo/preferences/{part}.jsonl").read_text("utf-8").splitlines()))
        for part in ("train", "dev")
    }
    assert {row["language"] for row in parts["train"]} == {"zh", "de"}
    for row in parts["train"] + parts["dev"]:
        assert row["chosen_reward"] > row["rejected_reward"] > 0
        assert row["chosen"] != row["rejected"]
    assert not {row["question"] for row in parts["train"]} & {row["question"] for row in parts["dev"]}
    assert alignlab.train.main(["config=demo_preference", "run.folder=aligned", model, *SMALL]) == 0
    with Path("aligned/metrics.csv").open(encoding="utf-8", newline="") as file:
        losses = [float(row["value"]) for row in csv.DictReader(file) if row["key"] == "train/loss"]
    assert len(losses) == 3
    assert losses[0] == pytest.approx(math.log(2), rel=1e-5)  # the model is still its own reference
    assert Path("aligned/finished.json").is_file()
