"""The counts as the page's script draws from them: small JSON, rows as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alignlab.neurons.table import Row
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.panels import listed

# A row is its key and its values: the keys are the same at every step, so they are stored once a run.
KEYS = ("group", "language", "layer", "kind", "degree", "convention")
# Beside a count stands its change since the first step.
_CHANGE = {"value": "change", "low": "change_low", "high": "change_high", "beyond_noise": "beyond_noise"}
VALUES = ("value", "denominator", "low", "high", *_CHANGE.values())
COLUMNS = ("thresholds", "step", *KEYS, *VALUES)

_MOST_POINTS = 1000


def encoded_rows(run: PageRun) -> Mapping[str, Any]:
    """The rows as columns, by the table they belong to (see `frame`).

    {"keys": {part: [...]}, "same": {part: [...]}, "values": {thresholds: {step: {part: {column: [...]}}}}}: a column
    has a value for every key of its part, null where a step lacks it. Nearly all denominators are the same at every
    step: they stand under "same", and the others in a column. Ends of intervals are rounded to 4 decimals.
    """
    place = ["part", "thresholds", "step", *KEYS]
    counts, changes = (run.of("kinds", is_change=which) for which in (False, True))
    changes = changes.rename(columns=_CHANGE).round({"change": 4, "change_low": 4, "change_high": 4})
    table = counts.round({"low": 4, "high": 4}).drop(columns="beyond_noise")
    table = table.merge(changes[[*place, *_CHANGE.values()]], how="left", on=place)
    found: dict[str, dict[str, Any]] = {"keys": {}, "same": {}, "values": {}}
    for part, rows in table.groupby("part", sort=False):
        place = rows.groupby(list(KEYS), sort=False, dropna=False).ngroup()
        keys = rows[~place.duplicated()]
        found["keys"][part] = list(zip(*(listed(keys[name]) for name in KEYS), strict=True))
        found["same"][part] = listed(keys.denominator)
        same = rows.denominator.to_numpy() == keys.denominator.to_numpy()[place]
        rows = rows.assign(place=place, denominator=rows.denominator.mask(same))
        for name in VALUES:
            grid = rows.pivot(index=["thresholds", "step"], columns="place", values=name)
            for (thresholds, step), (_, values) in zip(grid.index, grid.T.items(), strict=True):
                column = listed(values)
                if any(value is not None for value in column):
                    at = found["values"].setdefault(thresholds, {}).setdefault(str(step), {})
                    at.setdefault(part, {})[name] = column
    return found


def thinned(run: PageRun, snapshots: int) -> PageRun:
    """The run with layers, degrees, transitions and parts at so many snapshots only, first and last among them.

    The curve of the training loss keeps so many points as can be seen.
    """
    steps, curve = sorted(run.steps), run.training_loss
    kept = {steps[round(place * (len(steps) - 1) / (snapshots - 1))] for place in range(snapshots)}
    notes = list(run.notes)
    if len(kept) < len(steps):
        notes.append(
            f"Layers, degrees and transitions are shown at {len(kept)} of {len(steps)} snapshots, to keep this page "
            f"small; neurons.csv in {run.folder} has all."
        )
    if curve and len(curve) > _MOST_POINTS:
        curve = curve[:: -(-len(curve) // _MOST_POINTS)]
        notes.append(f"The training loss is shown at {len(curve)} steps; metrics.csv in {run.folder} has all.")
    rows = [row for row in run.rows if row.step in kept or not _is_thinned(row)]
    return replace(run, rows=rows, training_loss=curve, notes=notes)


def without_pairs(run: PageRun) -> PageRun:
    """The run without what each pair of languages shares: of 60 languages there are 1,770."""
    rows = [row for row in run.rows if row.analysis != "language_overlap"]
    if len(rows) == len(run.rows):
        return run
    pairs = len({(row.language, row.other) for row in run.rows if row.group == "pair"})
    note = f"What each of {pairs:,} pairs of languages shares is left out, to keep this page small."
    return replace(run, rows=rows, notes=[*run.notes, note], left_out=run.left_out | {"overlaps"})


def without_matrices(run: PageRun) -> PageRun:
    """The run with what the matrices of its interventions answer, but without their cells and answers."""
    return replace(run, interventions=[replace(one, is_drawn=False) for one in run.interventions])


def _is_thinned(row: Row) -> bool:
    by_layer_or_degree = row.analysis == "kinds" and (row.layer is not None or row.degree is not None)
    return by_layer_or_degree or row.analysis in ("transitions", "layer_parts")
