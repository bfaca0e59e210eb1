"""The folder of an evaluation: records by what they are made from, and the table of the question asked last.

`records/` has the record of every model and task, named by a digest of both; another question finds those that it needs
and adds others. Nothing in it is ever out of date, so it may be asked with any config.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from alignlab import console
from alignlab.atomic import name_being_written, write_text
from alignlab.errors import InputError, Problem
from alignlab.evaluating.task import Measured
from alignlab.folder_lock import LOCK, locked
from alignlab.manifest import NAME, checksum, kind_of, listed, remove_listed
from alignlab.parts import Parts
from alignlab.recording.effects import Effects
from alignlab.recording.responses_file import check_answers

KIND = "evaluation"


@dataclass(frozen=True)
class EvaluationFolder:
    """Names of what is in it, and what may be done with it."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def table(self) -> Path:
        return self.path / "table.csv"

    @property
    def contents(self) -> Path:
        """Which record is of which model and task."""
        return self.path / "records.json"

    def record(self, digest: str) -> Path:
        return self.path / "records" / f"{digest}.safetensors"

    def answers(self, digest: str) -> Path:
        """The texts of the answers; there is none of a task without."""
        return self.path / "records" / f"{digest}.jsonl"

    def parts(self, digest: str) -> Path:
        """The folder of what is done of a record that is not whole."""
        return self.path / "parts" / digest

    def check_ours(self) -> None:
        """Refuse a folder that holds something else. Nothing is written to find out. Raises InputError."""
        if not self.path.exists() or all(_is_temporary(entry) for entry in self.path.iterdir()):
            return
        kind = kind_of(self.path) if (self.path / NAME).is_file() else None
        if kind != KIND:
            found = f"it holds {'something else' if kind is None else f'files of the kind {kind}'}"
            raise InputError(Problem(f"folder ({self.path})", found, "a new folder, or an evaluation", "Name another."))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process. What killed ones were writing is removed."""
        with locked(self.path, "folder"):
            for folder in (self.path, self.path / "records"):
                for entry in list(folder.iterdir()) if folder.is_dir() else []:
                    if name_being_written(entry) is not None:
                        entry.unlink()
            yield

    def begin(self) -> None:
        """Say whose folder it is, before anything is in it."""
        if not (self.path / NAME).is_file():
            self._list([])

    def save(self, digest: str, measured: Measured) -> None:
        """Write a record, whole or not at all, and remove its parts."""
        if measured.answers:  # first: a record is there only when its answers are
            write_text(self.answers(digest), measured.answers)
        measured.effects.save(self.record(digest))
        self._list([digest])
        self.clear_parts(digest)

    def load(self, digest: str) -> Effects | None:
        """A record; None where there is none, or it or its answers are damaged, which is said."""
        path = self.record(digest)
        if not path.is_file():
            return None
        try:
            effects = Effects.load(path)
            if effects.answers_checksum:
                check_answers(self.answers(digest), effects.answers_checksum)
        except InputError as error:
            console.say(f"note: {error.problems[0]} It is measured again.")
            return None
        return effects

    def parts_kept(self, digest: str) -> int:
        """How many parts are done of a record that is not whole."""
        return len(list(self.parts(digest).glob("part-*.jsonl")))

    def clear_parts(self, digest: str) -> None:
        """Remove what was kept of a record."""
        folder = self.parts(digest)
        for path in folder.glob("part-*.jsonl"):
            path.unlink()
        Parts(folder).clear()
        self._clear_empty()

    def means(self, digest: str, text: str) -> Path:
        """The folder of a model's mean activations on a text, which is there while it is measured."""
        return self.path / "parts" / f"means-{digest}-{text}"

    def clear_means(self) -> None:
        """Remove them, and what a killed process has left of them."""
        for folder in (self.path / "parts").glob("*means-*"):
            remove_listed(folder)
        self._clear_empty()

    def end(self, document: str, records: Sequence[tuple[str, str, str, str]]) -> None:
        """Write what was asked. records: of each its model, its task, its intervention (or empty) and its digest."""
        held = [
            {"record": model, "task": task, **({"intervention": under} if under else {}),
             "file": self.record(digest).relative_to(self.path).as_posix()}
            for model, task, under, digest in records
        ]  # fmt: skip
        write_text(self.contents, json.dumps(held, indent=2, ensure_ascii=False) + "\n")
        write_text(self.config, document)
        self._list([digest for *_, digest in records])

    def _clear_empty(self) -> None:
        """Remove the folder of all parts once there are none."""
        folder = self.path / "parts"
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _list(self, digests: Sequence[str]) -> None:
        """Put files on the list of those that are ours."""
        own = [self.config, self.table, self.contents]
        own += [path for digest in digests for path in (self.record(digest), self.answers(digest))]
        names = dict.fromkeys([*listed(self.path), *(path.relative_to(self.path).as_posix() for path in own)])
        there = {name: self.path / name for name in names if (self.path / name).is_file()}
        files = {name: {"bytes": path.stat().st_size, "xxh3_128": checksum(path)} for name, path in there.items()}
        write_text(self.path / NAME, json.dumps({"kind": KIND, "files": files}, indent=2, ensure_ascii=False) + "\n")


def _is_temporary(entry: Path) -> bool:
    return entry.name == LOCK or name_being_written(entry) is not None
