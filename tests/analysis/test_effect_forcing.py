"""Language forcing against counts of answers, and against scipy's corrections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control

from alignlab.analysis.effect_forcing import FORCED, forcing_rows
from alignlab.neurons.table import Row

from .arm_records import LANGUAGES, SETS, Record, answers, arms

LABELS = arms()


def forced() -> Record:
    """Answers that the sets of zh and de turn to their language, more or less often; other arms turn a few."""
    record, random = answers(0, LABELS), np.random.default_rng(0)
    assert record.output_language is not None
    told = np.tile([[LANGUAGES.index(item.language)] for item in record.items], len(LABELS))
    for place, arm in enumerate(LABELS[1:], 1):
        share = 0.05 if arm.control else {"zh": 0.6, "de": 0.3, "en": 0.05}[arm.set]
        told[random.random(len(told)) < share, place] = LANGUAGES.index(arm.set)
    return replace(record, output_language=torch.from_numpy(told.astype(np.int16)))


def over_control(rows: list[Row], control: str) -> list[Row]:
    return [row for row in rows if row.measure == f"{FORCED} over control" and row.control == control]


def test_shares_are_of_all_answers_to_questions_in_a_language() -> None:
    record = forced()
    rows = forcing_rows(record, SETS)
    assert record.output_language is not None
    for name in LANGUAGES:
        place = [label.name for label in LABELS].index(f"zero None {name}")
        for language in LANGUAGES:
            of = [i for i, item in enumerate(record.items) if item.language == language]
            share = sum(LANGUAGES[int(record.output_language[i, place])] == name for i in of) / len(of)
            [row] = [row for row in rows if (row.measure, row.set, row.other) == (FORCED, name, language)]
            assert (row.value, row.denominator) == (pytest.approx(share), len(of))


def test_cells_are_corrected_among_those_of_the_matrix() -> None:
    rows = forcing_rows(forced(), SETS)
    for control in ("matched", "random"):
        cells = [row for row in over_control(rows, control) if row.p is not None]
        others = [row for row in cells if row.language != row.other]
        assert len(others) == 6
        expected = false_discovery_control([row.p for row in others])
        assert [row.p_adjusted for row in others] == pytest.approx(expected.tolist())
        assert len({row.family for row in others}) == 1
    assert {row.other for row in over_control(rows, "matched") if row.language == "zh" and row.beyond_control} == {
        "en",
        "de",
    }
    assert all(row.beyond_control is None for row in over_control(rows, "random"))
    changes = [row for row in rows if row.measure == f"change of {FORCED}" and not row.control]
    assert len(changes) == 9
    assert {row.correction for row in changes} == {"holm"}
    ordered = sorted(row.p or 0.0 for row in changes)
    holm = [min(1.0, max((9 - j) * ordered[j] for j in range(i + 1))) for i in range(9)]
    assert sorted(row.p_adjusted or 0.0 for row in changes) == pytest.approx(holm)
