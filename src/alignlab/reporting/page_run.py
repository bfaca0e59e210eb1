"""From the views of a study to what the page shows of a run."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignlab import languages
from alignlab.analysis.view import View
from alignlab.errors import InputError, Problem
from alignlab.neurons.layer_parts import too_few
from alignlab.neurons.table import Row
from alignlab.redaction import hide, hide_all
from alignlab.reporting.page import PageLanguage, PageRun

# The analyses whose rows the page shows: of every record, and of the first and the last one.
COURSE = ("kinds", "losses", "thresholds", "transitions", "layer_parts")
ENDS = ("stability", "survival", "overlap_ratio", "english_uniqueness", "language_overlap", "family_overlap")
SHOWN = (*COURSE, *ENDS)


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
    _rows: list[Row] = field(default_factory=list)
    _of_last: list[Row] = field(default_factory=list)
    _steps: dict[int, str] = field(default_factory=dict)
    _refused: str = ""
    _last: View | None = None
    _notes: list[str] = field(default_factory=list)

    def add(self, view: View, rows: Sequence[Row]) -> None:
        """Take what the page shows of one record; records come in order.

        rows: of the analyses in `SHOWN`; others are left alone.
        """
        now = view.now
        step = now.step if self.by_step else len(self._steps)
        self._steps[step] = now.label
        # A record that stands elsewhere than at its step has its rows there.
        shown = [row if row.step == step else replace(row, step=step) for row in rows if not row.since_before]
        self._rows += [row for row in shown if row.analysis in COURSE]
        self._of_last = [row for row in shown if row.analysis in ENDS]
        if len(self._steps) == 1:
            self._rows += self._of_last
        if now.result.reason and now.result.reason not in self._notes:
            self._notes.append(f"{now.label}: {now.result.reason}")
        if refused := too_few(now.shape[0]):
            self._refused = str(refused[0])
        self._last = view

    def page(self) -> PageRun:
        """The page's data."""
        last = self._last
        assert last is not None
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
            languages=_languages(last),
            steps=list(self._steps),
            rows=self._rows + (self._of_last if len(self._steps) > 1 else []),
            training_loss=_training_loss(self.folder / "metrics.csv"),
            parts_refused=self._refused,
            config=hide(config.read_text(encoding="utf-8")) if config.is_file() else None,
            environment=_environment(environment),
            notes=hide_all(self._notes),
            how_to=hide_all(self.how_to),
            step_names={} if self.by_step else self._steps,
        )


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


def _training_loss(path: Path) -> list[tuple[int, float]] | None:
    if not path.is_file():
        return None
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["step"]), float(row["value"])) for row in csv.DictReader(file) if row["key"] == "train/loss"]
