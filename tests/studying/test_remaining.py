"""What is left of a study, against sums by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignlab.studying.folder import StudyFolder
from alignlab.studying.grid import Cell
from alignlab.studying.remaining import remaining
from alignlab.studying.steps import Step

STEPS = [
    Step("run", "analyze", None, (), "cell"),
    Step("off", "intervene", None, (), "then.off"),
    Step("dear", "intervene", None, (), "then.dear", levels=(frozenset({"zh"}), frozenset())),
]
CELLS = [Cell(f"{one}+{method}", (one, method), 0) for one in ("zh", "sw") for method in ("a", "b")]


def ended(folder: StudyFolder, cell: Cell, seconds: dict[str, tuple[float, bool]]) -> None:
    folder.cell(cell).mkdir(parents=True)
    for step in STEPS:
        if step.name in seconds:
            folder.end_step(cell, step, seconds[step.name][0], done=seconds[step.name][1])


def test_what_is_left_is_by_step_and_only_of_the_cells_that_are_asked(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path)
    nothing = remaining(folder, STEPS, CELLS, CELLS)
    assert nothing.processes == "4 alignlab.analyze, 6 alignlab.intervene"
    assert nothing.says(1) == ""
    ended(folder, CELLS[2], {"run": (100.0, True), "off": (20.0, True)})  # sw: dear is not asked of it
    assert folder.state(CELLS[2], STEPS[:2]) == "finished"
    ended(folder, CELLS[0], {"run": (60.0, True), "off": (5.0, False)})
    todo = [CELLS[0], CELLS[1], CELLS[3]]
    left = remaining(folder, STEPS, CELLS, todo)
    assert left.verbs == {"intervene": 5, "analyze": 2}
    # zh+a: off, of which 5 s are done; zh+b and sw+b: all; dear of zh+a and zh+b is unknown.
    assert left.seconds == pytest.approx((20 - 5) + 2 * (80 + 20))
    assert left.unknown == {"dear": 2}
    assert left.says(2) == "about 2 min, beside 2 dear"
