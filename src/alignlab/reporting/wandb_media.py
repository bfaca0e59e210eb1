"""What a snapshot shows in W&B beside its numbers: figures and its tidy table, under the same keys at every snapshot.

W&B's step slider then moves through them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alignlab.analysis.snapshots import Snapshot
from alignlab.neurons.table import ANCHORED, COLUMNS, Row, cells
from alignlab.reporting.page.figures import degree_histogram, layer_heatmaps, layers_at_step

LAYERS, LAYERS_OVER_STEPS, DEGREES, TABLE = (
    "neurons/layers",
    "neurons/layers_over_steps",
    "neurons/degrees",
    "neurons/table",
)
MEDIA = (LAYERS, LAYERS_OVER_STEPS, DEGREES, TABLE)


class Course:
    """The figures and tables of snapshots in their order; earlier counts are kept, so that none is read again.

    rows: of the tables of the snapshots that came before.
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        self._rows = [row for row in rows if _is_drawn(row)]

    def add(self, snapshot: Snapshot) -> Callable[[], dict[str, Any]]:
        """What makes the media of the next snapshot, whenever it is called."""
        self._rows += snapshot.anchored
        until = len(self._rows)
        return lambda: media(snapshot, self._rows[:until])


def media(snapshot: Snapshot, rows: Sequence[Row]) -> dict[str, Any]:
    """Figures of a run up to a snapshot, and the snapshot's table.

    rows: counts of all snapshots so far at anchored thresholds, the first's and this one's among them.
    """
    import wandb

    first = min((row.step or 0 for row in rows), default=0)
    ends = [row for row in rows if row.step in (first, snapshot.step)]
    lines = [cells(row) for row in snapshot.table]
    used = [place for place in range(len(COLUMNS)) if any(line[place] not in ("", None) for line in lines)]
    return {
        LAYERS: wandb.Plotly(layers_at_step(ends, snapshot.step).plotly()),
        LAYERS_OVER_STEPS: wandb.Plotly(layer_heatmaps(rows).plotly()),
        DEGREES: wandb.Plotly(degree_histogram(ends).plotly()),
        TABLE: wandb.Table(
            columns=[COLUMNS[place] for place in used],
            data=[[line[place] for place in used] for line in lines],
            allow_mixed_types=True,
        ),
    }


def _is_drawn(row: Row) -> bool:
    return row.thresholds == ANCHORED and row.analysis == "kinds" and not row.is_change
