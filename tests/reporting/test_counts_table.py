"""What is said under the table of counts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.reporting.counts_table import table_note, table_of, table_rows

TOKENS = 100
# Firings of four neurons in two languages; the last one is the most uneven, but seldom active in either.
FIRINGS = [[90, 80, 70, 9], [90, 85, 10, 0]]


def snapshot(top_rate: float, bar: float) -> Snapshot:
    return summarise(first_counts(), TernaryConfig(top_rate=top_rate, bar=bar, lambda_=0.0), ["de"], None)


def first_counts() -> ActivationCounts:
    firings = torch.tensor(FIRINGS)[:, None, None]
    tokens = torch.full((2, 1), TOKENS)
    return ActivationCounts(("en", "de"), firings, tokens, tokens, "mlp.act", "all", step=0)


@pytest.mark.parametrize(("bar", "unassigned"), [(0.5, 1), (0.1, 0)])
def test_unassigned_neurons_are_explained_where_there_are_some(bar: float, unassigned: int) -> None:
    shown = snapshot(0.25, bar)
    (row,) = [row for row in shown.anchored if row.kind == "unassigned" and row.layer is None]
    assert row.value == unassigned
    note = table_note(shown)
    assert note.startswith("trained: mean a language of de")
    explained = "\nunassigned: selected, but above tau in no language" in note
    assert explained == bool(unassigned)


def test_columns_of_nothing_are_left_out_and_so_is_what_is_said_of_them() -> None:
    first = snapshot(0.25, 0.5)
    rows, header, align = table_of(first)
    assert header == ["kind", "all", "trained", "reference"]  # no changes, losses or third language
    assert (len(align), {len(row) for row in rows}) == (4, {4})
    assert "change" not in table_note(first)
    assert "loss" not in table_note(first)
    assert "mean a language of de" in table_note(first)
    nobody = summarise(first_counts(), TernaryConfig(top_rate=0.25, bar=0.5, lambda_=0.0), [], None)
    assert table_note(nobody).startswith("reference: en; unseen (all others, as none is known to be in training): mean")


def test_changes_have_a_minus_as_long_as_the_plus_and_none_before_zero() -> None:
    shown = snapshot(0.25, 0.5)
    change = next(row for row in shown.anchored if row.kind == "specific" and row.group == "all" and row.layer is None)
    changes = [
        replace(change, group=group, since="step 0", value=value)
        for group, value in (("all", -12.0), ("trained", -0.04), ("unseen", -1234.5))
    ]
    (cells,) = [cells for cells in table_rows(replace(shown, changes=changes)) if cells[0] == "specific"]
    assert (cells[2], cells[4], cells[8]) == ("−12", "+0.0", "−1,234.5")
