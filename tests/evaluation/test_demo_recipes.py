"""The tables of the study of the demo's recipes, on answers that are made up: each number against a plain count."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy.stats import ttest_1samp

from alignlab.config import load
from alignlab.data.wordproblems import LANGUAGES, generate
from alignlab.evaluation.accuracy import accuracy_change
from alignlab.options import TrainConfig
from alignlab.recording.effects import BASELINE, Effects, Item

from ..scripts_as_modules import SCRIPTS, script_as_module

SEEDS = 4


@pytest.fixture(scope="module")
def study() -> ModuleType:
    return script_as_module(SCRIPTS / "studies/demo_recipes.py")


class Made:
    """Answers of one model: what is written to a folder, and the same as plain lists."""

    def __init__(self, seed: int, likely: float) -> None:
        random = np.random.default_rng(seed)
        self.records = generate(LANGUAGES, 30, "test")
        n = len(self.records)
        self.right = (random.random(n) < likely).tolist()
        self.bare = (random.random(n) < 0.4).tolist()
        self.in_language = (random.random(n) < 0.8).tolist()

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        texts = ["#### 3" if bare else "Anna has 3.\n#### 3" for bare in self.bare]
        (folder / "answers.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
        place = {code: number for number, code in enumerate(LANGUAGES)}
        # Of the other answers every second one is in another language, and of the rest none can be told.
        told = [
            place[record.language] if there else (place[record.language] + 1) % 10 if number % 2 else -1
            for number, (record, there) in enumerate(zip(self.records, self.in_language, strict=True))
        ]
        column = torch.ones((len(told), 1), dtype=torch.int32)
        Effects(
            tuple(Item(record.id, record.language, record.cluster, "3") for record in self.records),
            (BASELINE,),
            LANGUAGES,
            torch.tensor(self.right).unsqueeze(1),
            torch.tensor(told, dtype=torch.int16).unsqueeze(1),
            column,
            column.bool(),
            clusters="templates",
        ).save(folder / "effects.safetensors")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made, list[Made]]:
    folder = tmp_path_factory.mktemp("study")
    before, after = Made(100, 0.3), [Made(seed, 0.6) for seed in range(SEEDS)]
    before.write(folder / "demo/base")
    for seed, one in enumerate(after):
        one.write(folder / f"demo/answers-{seed}")
    return folder, before, after


def cells(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.split("\n") if line[:1] == "|"][2:]


@pytest.mark.parametrize("new", [None, False, True])
@pytest.mark.parametrize("measure", ["right", "right in language"])
def test_changes_are_those_of_a_plain_count(
    study: ModuleType, runs: tuple[Path, Made, list[Made]], measure: str, new: bool | None
) -> None:
    folder, before, after = runs
    left_out = set(load(TrainConfig, ["config=demo"])[0].data.train.without_templates)
    taken = {"trained (zh, de)": ("zh", "de"), "English": ("en",), "unseen": ("fr", "es", "ru", "ja", "sw", "th", "bn")}

    def hits(one: Made, chosen: list[int]) -> list[bool]:
        both = measure != "right"
        return [one.right[number] and (one.in_language[number] or not both) for number in chosen]

    rows = cells(study.changes(study.found(folder), measure, new))
    assert [row[3] for row in rows] == ["trained (zh, de)", "unseen", "English"]
    for _, recipe, seeds, group, problems, first, last, change, lowest in rows:
        chosen = [
            number
            for number, record in enumerate(before.records)
            if record.language in taken[group] and new in (None, record.cluster in left_out)
        ]
        shares = [mean(hits(one, chosen)) for one in after]
        moved = [share - mean(hits(before, chosen)) for share in shares]
        low, high = ttest_1samp(moved, 0).confidence_interval()
        clusters = [before.records[number].cluster for number in chosen]
        lows = [accuracy_change(hits(before, chosen), hits(one, chosen), clusters).low for one in after]
        assert (recipe, seeds, problems) == ("answers", str(SEEDS), str(len(chosen)))
        assert (float(first), float(last)) == (
            pytest.approx(mean(hits(before, chosen)), abs=6e-4),
            pytest.approx(mean(shares), abs=6e-4),
        )
        assert change == f"{mean(moved):+.3f} [{low:+.3f}, {high:+.3f}]"
        assert lowest == f"{min(lows):+.3f}"


def test_bare_answers_and_what_is_right_of_the_others(study: ModuleType, runs: tuple[Path, Made, list[Made]]) -> None:
    folder, before, after = runs
    (*_, english) = cells(study.kinds_of_answers(study.found(folder)))
    chosen = [number for number, record in enumerate(before.records) if record.language == "en"]

    def bare(one: Made) -> float:
        return mean(one.bare[number] for number in chosen)

    def worked(one: Made) -> float:
        return mean(one.right[number] for number in chosen if not one.bare[number])

    expected = [bare(before), mean(map(bare, after)), worked(before), mean(map(worked, after))]
    assert english[:3] == ["demo", "answers", "English"]
    assert list(map(float, english[3:7])) == pytest.approx(expected, abs=6e-4)  # the others: tests/test_studies.py


def test_accuracy_by_language(study: ModuleType, runs: tuple[Path, Made, list[Made]]) -> None:
    folder, before, after = runs
    base, tuned = cells(study.by_language(study.found(folder)))
    for place, code in enumerate(LANGUAGES):
        chosen = [number for number, record in enumerate(before.records) if record.language == code]
        for row, models in ((base, [before]), (tuned, after)):
            share = mean(mean(one.right[number] for number in chosen) for one in models)
            assert float(row[3 + place]) == pytest.approx(share, abs=6e-4)


def test_recipes_are_shipped_configs_and_leave_out_the_templates_that_are_called_new(study: ModuleType) -> None:
    for name in study.RECIPES.values():
        train = load(TrainConfig, [f"config={name}"])[0].data.train
        sources = [part.source for part in train.parts.values()] if hasattr(train, "parts") else [train]
        for source in sources:
            if name != "demo_preference":
                assert tuple(source.without_templates) == study.NEW_TEMPLATES
