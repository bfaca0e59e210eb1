"""Every logged number in one tidy CSV: step, key, value."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xxhash
from lightning.pytorch.loggers import Logger

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.distributed import rank

COLUMNS = ("step", "key", "value")
# With what the keys of numbers begin that are of the model at a step, and not of the training that led there.
OF_MODEL = ("neurons/", "capability/")
_GO_ON = "Restore it from a copy, or remove it to go on without the numbers of the steps before."


class MetricsCsv(Logger):
    """Appends to `metrics.csv`; a continued run first drops the rows of steps that it will do again.

    path: of the file.  step: optimiser steps that are done.
    """

    def __init__(self, path: Path, step: int) -> None:
        super().__init__()
        self.path = path
        self.step = step
        self._started = False
        self._histories: dict[str, list[tuple[int, float]]] = {}
        self._known: set[tuple[int | None, str]] = set()  # what an earlier process logged of the step it ended at

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def history(self, key: str) -> list[tuple[int, float]]:
        """Steps and values of a number that was logged up to now, also by the processes before; rank zero's."""
        self._start()
        return self._histories.get(key, [])

    @property
    def keys(self) -> set[str]:
        """What has been logged up to now; rank zero's."""
        self._start()
        return set(self._histories)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """The run folder has the whole config already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if rank() != 0:
            return
        self._start()
        with self.path.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            new = [
                (step, key, float(value))
                for key, value in metrics.items()
                if key != "epoch" and (step, key) not in self._known
            ]
            # repr() gives back the very same float.
            writer.writerows((*row[:2], repr(row[2])) for row in new)
        self._remember((step or 0, key, value) for step, key, value in new)

    def _start(self) -> None:
        if self._started:
            return
        self._started = True
        # A run from the start does all again, step 0 included.
        kept = read_metrics(self.path, self.step) if self.step > 0 else []
        self._known = {(step, key) for step, key, _ in kept if step == self.step}
        self._remember(kept)
        with whole_file(self.path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([COLUMNS, *((*row[:2], repr(row[2])) for row in kept)])

    def _remember(self, rows: Iterable[tuple[int, str, float]]) -> None:
        for step, key, value in rows:
            self._histories.setdefault(key, []).append((step, value))


def read_metrics(path: Path, last_step: int, fix: str = _GO_ON) -> list[tuple[int, str, float]]:
    """The rows of `metrics.csv` up to a step: step, key, value; none where there is no such file.

    fix: what to do about a file that is damaged; by default, of a run that is to be continued.

    A last row that a killed process did not write to its end is left out. Raises InputError with every other row that
    is no such row.
    """
    if not path.is_file():
        return []
    rows, problems = [], []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InputError(Problem(f"{path}", f"it is no text in UTF-8 ({error})", "the log of this run", fix)) from None
    for number, line in enumerate(lines[1:-1], start=2):  # no cell has a line break in it
        row = _parsed(line)
        if row is None:
            problems.append(Problem(f"{path}:{number}", f"it is {line!r:.100}", "step,key,value", fix))
        elif row[0] <= last_step:
            rows.append(row)
    if lines[0] != ",".join(COLUMNS):
        problems.insert(0, Problem(f"{path}:1", f"it is {lines[0]!r}", ",".join(COLUMNS), fix))
    refuse_any(problems)
    return rows


def metrics_digest(path: Path, step: int) -> str:
    """A digest of what the training had logged when step `step` was saved.

    The snapshot and the answers of that step are left out: where the training was stopped they are had when it goes on.
    """
    digest = xxhash.xxh3_128()
    for row in read_metrics(path, step):
        if row[0] < step or not row[1].startswith(OF_MODEL):
            digest.update(f"{row[0]},{row[1]},{row[2]!r}\n".encode())
    return digest.hexdigest()


def _parsed(line: str) -> tuple[int, str, float] | None:
    try:
        (cells,) = csv.reader([line], strict=True)
        step, key, value = cells
        return (int(step), key, float(value)) if step.isdecimal() else None
    except (ValueError, csv.Error):
        return None
