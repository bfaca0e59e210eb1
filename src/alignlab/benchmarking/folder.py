"""The folder of a benchmark of identifiers: a part for each seed while it is measured, then tables and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from alignlab.begun_folder import BegunFolder
from alignlab.benchmarking.measuring import plain_rows, rows_of
from alignlab.errors import InputError
from alignlab.neurons.table import Row


class BenchmarkFolder(BegunFolder):
    """Names of all that is in it, and what may be done with it."""

    kind = "benchmark of identifiers"
    holds = "benchmark"
    ignored = ("dry_run", "folder")
    made_from: ClassVar[Mapping[str, tuple[str, str]]] = {"version": ("planted", "how models are planted")}

    @property
    def by_seed(self) -> Path:
        """Every number of every seed."""
        return self.path / "by_seed.csv"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    @property
    def results(self) -> Sequence[Path]:
        return self.table, self.by_seed, self.page

    def keep(self, seed: int, rows: Sequence[Row]) -> None:
        """Write the numbers of a seed, whole or not at all."""
        self.parts.write(seed, plain_rows(rows))

    def kept(self, seed: int) -> list[Row] | None:
        """The numbers of a seed; None where they are not there, or damaged."""
        if not self.parts.part(seed).is_file():
            return None
        try:
            return rows_of(self.parts.read(seed))
        except InputError:
            return None
