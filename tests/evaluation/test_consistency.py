"""Consistency of answers between languages against loops over pairs, and of answers without relation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from alignlab.errors import InputError
from alignlab.evaluation import consistency as module
from alignlab.evaluation.consistency import consistency, consistency_matrix, same_in_all

F = Fraction
EXPECTED = [F(1), F(2), F(3), F(4), F(5), F(6)]
ENGLISH = [F(1), F(2), F(9), None, F(5), F(7)]
GERMAN = [F(1), F(3), F(9), None, F("5.0005"), None]
NAMES = list("aabbcd")


def test_a_case_by_hand() -> None:
    found = consistency(ENGLISH, GERMAN, EXPECTED, NAMES)
    assert (found.same.value, found.same.documents, found.same.clusters) == (3 / 6, 6, 4)
    assert (found.same_and_right.value, found.same_and_wrong.value) == (2 / 6, 1 / 6)
    assert found.no_number.value == 2 / 6
    # English 1 2 9 5 7, German 1 3 9 5.0005: of 36 pairs of problems 1-1, 9-9 and 5-5.0005 are the same.
    assert found.chance == 3 / 36
    assert found.kappa == pytest.approx((1 / 2 - 1 / 12) / (11 / 12))


@pytest.mark.parametrize("seed", range(3))
def test_against_a_loop(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 7)
    random = np.random.default_rng(seed)
    one, two, goal = ([F(int(k), 4) if k else None for k in random.integers(0, 6, 40)] for _ in range(3))
    expected = [number or F(1) for number in goal]

    def same(a: Fraction | None, b: Fraction | None) -> bool:
        return a is not None and a == b

    found = consistency(one, two, expected, [str(i) for i in range(40)])
    assert found.same.value == sum(map(same, one, two)) / 40
    assert found.chance == sum(same(a, b) for a in one for b in two) / 1600
    right = [same(a, b) and same(a, e) for a, b, e in zip(one, two, expected, strict=True)]
    assert found.same_and_right.value == sum(right) / 40
    assert found.same_and_right.value + found.same_and_wrong.value == pytest.approx(found.same.value)


def test_answers_without_relation_are_the_same_by_chance() -> None:
    """Of 4,000 problems in their own clusters; four standard errors."""
    random = np.random.default_rng(0)
    one, two = ([F(int(k)) for k in random.choice(4, 4000, p=[0.4, 0.3, 0.2, 0.1])] for _ in range(2))
    found = consistency(one, two, one, [str(i) for i in range(4000)])
    assert found.chance == pytest.approx(0.3, abs=0.02)
    assert abs(found.same.value - found.chance) < 4 * math.sqrt(0.3 * 0.7 / 4000)


def test_several_languages() -> None:
    answers = {"en": ENGLISH, "de": GERMAN, "sw": EXPECTED}
    table = consistency_matrix(answers, EXPECTED, NAMES)
    assert list(table) == [("en", "de"), ("en", "sw"), ("de", "sw")]
    assert table["en", "sw"].same.value == 3 / 6
    assert same_in_all(answers, NAMES).value == 2 / 6


def test_numbers_of_a_thousand_digits_and_one_number_only() -> None:
    huge, other = F(10) ** 900, F(10) ** 900 + 1
    found = consistency([huge, huge], [huge, other], [huge, huge], ["a", "b"])
    assert found.same.value == 1 / 2
    same = consistency([F(1), F(1)], [F(1), F(1)], [F(1), F(1)], ["a", "b"])
    assert (same.same.value, same.chance) == (1, 1)
    assert math.isnan(same.kappa)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(InputError, match="second: 1 answers; expected 2"):
        consistency([None, None], [None], [F(1), F(1)], ["a", "b"])
    with pytest.raises(InputError, match="clusters: none"):
        consistency([], [], [], [])
    with pytest.raises(InputError, match="1 languages; expected two or more"):
        same_in_all({"en": [None]}, ["a"])
