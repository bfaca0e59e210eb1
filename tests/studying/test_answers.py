"""Cells compared problem by problem: what clusters move a share by, against loops, and intervals of the differences."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from alignlab.neurons.table import Row
from alignlab.recording.effects import BASELINE, Effects, Item
from alignlab.studying.answers import moved_answers
from alignlab.studying.folder import StudyFolder
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.results import _answers
from alignlab.studying.same_languages import Roles
from alignlab.studying.summary import collected, summarise
from alignlab.studying.table import CAPABILITY, Number

LANGUAGES = ("en", "zh", "sw")
PER, CLUSTERS = 24, 6
MEMBERS = {"trained": ("zh",), "unseen": ("sw",), "reference": ("en",), "all languages": LANGUAGES}


def effects(step: int, share: float, seed: int, first: str = "0") -> Effects:
    random = np.random.default_rng(seed)
    items = tuple(
        Item(f"{number}" if number else first, code, f"c{number % CLUSTERS}", "1")
        for code in LANGUAGES
        for number in range(PER)
    )
    given: dict[str, Any] = {
        "items": items,
        "labels": (BASELINE,),
        "languages": LANGUAGES,
        "right": torch.from_numpy(random.random((len(items), 1)) < share),
        "output_language": torch.from_numpy(random.integers(-1, 3, (len(items), 1))).to(torch.int16),
        "tokens": torch.ones((len(items), 1), dtype=torch.int32),
        "ended": torch.ones((len(items), 1), dtype=torch.bool),
    }
    return Effects(**given, task="sums", step=step, trained_languages=("zh",), reference="en")


def save(run: Path, *records: Effects) -> Path:
    (run / "evaluation").mkdir(parents=True)
    for record in records:
        record.save(run / f"evaluation/step-{record.step:06d}.safetensors")
    return run


def rights(record: Effects, group: str) -> dict[str, list[float]]:
    """By cluster, whether answers of a group are right."""
    found: dict[str, list[float]] = {}
    for place, item in enumerate(record.items):
        if item.language in MEMBERS[group]:
            found.setdefault(item.cluster, []).append(float(record.right[place, 0]))
    return found


@pytest.mark.parametrize("group", list(MEMBERS))
def test_what_a_cluster_moves_is_its_distance_from_the_mean(tmp_path: Path, group: str) -> None:
    records = [effects(0, 0.3, 1), effects(10, 0.5, 2), effects(20, 0.7, 3)]
    moved = moved_answers(save(tmp_path / "run", *records))
    assert list(moved) == [0, 20]
    for record, step in ((records[0], 0), (records[2], 20)):
        by_cluster = rights(record, group)
        every = [value for some in by_cluster.values() for value in some]
        mean = sum(every) / len(every)
        by_hand = [sum(value - mean for value in by_cluster[name]) / len(every) for name in sorted(by_cluster)]
        assert moved[step][group, "", "right"].by == pytest.approx(by_hand)
    assert moved_answers(tmp_path / "no run") == {}


def numbers(record: Effects, before: Effects) -> list[Number]:
    """The rows of a run's evaluations, as far as they are needed."""
    found = []
    for group in MEMBERS:
        for one in (before, record):
            every = [value for some in rights(one, group).values() for value in some]
            row = Row(analysis="capability", step=one.step, group=group, measure="right", unit="share",
                      value=sum(every) / len(every))  # fmt: skip
            found.append(Number.of(row, CAPABILITY))
    return found


