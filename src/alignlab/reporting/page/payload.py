"""What the page's script draws from, as small JSON: rows as columns, and figures with what they share stored once."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Any

from alignlab.neurons.table import Row
from alignlab.reporting.page.data import PageRun, part_of
from alignlab.reporting.page.panels import Panels

# A row is its key and its values: the keys are the same at every step, so they are stored once a run.
KEYS = ("group", "language", "layer", "kind", "degree", "convention")
# Beside a count stands its change since the first step.
_CHANGE = {"change": "value", "change_low": "low", "change_high": "high", "beyond_noise": "beyond_noise"}
VALUES = ("value", "denominator", "low", "high", *_CHANGE)
COLUMNS = ("thresholds", "step", *KEYS, *VALUES)

_MOST_POINTS = 1000

Table = dict[str, Any]  # {"columns": [...], "rows": [[...], ...]}


@dataclass
class PageFigure:
    """A figure in all its variants.

    by: the parts of the page's state that choose a variant, such as ("run", "thresholds"); keys join their values
        with "|".
    variants: figures in wide layout and narrow one, by key. labels: what they show, for those who cannot see it.
    parts: of the rows that are its table (see `part_of`); or `tables`, by run.
    every_run: the table holds the rows of all runs.
    """

    by: tuple[str, ...]
    variants: dict[str, tuple[Panels, Panels]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    tables: dict[str, Table] = field(default_factory=dict)
    every_run: bool = False

    def add(self, key: str, build: Callable[[int], Panels], label: str, wide: int, narrow: int = 1) -> None:
        """A variant: `build` is given the number of columns."""
        self.variants[key] = build(wide), build(narrow)
        self.labels[key] = label

    def encoded(self) -> dict[str, Any]:
        """For JSON; what all variants share is stored once."""
        traces = {key: list(wide.data) for key, (wide, _) in self.variants.items()}
        count = max((len(found) for found in traces.values()), default=0)
        shared: list[dict[str, Any]] = []
        for number in range(count):
            having = [found[number] for found in traces.values() if len(found) > number]
            common = _common(having)
            shared.append(common)
            for found in traces.values():
                if len(found) > number:
                    found[number] = _rest(found[number], common)
        layouts = {key: [figure.layout for figure in both] for key, both in self.variants.items()}
        common_layouts = [_common([both[side] for both in layouts.values()]) for side in range(2)]
        own = {
            key: {
                "traces": traces[key],
                "layouts": [_rest(layouts[key][side], common_layouts[side]) for side in range(2)],
                "label": self.labels[key],
            }
            for key in self.variants
        }
        return {
            "by": self.by,
            "traces": shared,
            "layouts": common_layouts,
            "own": own,
            "parts": self.parts,
            "tables": self.tables,
            "everyRun": self.every_run,
        }


def encoded_rows(run: PageRun) -> dict[str, Any]:
    """The rows as columns, by the table they belong to (see `part_of`).

    {"keys": {part: [...]}, "same": {part: [...]}, "values": {thresholds: {step: {part: {column: [...]}}}}}: a column
    has a value for every key of its part, null where a step lacks it. Nearly all denominators are the same at every
    step: they stand under "same", and the others in a column. Ends of intervals are rounded to 4 decimals.
    """
    keys: dict[str, dict[tuple[Any, ...], int]] = {}
    same: dict[str, list[int | None]] = {}
    key_of = attrgetter(*KEYS)
    placed = []
    for row in run.of("kinds"):
        part, key = part_of(row), key_of(row)
        of_part = keys.setdefault(part, {})
        if key not in of_part:
            of_part[key] = len(of_part)
            same.setdefault(part, []).append(row.denominator)
        placed.append((row, part, of_part[key]))
    values: dict[str, dict[str, dict[str, dict[str, list[Any]]]]] = {}
    for row, part, place in placed:
        columns = values.setdefault(row.thresholds, {}).setdefault(str(row.step or 0), {}).setdefault(part, {})
        for name, value in _values(row):
            if value is not None and (name != "denominator" or value != same[part][place]):
                columns.setdefault(name, [None] * len(keys[part]))[place] = _short(value, exact=name == "value")
    return {"keys": {part: list(found) for part, found in keys.items()}, "same": same, "values": values}


def _values(row: Row) -> list[tuple[str, Any]]:
    if row.since:
        return [(name, getattr(row, column)) for name, column in _CHANGE.items()]
    return [(name, getattr(row, name)) for name in ("value", "denominator", "low", "high")]


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


def _is_thinned(row: Row) -> bool:
    if row.analysis == "kinds":
        return part_of(row) in ("layer", "degree")
    return row.analysis in ("transitions", "layer_parts")


def script_json(value: object) -> str:
    """JSON that may stand inside a script element: no "<" in it can end the element or begin another."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:  # a number that is not finite, such as the loss of a language without tokens
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: both are null, "not defined"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _short(value: float | bool, *, exact: bool) -> float | int | bool | None:
    if isinstance(value, bool):
        return value
    if not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return value if exact else round(value, 4)


def _common(dictionaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all have alike."""
    if not dictionaries:
        return {}
    first, *others = dictionaries
    return {name: value for name, value in first.items() if all(_same(other.get(name), value) for other in others)}


def _rest(dictionary: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in dictionary.items() if name not in common}


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
