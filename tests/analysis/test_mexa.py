"""Rows of MEXA: shares counted in loops, intervals by scipy, the highest state by resamples put together one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import t, ttest_1samp

from alignlab.analysis.mexa import BY_STATE, HIGHEST, MEAN, mexa_rows
from alignlab.errors import InputError
from alignlab.recording.effects import BASELINE, Effects, Item

STATES, SENTENCES = 3, 30


def record(seed: int, states: int = STATES, **changes: Any) -> Effects:
    """Two languages of thirty sentences, each on its own; at later states more are aligned."""
    random = np.random.default_rng(seed)
    hits = random.random((2 * SENTENCES, 1, states)) < np.linspace(0.2, 0.8, states)
    fields: dict[str, Any] = {
        "items": tuple(Item(str(i), code, f"{i:02d}") for code in ("de", "zh") for i in range(SENTENCES)),
        "labels": (BASELINE,),
        "values": torch.from_numpy(hits).double(),
        "measures": tuple(f"state {number}" for number in range(states)),
        "trained_languages": ("zh",),
    }
    return Effects(**fields | changes)


def only(
    rows: list[Any], measure: str, group: str, language: str = "", *, change: bool = False, layer: int | None = None
) -> Any:
    (row,) = (
        one
        for one in rows
        if (one.measure, one.group, one.language, one.layer, one.is_change) == (measure, group, language, layer, change)
    )
    return row


def test_means_and_states_are_those_of_loops() -> None:
    one, two = record(1), record(2)
    rows = mexa_rows(two, one, label="two", since="one")
    hits = {"one": one.measured("values")[:, 0].numpy(), "two": two.measured("values")[:, 0].numpy()}
    for code, first in (("de", 0), ("zh", SENTENCES)):
        for state in range(STATES):
            count = sum(hits["two"][first + i, state] for i in range(SENTENCES))
            row = only(rows, BY_STATE, "language", code, layer=state)
            assert (row.value, row.reference, row.denominator) == (count / SENTENCES, 1 / 59, SENTENCES)
            before = sum(hits["one"][first + i, state] for i in range(SENTENCES))
            moved = only(rows, BY_STATE, "language", code, layer=state, change=True)
            assert moved.value == pytest.approx((count - before) / SENTENCES)
        of = hits["two"][first : first + SENTENCES].mean(axis=1)
        row, found = only(rows, MEAN, "language", code), ttest_1samp(of, 0).confidence_interval(0.95)
        assert (row.value, row.low, row.high) == pytest.approx((of.mean(), found.low, found.high))
        assert row.reference == 1 / 59
        moved = of - hits["one"][first : first + SENTENCES].mean(axis=1)
        row, test = only(rows, MEAN, "language", code, change=True), ttest_1samp(moved, 0)
        assert (row.value, row.p) == pytest.approx((moved.mean(), test.pvalue))
        assert row.p_adjusted >= row.p
    # Sentences of one id are one cluster: the mean over all languages is that of their means.
    both = hits["two"].mean(axis=1).reshape(2, SENTENCES).mean(axis=0)
    row, found = only(rows, MEAN, "all languages"), ttest_1samp(both, 0).confidence_interval(0.95)
    assert (row.value, row.low, row.high) == pytest.approx((both.mean(), found.low, found.high))
    assert only(rows, MEAN, "trained").value == only(rows, MEAN, "language", "zh").value


def test_the_highest_state_is_that_of_each_resample() -> None:
    one, two = record(1), record(2)
    rows = mexa_rows(two, one, label="two", since="one")
    drawn = np.random.default_rng(0).multinomial(SENTENCES, np.full(SENTENCES, 1 / SENTENCES), size=1000)

    def highest(effects: Effects, times: np.ndarray) -> list[float]:
        hits = effects.measured("values")[:, 0].numpy().reshape(2, SENTENCES, STATES)
        chosen = [i for i in range(SENTENCES) for _ in range(times[i])]
        return [max(of[chosen, state].sum() / len(chosen) for state in range(STATES)) for of in hits]

    once = np.ones(SENTENCES, dtype=int)
    for codes, group, language in (([1], "language", "zh"), ([0, 1], "all languages", "")):
        for change in (False, True):
            draws = [
                np.mean([highest(two, times)[k] - (highest(one, times)[k] if change else 0) for k in codes])
                for times in drawn
            ]
            value = np.mean([highest(two, once)[k] - (highest(one, once)[k] if change else 0) for k in codes])
            half = t.ppf(0.975, SENTENCES - 1) * math.sqrt(SENTENCES / (SENTENCES - 1)) * np.std(draws, ddof=1)
            row = only(rows, HIGHEST, group, language, change=change)
            assert row.value == pytest.approx(value)
            assert row.low == pytest.approx(max(value - half, -1.0 if change else 0.0))
            assert row.high == pytest.approx(min(value + half, 1.0))
            assert row.reference == (0.0 if change else None)  # by chance the highest of several is above 1 / (2n - 1)


def test_models_of_other_depth_are_compared_by_their_means() -> None:
    rows = mexa_rows(record(1, states=5), record(2), label="deep", since="flat")
    assert {row.measure for row in rows if row.is_change} == {MEAN, HIGHEST}
    some = record(3)
    others = record(3, items=tuple(Item(f"x{one.id}", one.language, one.cluster) for one in some.items))
    with pytest.raises(InputError, match="other sentences than the first record's"):
        mexa_rows(some, others, label="x")


def test_few_sentences_are_too_few_and_intervals_stay_among_shares() -> None:
    for aligned, status in ((9, "too few"), (10, "ok")):
        values = torch.zeros(2 * SENTENCES, 1, STATES, dtype=torch.float64)
        values[:aligned, 0, 0] = 1
        values[0, 0] = 1
        row = only(mexa_rows(record(0, values=values), label="x"), MEAN, "language", "de")
        assert (row.status, row.low is None) == (status, status != "ok")
        assert row.value == pytest.approx((aligned + STATES - 1) / SENTENCES / STATES)
    items = tuple(Item(str(i), code, str(i % 2 if i < 2 else 2)) for code in ("de", "zh") for i in range(SENTENCES))
    row = only(mexa_rows(record(0, values=values, items=items), label="x"), MEAN, "language", "de")
    assert row.low == 0.0  # of three clusters, nearly all in one
