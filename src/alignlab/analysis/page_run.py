"""From the views of a study to what the page shows of a run."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from alignlab import languages
from alignlab.analysis.view import View
from alignlab.errors import InputError
from alignlab.neurons.dynamics import transitions
from alignlab.neurons.identifiers import Identified
from alignlab.neurons.kinds import Kind
from alignlab.neurons.layer_parts import layer_parts
from alignlab.neurons.overlaps import overlap
from alignlab.neurons.summary import CountRow
from alignlab.reporting.page import (
    LanguageOverlap,
    LayerParts,
    LossRow,
    PageLanguage,
    PageRow,
    PageRun,
    Thresholds,
    Transition,
)


@dataclass
class PageOf:
    """Collects the page of one run, view by view, and keeps no counts.

    name: of the run.  folder: of the run, or of the results.  identifier, options: what classified.
    """

    name: str
    folder: Path
    identifier: str
    options: Mapping[str, Any]
    how_to: Mapping[str, str] = field(default_factory=dict)
    _rows: list[PageRow] = field(default_factory=list)
    _steps: dict[int, str] = field(default_factory=dict)
    _losses: list[LossRow] = field(default_factory=list)
    _transitions: list[Transition] = field(default_factory=list)
    _reestimated: dict[int, Thresholds] = field(default_factory=dict)
    _parts: list[LayerParts] = field(default_factory=list)
    _refused: str = ""
    _overlaps: list[LanguageOverlap] = field(default_factory=list)
    _last: View | None = None
    _anchored: Thresholds | None = None
    _languages: list[PageLanguage] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def add(self, view: View) -> None:
        """Take what the page shows of one record; records come in order."""
        now = view.now
        step = view.counts.step if view.counts.step is not None else len(self._steps)
        self._steps[step] = now.label
        for thresholds, table, _ in view.tables():
            self._rows += [self._row(view, step, thresholds, row) for row in table]
        self._losses += [LossRow(step, name, loss) for name, loss in now.losses.items()]
        self._reestimated[step] = _thresholds(now.own)
        if view.first is None:
            self._anchored = _thresholds(now.result)
            self._languages = _languages(view)
            self._overlaps.append(_overlaps(view, step))
        else:
            before, after = (shot.result.kinds(view.convention) for shot in (view.first, now))
            self._transitions.append(Transition(step, transitions(before, after).tolist()))
        if now.result.reason and now.result.reason not in self._notes:
            self._notes.append(f"{now.label}: {now.result.reason}")
        self._segment(view, step)
        self._last = view

    def page(self) -> PageRun:
        """The page's data."""
        last = self._last
        assert last is not None
        if last.first is not None:
            self._overlaps.append(_overlaps(last, list(self._steps)[-1]))
        config, environment = self.folder / "config.yaml", self.folder / "environment.json"
        counts = last.counts
        return PageRun(
            name=self.name,
            folder=str(self.folder),
            model=counts.model,
            revision=counts.revision,
            site=counts.site,
            scope=counts.scope,
            shape=last.now.shape,
            identifier=self.identifier,
            options=self.options,
            languages=self._languages,
            steps=list(self._steps),
            rows=self._rows,
            anchored=self._anchored,
            reestimated=self._reestimated,
            losses=self._losses or None,
            training_loss=_training_loss(self.folder / "metrics.csv"),
            transitions=self._transitions,
            overlaps=self._overlaps,
            parts=self._parts or None,
            parts_refused=self._refused,
            config=config.read_text(encoding="utf-8") if config.is_file() else None,
            environment=json.loads(environment.read_text(encoding="utf-8")) if environment.is_file() else None,
            notes=self._notes,
            how_to=self.how_to,
            step_names={} if counts.step is not None else self._steps,
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

    def _segment(self, view: View, step: int) -> None:
        curves = [
            [row.count for row in view.now.anchored if row.layer is not None and row.kind == kind.label]
            for kind in (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL)
        ]
        try:
            found = layer_parts(torch.tensor(curves))
        except InputError as error:  # too few layers: the page says so
            self._refused = str(error)
            return
        costs = dict(enumerate(found.costs, start=1))
        self._parts.append(LayerParts(step, found.cuts, [label or "" for label in found.labels], costs))


def _thresholds(result: Identified) -> Thresholds:
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
                script=known.script if known else "",
                family=known.family if known else "",
                trained=code in view.now.trained,
                tokens=tokens[index],
                documents=documents[index],
            )
        )
    return found


def _overlaps(view: View, step: int) -> LanguageOverlap:
    """Of the related neurons that languages own: specific ones are disjoint by definition."""
    result = view.now.result
    related = result.kinds(view.convention) == Kind.RELATED
    masks = [result.above[name] & related for name in result.languages]
    pool = result.selected if view.convention != "all" else None
    pairs = [[None if a is b else overlap(a, b, pool) for b in masks] for a in masks]

    def table(name: str) -> list[list[float | None]]:
        values = [[None if pair is None else getattr(pair, name) for pair in line] for line in pairs]
        return [[None if value is None or math.isnan(value) else value for value in line] for line in values]

    of = "related neurons, among those selected" if pool is not None else "related neurons, among all"
    return LanguageOverlap(step, of, result.languages, table("jaccard"), table("chance"), table("z"))


def _training_loss(path: Path) -> list[tuple[int, float]] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), float(row["value"])) for row in csv.DictReader(file) if row["key"] == "train/loss"]
