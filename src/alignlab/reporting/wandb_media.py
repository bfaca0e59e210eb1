"""What W&B shows of a snapshot beside its numbers: figures and its tidy table, under the same keys at every snapshot.

W&B's step slider then moves through them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from alignlab.analysis.snapshots import Snapshot
from alignlab.neurons.table import ANCHORED, COLUMNS, Row, cells, guarded
from alignlab.reporting.counts_table import scalars
from alignlab.reporting.page.arm_answers import COLUMNS as ANSWER_COLUMNS
from alignlab.reporting.page.arm_answers import lines as lines_of_answers
from alignlab.reporting.page.data import frame
from alignlab.reporting.page.evaluations import (
    TASK_COLUMNS,
    PageEvaluation,
    lines_of,
    show_tasks,
    under_lines,
)
from alignlab.reporting.page.figures import degree_histogram, layer_heatmaps, layers_at_step
from alignlab.reporting.page.interventions import PageIntervention, show, table
from alignlab.reporting.wandb_run import WandbRun

LAYERS, LAYERS_OVER_STEPS, DEGREES, TABLE = MEDIA = (
    "neurons/layers",
    "neurons/layers_over_steps",
    "neurons/degrees",
    "neurons/table",
)
RECORD = "neurons/record"


class SnapshotsInWandb:
    """Gives snapshots, in their order, to a W&B run; the counts of earlier ones are kept, so that none is read again.

    earlier: rows of the tables of the snapshots that came before.
    """

    def __init__(self, run: WandbRun, earlier: Iterable[Row] = ()) -> None:
        self.run = run
        self._rows = [
            row for row in earlier if row.thresholds == ANCHORED and row.analysis == "kinds" and not row.is_change
        ]

    def draw(self, snapshot: Snapshot) -> None:
        """Add its figures and its table to the row of the history; they are made when the row is sent."""
        self._rows += snapshot.anchored
        self.run.log_media(partial(media, snapshot, self._rows[:]))

    def record(self, snapshot: Snapshot, step: int) -> None:
        """Make a row of the history of a record that is analysed, with its scalars; `step` is its place there."""
        rows, changes = ([replace(row, step=step) for row in some] for some in (snapshot.rows, snapshot.changes))
        shown = replace(snapshot, step=step, rows=rows, changes=changes)
        self.run.log_metrics(scalars(shown), step)
        self.run.log_media(lambda: {RECORD: snapshot.label})
        self.draw(shown)


def media(snapshot: Snapshot, rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of a run up to a snapshot, and the snapshot's table.

    rows: the counts of all snapshots so far at anchored thresholds.
    """
    import wandb

    counts = frame(rows)
    ends = counts[counts.step.isin([counts.step.min(), snapshot.step])]
    return {
        LAYERS: wandb.Plotly(layers_at_step(ends, snapshot.step).plotly()),
        LAYERS_OVER_STEPS: wandb.Plotly(layer_heatmaps(counts).plotly()),
        DEGREES: wandb.Plotly(degree_histogram(ends).plotly()),
        TABLE: _table(COLUMNS, [cells(row) for row in snapshot.table]),
    }


def log_interventions(run: WandbRun, interventions: Sequence[PageIntervention]) -> None:
    """Give a W&B run, in one row, the table of each folder of interventions and its first matrix, as on the page."""
    if interventions:
        run.log_metrics({}, 0)
        run.log_media(partial(intervention_media, interventions))


def intervention_media(interventions: Sequence[PageIntervention]) -> dict[str, Any]:
    """By `interventions/NAME/table` the tables, a line a cell, by `/matrix` the first matrices, by `/answers` those
    that the page samples, and by `/fallback` and `/fallback_table` the paths.
    """
    import wandb

    found: dict[str, Any] = {}
    for shown in show([interventions]):
        columns, lines = table(shown.of)
        if lines:
            cells = [list(map(_guarded, line)) for line in lines]
            found[f"interventions/{shown.of.name}/table"] = _table(columns, cells)
        if shown.fallback is not None:
            path, (wide, _) = shown.fallback.tables[str(shown.run)], next(iter(shown.fallback.variants.values()))
            cells = [list(map(_guarded, line)) for line in path["rows"]]
            found[f"interventions/{shown.of.name}/fallback_table"] = _table(path["columns"], cells)
            found[f"interventions/{shown.of.name}/fallback"] = wandb.Plotly(wide.plotly())
        for wide, _ in list(shown.card.variants.values())[:1]:
            found[f"interventions/{shown.of.name}/matrix"] = wandb.Plotly(wide.plotly())
        if shown.of.answers is not None:
            said = [list(map(_guarded, line)) for line in lines_of_answers(shown.of.answers)]
            found[f"interventions/{shown.of.name}/answers"] = _table(ANSWER_COLUMNS, said)
    return found


def log_evaluations(run: WandbRun, evaluations: Sequence[PageEvaluation]) -> None:
    """Give a W&B run, in one row, the tables and figures of every task of its evaluations, as on the page."""
    if evaluations:
        run.log_metrics({}, 0)
        run.log_media(partial(evaluation_media, evaluations))


def evaluation_media(evaluations: Sequence[PageEvaluation]) -> dict[str, Any]:
    """By `evaluations/NAME/TASK/` its `table`, its `figure` over steps and its table `interventions`, as there are."""
    import wandb

    found: dict[str, Any] = {}
    shown = iter(show_tasks([evaluations]))
    for one in evaluations:
        for task, drawn in zip(one.tasks, shown, strict=False):
            name = f"evaluations/{one.name}/{task.name}"
            found[f"{name}/table"] = _table(TASK_COLUMNS, [list(map(_guarded, line)) for line in lines_of(task)])
            if drawn.card is not None:
                found[f"{name}/figure"] = wandb.Plotly(drawn.card.variants["0"][0].plotly())
            if task.under:
                columns, lines = under_lines(task)
                found[f"{name}/interventions"] = _table(columns, [list(map(_guarded, line)) for line in lines])
    return found


def _guarded(cell: Any) -> Any:
    return guarded(cell) if type(cell) is str else cell


def _table(columns: Sequence[str], lines: Sequence[Sequence[Any]]) -> Any:
    """A table of W&B, without the columns in which nothing stands."""
    import wandb

    used = [place for place in range(len(columns)) if any(line[place] not in ("", None) for line in lines)]
    return wandb.Table(
        columns=[columns[place] for place in used],
        data=[[line[place] for place in used] for line in lines],
        allow_mixed_types=True,
    )
