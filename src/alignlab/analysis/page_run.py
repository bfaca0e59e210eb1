"""From the views of a study to what the page shows of a run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from alignlab import languages
from alignlab.analysis.layers import NO_SIGNATURE, WITHIN_ONE
from alignlab.analysis.page_numbers import numbers
from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.errors import InputError, Problem
from alignlab.neurons.classification import Classification
from alignlab.neurons.kinds import Kind
from alignlab.neurons.layer_parts import too_few
from alignlab.neurons.summary import CountRow
from alignlab.redaction import hide, hide_all
from alignlab.reporting.page import (
    LanguageOverlap,
    LayerParts,
    LossRow,
    PageLanguage,
    PageNumber,
    PageRow,
    PageRun,
    Thresholds,
    Transition,
)

# The analyses whose rows the page shows, beside the counts.
SHOWN = (
    "stability",
    "transitions",
    "survival",
    "overlap_ratio",
    "english_uniqueness",
    "language_overlap",
    "family_overlap",
    "layer_parts",
    "losses",
)


@dataclass
class PageOf:
    """Collects the page of one run, view by view, and keeps no counts.

    name: of the run.  folder: of the run, or of the results.  identifier, options: what classified.
    by_step: records stand at their optimiser steps, as in a run; else one after another, by their labels.
    """

    name: str
    folder: Path
    identifier: str
    options: Mapping[str, Any]
    how_to: Mapping[str, str] = field(default_factory=dict)
    by_step: bool = True
    _rows: list[PageRow] = field(default_factory=list)
    _steps: dict[int, str] = field(default_factory=dict)
    _losses: list[LossRow] = field(default_factory=list)
    _transitions: list[Transition] = field(default_factory=list)
    _reestimated: dict[int, Thresholds] = field(default_factory=dict)
    _parts: list[LayerParts] = field(default_factory=list)
    _refused: str = ""
    _overlaps: list[LanguageOverlap] = field(default_factory=list)
    _numbers: list[PageNumber] = field(default_factory=list)
    _last: tuple[View, dict[str, list[Row]]] | None = None
    _anchored: Thresholds | None = None
    _languages: list[PageLanguage] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def add(self, view: View, rows: Sequence[Row]) -> None:
        """Take what the page shows of one record; records come in order.

        rows: of the analyses in `SHOWN`; others are left alone.
        """
        now = view.now
        step = now.step if self.by_step else len(self._steps)
        self._steps[step] = now.label
        of = {name: [row for row in rows if row.analysis == name] for name in SHOWN}
        for thresholds, table, _ in view.tables():
            self._rows += [self._row(view, step, thresholds, row) for row in table]
        # A language without counted tokens, or a model that overflows, has none.
        self._losses += [LossRow(step, name, loss) for name, loss in now.losses.items() if math.isfinite(loss)]
        self._reestimated[step] = _thresholds(now.own)
        if view.first is None:
            self._anchored = _thresholds(now.result)
            self._languages = _languages(view)
            self._overlaps.append(_overlaps(view, of["language_overlap"], step))
            self._numbers += numbers(of, step)
        else:
            self._transitions.append(_transition(of["transitions"], step))
        if now.result.reason and now.result.reason not in self._notes:
            self._notes.append(f"{now.label}: {now.result.reason}")
        if refused := too_few(now.shape[0]):
            self._refused = str(refused[0])
        else:
            self._parts.append(_parts(of["layer_parts"], step))
        self._last = view, of

    def page(self) -> PageRun:
        """The page's data."""
        assert self._last is not None
        last, of = self._last
        overlaps, found = list(self._overlaps), list(self._numbers)
        if last.first is not None:
            step = list(self._steps)[-1]
            overlaps.append(_overlaps(last, of["language_overlap"], step))
            found += numbers(of, step)
        config, environment = self.folder / "config.yaml", self.folder / "environment.json"
        counts = last.counts
        return PageRun(
            name=hide(self.name),
            folder=hide(str(self.folder)),
            model=hide(counts.model),
            revision=hide(counts.revision),
            site=counts.site,
            scope=counts.scope,
            shape=last.now.shape,
            identifier=self.identifier,
            options=hide_all(self.options),
            languages=self._languages,
            steps=list(self._steps),
            rows=self._rows,
            anchored=self._anchored,
            reestimated=self._reestimated,
            losses=self._losses or None,
            training_loss=_training_loss(self.folder / "metrics.csv"),
            transitions=self._transitions,
            overlaps=overlaps,
            parts=self._parts or None,
            parts_refused=self._refused,
            numbers=found or None,
            config=hide(config.read_text(encoding="utf-8")) if config.is_file() else None,
            environment=_environment(environment),
            notes=hide_all(self._notes),
            how_to=hide_all(self.how_to),
            step_names={} if self.by_step else self._steps,
        )

    def _row(self, view: View, step: int, thresholds: str, row: CountRow) -> PageRow:
        since = view.first.label if view.first else ""
        interval = view.intervals.get((thresholds, "", row))
        change = view.intervals.get((thresholds, since, row)) if since else None
        columns = asdict(row) | {"step": step, "thresholds": thresholds}
        if interval is not None:
            columns |= {"low": interval.low, "high": interval.high}
        if change is not None:
            columns |= {
                "change": change.row.count,
                "change_low": change.low,
                "change_high": change.high,
                "beyond_noise": not change.low <= 0 <= change.high,
            }
        return PageRow(**columns)


