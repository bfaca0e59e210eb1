"""The file that says where stages ended: what of it counts for a run that goes on, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alignlab.errors import InputError
from alignlab.runs import RunFolder
from alignlab.stage_ends import last_steps, read_ends, write_ends

NAMES = ("one", "two", "three")
ENDS: list[dict[str, Any]] = [{"name": "one", "step": 4}, {"name": "two", "step": 9, "planned_steps": 12}]


def test_the_stages_that_had_ended_by_a_step(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert read_ends(folder, 20, NAMES) == []
    write_ends(folder, ENDS)
    for done, expected in ((0, []), (3, []), (4, ENDS[:1]), (8, ENDS[:1]), (9, ENDS), (20, ENDS)):
        assert read_ends(folder, done, NAMES) == expected
    assert last_steps(ENDS) == (4, 9)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "3",
        '[{"name": "one"}]',
        '[{"name": "one", "step": "4"}]',
        '[{"name": "one", "step": 0}]',
        '[{"name": "two", "step": 4}]',
        '[{"name": "one", "step": 4}, {"name": "two", "step": 4}]',
        '[{"name": "one", "step": 1}, {"name": "two", "step": 2}, {"name": "three", "step": 3}]',  # the run's end
        "[" * 100_000,
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(InputError, match=r"stages.json: it is damaged; expected the ends of the stages of this run"):
        read_ends(RunFolder(tmp_path), 9, NAMES)
