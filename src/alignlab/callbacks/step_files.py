"""The files that a callback writes at steps of a training: made ready, written, and checked when a training goes on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignlab import console
from alignlab.errors import InputError, Problem
from alignlab.manifest import stranger_problem
from alignlab.marks import is_ours
from alignlab.neurons.table import Row, collect_csv, csv_text, write_csv
from alignlab.recording.writing import refusing
from alignlab.runs import snapshot_files, step_name, step_of


@dataclass(frozen=True)
class StepFiles:
    """`<name>/step-*.safetensors`, what lies beside each, and `<name>.csv`, the tables of all steps, in a folder.

    name: of the inner folder and of the whole table.
    suffixes: of the files of a step, besides `safetensors`, which is written last but for the table.
    what, source: what a step has left, and what its table is made from, as messages say them.
    """

    folder: Path
    name: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]]
    what: ClassVar[str]
    source: ClassVar[str]

    @property
    def inner(self) -> Path:
        return self.folder / self.name

    @property
    def whole_table(self) -> Path:
        return self.folder / f"{self.name}.csv"

    def record(self, step: int) -> Path:
        return self.inner / f"{step_name(step)}.safetensors"

    def table(self, step: int) -> Path:
        return self.inner / f"{step_name(step)}.csv"

    def steps(self) -> list[int]:
        """Of the records that are there."""
        return [step_of(path) for path in snapshot_files(self.inner, "safetensors")]

    def beside(self) -> list[Path]:
        """Files of the training that are of no single step, where they are there."""
        return []

    def clear(self, *, overwrite: bool) -> None:
        """Remove what an earlier training left. Raises InputError for other files, and for what is not to be lost."""
        earlier = [path for suffix in ("safetensors", *self.suffixes) for path in snapshot_files(self.inner, suffix)]
        earlier += self.beside()
        whole = [self.whole_table] if self.whole_table.exists() else []
        if others := [path for path in (*earlier, *whole) if not is_ours(path)]:
            raise InputError(stranger_problem("folder", self.folder, others))
        if any(self.steps()) and not overwrite:
            raise InputError.of(
                f"folder ({self.folder})",
                f"it holds the {self.what}s of an earlier training, up to step {max(self.steps())}",
                "a folder of its own",
                "Give another folder, or overwrite=True to replace them.",
            )
        for path in earlier:
            path.unlink()

    def write_tables(self, step: int, rows: Sequence[Row]) -> None:
        """Write the table of a step, and those of all up to it."""
        write_csv(self.table(step), rows)
        tables = [path for path in snapshot_files(self.inner, "csv") if step_of(path) <= step]
        collect_csv(tables, self.whole_table)

    def missing(self, step: int, due: Collection[int]) -> list[Problem]:
        """The records before a step that are not there: that of step 0, and those of the steps `due`."""
        absent = sorted({0, *(one for one in due if one < step)} - {*self.steps()})
        return [self._missing(one, step) for one in absent]

    def mend_table(self, step: int, rows: Sequence[Row]) -> None:
        """Write the table of a step again if it is not what its record gives, and say so."""
        path = self.table(step)
        found = _content(path)
        if found != csv_text(rows).encode():
            _tell_rewritten(path, found, f" from its {self.source}")
            with refusing(self.inner, f"the table of step {step}"):
                write_csv(path, rows)

    def mend_whole_table(self, steps: Sequence[int]) -> None:
        """Write the table of all steps again, and say so if it was wrong."""
        before = _content(self.whole_table)
        with refusing(self.inner, "the table"):
            collect_csv([self.table(one) for one in steps], self.whole_table)
        now = self.whole_table.read_bytes()
        # It may have gone on to steps that are done again, or have ended before a process was killed.
        if before is None or not (before.startswith(now) or (before and now.startswith(before))):
            _tell_rewritten(self.whole_table, before)

    def _missing(self, step: int, now: int) -> Problem:
        found = f"there is no such file, and the run is at step {now}"
        if step == 0:
            expected = f"the {self.what} of step 0, to which the others are compared"
            fix = "Give the folder in which the run has been tracked from its start."
        else:
            expected = f"the {self.what} of step {step}"
            fix = f"Restore it, or remove the checkpoints from step {step} on, so that the run goes on from before it."
        return Problem(f"{self.record(step)}", found, expected, fix)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _tell_rewritten(path: Path, before: bytes | None, source: str = "") -> None:
    console.say(f"note: {path} {'was missing' if before is None else 'had changed'}: written again{source}")
