"""Pieces of long work, kept while it goes on: a file of rows for each, whole or not at all, every row with a checksum.

What a killed process had finished is read instead of made again; what was damaged since is made again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.atomic import name_being_written, write_text
from alignlab.checksums import damaged, of_values
from alignlab.regular_files import read_regular


@dataclass(frozen=True)
class Parts:
    """The parts of a work, by number.

    path: their folder.
    work: what tells the work from others whose parts lie in the same folder, such as a digest; letters and digits.
    """

    path: Path
    work: str = ""

    def part(self, number: int) -> Path:
        """The file of a part."""
        return self.path / f"{self._prefix}{number:06d}.jsonl"

    def write(self, number: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of a part, plain containers, whole or not at all."""
        write_text(self.part(number), lines([{**row, "checksum": of_values(row)} for row in rows]))

    def read(self, number: int) -> list[dict[str, Any]]:
        """The rows of a part. Raises InputError where they are not as they were written.

        That none is missing at the end is for the caller to see, who knows which there are to be.
        """
        path = self.part(number)
        try:
            *texts, rest = read_regular(path).decode("utf-8").split("\n")
            rows = [json.loads(line) for line in texts]
            sums = [row.pop("checksum") for row in rows]
        except (OSError, ValueError, RecursionError, AttributeError, KeyError, TypeError):
            raise damaged(path) from None
        if rest or sums != [of_values(row) for row in rows]:
            raise damaged(path)
        return rows

    def written(self) -> Iterator[Path]:
        """The files that are there, in order."""
        yield from sorted(self.path.glob(f"{self._prefix}[0-9]*.jsonl"))

    def being_written(self) -> list[Path]:
        """What killed processes had begun to write."""
        entries = list(self.path.iterdir()) if self.path.is_dir() else []
        return [entry for entry in entries if (name_being_written(entry) or "").startswith(self._prefix)]

    def clear(self) -> None:
        """Remove all parts, and the folder where nothing else is in it."""
        for path in [*self.written(), *self.being_written()]:
            path.unlink()
        with suppress(OSError):  # there is none, or somebody else's files are in it
            self.path.rmdir()

    @property
    def _prefix(self) -> str:
        return f"part-{self.work}-" if self.work else "part-"


def lines(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as lines of JSON."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
