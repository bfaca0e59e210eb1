"""The study scripts: their statistics against scipy's own, and the arms of a small run."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

import alignlab
from alignlab.recording.effects import BASELINE, Effects, Item

from .scripts_as_modules import SCRIPTS, script_as_module


def loaded(name: str) -> Any:
    return script_as_module(SCRIPTS / f"studies/{name}.py")


@pytest.fixture(scope="module")
def study() -> Any:
    return loaded("neuron_training")


def test_differences_are_paired_by_seed_with_scipys_interval(study: Any) -> None:
    random = np.random.default_rng(0)

    def cells(arm: str, seeds: list[int]) -> list[Any]:
        return [study.Cell(arm, seed, 1e-3, 9, None, 1.0, {study.RIGHT: random.random(3)}) for seed in seeds]

    # In another order, and with a seed that the neurons have not.
    by_arm = {"neurons": cells("neurons", [0, 1, 2, 3, 4]), "random": cells("random", [7, 4, 3, 2, 1, 0]), "lora": []}
    by_arm["matched"] = cells("matched", [2])
    table = study.differences_table(by_arm, study.RIGHT).splitlines()
    assert [line.split(" | ")[:2] for line in table[2:]] == [["| matched", "1"], ["| random", "5"]]
    own = np.array([cell.shares[study.RIGHT] for cell in by_arm["neurons"]])
    other = np.array([cell.shares[study.RIGHT] for cell in by_arm["random"][:0:-1]])
    for group, cell in enumerate(table[3].strip(" |").split(" | ")[2:]):
        tested = scipy.stats.ttest_rel(own[:, group], other[:, group])
        interval, paired = tested.confidence_interval(0.95), own[:, group] - other[:, group]
        expected = [paired.mean(), interval.low, interval.high, paired.min(), paired.max()]
        assert [float(number) for number in re.findall(r"[+-][\d.]+", cell)] == pytest.approx(expected, abs=6e-4)


def test_worked_answers_are_compared_on_the_problems_that_the_base_works_out(tmp_path: Path) -> None:
    """Against a loop over the answers; the text of an answer alone says whether it is worked out."""
    recipes, random = loaded("demo_recipes"), np.random.default_rng(4)
    items = [Item(str(number), code, str(number % 5), "7") for code in ("en", "de", "fr") for number in range(30)]
    answers: dict[str, list[tuple[str, bool]]] = {}
    for name in ("base", "answers-0", "answers-1", "answers-2"):
        texts = [random.choice(["#### 7", " #### 5\n", "3 + 4 = 7\n#### 7", "3 + 4 = 9\n#### 9"]) for _ in items]
        answers[name] = [(str(text), text.strip()[-1] == "7") for text in texts]
        right = torch.tensor([[one] for _, one in answers[name]])
        told, tokens = torch.zeros_like(right, dtype=torch.int16), torch.ones_like(right, dtype=torch.int32)
        folder = tmp_path / "seed0" / name
        folder.mkdir(parents=True)
        Effects(tuple(items), (BASELINE,), ("en", "de", "fr"), right, told, tokens, right.clone()).save(
            folder / "effects.safetensors"
        )
        lines = [json.dumps({"text": text}) for text, _ in answers[name]]
        (folder / "answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    lines = recipes.kinds_of_answers(recipes.found(tmp_path)).splitlines()[2:]
    assert len(lines) == 3
    for line, code in zip(lines, ("de", "fr", "en"), strict=True):
        own = [place for place, item in enumerate(items) if item.language == code]
        worked = [place for place in own if "=" in answers["base"][place][0]]
        before, *shares = (sum(said[place][1] for place in worked) / len(worked) for said in answers.values())
        interval = scipy.stats.ttest_1samp(np.array(shares) - before, 0).confidence_interval(0.95)
        expected = [before, np.mean(shares), np.mean(shares) - before, interval.low, interval.high]
        cells = line.strip("| ").split(" | ")
        found = [float(number) for number in re.findall(r"[+-]?\d\.\d+", " ".join([cells[5], *cells[7:]]))]
        assert found == pytest.approx(expected, abs=6e-4)


@pytest.mark.slow
def test_the_arms_train_as_many_numbers_and_the_tables_have_them(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", ["neuron_training.py", *argv])
        study.main()
        return str(capsys.readouterr().out)

    small = ("--steps=2", "--problems=2", "--texts=10", "--out=study")
    run("train", "--neurons-rate=1e-2", "--lora-rate=2e-3", "--seeds=2", *small)
    cells = {path.parent.name: json.loads(path.read_text()) for path in Path("study/test").glob("*/cell.json")}
    assert len(cells) == 8
    trained = {cell["arm"]: cell["trained"] for cell in cells.values()}
    chosen = alignlab.load_run("study/counted").sets(0)
    neurons = int((chosen["zh"] | chosen["de"]).sum())
    assert trained["neurons"] == trained["matched"] == trained["random"] == 3 * 160 * neurons  # the model is 160 wide
    a_rank = 4 * 3 * (160 + 640)  # four layers of three maps between 160 and 640
    assert trained["lora"] % a_rank == 0
    assert abs(trained["lora"] - trained["neurons"]) <= a_rank / 2
    printed = run("tables", "--out=study")
    assert printed.count("| specific and related |") == printed.count("| LoRA, rank") == 2
    times = [path.stat().st_mtime_ns for path in sorted(Path("study").rglob("cell.json"))]
    run("train", "--neurons-rate=1e-2", "--lora-rate=2e-3", "--seeds=2", *small)
    assert [path.stat().st_mtime_ns for path in sorted(Path("study").rglob("cell.json"))] == times
    assert "| LoRA | 0.001 |" in run("rates", "--rates", "1e-3", "--arms", "lora", *small)
