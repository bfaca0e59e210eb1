"""What a snapshot says, against counts made by hand."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
import torch

from alignlab.analysis.snapshots import summarise
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import collect_csv, read_csv, write_csv
from alignlab.reporting.counts_table import scalars, table_rows

TOKENS = 100
# Three languages, one layer of ten neurons: firings of a hundred tokens.
FIRST = [
    #  specific to a | to b | related a, b | general | quiet ...
    [90, 80, 5, 85, 95, 10, 10, 10, 10, 10],  # a
    [5, 5, 80, 85, 95, 10, 10, 10, 10, 10],  # b
    [5, 5, 5, 5, 95, 10, 10, 10, 10, 10],  # c
]
IDENTIFIER = TernaryConfig(top_rate=0.4, bar=0.7, lambda_=0.0)


def counts(step: int, firings: list[list[int]] = FIRST) -> ActivationCounts:
    return ActivationCounts(
        languages=("a", "b", "c"),
        firings=torch.tensor(firings).reshape(3, 1, 1, 10),
        tokens=torch.full((3, 1), TOKENS),
        documents=torch.ones((3, 1), dtype=torch.int64),
        site="mlp.act",
        scope="all",
        step=step,
        loss_sum=torch.tensor([[50.0], [100.0], [200.0]], dtype=torch.float64),
        loss_tokens=torch.tensor([[50], [50], [50]]),
    )


def test_scalars_are_the_counts_by_hand() -> None:
    # tau is the value of rank round(0.7 * 30) = 21 of the thirty probabilities: 0.10. Above it by hand:
    # neurons 0, 1 in a; 2 in b; 3 in a and b; 4 in all. The four lowest entropies are those of neurons 0 to 3.
    values = scalars(summarise(counts(0), IDENTIFIER, ["a"], None, reference="b"))
    assert values["neurons/tau"] == pytest.approx(0.10)
    assert values["neurons/step"] == 0
    expected = {
        "specific": 3, "related": 1, "general": 1, "unassigned": 0,
        "specific/a": 2, "specific/b": 1, "specific/c": 0, "related/a": 1, "related/b": 1, "related/c": 0,
        "trained/specific": 2, "unseen/specific": 0, "trained/related": 1, "unseen/related": 0,
        "reference/specific": 1, "reference/related": 1, "all_languages/specific": 1, "all_languages/related": 2 / 3,
        "loss/a": 1, "loss/b": 2, "loss/c": 4, "trained/loss": 1, "unseen/loss": 4, "reference/loss": 2,
        "all_languages/loss": 7 / 3,
    }  # fmt: skip
    for key, value in expected.items():
        assert values[f"neurons/{key}"] == value, key
    assert {key.count("/") for key in values} <= {1, 2, 3}


def test_changes_are_at_the_thresholds_of_the_first_snapshot() -> None:
    """Every neuron fires more everywhere: only anchored thresholds can see it."""
    first = summarise(counts(0), IDENTIFIER, ["a"], None, reference="b")
    more = [[count + 4 for count in row] for row in FIRST]
    second = summarise(counts(5, more), IDENTIFIER, ["a"], first, reference="b")
    values = scalars(second)
    # The five quiet neurons are now above 0.10 in every language, so general; re-estimated, tau moves along.
    assert values["neurons/general"] == 6
    assert values["neurons/reestimated/general"] == 1
    rows = {row[0]: row[1:] for row in table_rows(second)}
    assert rows["general"] == ["6", "+5", "", "", "", "", "", ""]
    assert rows["specific"][:2] == ["3", "+0"]
    assert rows["loss"] == ["", "", "1.000", "+0.000", "2.000", "+0.000", "4.000", "+0.000"]


def test_without_trained_languages_their_column_is_empty() -> None:
    rows = {row[0]: row[1:] for row in table_rows(summarise(counts(0), IDENTIFIER, [], None))}
    assert rows["specific"][2:4] == ["", ""]
    assert rows["loss"][2:4] == ["", ""]


def test_the_csv_is_read_back_and_collected_in_order_of_steps(tmp_path: Path) -> None:
    first = summarise(counts(0), IDENTIFIER, ["a"], None)
    tables = [tmp_path / "neurons" / f"step-{step:06d}.csv" for step in (200, 0, 30)]
    for step, path in zip((200, 0, 30), tables, strict=True):
        snapshot = summarise(counts(step), IDENTIFIER, ["a"], None if step == 0 else first)
        write_csv(path, snapshot.table)
        assert read_csv(path) == snapshot.table
    collect_csv(tables, tmp_path / "neurons.csv")
    with (tmp_path / "neurons.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    steps = [int(row["step"]) for row in rows]
    assert steps == sorted(steps)
    assert set(steps) == {0, 30, 200}
    chosen = [
        row for row in rows
        if (row["step"], row["thresholds"], row["language"], row["kind"], row["since"])
        == ("30", "anchored", "a", "specific", "")
    ]  # fmt: skip
    assert [(float(row["value"]), int(row["denominator"])) for row in chosen] == [(2, 10)]
    losses = {
        row["language"] or row["group"]: float(row["value"])
        for row in rows
        if row["measure"] == "loss" and row["step"] == "30" and not row["since"]
    }
    assert losses == {"a": 1.0, "b": 2.0, "c": 4.0, "trained": 1.0, "unseen": 3.0, "all languages": 7 / 3}


def test_a_language_without_predicted_tokens_has_no_loss() -> None:
    record = counts(0)
    assert record.loss_tokens is not None
    record.loss_tokens[2] = 0
    snapshot = summarise(record, IDENTIFIER, ["a"], None)
    losses = {row.language or row.group: row.value for row in snapshot.rows if row.measure == "loss"}
    assert math.isnan(losses["c"])
    assert math.isnan(losses["unseen"])
    assert math.isnan(losses["all languages"])
    assert losses["trained"] == 1
