"""What the numbers of a table are in each resample of the documents, in a file beside the table.

An interval tells how sure one number is. How sure the mean or the difference of several models' numbers is, counted on
the same documents, follows from what these are in the same resamples alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from alignlab.analysis.intervals import DrawnRow
from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem
from alignlab.manifest import checksum
from alignlab.neurons.headed_file import HeadedFormat
from alignlab.neurons.probabilities import Floats, Integers

DRAWS_FILE = "draws.safetensors"
_FORMAT = HeadedFormat(
    name="alignlab-draws",
    what="numbers in resamples",
    writer="alignlab.analyze intervals=ends",
    texts=("documents", "table"),
    values={"shards": (int, "an integer")},
    tensors=("values", "lines"),
)


@dataclass(frozen=True, eq=False)
class Draws:
    """Numbers of a table in R resamples.

    values: (n, R) float32.
    lines: (n,) int64, ascending, the line of each in the table: 0 is the first below the header.
    shards: S, of how many shards of documents each resample is, with replacement.
    documents: changes with the documents, how they are dealt to shards, and which shards are in which resample: what
        has the same may be compared resample by resample. Empty where the documents are not known.
    table: the checksum of the table's file.
    """

    values: Floats
    lines: Integers
    shards: int
    documents: str
    table: str

    def save(self, path: Path) -> None:
        """Write them, whole or not at all. Raises OSError where that cannot be."""
        tensors = {"values": torch.from_numpy(self.values), "lines": torch.from_numpy(self.lines)}
        _FORMAT.save(path, tensors, self)

    @classmethod
    def load(cls, path: Path) -> Draws:
        """The draws beside the table that they were written with.

        Raises InputError for a file that is damaged, or is no such file, and for another table beside it.
        """
        with _FORMAT.opened(path) as (file, header):
            tensors = read_checked(path, file)
        values, lines = tensors["values"].numpy(), tensors["lines"].numpy()
        ordered = lines.ndim == 1 and lines.dtype == np.int64 and bool((np.diff(lines, prepend=-1) > 0).all())
        shaped = values.ndim == 2 and lines.shape == values.shape[:1] and values.shape[1] > 1
        if not (ordered and shaped and header["shards"] > 1 and np.isfinite(values).all()):
            found = f"values {values.shape} at lines {lines.shape}, of {header['shards']} shards"
            found += "; or some are not finite, or out of order"
            expected = "two or more finite values for each of some rising lines, of two or more shards"
            raise InputError(Problem(str(path), found, expected))
        table = path.with_name("table.csv")
        if not table.is_file() or checksum(table) != header["table"]:
            fix = "Restore the table from a copy, or ask the analysis again."
            raise InputError(Problem(str(path), "the table.csv beside it is another one", "that of these draws", fix))
        return cls(values, lines, **header)


def documents_of(path: Path) -> str:
    """On which documents draws are, as `Draws.documents` says it, by the header alone. Raises InputError as `load`."""
    with _FORMAT.opened(path) as (_, header):
        return str(header["documents"])


@dataclass
class Drawing:
    """Collects the draws of a table as its lines are written: those of a few records, of the same resamples.

    documents: of each record that was collected, in order.
    """

    lines: list[int] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    documents: dict[str, None] = field(default_factory=dict)
    shards: int = 0

    def add(self, rows: Iterable[tuple[int, DrawnRow]], shards: int, documents: str) -> None:
        """Take the rows of a record that were resampled, each with its line; not changes since the record before."""
        self.shards = shards
        self.documents[documents] = None
        for line, one in rows:
            if one.drawn is not None and not one.row.since_before and np.isfinite(one.drawn).all():
                self.lines.append(line)
                self.values.append(one.drawn.astype(np.float32))

    def save(self, table: Path) -> None:
        """Write them beside the table; nothing where no row was resampled."""
        if self.lines:
            known: Sequence[str] = [] if "" in self.documents else list(self.documents)
            values, lines = np.stack(self.values), np.array(self.lines, dtype=np.int64)
            Draws(values, lines, self.shards, " ".join(known), checksum(table)).save(table.with_name(DRAWS_FILE))