def _environment(path: Path) -> dict[str, Any] | None:
    """What the run was made with; None for one that was tracked in somebody's own script."""
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(Problem(str(path), "it is damaged", "what the run was made with", "Restore it, or remove it."))
    hidden: dict[str, Any] = hide_all(found)
    return hidden


def _thresholds(result: Classification) -> Thresholds:
    return Thresholds(result.threshold, result.thresholds.get("lambda"))


def _languages(view: View) -> list[PageLanguage]:
    counts = view.counts
    documents = counts.documents.sum(dim=1).tolist()
    tokens = counts.language_tokens().tolist()
    found = []
    for index, code in enumerate(counts.languages):
        known = languages.LANGUAGES.get(code)
        found.append(
            PageLanguage(
                code=code,
                name=known.name if known else code,
                own_name=known.own_name if known else "",
                script=known.script if known else "",
                family=known.family if known else "",
                trained=code in view.now.trained,
                tokens=tokens[index],
                documents=documents[index],
            )
        )
    return found


def _transition(rows: Sequence[Row], step: int) -> Transition:
    """The rows go from each kind to each, in the order of `Kind`."""

    def table(values: Sequence[Any]) -> list[list[Any]]:
        return [list(values[start : start + len(Kind)]) for start in range(0, len(values), len(Kind))]

    low, high = [row.low for row in rows], [row.high for row in rows]
    counts = table([int(row.value) for row in rows])
    if None in low or None in high:
        return Transition(step, counts)
    return Transition(step, counts, low=table(low), high=table(high))


def _overlaps(view: View, rows: Sequence[Row], step: int) -> LanguageOverlap:
    names = view.now.result.languages
    place = {name: index for index, name in enumerate(names)}

    def table(label: str, column: str = "value") -> list[list[float | None]]:
        cells: list[list[float | None]] = [[None] * len(names) for _ in names]
        for row in rows:
            value = getattr(row, column)
            if row.label == label and value is not None and not math.isnan(value):
                a, b = place[row.language], place[row.other]
                cells[a][b] = cells[b][a] = value
        return cells

    among = "those above tau in some language" if view.convention == "all" else "those selected"
    overlap = LanguageOverlap(
        step, f"related neurons, among {among}", names, table("jaccard"), table("chance"), table("z")
    )
    if view.noise is None:
        return overlap
    return replace(overlap, low=table("beyond chance", "low"), high=table("beyond chance", "high"))


def _parts(rows: Sequence[Row], step: int) -> LayerParts:
    starts = [row for row in rows if row.unit == "layers"]
    return LayerParts(
        step,
        cuts=[int(row.value) for row in starts[1:]],
        labels=["" if row.label == NO_SIGNATURE else row.label for row in starts],
        costs=dict(enumerate((row.value for row in rows if row.unit == "error"), start=1)),
        cut_shares=[row.value for row in rows if row.label == WITHIN_ONE] or None,
    )


def _training_loss(path: Path) -> list[tuple[int, float]] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), float(row["value"])) for row in csv.DictReader(file) if row["key"] == "train/loss"]
