"""Intervals of the numbers that are no counts: their analyses are asked again of every resample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.noise import Noise, Resampling
from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.uncertainty import ClassifiedResample, interval_of, over_classified


def with_intervals(
    rows: dict[str, list[Row]], view: View, resampling: Resampling, first: tuple[ActivationCounts, Noise] | None
) -> dict[str, list[Row]]:
    """The rows of each analysis, those of redrawn ones with intervals.

    view: of the record that the rows are of; its `noise` is there.
    first: the first record and its noise; None where this is it. The draws of both are the same.
    """
    noise = view.noise
    assert noise is not None
    asked = [name for name, found in rows.items() if ANALYSES[name].redrawn and found]
    key = {
        "contents": [noise.content, *([first[1].content] if first else [])],
        "trained": sorted(view.now.trained),
        "thresholds": view.now.result.thresholds,
        "neurons": view.neurons,
    }
    kept = {name: resampling.kept({"rows of": name, **key}) for name in asked}
    stored = {name: tensors["values"].numpy() for name in asked if (tensors := kept[name].read()) is not None}
    missing = [name for name in asked if name not in stored]
    for name, values in _drawn(missing, view, resampling, first[0] if first else None).items():
        kept[name].write({"values": torch.from_numpy(values)})
        stored[name] = values
    found = dict(rows)
    for name in asked:
        values = np.array([row.value for row in rows[name]], dtype=np.float64)
        low, high, _, bias = interval_of(stored[name], values, view.counts.shape[1])
        ends = zip(low.tolist(), high.tolist(), bias.tolist(), strict=True)
        found[name] = [row.within(*each) for row, each in zip(rows[name], ends, strict=True)]
    return found


def _drawn(
    names: Sequence[str], view: View, resampling: Resampling, first: ActivationCounts | None
) -> dict[str, Floats]:
    """The (R, rows) values of each analysis."""
    if not names:
        return {}

    def ask(resamples: Sequence[ClassifiedResample]) -> list[list[float]]:
        of_first, of_now = resamples[0], resamples[-1]
        again = replace(
            view,
            now=replace(view.now, result=of_now.result),
            first=None if view.first is None else replace(view.first, result=of_first.result),
            noise=None,
            intervals={},
            resampled=of_now.p,
        )
        return [[row.value for row in ANALYSES[name].rows(again)] for name in names]

    anchor = view.first.result if view.first is not None else view.now.result
    asked = over_classified(
        [view.counts] if first is None else [first, view.counts],
        resampling.identifier,
        ask,
        anchor=anchor,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    return {name: np.array(values) for name, values in zip(names, zip(*asked, strict=True), strict=True)}
