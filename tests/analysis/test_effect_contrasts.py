"""Own languages over others against loops over documents, planted effects and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binom, t

from alignlab.analysis.arm_outcomes import by_language, outcomes
from alignlab.analysis.effect_contrasts import own_language_rows, own_over_others
from alignlab.analysis.effect_rows import SetOf
from alignlab.neurons.corrections import adjusted

from .arm_records import LANGUAGES, SETS, Record, arms, likelihoods

LABELS = arms()
CHANCE = 1e-3


def change_of(record: Record, language: str, place: int, weights: dict[str, float]) -> float:
    """The change of nats a token of a language, each cluster by its weight."""
    assert record.nats is not None
    assert record.counted is not None
    nats = tokens = 0.0
    for i, item in enumerate(record.items):
        if item.language == language:
            weight = weights[item.cluster]
            nats += weight * float(record.nats[i, place] - record.nats[i, 0])
            tokens += weight * int(record.counted[i])
    return nats / tokens


@pytest.mark.parametrize("own", LANGUAGES)
def test_the_contrast_and_its_interval_are_those_of_differences_by_cluster(own: str) -> None:
    record = likelihoods(0, LABELS)
    place = [label.name for label in LABELS].index(f"zero None {own}")
    clusters = sorted({item.cluster for item in record.items})
    others = [language for language in LANGUAGES if language != own]

    def contrast(weights: dict[str, float]) -> float:
        mean = sum(change_of(record, language, place, weights) for language in others) / 2
        return change_of(record, own, place, weights) - mean

    even, step = dict.fromkeys(clusters, 1.0), 1e-5
    value = contrast(even)
    # Parallel documents are of one cluster in all languages: it moves all of them at once.
    moved = [(contrast(even | {name: 1 + step}) - contrast(even | {name: 1 - step})) / (2 * step) for name in clusters]
    m = len(clusters)
    error = math.sqrt(m / (m - 1) * sum(one**2 for one in moved))
    [row] = [row for row in own_language_rows(record, SETS) if row.language == own]
    assert row.value == pytest.approx(value)
    assert row.low == pytest.approx(value - t.ppf(0.975, m - 1) * error, rel=1e-5)
    assert row.high == pytest.approx(value + t.ppf(0.975, m - 1) * error, rel=1e-5)
    assert row.p == pytest.approx(2 * t.sf(abs(value) / error, m - 1), rel=1e-3)
    assert (row.over, row.unit, row.set, row.operation) == ("clusters", "nats a token", own, "zero")


def test_languages_with_few_clusters_have_their_degrees_of_freedom() -> None:
    record = likelihoods(1, LABELS)
    assert record.nats is not None
    assert record.counted is not None
    kept = torch.tensor([item.language != "zh" or item.cluster in ("c1", "c2", "c3") for item in record.items])
    few = replace(record, nats=record.nats * kept[:, None], counted=record.counted * kept)
    sums = by_language(few, outcomes(few)[0])
    place = [label.name for label in LABELS].index("zero None de")
    found = own_over_others(sums, "de", place, 0)
    clusters = sorted({item.cluster for item in record.items})
    moved = np.zeros(len(clusters))
    for language, of in sums.items():
        for number, name in enumerate(of.clusters):
            change = of.sums[place, number] - of.sums[0, number]
            ratio = (of.sums[place] - of.sums[0]).sum() / of.sizes.sum()
            weight = 1 if language == "de" else -0.5
            moved[clusters.index(name)] += weight * (change - ratio * of.sizes[number]) / of.sizes.sum()
    half = t.ppf(0.975, 2) * math.sqrt(3 / 2 * (moved**2).sum())
    assert float(found.high - found.value) == pytest.approx(half)


def test_the_sets_of_a_matrix_are_a_family_by_holm() -> None:
    rows = own_language_rows(likelihoods(2, LABELS), SETS)
    expected = adjusted([row.p or 0.0 for row in rows], "holm")
    assert [row.p_adjusted for row in rows] == pytest.approx(expected.tolist())
    measure = "change of nats, own language over others"
    assert {(row.family, row.correction) for row in rows} == {(f"effects ({measure}), zero specific", "holm")}


def test_sets_without_a_language_that_was_evaluated_have_none() -> None:
    assert own_language_rows(likelihoods(2, LABELS), {"de": SetOf("fr"), "zh": SetOf()}) == []


def test_where_own_languages_are_as_others_intervals_hold_and_verdicts_are_few() -> None:
    runs, held, any_verdict = 150, 0, 0
    for seed in range(runs):
        rows = own_language_rows(likelihoods(seed, LABELS, own=0.0), SETS)
        held += sum(row.low is not None and row.high is not None and row.low <= 0 <= row.high for row in rows)
        any_verdict += any(row.beyond_noise for row in rows)
    assert binom.ppf(CHANCE / 3, 3 * runs, 0.93) <= held <= binom.isf(CHANCE / 3, 3 * runs, 0.97)
    assert any_verdict <= binom.isf(CHANCE / 3, runs, 0.05)
