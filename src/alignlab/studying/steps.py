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
    kind: of what is prepared.  levels: by axis, in the study's order, those of which it is asked; empty takes all.
    """

    name: str
    verb: str
    config: str | None
    settings: tuple[Setting, ...]
    key: str
    kind: str = ""
    levels: tuple[frozenset[str], ...] = ()

    def is_of(self, cell: Cell) -> bool:
        """Whether it is asked of a cell."""
        return all(not asked or level in asked for asked, level in zip(self.levels, cell.levels, strict=False))

    @property
    def command(self) -> list[str]:
        """The module of alignlab that is run, and what it takes before its keys."""
        return [self.verb, *([self.kind] if self.kind else [])]

    def asked(self, cell: Cell, folder: Path) -> list[str]:
        """The command's keys for a cell in its folder."""
        results = folder / self.name
        if self.verb == "prepare":
            given = [] if self.config is None else [f"config={self.config}"]
            given += [as_override(one.key, one.value) for one in self.settings]
            return [*given, as_override("folder", str(results))]
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
        """Changes with what is asked."""
        asked: list[Any] = [
            self.verb,
            *filter(None, [self.kind]),
            self.config,
            [[one.key, one.value] for one in self.settings],
        ]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:16]


def steps_of(options: StudyOptions, cell: Sequence[Setting], then: Mapping[str, Sequence[Setting]]) -> list[Step]:
    """What is done for cells, in this order. cell, then: what is set over their configs."""
    if options.models:
        first = Step(COUNTS, "analyze", options.cell.config, tuple(cell), "cell")
    else:
        first = Step(TRAIN, "train", options.cell.config, tuple(cell), "cell")
    return [
        first,
        *(
            Step(name, one.verb, one.config, tuple(then[name]), f"then.{name}", levels=_levels(options, one.levels))
            for name, one in options.then.items()
        ),
    ]


def _levels(options: StudyOptions, asked: Mapping[str, Sequence[str]]) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(asked.get(axis, ())) for axis in options.axes or (MODEL,))
