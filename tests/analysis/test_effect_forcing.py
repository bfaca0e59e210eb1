"""Language forcing: its cells against loops over answers, its families against scipy's, and studies of nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control

from alignlab.analysis.effect_forcing import FORCED, forcing_rows
from alignlab.neurons.table import Row

from .arm_records import LANGUAGES, SETS, Record, answers, arms, items

OVER = f"{FORCED} over control"


def turned(seed: int, draws: int = 4, forced: float = 0.0) -> Record:
    """Answers of which each arm turns a share of its own, drawn alike for sets and controls, to the set's language.

    forced: what sets turn beyond such a draw.
    """
    random = np.random.default_rng(seed)
    labels, problems = arms(draws), items(clusters=20)
    asked = np.array([LANGUAGES.index(item.language) for item in problems])
    clusters = {name: random.normal(0, 0.1) for name in sorted({item.cluster for item in problems})}
    prone = np.array([clusters[item.cluster] for item in problems])
    # One answer in five is in the next language, whatever is done.
    base = np.where(random.random(len(problems)) < 0.2, (asked + 1) % len(LANGUAGES), asked)
    output = np.repeat(base[:, None], len(labels), axis=1)
    for place, label in enumerate(labels[1:], start=1):
        share = random.uniform(0, 0.2) + (0.0 if label.control else forced)
        output[random.random(len(problems)) < share + prone, place] = LANGUAGES.index(label.set)
    nothing = torch.zeros(output.shape, dtype=torch.bool)
    return Record(problems, labels, LANGUAGES, right=nothing, output_language=torch.from_numpy(output.astype(np.int16)))


def over_matched(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row.measure == OVER and row.control == "matched"]


def test_each_cell_is_that_of_a_loop_over_answers() -> None:
    record = answers(0, arms())
    assert record.output_language is not None
    rows = forcing_rows(record, SETS)
    names = [label.name for label in record.labels]

    def share(name: str, language: str, arm: str) -> float:
        of = [i for i, item in enumerate(record.items) if item.language == language]
        there = [int(record.output_language[i, names.index(arm)]) == LANGUAGES.index(name) for i in of]  # type: ignore[index]
        return sum(there) / len(there)

    for row in over_matched(rows):
        off = share(row.set, row.other, f"zero None {row.set}")
        controls = [share(row.set, row.other, f"zero None {row.set} matched {seed}") for seed in range(4)]
        assert row.value == pytest.approx(off - np.mean(controls))
    assert {(row.set, row.other) for row in over_matched(rows)} == {(a, b) for a in LANGUAGES for b in LANGUAGES}


def test_the_cells_of_all_sets_are_two_families() -> None:
    rows = over_matched(forcing_rows(turned(0, forced=0.8), SETS))
    own, others = ([row for row in rows if (row.set == row.other) == is_own] for is_own in (True, False))
    assert [len({row.family for row in rows}) for rows in (own, others)] == [1, 1]
    assert [{row.correction for row in rows} for rows in (own, others)] == [{"holm"}, {"fdr"}]
    by_scipy = false_discovery_control([row.p for row in others])
    assert [row.p_adjusted for row in others] == pytest.approx(by_scipy.tolist())
    # Holm by its definition: the k-th smallest of n times n - k + 1, no less than those before it, and at most 1.
    worst, holm = 0.0, {}
    for k, row in enumerate(sorted(own, key=lambda row: row.p or 0.0)):
        worst = max(worst, min(1.0, (len(own) - k) * (row.p or 0.0)))
        holm[row.set] = worst
    assert {row.set: row.p_adjusted for row in own} == pytest.approx(holm)
    # Answers to questions in other languages turn; most of those in the set's own are in it already.
    assert all(row.beyond_control for row in others)


def test_sets_of_languages_that_are_not_told_apart_have_no_rows() -> None:
    record = replace(answers(0, arms()), languages=("en", "de", "xx"))
    assert {row.set for row in forcing_rows(record, SETS)} == {"en", "de"}
    assert forcing_rows(replace(record, output_language=None), SETS) == []


@pytest.mark.slow
def test_studies_of_nothing_have_verdicts_in_few() -> None:
    """Sets are one more draw of their controls: in at most 67 of 1,000 any cell is beyond, here in as few of 300."""
    primary = other = 0
    for seed in range(300):
        rows = over_matched(forcing_rows(turned(seed, draws=5), SETS))
        primary += any(row.beyond_control for row in rows if row.set == row.other)
        other += any(row.beyond_control for row in rows if row.set != row.other)
    # The 99.9 % quantile of a binomial of 300 at .05 is 28.
    assert primary <= 28
    assert other <= 28
