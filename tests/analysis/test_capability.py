"""Shares that are right, against sums over the items; what is asked together, and what is kept apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from alignlab.analysis.capability import BOTH, IN_LANGUAGE, RIGHT, TOKENS, UNTOLD, capability_rows
from alignlab.errors import InputError
from alignlab.neurons.corrections import adjusted
from alignlab.neurons.table import Row
from alignlab.recording.effects import BASELINE, Effects, Item

LANGUAGES = ("en", "de", "zh", "sw", "th")
PER = 60


def make(step: int, accuracy: float, seed: int, clusters: int = PER, **changes: Any) -> Effects:
    """Parallel problems in five languages, right at random; `clusters` of them."""
    random = np.random.default_rng(seed)
    items = tuple(
        Item(f"{number}", code, f"c{number % clusters}", "1", number % clusters < clusters // 2)
        for code in LANGUAGES
        for number in range(PER)
    )
    count = len(items)
    fields: dict[str, Any] = {
        "items": items,
        "labels": (BASELINE,),
        "languages": LANGUAGES,
        "right": torch.from_numpy(random.random((count, 1)) < accuracy),
        "output_language": torch.from_numpy(random.integers(-1, 5, (count, 1))).to(torch.int16),
        "tokens": torch.ones((count, 1), dtype=torch.int32),
        "ended": torch.ones((count, 1), dtype=torch.bool),
        "task": "sums",
        "step": step,
        "trained_languages": ("de", "zh"),
        "reference": "en",
    }
    return Effects(**{**fields, **changes})


def pick(rows: list[Row], **columns: Any) -> Row:
    (row,) = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    return row


SHARES = (RIGHT, BOTH, IN_LANGUAGE, UNTOLD)
GROUPS = {"trained": ("de", "zh"), "reference": ("en",), "unseen": ("sw", "th"), "all languages": LANGUAGES}


def test_shares_are_counted_over_the_items() -> None:
    effects = make(20, 0.4, seed=1)
    rows = capability_rows(effects)
    outcomes: dict[str, dict[str, list[float]]] = {name: {code: [] for code in LANGUAGES} for name in SHARES}
    for place, item in enumerate(effects.items):
        right, told = bool(effects.right[place, 0]), int(effects.output_language[place, 0])
        said = None if told < 0 else LANGUAGES[told]
        outcomes[RIGHT][item.language].append(right)
        outcomes[BOTH][item.language].append(right and said == item.language)
        outcomes[IN_LANGUAGE][item.language].append(said == item.language)
        outcomes[UNTOLD][item.language].append(said is None)
    for measure, of in outcomes.items():
        for code in LANGUAGES:
            row = pick(rows, measure=measure, group="language", language=code)
            assert row.value == pytest.approx(sum(of[code]) / PER)
            assert (row.denominator, row.unit, row.task, row.step, row.analysis) == (
                PER, "share", "sums", 20, "capability",
            )  # fmt: skip
            assert row.low is not None
            assert row.high is not None
            assert 0 <= row.low <= row.value <= row.high <= 1
        for group, members in GROUPS.items():
            row = pick(rows, measure=measure, group=group)
            assert row.value == pytest.approx(np.mean([sum(of[code]) / PER for code in members]))
            assert row.denominator == PER * len(members)
    assert not any(row.is_change or row.beyond_noise is not None for row in rows)
    assert {row.over for row in rows if row.measure in SHARES} == {"documents"}


def test_changes_are_paired_problem_by_problem() -> None:
    first, now = make(0, 0.4, seed=1), make(20, 0.6, seed=2)
    rows = capability_rows(now, first)
    changes = [row for row in rows if row.is_change]
    assert len(changes) * 2 == len(rows)
    of = [item.language for item in now.items]
    moved = (now.right.int() - first.right.int())[:, 0].numpy()
    for code in LANGUAGES:
        row = pick(changes, measure=RIGHT, language=code)
        mine = moved[[name == code for name in of]]
        assert row.value == pytest.approx(mine.mean())
        assert (row.since, row.reference) == ("step 0", 0.0)
    # What is the same in both records says that nothing changed, however few are right.
    same = [row for row in capability_rows(make(20, 0.4, seed=1), first) if row.is_change]
    assert {row.value for row in same} == {0.0}
    assert not any(row.beyond_noise for row in same)


def test_lengths_of_answers_are_means_with_t_intervals() -> None:
    random = np.random.default_rng(7)
    before, after = (torch.from_numpy(random.integers(1, 90, (PER * 5, 1))).to(torch.int32) for _ in range(2))
    first, now = make(0, 0.4, seed=1, tokens=before), make(20, 0.4, seed=1, tokens=after)
    rows = [row for row in capability_rows(now, first) if row.measure == TOKENS]
    of_sw = slice(3 * PER, 4 * PER)
    for row, values in (
        (pick(rows, language="sw", since=""), after[of_sw, 0]),
        (pick(rows, language="sw", since="step 0"), (after - before)[of_sw, 0]),
    ):
        theirs = stats.ttest_1samp(values.numpy(), 0)
        assert (row.value, row.unit, row.denominator) == (pytest.approx(float(values.double().mean())), "tokens", PER)
        assert (row.low, row.high) == pytest.approx(tuple(theirs.confidence_interval()))
        assert row.p == (pytest.approx(theirs.pvalue) if row.is_change else None)
    # The group of all has five answers to each problem: the mean of a problem is one observation.
    of_all = pick(rows, group="all languages", since="")
    theirs = stats.ttest_1samp(after.view(5, PER).double().mean(0).numpy(), 0)
    assert (of_all.low, of_all.high) == pytest.approx(tuple(theirs.confidence_interval()))
    same = pick([row for row in capability_rows(first, first) if row.measure == TOKENS], language="sw", since="step 0")
    assert (same.value, same.status) == (0.0, "too few")


def test_groups_of_parallel_problems_are_over_problems_not_answers() -> None:
    """With the same answers in all languages, five languages tell no more than one."""
    one = make(20, 0.5, seed=3)
    right = one.right[:PER].repeat(len(LANGUAGES), 1)
    rows = capability_rows(make(20, 0.5, seed=3, right=right))
    alone, together = pick(rows, measure=RIGHT, language="sw"), pick(rows, measure=RIGHT, group="all languages")
    assert together.value == pytest.approx(alone.value)
    assert together.low == pytest.approx(alone.low, abs=0.02)
    # Answers that have nothing to do with each other tell more.
    apart = pick(capability_rows(one), measure=RIGHT, group="all languages")
    assert apart.high is not None
    assert apart.low is not None
    assert together.high is not None
    assert together.low is not None
    assert apart.high - apart.low < 0.6 * (together.high - together.low)


def test_the_questions_of_a_family_are_corrected_together() -> None:
    changes = [row for row in capability_rows(make(20, 0.55, seed=2), make(0, 0.4, seed=1)) if row.is_change]
    for group_wise in (True, False):
        asked = [
            row for row in changes if row.measure == RIGHT and (row.group in GROUPS) == group_wise and not row.label
        ]
        assert len(asked) == (4 if group_wise else 5)
        assert {row.family for row in asked} == {f"capability (right), {'in all' if group_wise else 'each language'}"}
        assert {row.correction for row in asked} == {"holm"}
        p = [row.p for row in asked]
        assert [row.p_adjusted for row in asked] == pytest.approx(adjusted(p, "holm").tolist())
        assert [row.beyond_noise for row in asked] == [(row.p_adjusted or 0) < 0.05 for row in asked]
    assert any(row.beyond_noise for row in changes)


def test_problems_of_templates_that_are_not_in_training_stand_apart() -> None:
    effects = make(20, 0.4, 1, 12)
    named = replace(effects, clusters="templates")
    rows = capability_rows(named)
    assert {row.over for row in rows if row.low is not None} == {"clusters"}
    for label, seen in (("templates in training", True), ("templates not in training", False)):
        for group, members in GROUPS.items():
            chosen = [item.seen is seen and item.language in members for item in named.items]
            row = pick(rows, measure=RIGHT, group=group, label=label)
            assert row.denominator == sum(chosen)
            assert row.value == pytest.approx(named.right[torch.tensor(chosen)].double().mean().item())
    assert not [row for row in rows if row.label and row.language]
    assert {row.label for row in capability_rows(effects)} == {""}  # they are no clusters that have a name


def test_records_of_other_problems_are_not_compared() -> None:
    other = make(0, 0.4, 1)
    other = replace(other, items=tuple(reversed(other.items)))
    with pytest.raises(InputError, match="answers to other problems"):
        capability_rows(make(20, 0.4, 1), other)


def test_intervals_and_p_are_near_those_of_a_t_test_where_every_problem_is_on_its_own() -> None:
    first, now = make(0, 0.4, seed=1), make(20, 0.6, seed=2)
    moved = (now.right.double() - first.right.double())[:PER, 0].numpy()
    row = pick(capability_rows(now, first), measure=RIGHT, language="en", is_change=True)
    expected = stats.ttest_1samp(moved, 0.0)
    ends = expected.confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((ends.low, ends.high), abs=0.02)
    assert row.p == pytest.approx(expected.pvalue, abs=0.02)


def test_problems_of_one_cluster_are_too_few_to_tell() -> None:
    rows = capability_rows(make(20, 0.6, 2, clusters=1), make(0, 0.4, 1, clusters=1))
    assert {row.status for row in rows} == {"too few"}
    assert {(row.low, row.p, row.beyond_noise) for row in rows} == {(None, None, None)}
