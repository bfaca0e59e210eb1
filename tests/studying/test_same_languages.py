"""Groups whose languages differ between a cell and its baseline, by hand: identical arms do not differ."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from alignlab.neurons.table import Row
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.same_languages import Roles, roles_of
from alignlab.studying.summary import Summary, collected, summarise
from alignlab.studying.table import Number

CELLS = [Cell(f"{arm}+seed{seed}", (arm,), seed, ()) for arm in ("placebo", "zh") for seed in range(3)]
ROLES = {("placebo",): Roles((), "en"), ("zh",): Roles(("zh",), "en")}
NATS = {"en": 0.5, "zh": 4.0, "sw": 1.0, "de": 2.5}
PROBLEMS = {"en": 40, "zh": 10, "sw": 30, "de": 40}
Mean = Callable[[Sequence[str], Mapping[str, float]], float]


def plain(codes: Sequence[str], by_language: Mapping[str, float]) -> float:
    return sum(by_language[code] for code in codes) / len(codes)


def perplexity(codes: Sequence[str], by_language: Mapping[str, float]) -> float:
    return math.exp(sum(math.log(by_language[code]) for code in codes) / len(codes))


def pooled(codes: Sequence[str], by_language: Mapping[str, float]) -> float:
    return sum(PROBLEMS[code] * by_language[code] for code in codes) / sum(PROBLEMS[code] for code in codes)


def differences(
    mean: Mean, by_cell: Mapping[str, Mapping[str, float]], roles: Mapping[tuple[str, ...], Roles] = ROLES
) -> dict[str, Summary]:
    """By group or language the difference of zh from the placebo, of a measure with that mean of groups."""

    def told(cell: Cell) -> list[Number]:
        numbers = by_cell[cell.name]
        trained = ROLES[cell.levels].trained
        groups = {
            "trained": [code for code in numbers if code in trained],
            "reference": ["en"],
            "unseen": [code for code in numbers if code not in (*trained, "en")],
            "all languages": list(numbers),
        }
        asked = [("language", code, [code]) for code in numbers]
        asked += [(group, "", codes) for group, codes in groups.items() if codes]
        return [
            Number.of(Row(analysis="likelihood", step=9, group=group, language=language, measure="m", unit="u",
                          value=mean(codes, numbers)), "texts")
            for group, language, codes in asked
        ]  # fmt: skip

    found = summarise(
        Grid(("arm",), tuple(CELLS), 0), collected((one, told(one)) for one in CELLS), {"arm": "placebo"}, roles
    )
    return {row.question.language or row.question.group: row for row in found if row.what == "difference"}


def value(row: Summary) -> float:
    assert row.over is not None
    return row.over.value


def test_a_mean_is_compared_with_the_mean_of_the_same_languages() -> None:
    random = np.random.default_rng(0)
    by_cell = {cell.name: {code: random.normal(nats) for code, nats in NATS.items()} for cell in CELLS}
    found = differences(plain, by_cell)
    for group, codes in {"trained": ["zh"], "unseen": ["sw", "de"], "all languages": list(NATS)}.items():
        by_hand = [
            sum(by_cell[f"zh+seed{seed}"][code] - by_cell[f"placebo+seed{seed}"][code] for code in codes) / len(codes)
            for seed in range(3)
        ]
        assert value(found[group]) == pytest.approx(np.mean(by_hand))


@pytest.mark.parametrize("mean", [perplexity, pooled])
def test_what_is_no_mean_of_languages_has_no_difference_of_other_languages(mean: Mean) -> None:
    """The same models in both arms: of a perplexity, or of unequal numbers of problems, no difference may be told."""
    by_cell = {cell.name: {code: math.exp(nats) for code, nats in NATS.items()} for cell in CELLS}
    found = differences(mean, by_cell)
    assert "unseen" not in found
    assert {name: value(row) for name, row in found.items()} == pytest.approx(
        dict.fromkeys([*NATS, "trained", "reference", "all languages"], 0)
    )


def test_means_that_are_alike_in_the_cell_alone_do_not_make_one_of_the_baseline() -> None:
    """At the ceiling any mean is 1."""
    by_cell = {
        cell.name: {code: 1.0 if cell.levels == ("zh",) else 1 / nats for code, nats in NATS.items()} for cell in CELLS
    }
    assert "unseen" not in differences(pooled, by_cell)


def test_a_trained_language_that_is_not_asked_changes_nothing() -> None:
    """The task asks no zh: unseen are the same languages on both sides, whatever the mean is."""
    by_cell = {cell.name: {code: math.exp(NATS[code]) for code in ("en", "sw", "de")} for cell in CELLS}
    assert value(differences(perplexity, by_cell)["unseen"]) == 0


def test_of_numbers_of_groups_alone_those_of_other_languages_are_not_compared() -> None:
    rows = [
        Number.of(Row(analysis="likelihood", step=9, group=group, measure="m", unit="u", value=1.0), "texts")
        for group in ("unseen", "all languages")
    ]
    said = collected((one, rows) for one in CELLS)
    found = summarise(Grid(("arm",), tuple(CELLS), 0), said, {"arm": "placebo"}, ROLES)
    assert {row.question.group for row in found if row.what == "difference"} == {"all languages"}


def test_without_a_run_nothing_is_trained_and_without_its_snapshots_nobody_knows(tmp_path: Path) -> None:
    assert roles_of(tmp_path / "run") == Roles()
    assert roles_of(tmp_path) is None
