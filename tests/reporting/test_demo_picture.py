"""The README's picture: its points are those of the run's records, its lines the groups and kinds that it names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import alignlab
import alignlab.train

from ..scripts_as_modules import SCRIPTS, script_as_module

SMALL = [
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "probe.source.languages=[en,zh,sw]", "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled",
    "evaluation.source.count=6", "evaluation.source.languages=[en,zh,sw]", "evaluation.max_new_tokens=40",
]  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> alignlab.StoredRun:
    monkeypatch.chdir(tmp_path)
    assert alignlab.train.main(SMALL) == 0
    return alignlab.load_run("runs/demo")


def test_its_points_are_those_of_the_records(run: alignlab.StoredRun) -> None:
    script = script_as_module(SCRIPTS / "studies/demo_picture.py")
    drawn = {line["name"]: line for line in script.picture(run)["data"]}
    languages = {"zh, de (trained)": "zh", "en": "en", "7 unseen languages": "sw"}
    assert len(drawn) == len(languages) + len(script.KINDS)
    for name, code in languages.items():
        for step, y in zip(drawn[name]["x"], drawn[name]["y"], strict=True):
            effects = run.effects(step)
            right = [bool(hit) for item, hit in zip(effects.items, effects.right, strict=True) if item.language == code]
            assert y == pytest.approx(np.mean(right))
        assert drawn[name]["x"] == [0, 2, 4]
    named = {name.split("<b>")[1].removesuffix("</b>"): line for name, line in drawn.items() if "<b>" in name}
    for place, step in enumerate(run.steps):
        found = run.classification(step)
        degree, selected = found.degree, found.selected
        counted = {
            "specific": selected & (degree == 1),
            "related": selected & (degree == 2),
            "general": degree == 3,
            "unassigned": selected & (degree == 0),
        }
        assert {kind: line["y"][place] for kind, line in named.items()} == {
            kind: int(neurons.sum()) for kind, neurons in counted.items()
        }
