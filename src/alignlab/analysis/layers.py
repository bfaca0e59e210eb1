"""Analyses by layer: where neurons of each kind lie, how that changes, and into which parts the layers fall."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.neurons.kinds import Kind
from alignlab.neurons.layer_parts import FEWEST_LAYERS, layer_parts
from alignlab.neurons.summary import CountRow
from alignlab.reporting.snapshots import Snapshot


def layer_distribution(view: View) -> list[Row]:
    """Neurons of each kind in each layer."""
    return [view.of_count(row, thresholds) for thresholds, table, _ in view.tables() for row in _by_layer(table)]


def layer_delta(view: View) -> list[Row]:
    """Change of each kind in each layer since the first record."""
    return _change(view, view.first)


def checkpoint_layer_delta(view: View) -> list[Row]:
    """Change of each kind in each layer since the record before, both at the thresholds of the first."""
    return _change(view, view.before)


def parts(view: View) -> list[Row]:
    """The first layer of each of four parts with its label, and the error of 1 to 6 parts."""
    if view.now.shape[0] < FEWEST_LAYERS:
        return []
    curves = torch.tensor(
        [
            [row.count for row in _by_layer(view.now.anchored) if row.kind == kind.label]
            for kind in (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL)
        ]
    )
    found = layer_parts(curves)
    starts = [
        view.row(segment.start, layer=segment.start, unit="layers", label=label or "no signature")
        for segment, label in zip(found.segments, found.labels, strict=True)
    ]
    errors = [view.row(cost, unit="error", label=f"{number} parts") for number, cost in enumerate(found.costs, start=1)]
    return starts + errors


def _by_layer(rows: Sequence[CountRow]) -> list[CountRow]:
    return [row for row in rows if row.layer is not None]


def _change(view: View, before: Snapshot | None) -> list[Row]:
    if before is None:
        return []
    pairs = zip(_by_layer(view.now.anchored), _by_layer(before.anchored), strict=True)
    return [view.change(row, old, before.label) for row, old in pairs]
