"""Analyses by layer: where neurons of each kind lie, how that changes, and into which parts the layers fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.neurons.kinds import Kind
from alignlab.neurons.layer_parts import FEWEST_LAYERS, layer_parts, stability
from alignlab.neurons.summary import CountRow
from alignlab.reporting.snapshots import ANCHORED, Snapshot

NO_SIGNATURE = "no signature"
WITHIN_ONE = "resamples with this cut within one layer"


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
    """The first layer of each of four parts with its label, how sure each cut is, and the error of 1 to 6 parts."""
    if view.now.shape[0] < FEWEST_LAYERS:
        return []
    curves = _curves(view.now.anchored)
    found = layer_parts(np.array([[view.now.anchored[place].count for place in curve] for curve in curves]))
    starts = [
        view.row(segment.start, layer=segment.start, unit="layers", label=label or NO_SIGNATURE)
        for segment, label in zip(found.segments, found.labels, strict=True)
    ]
    errors = [view.row(cost, unit="error", label=f"{number} parts") for number, cost in enumerate(found.costs, start=1)]
    if view.noise is None:
        return starts + errors
    shares = stability(view.noise.at[ANCHORED].values[:, curves], found)
    steady = [
        view.row(share, layer=cut, unit="share", label=WITHIN_ONE)
        for cut, share in zip(found.cuts, shares, strict=True)
    ]
    return starts + steady + errors


def _curves(rows: Sequence[CountRow]) -> list[list[int]]:
    """Where the counts of each layer are among the rows: of specific, related and general neurons."""
    return [
        [place for place, row in enumerate(rows) if row.layer is not None and row.kind == kind.label]
        for kind in (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL)
    ]


def _by_layer(rows: Sequence[CountRow]) -> list[CountRow]:
    return [row for row in rows if row.layer is not None]


def _change(view: View, before: Snapshot | None) -> list[Row]:
    if before is None:
        return []
    pairs = zip(_by_layer(view.now.anchored), _by_layer(before.anchored), strict=True)
    return [view.change(row, old, before.label) for row, old in pairs]
