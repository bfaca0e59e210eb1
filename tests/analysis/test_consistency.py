"""Rows of consistency, against loops over pairs of answers."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import torch

from alignlab.analysis.consistency import SAME, SAME_RIGHT, SAME_WRONG, consistency_rows
from alignlab.recording.effects import BASELINE, Effects, Item

random = np.random.default_rng(0)
CODES = ("en", "de", "zh")


def test_pairs_and_all_together_against_loops() -> None:
    """Forty problems, of which the last five are in two languages only; a tenth of the answers has no number."""
    keys = [(code, str(number)) for code in CODES for number in range(40 if code != "zh" else 35)]
    expected = {str(number): number % 4 for number in range(40)}
    numbers = {key: None if random.random() < 0.1 else Fraction(int(random.integers(0, 4))) for key in keys}
    items = tuple(Item(name, code, f"c{int(name) // 3}", str(expected[name])) for code, name in keys)
    right = torch.tensor([[numbers[item.language, item.id] == expected[item.id]] for item in items])
    record = Effects(
        items, (BASELINE,), CODES, right, torch.zeros(len(items), 1, dtype=torch.int16),
        torch.ones(len(items), 1, dtype=torch.int32), right, clusters="templates", task="sums",
    )  # fmt: skip
    rows = consistency_rows(record, numbers, label="a")
    found = {(row.language, row.other, row.measure): row for row in rows}
    for one, two in combinations(CODES, 2):
        shared = [name for name in expected if (one, name) in numbers and (two, name) in numbers]
        pairs = [(numbers[one, name], numbers[two, name], expected[name]) for name in shared]
        same = [(a, gold) for a, b, gold in pairs if a is not None and a == b]
        row = found[one, two, SAME]
        assert row.value == pytest.approx(len(same) / len(shared))
        assert row.denominator == len(shared)
        assert row.low is not None
        assert row.high is not None
        assert row.low < row.value < row.high
        chance = np.mean([a is not None and a == b for a, _, _ in pairs for _, b, _ in pairs])
        assert row.reference == pytest.approx(chance)
        hits = sum(a == gold for a, gold in same)
        assert found[one, two, SAME_RIGHT].value == pytest.approx(hits / len(shared))
        assert found[one, two, SAME_WRONG].value == pytest.approx((len(same) - hits) / len(shared))
    everywhere = [name for name in expected if all((code, name) in numbers for code in CODES)]
    alike = [
        len({numbers[code, name] for code in CODES}) == 1 and numbers["en", name] is not None for name in everywhere
    ]
    row = found["", "", "same answer in all"]
    assert (row.value, row.denominator) == (pytest.approx(np.mean(alike)), 35)


def test_a_single_language_has_none() -> None:
    right = torch.tensor([[True]])
    record = Effects((Item("0", "en", "0", "1"),), (BASELINE,), ("en",), right, torch.zeros(1, 1, dtype=torch.int16),
                     torch.ones(1, 1, dtype=torch.int32), right)  # fmt: skip
    assert consistency_rows(record, {("en", "0"): Fraction(1)}, label="a") == []
