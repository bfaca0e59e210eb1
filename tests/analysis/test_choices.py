"""Choices as rows: chance by the number of options, missing options, and models whose numbers are not finite."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import t

from alignlab.analysis.capability import capability_rows
from alignlab.analysis.choices import BY_BYTE, BY_CHARACTER, BY_TOKEN, CHOICES, by_byte
from alignlab.recording.effects import BASELINE, Effects, Item

NAN = math.nan


def effects(nats: list[list[float]]) -> Effects:
    """Four questions, the last two with three options."""
    items = tuple(Item(str(i), "en" if i < 2 else "zh", str(i), str(gold)) for i, gold in enumerate((0, 1, 2, 2)))
    tokens = torch.tensor([[1, 2, 0], [2, 1, 0], [1, 1, 4], [1, 1, 1]])
    return Effects(
        items, (BASELINE,), option_nats=torch.tensor(nats, dtype=torch.float64).unsqueeze(1), option_tokens=tokens,
        option_characters=tokens * 3, task="q",
    )  # fmt: skip


def test_shares_and_chance() -> None:
    record = effects([[3, 4, NAN], [5, 4, NAN], [2, 3, 4], [1, 1, 1]])
    rows = capability_rows(record, label="a", measures=CHOICES, analysis="multiple choice")
    of = {(row.measure, row.language or row.group): row for row in rows}
    # By the sum: right, right, wrong, the first of three; divided by the length: wrong (3 over 4 / 2), wrong, right.
    assert of["right", "en"].value == 1
    assert of["right", "zh"].value == 0
    assert of[BY_TOKEN, "en"].value == of[BY_CHARACTER, "en"].value == 0.5 * (0 + (4 / 1 < 5 / 2))
    assert of[BY_TOKEN, "zh"].value == 0.5
    assert of["tied", "zh"].value == 0.5
    assert of["right", "en"].reference == 1 / 2
    assert of["right", "zh"].reference == pytest.approx(1 / 3)
    assert of["right", "all languages"].reference == pytest.approx((1 / 2 + 1 / 2 + 1 / 3 + 1 / 3) / 4)
    assert of["tied", "zh"].reference is None


def test_a_share_is_tested_against_chance_and_by_bytes() -> None:
    golds = [0] * 12
    items = tuple(Item(str(i), "en", str(i), "0") for i in range(len(golds)))
    # The right option is the likelier one 11 times by its sum; it has 4 bytes a character, the other 1.
    nats = [[2.0, 3.0]] * 11 + [[3.0, 2.0]]
    tokens = torch.ones((12, 2), dtype=torch.int64)
    record = Effects(items, (BASELINE,), option_nats=torch.tensor(nats, dtype=torch.float64).unsqueeze(1),
                     option_tokens=tokens, option_characters=tokens, task="q")  # fmt: skip
    lengths = {("en", str(i)): [1, 4] for i in range(12)}
    measures = {**CHOICES, BY_BYTE: by_byte(lengths)}
    rows = {(row.measure, row.group): row for row in capability_rows(record, label="a", measures=measures)}
    right = rows["right", "language"]
    assert (right.value, right.reference) == (11 / 12, 0.5)
    variance = 12 / 11 * sum((one - 11 / 12) ** 2 for one in [1] * 11 + [0]) / 12**2
    statistic = (11 / 12 - 0.5) / math.sqrt(0.25 / (11 / 12 * 1 / 12 / variance))
    assert right.p == pytest.approx(2 * t.sf(statistic, 11))
    assert right.p_adjusted == right.p  # the only language
    assert right.beyond_noise is True
    assert (rows["tied", "language"].p, rows["tied", "language"].beyond_noise) == (None, None)
    # 2 nats in 1 byte against 3 in 4, and 3 against 2 / 4: never right.
    assert rows[BY_BYTE, "language"].value == 0


@pytest.mark.parametrize("broken", [NAN, math.inf])
def test_an_option_of_which_the_likelihood_is_not_finite_is_no_missing_option(broken: float) -> None:
    good = effects([[3, 4, NAN], [5, 4, NAN], [2, 3, 4], [1, 2, 3]])
    bad = effects([[3, 4, NAN], [5, 4, NAN], [2, broken, 4], [1, 2, 3]])
    rows = capability_rows(bad, good, label="b", since="a", measures=CHOICES, analysis="multiple choice")
    right = {(row.language or row.group, row.is_change): row.status for row in rows if row.measure == "right"}
    assert right["zh", False] == right["zh", True] == right["all languages", False] == "diverged"
    assert right["en", False] != "diverged"
