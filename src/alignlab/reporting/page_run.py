"""From the views of a study to what the page shows of a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from alignlab import languages
from alignlab.analysis.view import View
from alignlab.console import plain
from alignlab.data.examples import Answers
from alignlab.errors import InputError, Problem
from alignlab.methods.registry import METHODS
from alignlab.neurons.layer_parts import too_few
from alignlab.neurons.table import Row
from alignlab.redaction import hide, hide_all
from alignlab.reporting.metrics_csv import read_metrics
from alignlab.reporting.page import PageLanguage, PageRun
from alignlab.reporting.page_capability import read_capability
from alignlab.reporting.page_evaluations import read_evaluations
from alignlab.reporting.page_interventions import read_interventions
from alignlab.runs import RunFolder

# The analyses whose rows the page shows: of every record, and of the first and the last one.
COURSE = ("kinds", "losses", "thresholds", "transitions", "layer_parts")
ENDS = ("stability", "survival", "overlap_ratio", "english_uniqueness", "language_overlap", "family_overlap")
SHOWN = (*COURSE, *ENDS)


@dataclass
class PageOf:
    """Collects the page of one run, view by view, and keeps no counts.

    name: of the run.  folder: of the run, or of the results.  identifier, options: what classified.
    question: what was asked, as YAML, of records that are not those of a run; "" of a run, whose folder has its config.
    by_step: records stand at their optimiser steps, as in a run; else one after another, by their labels.
    shown: languages of which there are rows; None for all.
    note: what stands in the place of languages, if they are something else.
    """

    name: str
    folder: Path
    identifier: str
    options: Mapping[str, Any]
    how_to: Mapping[str, str] = field(default_factory=dict)
    question: str = ""
    by_step: bool = True
    shown: Sequence[str] | None = None
    note: str = ""
    _rows: list[Row] = field(default_factory=list)
    _of_last: list[Row] = field(default_factory=list)
    _steps: dict[int, str] = field(default_factory=dict)
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
        self._last = view

    def _of_shown(self, classified: Sequence[str]) -> list[str]:
        if self.shown is None:
            return []
        return [f"Of the {len(classified)} languages classified, {' '.join(self.shown)} are shown."]

    def page(self) -> PageRun:
        """The page's data."""
        last = self._last
        assert last is not None
        counts = last.counts
        interventions, unfinished = ([], []) if self.question else read_interventions(self.folder)
        evaluations, begun = ([], []) if self.question else read_evaluations(self.folder)
        return PageRun(
            name=plain(self.name),
            folder=plain(str(self.folder)),
            model=plain(counts.model),
            revision=plain(counts.revision),
            site=counts.read_at,
            scope=counts.scope,
            shape=last.now.shape,
            identifier=self.identifier,
            options=hide_all(self.options),
            languages=[one for one in _languages(last) if self.shown is None or one.code in self.shown],
            steps=list(self._steps),
            rows=self._rows + (self._of_last if len(self._steps) > 1 else []),
            training_loss=None if self.question else _training_loss(self.folder / "metrics.csv"),
            training_units="answer tokens" if self.question else _training_units(RunFolder(self.folder)),
            stage_ends={} if self.question else dict(RunFolder(self.folder).stage_ends()),
            parts_refused="".join(map(str, too_few(last.now.shape[0]))),
            config=self.question or _config(self.folder / "config.yaml"),
            environment=None if self.question else _environment(self.folder / "environment.json"),
            notes=hide_all(
                [*filter(None, [self.note]), *self._notes, *self._of_shown(counts.languages), *unfinished, *begun]
            ),
            how_to=hide_all(self.how_to),
            capability=read_capability(self.folder) if self.by_step else None,
            interventions=interventions,
            evaluations=evaluations,
            step_names={} if self.by_step else self._steps,
            is_run=not self.question,
        )


def _training_loss(path: Path) -> list[tuple[int, float]]:
    fix = "Restore it from a copy, or remove it to have the page without the training loss."
    return [(step, loss) for step, key, loss in read_metrics(path, sys.maxsize, fix) if key == "train/loss"]


def _training_units(run: RunFolder) -> str:
    """What the loss of training is a mean over: of a run in stages all that there are, in their order."""
    config = run.stored_config() if run.config.is_file() else {}
    parts = config.get("stages", {}).values() or [config]
    # A config that somebody has cut leaves the unit of the first method.
    names = [name for part in parts if (name := part.get("method", {}).get("name")) in METHODS]
    return ", then ".join(dict.fromkeys(METHODS[name].examples.unit for name in names)) or Answers.unit


def _config(path: Path) -> str | None:
    return hide(path.read_text(encoding="utf-8")) if path.is_file() else None


def _environment(path: Path) -> dict[str, Any] | None:
    """What the run was made with; None for one that was tracked in somebody's own script."""
    if not path.is_file():
        return None
    try:
        found = hide_all(json.loads(path.read_text(encoding="utf-8")))
        json.dumps(found, ensure_ascii=False).encode()  # as the page shows it: no halves of characters
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(Problem(str(path), "it is damaged", "what the run was made with", "Restore it, or remove it."))
    return found


def _languages(view: View) -> list[PageLanguage]:
    counts = view.counts
    numbers = zip(counts.language_tokens().tolist(), counts.documents.sum(dim=1).tolist(), strict=True)
    groups = {code: group for group in ("unseen", "reference", "trained") for code in view.now.groups.get(group, ())}
    found = []
    for code, (tokens, documents) in zip(counts.languages, numbers, strict=True):
        known = languages.find(code)
        about = {} if known is None else {name: getattr(known, name) for name in ("own_name", "script", "family")}
        name = code if known is None else known.name
        found.append(PageLanguage(code, name, **about, group=groups[code], tokens=tokens, documents=documents))
    return found