def test_arms_are_compared_problem_by_problem_over_seeds_and_documents(tmp_path: Path) -> None:
    cells = [Cell(f"{arm}+seed{seed}", (arm,), seed, ()) for arm in ("base", "more") for seed in range(4)]
    first = effects(0, 0.3, 0)
    last = {cell.name: effects(20, 0.5 if cell.levels == ("base",) else 0.6, 10 + place) for place, cell in enumerate(cells)}  # fmt: skip  # noqa: E501
    runs = {name: save(tmp_path / name, first, record) for name, record in last.items()}
    said = collected(
        ((cell, numbers(last[cell.name], first)) for cell in cells), lambda cell: moved_answers(runs[cell.name])
    )
    found = summarise(Grid(("arm",), tuple(cells), 0), said, {"arm": "base"})
    (row,) = [one for one in found if one.what == "difference" and one.question.group == "unseen"]
    assert row.over is not None
    # A table of seeds and clusters, all clusters of one size: the difference of shares, and its mean squares.
    table = np.array(
        [
            [
                np.mean(rights(last[f"more+seed{seed}"], "unseen")[name])
                - np.mean(rights(last[f"base+seed{seed}"], "unseen")[name])
                for name in sorted(rights(first, "unseen"))
            ]
            for seed in range(4)
        ]
    )
    means, clusters = table.mean(axis=1), table.mean(axis=0)
    rest = ((table - means[:, None] - clusters + table.mean()) ** 2).sum() / (3 * (CLUSTERS - 1)) / (4 * CLUSTERS)
    of_seeds, of_documents = means.var(ddof=1) / 4, clusters.var(ddof=1) / CLUSTERS
    half = stats.t.ppf(0.975, [3, CLUSTERS - 1]) ** 2 @ [of_seeds, max(of_documents - rest, 0)]
    assert row.over.value == pytest.approx(table.mean())
    assert row.over.over_both.high - row.over.value == pytest.approx(half**0.5)
    assert row.over.clusters == CLUSTERS


def test_answers_to_other_problems_are_not_paired(tmp_path: Path) -> None:
    one = moved_answers(save(tmp_path / "one", effects(5, 0.5, 1)))[5]["unseen", "", "right"]
    other = moved_answers(save(tmp_path / "other", effects(5, 0.5, 1, first="another")))[5]["unseen", "", "right"]
    assert one.less(one) is not None
    assert one.less(other) is None
    assert one.less(None) is None


def test_a_group_is_compared_with_the_same_languages_of_the_baseline(tmp_path: Path) -> None:
    """Unseen are zh and sw under the placebo, and sw alone where zh is trained: the difference is that of sw."""
    cells = [Cell(f"{arm}+seed{seed}", (arm,), seed, ()) for arm in ("placebo", "zh") for seed in range(3)]
    last = {cell.name: effects(20, 0.5, 20 + place) for place, cell in enumerate(cells)}
    runs = {name: save(tmp_path / name, record) for name, record in last.items()}
    groups = {("placebo",): {"unseen": ("zh", "sw"), "reference": ("en",)},
              ("zh",): {"trained": ("zh",), "unseen": ("sw",), "reference": ("en",)}}  # fmt: skip

    def told(cell: Cell) -> list[Number]:
        def share(languages: tuple[str, ...]) -> float:
            record = last[cell.name]
            right = [
                float(record.right[place, 0]) for place, item in enumerate(record.items) if item.language in languages
            ]
            return sum(right) / len(right)

        asked = [("language", code, (code,)) for code in LANGUAGES]
        asked += [(group, "", members) for group, members in groups[cell.levels].items()]
        return [
            Number.of(Row(analysis="capability", step=20, group=group, language=language, measure="right", unit="share",
                          value=share(members)), CAPABILITY)
            for group, language, members in asked
        ]  # fmt: skip

    roles = {("placebo",): Roles(("en",), "en"), ("zh",): Roles(("zh",), "en")}
    said = collected(((cell, told(cell)) for cell in cells), lambda cell: moved_answers(runs[cell.name]))
    found = summarise(Grid(("arm",), tuple(cells), 0), said, {"arm": "placebo"}, roles)
    rows = {one.question.group: one for one in found if one.what == "difference" and not one.question.language}
    for group, code in (("unseen", "sw"), ("trained", "zh")):
        by_hand = [
            np.mean([float(last[f"{arm}+seed{seed}"].right[place, 0]) for place, item in
                     enumerate(last[f"{arm}+seed{seed}"].items) if item.language == code])
            for arm in ("zh", "placebo") for seed in range(3)
        ]  # fmt: skip
        over = rows[group].over
        assert over is not None
        assert over.value == pytest.approx(np.mean(by_hand[:3]) - np.mean(by_hand[3:]))
        assert over.clusters == CLUSTERS  # paired problem by problem


def test_a_damaged_record_is_told_of_and_answers_are_then_not_compared_problem_by_problem(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study: Any = SimpleNamespace(folder=StudyFolder(tmp_path))
    record = tmp_path / "cells/zh+seed0/run/evaluation/step-000000.safetensors"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"no record")
    assert _answers(study, Cell("zh+seed0", ("zh",), 0)) == {}
    said = " ".join(capsys.readouterr().err.split())
    assert "zh+seed0: its answers are not compared problem by problem" in said
    assert record.name in said.replace(" ", "")
