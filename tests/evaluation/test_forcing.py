"""Language forcing against counts by hand and the tested intervals of shares."""

from __future__ import annotations

import numpy as np
import pytest

from alignlab.errors import InputError
from alignlab.evaluation.accuracy import accuracy, accuracy_change
from alignlab.evaluation.forcing import change_of_forcing, language_forcing

NAMES = [f"c{i // 2}" for i in range(10)]
ANSWERS = [0, 1, 1, -1, 2, 1, 1, -1, 0, 1]


def test_answers_without_a_language_count_apart() -> None:
    found = language_forcing(ANSWERS, 1, NAMES)
    assert (found.in_target.value, found.in_another.value, found.abstained.value) == (0.5, 0.3, 0.2)
    assert found.among_told is not None
    assert (found.among_told.value, found.among_told.documents, found.among_told.clusters) == (5 / 8, 8, 5)
    assert found.in_target == accuracy([one == 1 for one in ANSWERS], NAMES)


def test_a_target_of_each_answer_and_the_change() -> None:
    target = [0, 0, 1, 1, 2, 2, 1, 1, 0, 0]
    assert language_forcing(ANSWERS, target, NAMES).in_target.value == 0.5
    after = np.array([0, 0, 1, 1, 2, 2, 1, -1, -1, 1])
    hits = [[a == t for a, t in zip(answers, target, strict=True)] for answers in (ANSWERS, after)]
    assert change_of_forcing(ANSWERS, after, target, NAMES) == accuracy_change(*hits, NAMES)
    assert change_of_forcing(ANSWERS, after, target, NAMES).value == pytest.approx(0.2)


def test_where_no_language_can_be_told() -> None:
    found = language_forcing([-1, -1], 0, ["a", "b"])
    assert (found.in_target.value, found.abstained.value, found.among_told) == (0, 1, None)


def test_what_is_wrong_is_told() -> None:
    with pytest.raises(InputError, match=r"languages of shape \(3,\), targets of \(\); expected \(2,\)"):
        language_forcing([0, 1, 1], 1, ["a", "b"])
    # -1 would be every answer whose language cannot be told.
    with pytest.raises(InputError, match="target: -1; expected the place of a language"):
        language_forcing([0, 1], -1, ["a", "b"])
