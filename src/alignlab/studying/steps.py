"""What is done for a cell: its training, or its counting, and then what is asked of it; each a command of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.config import as_override
from alignlab.studying.grid import COUNTS, MODEL, TRAIN, Cell, Setting
from alignlab.studying.options import StudyOptions


@dataclass(frozen=True)
class Step:
    """A command, whose results lie in a folder of that name in the cell's.

    settings: beside what names the cell.  key: of the study's config, at which it stands.
    kind: of what is prepared.  only: by axis, in the order of a cell's levels, which of these are asked; None for all.
    """

    name: str
    verb: str
    config: str | None
    settings: tuple[Setting, ...]
    key: str
    kind: str = ""
    only: tuple[tuple[str, ...] | None, ...] = ()

    def is_of(self, cell: Cell) -> bool:
        """Whether it is done for a cell."""
        # What is prepared is of no levels.
        levels = zip(self.only, cell.levels, strict=False)
        return all(some is None or level in some for some, level in levels)

    def asked(self, cell: Cell, folder: Path) -> list[str]:
        """The command's arguments for a cell in its folder."""
        results = folder / self.name
        if self.verb == "prepare":
            given = [] if self.config is None else [f"config={self.config}"]
            given += [as_override(one.key, one.value) for one in self.settings]
            return [self.kind, *given, as_override("folder", str(results))]
        if self.verb == "train":
            return [f"config={folder / 'config.yaml'}", as_override("run.folder", str(results))]
        given = [] if self.config is None else [f"config={self.config}"]
        if cell.model is None:
            given.append(as_override("run", str(folder / TRAIN)))
        else:
            source, revision = cell.model
            key = "model.source" if self.verb == "intervene" else "models"
            given.append(as_override(key, source if self.verb == "intervene" else [source]))
            if revision is not None:
                given += [as_override("model.source", source), as_override("model.revision", revision)]
        given += [as_override(one.key, one.value) for one in self.settings]
        return [*dict.fromkeys([*given, as_override("folder", str(results))])]

    @property
    def digest(self) -> str:
        """Changes with what is asked, whichever cells it is asked of."""
        asked: list[Any] = [
            self.verb,
            *filter(None, [self.kind]),
            self.config,
            [[one.key, one.value] for one in self.settings],
        ]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def steps_of(options: StudyOptions, cell: Sequence[Setting], then: Mapping[str, Sequence[Setting]]) -> list[Step]:
    """The steps of cells, in their order. cell, then: what is set over their configs."""
    if options.models:
        first = Step(COUNTS, "analyze", options.cell.config, tuple(cell), "cell")
    else:
        first = Step(TRAIN, "train", options.cell.config, tuple(cell), "cell")
    axes = [MODEL] if options.models else [*options.axes]
    return [
        first,
        *(
            Step(name, one.verb, one.config, tuple(then[name]), f"then.{name}", only=_only(one.levels, axes))
            for name, one in options.then.items()
        ),
    ]


def _only(levels: Mapping[str, Sequence[str]], axes: Sequence[str]) -> tuple[tuple[str, ...] | None, ...]:
    return tuple(tuple(levels[axis]) if axis in levels else None for axis in axes)
