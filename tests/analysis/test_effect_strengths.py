"""The best strength against loops, and documents that choose apart from those that tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from alignlab.analysis.arm_outcomes import Outcome, outcomes
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_strengths import choosing_half, strength_rows
from alignlab.neurons.table import Row

from .arm_records import LANGUAGES, SETS, Record, arms, likelihoods

STRENGTHS = (-1.0, 0.5, 1.0, 2.0)
LABELS = arms(draws=3, strengths=STRENGTHS, operation="scale")


def nats(record: Record) -> Outcome:
    return outcomes(record)[0]


def best(rows: list[Row]) -> dict[str, float]:
    return {row.language: row.value for row in rows if row.measure == "best strength for nats"}


def test_clusters_are_dealt_whole_to_halves_of_a_size_that_the_seed_alone_decides() -> None:
    clusters = [f"c{i % 21}" for i in range(100)]
    first = choosing_half(clusters, 0)
    chosen = {cluster for cluster, there in zip(clusters, first, strict=True) if there}
    assert len(chosen) == 11
    assert not chosen & {cluster for cluster, there in zip(clusters, first, strict=True) if not there}
    assert choosing_half(clusters[::-1], 0).tolist() == first.tolist()[::-1]
    assert choosing_half(clusters, 1).tolist() != first.tolist()


@pytest.mark.parametrize("better", ["low", "high"])
def test_the_best_is_that_of_the_documents_that_choose(better: str) -> None:
    record = likelihoods(0, LABELS, own=0.0, spread=0.1)
    assert record.nats is not None
    assert record.counted is not None
    first = choosing_half([item.cluster for item in record.items], 0)
    expected = {}
    for language in LANGUAGES:
        means = {}
        for place, label in enumerate(LABELS):
            if label.set == language and not label.control:
                of = [i for i, item in enumerate(record.items) if item.language == language and first[i]]
                means[label.strength] = sum(float(record.nats[i, place]) for i in of) / sum(
                    int(record.counted[i]) for i in of
                )
        expected[language] = (min if better == "low" else max)(means, key=lambda strength: means[strength])
    rows = strength_rows(record, SETS, nats(record), better=better)  # type: ignore[arg-type]
    assert best(rows) == expected
    assert {row.operation for row in rows} == {"", "scale", "scale at its best strength"}


def test_what_it_does_is_told_by_the_other_documents_alone() -> None:
    record = likelihoods(1, LABELS, spread=0.1)
    assert record.nats is not None
    rows = strength_rows(record, SETS, nats(record), better="low")
    # The matrix of the same arms on the other documents.
    first = choosing_half([item.cluster for item in record.items], 0)
    chosen = best(rows)
    kept = [i for i, label in enumerate(LABELS) if not label.set or label.strength == chosen[label.set]]
    assert record.counted is not None
    half = replace(
        record,
        items=[item for item, there in zip(record.items, first, strict=True) if not there],
        labels=[replace(LABELS[i], strength=None) for i in kept],
        nats=record.nats[torch.from_numpy(~first)][:, kept],
        counted=record.counted[torch.from_numpy(~first)],
    )
    numbers = ("value", "low", "high", "p", "p_adjusted", "beyond_control", "measure", "set", "other", "control")
    told = [[getattr(row, name) for name in numbers] for row in rows if row.measure != "best strength for nats"]
    assert told == [[getattr(row, name) for name in numbers] for row in matrix_rows(half, SETS)]
    for row in rows:
        if row.set:
            assert row.strength == chosen[row.set]


def test_a_choice_among_strengths_that_do_nothing_does_not_look_better_than_it_is() -> None:
    """On the documents that chose it the best looks better than the others; on the others it does not."""
    held_out, all_documents = [], []
    for seed in range(60):
        record = likelihoods(seed, LABELS, own=0.0, spread=0.0)
        rows = strength_rows(record, SETS, nats(record), better="low")
        strength = best(rows)["de"]
        cell = {"measure": "change of nats", "set": "de", "other": "de", "control": "", "strength": strength}
        for found, into in ((rows, held_out), (matrix_rows(record, SETS), all_documents)):
            [row] = [row for row in found if all(getattr(row, name) == value for name, value in cell.items())]
            into.append(row.value - 0.1)  # what every arm does
    error = np.std(held_out, ddof=1) / np.sqrt(60)
    assert abs(np.mean(held_out)) < 3.3 * error
    assert np.mean(all_documents) < -3 * np.std(all_documents, ddof=1) / np.sqrt(60)


def test_of_equal_strengths_the_smallest_is_taken_and_diverged_ones_never() -> None:
    record = likelihoods(2, LABELS)
    assert record.nats is not None
    same = record.nats[:, :1].expand(-1, len(LABELS)).clone()
    assert set(
        best(strength_rows(replace(record, nats=same), SETS, nats(replace(record, nats=same)), better="low")).values()
    ) == {0.5}
    for place, label in enumerate(LABELS):
        if label.strength == 0.5:
            same[:, place] = torch.nan
    diverged = replace(record, nats=same)
    assert set(best(strength_rows(diverged, SETS, nats(diverged), better="low")).values()) == {-1.0}
