"""Nats a token of languages and groups, against loops and closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from alignlab.analysis.likelihood import likelihood_rows, mean_of_ratios
from alignlab.errors import InputError
from alignlab.recording.effects import BASELINE, Effects, Item

random = np.random.default_rng(0)


def test_the_mean_of_ratios_against_a_loop() -> None:
    """Three languages, clusters that reach over languages, documents of unlike length."""
    n = 60
    strata = np.array(["en", "de", "zh"])[np.arange(n) % 3]
    clusters = [f"c{number // 7}" for number in range(n)]
    tokens = random.integers(1, 30, n).astype(float)
    nats = tokens * (1 + (np.arange(n) % 3)) + random.normal(size=n)
    found = mean_of_ratios(nats, tokens, strata, clusters)
    assert found is not None
    ratios = {code: nats[strata == code].sum() / tokens[strata == code].sum() for code in ("en", "de", "zh")}
    assert found.value == pytest.approx(sum(ratios.values()) / 3)
    sums: dict[str, float] = {}
    for number in range(n):
        code = str(strata[number])
        residual = (nats[number] - ratios[code] * tokens[number]) / tokens[strata == code].sum() / 3
        sums[clusters[number]] = sums.get(clusters[number], 0.0) + residual
    m = len(sums)
    error = math.sqrt(m / (m - 1) * sum(one**2 for one in sums.values()))
    half = stats.t.ppf(0.975, m - 1) * error
    assert (found.low, found.high) == (pytest.approx(found.value - half), pytest.approx(found.value + half))
    assert found.clusters == m


def test_how_languages_differ_is_no_noise() -> None:
    """Ten nats more a token in one language move the mean by five, and nothing else."""
    n = 40
    strata, clusters = np.array(["en", "de"] * 20), [str(number // 2) for number in range(n)]
    tokens = random.integers(1, 30, n).astype(float)
    nats = tokens + random.normal(size=n)
    one = mean_of_ratios(nats, tokens, strata, clusters)
    other = mean_of_ratios(nats + 10 * tokens * (strata == "de"), tokens, strata, clusters)
    assert one is not None
    assert other is not None
    assert other.value == pytest.approx(one.value + 5)
    assert other.high - other.low == pytest.approx(one.high - one.low)


def effects(nats: list[float], **about: Any) -> Effects:
    items = tuple(Item(str(number // 2), ("en", "de")[number % 2], str(number // 2)) for number in range(len(nats)))
    counted = torch.arange(1, len(nats) + 1)
    return Effects(
        items, (BASELINE,), nats=torch.tensor(nats, dtype=torch.float64).unsqueeze(1), counted=counted,
        task="text", data_fingerprint="f", trained_languages=("de",), **about,
    )  # fmt: skip


def test_rows_of_languages_groups_and_changes() -> None:
    before, after = effects([1, 2, 3, 5, 8, 13], step=0), effects([2, 2, 4, 9, 9, 14], step=5)
    rows = likelihood_rows(after, before, label="step 5", since="step 0")
    found = {(row.measure, row.group, row.language, row.is_change): row for row in rows}
    assert found["nats", "language", "en", False].value == pytest.approx((2 + 4 + 9) / (1 + 3 + 5))
    assert found["nats", "trained", "", False].value == pytest.approx((2 + 9 + 14) / (2 + 4 + 6))
    mean = ((2 + 4 + 9) / 9 + (2 + 9 + 14) / 12) / 2
    assert found["nats", "all languages", "", False].value == pytest.approx(mean)
    assert found["perplexity", "all languages", "", False].value == pytest.approx(math.exp(mean))
    change = found["nats", "language", "de", True]
    assert (change.value, change.since, change.reference) == (pytest.approx((0 + 4 + 1) / 12), "step 0", 0.0)
    assert change.p_adjusted is not None
    assert change.p is not None
    assert change.p_adjusted >= change.p
    assert {row.denominator for row in rows if row.language == "de"} == {12}


def test_intervals_of_nats_and_perplexity_stay_where_these_can_be() -> None:
    rows = likelihood_rows(effects([9, 9, 0, 0, 0, 0, 0, 0]), effects([9, 9, 9, 9, 0, 0, 0, 0]), label="b", since="a")
    assert {row.low for row in rows if row.measure == "nats" and not row.is_change} == {0.0}
    assert {row.low for row in rows if row.measure == "perplexity"} == {1.0}
    assert all(row.low is not None and row.low < 0 for row in rows if row.is_change)


def test_what_is_not_finite_is_called_diverged_and_others_keep_their_numbers() -> None:
    rows = likelihood_rows(effects([1, math.inf, 4, 5]), effects([1, 2, 3, 5]), label="b", since="a")
    status = {(row.language or row.group, row.is_change): row.status for row in rows if row.measure == "nats"}
    assert status["de", False] == status["de", True] == status["all languages", False] == "diverged"
    assert status["en", False] == "ok"


def test_texts_that_were_cut_otherwise_are_not_compared() -> None:
    other = effects([1, 2, 3, 4])
    object.__setattr__(other, "data_fingerprint", "g")
    with pytest.raises(InputError, match="it read other tokens than a"):
        likelihood_rows(other, effects([1, 2, 3, 4]), label="b", since="a")
