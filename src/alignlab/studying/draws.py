"""Numbers of cells in the same resamples of documents: with these, counts are compared on the same documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from alignlab import console
from alignlab.analysis.draws import DRAWS_FILE, Draws, documents_of
from alignlab.errors import InputError
from alignlab.neurons.probabilities import Floats


@dataclass(frozen=True, eq=False)
class Resampled:
    """A number in each resample.

    values: (R,).  shards: of how many shards of documents each resample is.
    documents: what is of the same documents, in the same resamples, has the same; empty where they are not known.
    """

    values: Floats
    shards: int
    documents: str

    @classmethod
    def of(cls, draws: Draws | None, lines: Sequence[int]) -> Resampled | None:
        """The number at the first of the lines of a table, less that at the second; None where it was not resampled."""
        if draws is None or not lines:
            return None
        places = np.searchsorted(draws.lines, lines)
        if (places == len(draws.lines)).any() or (draws.lines[places] != lines).any():
            return None
        first, *rest = draws.values[places].astype(np.float64)
        return cls(first - sum(rest), draws.shards, draws.documents)

    def less(self, other: Resampled | None) -> Resampled | None:
        """A difference, resample by resample; None where these are not of the same documents."""
        if other is None or not are_joint([self, other]):
            return None
        return replace(self, values=self.values - other.values)


def are_joint(some: Sequence[Resampled]) -> bool:
    """Whether all are of the same documents in the same resamples."""
    first = some[0]
    return bool(first.documents) and all(
        (one.documents, len(one.values)) == (first.documents, len(first.values)) for one in some
    )


def mean_of(some: Sequence[Resampled]) -> Resampled | None:
    """The mean of some numbers, resample by resample; None where these are not of the same documents."""
    return replace(some[0], values=np.mean([one.values for one in some], axis=0)) if are_joint(some) else None


def draws_in(folder: Path, sources: Iterable[str]) -> dict[str, Draws]:
    """By source what a cell's folder has; a file that is damaged is told of once, and passed over."""
    files = {source: folder / source / DRAWS_FILE for source in sources}
    found = {source: _read(path) for source, path in files.items() if path.is_file()}
    return {source: draws for source, draws in found.items() if draws is not None}


def _read(path: Path) -> Draws | None:
    try:
        return Draws.load(path)
    except InputError as error:
        _complain(str(error.problems[0]))
        return None


@cache
def _complain(problem: str) -> None:
    console.complain(f"note: resamples are passed over, and intervals over documents too wide for it: {problem}")


def notes_of(folders: Mapping[str, Path], sources: Iterable[str]) -> list[str]:
    """What keeps the numbers of some cells from being resampled together, a sentence for each source.

    folders: of the cells, by name; those that were not asked are passed over.  sources: with errors over documents.
    """
    said = []
    for source in sources:
        of_cells = {
            name: _documents(folder / source / DRAWS_FILE)
            for name, folder in folders.items()
            if (folder / source / "table.csv").is_file()
        }
        without = [name for name, found in of_cells.items() if not found]
        there = len({found for found in of_cells.values() if found})
        why = []
        if without:
            many = "1 cell" if len(without) == 1 else f"{len(without):,} cells"
            some = "no cell with" if len(without) == len(of_cells) else f"{many}, such as {without[0]}, without"
            left = folders[without[0]] / source
            again = f"python -m alignlab.analyze config={left / 'config.yaml'} folder={left}"
            why.append(f"{some} resamples of documents that are known ({again} makes them)")
        if there > 1:
            why.append(f"{there:,} sets of texts, or of resamples of them")
        if why:
            said.append(
                f"{source}: {', and '.join(why)}. There, intervals over documents and over both are as if documents "
                "erred alike under all seeds, and too wide."
            )
    return said


def _documents(path: Path) -> str | None:
    try:
        return documents_of(path) if path.is_file() else None
    except InputError:
        return None  # which `draws_in` tells of
