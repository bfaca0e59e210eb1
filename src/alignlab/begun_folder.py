"""A folder of work that takes long: begun, gone on with from what is done, and finished.

While the work is done its parts lie in `parts`; at the end the results are there, and the parts are removed. What the
work was begun with is in `config.yaml` and `environment.json`, and a manifest says how far it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml

from alignlab.atomic import name_being_written, write_text
from alignlab.config import differences
from alignlab.environment import differing_versions
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.folder_lock import LOCK, locked
from alignlab.manifest import NAME, checksum, kind_of, stranger_problem, verify
from alignlab.parts import Parts
from alignlab.redaction import comparable
from alignlab.regular_files import read_regular

Start = Literal["new", "continue", "finished"]


@dataclass(frozen=True)
class BegunFolder:
    """Names of what is in every such folder, and what may be done with it. A subclass says of what kind it is.

    kind: in the manifest.  holds: what it holds, in words.
    key: the config key that names it.
    ignored: keys in which a command may differ from the one that it goes on from: they change no result.
    made_from: by the name of a fingerprint in `environment.json`, the config key that it is about, and what it is of.
    """

    path: Path

    kind: ClassVar[str]
    holds: ClassVar[str]
    key: ClassVar[str] = "folder"
    ignored: ClassVar[Sequence[str]]
    made_from: ClassVar[Mapping[str, tuple[str, str]]]

    @property
    def _where(self) -> str:
        return f"{self.key} ({self.path})"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def table(self) -> Path:
        return self.path / "table.csv"

    @property
    def parts(self) -> Parts:
        return Parts(self.path / "parts")

    @property
    def results(self) -> Sequence[Path]:
        """The files that are there when the work is finished, beside those that are there from its beginning."""
        raise NotImplementedError

    @property
    def _may_differ(self) -> Sequence[str]:
        """The keys in which this folder's commands may differ."""
        return self.ignored

    @property
    def is_finished(self) -> bool:
        return self._state() == "finished"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process. What killed ones were writing is removed."""
        with locked(self.path, self.key):
            for entry in self._being_written():
                entry.unlink()
            yield

    def check_ours(self) -> None:
        """Refuse a folder that holds something else. Nothing is written to find out. Raises InputError."""
        if not self.path.exists() or set(self.path.iterdir()) <= {self.path / LOCK, *self._being_written()}:
            return
        kind = kind_of(self.path) if (self.path / NAME).is_file() else None
        if kind != self.kind:
            found = f"it holds {'something else' if kind is None else f'files of the kind {kind}'}"
            raise InputError(Problem(self._where, found, f"a new folder, or one of {self.kind}", "Name another."))

    def start(self, document: str) -> Start:
        """Whether the work is new here, goes on or is finished; `document` is the resolved config as YAML.

        Raises `InputError` for a folder that holds something else, the work of another config, or damaged results.
        """
        self.check_ours()
        state = self._state()
        if state is None or (state == "begun" and not self._parts()):
            return "new"
        self.check_written()
        different = differences(
            comparable(self._stored_config()), comparable(yaml.safe_load(document)), ignore=self._may_differ
        )
        if different:
            found = f"it holds the {self.holds} of another config; different are {'; '.join(map(str, different))}"
            raise InputError(
                Problem(self._where, found, "the same config to continue", f"Set {self.key} to another folder.")
            )
        return "finished" if state == "finished" else "continue"

    def begin(self, document: str, made_from: Mapping[str, Any]) -> None:
        """Write down that work of this config begins. Raises InputError for files of others in their places."""
        text = json.dumps(made_from, indent=2) + "\n"
        parts = self.parts.path
        if parts.is_dir() and (others := sorted(set(parts.iterdir()) - set(self._parts()))):
            raise InputError(stranger_problem(self.key, self.path, others))
        written = {self.config: document, self.environment: text}
        # First of all what tells whose folder it is; nothing is lost where the others are not there yet.
        self._write_manifest("begun", [])
        for file, content in written.items():
            write_text(file, content)
        self._write_manifest("begun", list(written))

    def check_continued(self, made_from: Mapping[str, Any]) -> list[str]:
        """Refuse to go on with other data or another model than it began with. Raises `InputError`.

        Returns a line for each package of another version than it began with.
        """
        stored = json.loads(read_regular(self.environment))  # its checksum has been looked at
        fix = f"Restore what it began with, or set {self.key} to another folder."
        refuse_any(
            [
                Problem(
                    where, f"{what} changed since {self.path} began ({stored[key]} then, {made_from[key]} now)", "", fix
                )
                for key, (where, what) in self.made_from.items()
                if stored[key] != made_from[key]
            ]
        )
        return differing_versions(stored, made_from)

    def end(self) -> None:
        """Write down that the results are there, and remove the parts."""
        self._write_manifest("finished", [self.config, self.environment, *self.results])
        self.clear_parts()

    def clear_parts(self) -> None:
        """Remove the files of all parts, and their folder where nothing else is in it."""
        for part in self._parts():
            part.unlink()
        self.parts.clear()

    def check_written(self) -> None:
        """Refuse files that are not as they were written. Raises `InputError`."""
        if faults := verify(self.path):
            fix = f"Restore it from a copy, or set {self.key} to another folder."
            raise InputError(*(Problem(str(self.path), fault, "the file that was written", fix) for fault in faults))

    def _parts(self) -> list[Path]:
        """The files of the parts that are done, of whatever work in this folder."""
        return sorted(self.parts.path.glob("part-*.jsonl"))

    def _being_written(self) -> list[Path]:
        """What killed processes had begun to write."""
        names = {path.name for path in (self.config, self.environment, *self.results)} | {NAME}
        entries = list(self.path.iterdir()) if self.path.is_dir() else []
        return [entry for entry in entries if name_being_written(entry) in names] + self.parts.being_written()

    def _stored_config(self) -> dict[str, Any]:
        stored = yaml.safe_load(read_regular(self.config).decode("utf-8"))
        return stored if isinstance(stored, dict) else {}

    def _state(self) -> str | None:
        """`begun` or `finished`; None where nothing has begun."""
        try:
            state = json.loads(read_regular(self.path / NAME)).get("state")
        except (OSError, ValueError, RecursionError, AttributeError):
            return None
        return state if state in ("begun", "finished") else None

    def _write_manifest(self, state: str, files: Sequence[Path]) -> None:
        listed = {file.name: {"bytes": file.stat().st_size, "xxh3_128": checksum(file)} for file in files}
        write_text(self.path / NAME, json.dumps({"kind": self.kind, "files": listed, "state": state}, indent=2) + "\n")
