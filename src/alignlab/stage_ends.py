"""How stages ended that others have followed: `stages.json`, by which a run that goes on finds its place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alignlab.atomic import write_text
from alignlab.errors import InputError, Problem
from alignlab.regular_files import read_regular
from alignlab.runs import RunFolder

End = dict[str, Any]


def read_ends(folder: RunFolder, done: int, names: Sequence[str]) -> list[End]:
    """The ends of the stages that have ended by step `done`, in their order: the `name`, the last `step` and why.

    names: of all stages.  Raises InputError for a file that is damaged, or of other stages.
    """
    if not folder.stages.is_file():
        return []
    try:
        ends: Any = json.loads(read_regular(folder.stages))
        found = [(str(end["name"]), end["step"]) for end in ends]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        found = []
    steps = [step for _, step in found]
    rising = all(isinstance(step, int) and step > before for step, before in zip(steps, [0, *steps], strict=False))
    if not found or not rising or [name for name, _ in found] != list(names[: len(found)]) or len(found) >= len(names):
        fix = "Restore it from a copy, or set overwrite=true to begin again."
        raise InputError(Problem(str(folder.stages), "it is damaged", "the ends of the stages of this run", fix))
    return [end for end in ends if end["step"] <= done]


def last_steps(ends: Sequence[End]) -> tuple[int, ...]:
    """The last step of each."""
    return tuple(end["step"] for end in ends)


def write_ends(folder: RunFolder, ends: Sequence[End]) -> None:
    """Write down how stages have ended."""
    write_text(folder.stages, json.dumps(list(ends), indent=2) + "\n")
