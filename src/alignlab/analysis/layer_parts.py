"""Into which parts the layers fall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignlab.analysis.view import View
from alignlab.neurons.kinds import Kind
from alignlab.neurons.layer_parts import FEWEST_LAYERS, layer_parts, scaled, stability
from alignlab.neurons.table import ANCHORED, Row

NO_SIGNATURE = "no signature"
FIRST_LAYER = "first layer"
_KINDS = (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL)
CURVE = "curve"
WITHIN_ONE = "resamples with this cut within one layer"


def parts(view: View) -> list[Row]:
    """The first layer of each of four parts with its label, the curves that are cut, by kind and layer, the error of 1
    to 6 parts, and how sure each cut is."""
    if view.now.shape[0] < FEWEST_LAYERS:
        return []
    curves = _curves(view.now.rows)
    counts = np.array([[view.now.rows[place].value for place in curve] for curve in curves])
    found = layer_parts(counts)
    starts = [
        view.row(segment.start, layer=segment.start, unit="layers", measure=FIRST_LAYER, label=label or NO_SIGNATURE)
        for segment, label in zip(found.segments, found.labels, strict=True)
    ]
    cut = [
        view.row(z, layer=layer, kind=kind.label, convention=view.convention, measure=CURVE, unit="z")
        for kind, curve in zip(_KINDS, scaled(counts).tolist(), strict=True)
        for layer, z in enumerate(curve)
    ]
    errors = [
        view.row(cost, unit="error", measure=f"{number} parts") for number, cost in enumerate(found.costs, start=1)
    ]
    if view.noise is None:
        return starts + cut + errors
    shares = stability(view.noise.values[:, curves], found)
    steady = [
        view.row(share, layer=cut, unit="share", measure=WITHIN_ONE)
        for cut, share in zip(found.cuts, shares, strict=True)
    ]
    return starts + cut + errors + steady


def _curves(rows: Sequence[Row]) -> list[list[int]]:
    """Where the counts of each layer are among the rows: of specific, related and general neurons."""
    return [
        [
            place
            for place, row in enumerate(rows)
            if row.layer is not None and row.kind == kind.label and row.thresholds == ANCHORED
        ]
        for kind in _KINDS
    ]
