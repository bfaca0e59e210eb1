"""Every logged number in one tidy CSV: step, key, value."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from alignlab.atomic import whole_file
from alignlab.models.distributed import rank

COLUMNS = ("step", "key", "value")


class MetricsCsv(Logger):
    """Appends to `metrics.csv`; a continued run first drops the rows of steps that it will do again.

    path: of the file.  step: optimiser steps that are done.
    """

    def __init__(self, path: Path, step: int) -> None:
        super().__init__()
        self.path = path
        self.step = step
        self._started = False

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder has the whole config already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if rank() != 0:
            return
        self._start()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            # repr() gives back the very same float.
            writer.writerows((step, key, repr(float(value))) for key, value in metrics.items() if key != "epoch")

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        kept = []
        if self.path.is_file() and self.step > 0:  # a run from the start does all again, step 0 included
            with self.path.open(encoding="utf-8", newline="") as file:
                rows = csv.reader(file)
                next(rows, None)
                kept = [row for row in rows if len(row) == len(COLUMNS) and int(row[0]) <= self.step]
        with whole_file(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *kept])
