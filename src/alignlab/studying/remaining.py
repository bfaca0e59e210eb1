"""What is left of a study: how many processes, and how long they take as far as those that are done tell."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from alignlab.console import duration
from alignlab.studying.folder import StudyFolder
from alignlab.studying.grid import Cell
from alignlab.studying.steps import Step


@dataclass
class Remaining:
    """What is left of some cells.

    seconds: of the processes whose like is done somewhere, one after another.
    verbs: processes by command, all of them.  unknown: those of which none is done yet, by the step's name.
    """

    seconds: float = 0.0
    verbs: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def processes(self) -> str:
        """How many there are, by command."""
        return ", ".join(f"{number:,} alignlab.{verb}" for verb, number in self.verbs.items())

    def says(self, jobs: int) -> str:
        """How long that takes with so many processes side by side; empty where nothing tells."""
        if not self.seconds:
            return ""
        beside = ", ".join(f"{number:,} {name}" for name, number in self.unknown.items())
        return f"about {duration(self.seconds / jobs)}{f', beside {beside}' if beside else ''}"


def remaining(folder: StudyFolder, steps: Sequence[Step], cells: Sequence[Cell], todo: Iterable[Cell]) -> Remaining:
    """What is left of the cells `todo`, by what each step has taken on average in the cells where it is done.

    Cells of one step may differ: those of a larger training take longer than the mean says.
    """
    taken = {cell: folder.taken(cell) for cell in cells}
    whole = defaultdict(list)
    for cell in cells:
        for step in steps:
            if folder.is_done(cell, step):
                whole[step.name].append(taken[cell].get(step.name, 0.0))
    left = Remaining()
    for cell in todo:
        for step in steps:
            if not step.is_of(cell) or folder.is_done(cell, step):
                continue
            left.verbs[step.verb] += 1
            if step.name in whole:
                left.seconds += max(0.0, fmean(whole[step.name]) - taken[cell].get(step.name, 0.0))
            else:
                left.unknown[step.name] += 1
    return left
