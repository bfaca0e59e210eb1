"""The folder of a model's answers: begun, continued to the batch, and whole.

While answers are made there is a file for each batch in `parts`, each line with a checksum; at the end
`responses.jsonl` has a line for each question, language by language, with all answers to it, and the parts are removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import yaml

from alignlab.atomic import name_being_written, whole_file, write_text
from alignlab.checksums import damaged
from alignlab.config import differences
from alignlab.environment import differing_versions
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.folder_lock import LOCK, locked
from alignlab.manifest import NAME, checksum, kind_of, stranger_problem, verify
from alignlab.parts import Parts, lines
from alignlab.preparation.answers import Answer, Question
from alignlab.redaction import comparable
from alignlab.regular_files import read_regular

KIND = "responses"
Start = Literal["new", "continue", "finished"]

# What may differ between a command and the one that goes on: it changes no answer.
_IGNORED = ("dry_run", "folder")
_MADE_FROM = {
    "questions_fingerprint": ("source", "the questions, as tokenised,"),
    "model_fingerprint": ("model.source", "the weights of the model"),
    "batches_fingerprint": ("max_tokens_per_batch", "how the answers lie in batches"),
}


@dataclass(frozen=True)
class ResponsesFolder:
    """Names of all that is in it, and what may be done with it."""

    path: Path

    @property
    def _where(self) -> str:
        return f"folder ({self.path})"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def responses(self) -> Path:
        return self.path / "responses.jsonl"

    @property
    def table(self) -> Path:
        return self.path / "table.csv"

    @property
    def parts(self) -> Parts:
        return Parts(self.path / "parts")

    @property
    def is_finished(self) -> bool:
        return self._state() == "finished"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process. What killed ones were writing is removed."""
        with locked(self.path, "folder"):
            for entry in self._being_written():
                entry.unlink()
            yield

    def check_ours(self) -> None:
        """Refuse a folder that holds something else. Nothing is written to find out. Raises InputError."""
        if not self.path.exists() or set(self.path.iterdir()) <= {self.path / LOCK, *self._being_written()}:
            return
        kind = kind_of(self.path) if (self.path / NAME).is_file() else None
        if kind != KIND:
            found = f"it holds {'something else' if kind is None else f'files of the kind {kind}'}"
            raise InputError(Problem(self._where, found, "a new folder, or one of responses", "Name another."))

    def start(self, document: str) -> Start:
        """Whether answers are new here, go on or are finished; `document` is the resolved config as YAML.

        Raises `InputError` for a folder that holds something else, those of another config, or damaged ones.
        """
        self.check_ours()
        state = self._state()
        if state is None or (state == "begun" and not any(self.parts.written())):
            return "new"
        self._check_written()
        different = differences(
            comparable(self._stored_config()), comparable(yaml.safe_load(document)), ignore=_IGNORED
        )
        if different:
            found = f"it holds the answers of another config; different are {'; '.join(map(str, different))}"
            raise InputError(
                Problem(self._where, found, "the same config to continue", "Set folder to another folder.")
            )
        return "finished" if state == "finished" else "continue"

    def begin(self, document: str, made_from: Mapping[str, Any]) -> None:
        """Write down that answers of this config begin. Raises InputError for files of others in their places."""
        text = json.dumps(made_from, indent=2) + "\n"
        parts = self.parts.path
        if parts.is_dir() and (others := sorted(set(parts.iterdir()) - set(self.parts.written()))):
            raise InputError(stranger_problem("folder", self.path, others))
        written = {self.config: document, self.environment: text}
        # First of all what tells whose folder it is; nothing is lost where the others are not there yet.
        self._write_manifest("begun", [])
        for file, content in written.items():
            write_text(file, content)
        self._write_manifest("begun", list(written))

    def check_continued(self, made_from: Mapping[str, Any]) -> list[str]:
        """Refuse to go on with other questions or another model than it began with. Raises `InputError`.

        Returns a line for each package of another version than it began with.
        """
        stored = json.loads(read_regular(self.environment))  # its checksum has been looked at
        fix = "Restore what it began with, or set folder to another folder."
        refuse_any(
            [
                Problem(
                    where, f"{what} changed since {self.path} began ({stored[key]} then, {made_from[key]} now)", "", fix
                )
                for key, (where, what) in _MADE_FROM.items()
                if stored[key] != made_from[key]
            ]
        )
        return differing_versions(stored, made_from)

    def done(self, batches: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """The batches whose answers are there, and those whose are there but damaged, which are to be made again."""
        good, bad = [], []
        for batch, numbers in enumerate(batches):
            if self.parts.part(batch).is_file():
                try:
                    self.read_part(batch, numbers)
                except InputError:
                    bad.append(batch)
                else:
                    good.append(batch)
        return good, bad

    def write_part(self, batch: int, numbers: Sequence[int], answers: Sequence[Answer]) -> None:
        """Write the answers of a batch, whole or not at all. numbers: of the answers, among all."""
        rows = [{"number": number, **asdict(answer)} for number, answer in zip(numbers, answers, strict=True)]
        self.parts.write(batch, rows)

    def read_part(self, batch: int, numbers: Sequence[int]) -> list[Answer]:
        """The answers of a batch, in its order. Raises InputError where they are not those that were written."""
        rows = self.parts.read(batch)
        if [row.pop("number", None) for row in rows] != list(numbers):
            raise damaged(self.parts.part(batch))
        return [Answer(**row) for row in rows]

    def finish(self, questions: Iterator[Question], table: Callable[[list[Question]], str]) -> None:
        """Write all questions with their answers and a table with a line for each language; remove the parts.

        questions: language by language.  table: from the questions of a language to its lines, with the header first.
        """
        tables: list[str] = []
        with whole_file(self.responses) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            for _, group in groupby(questions, key=lambda question: question.language):
                of_language = list(group)
                file.write(lines([asdict(question) for question in of_language]))
                tables.append(table(of_language))
        write_text(self.table, "".join([tables[0], *(text.partition("\n")[2] for text in tables[1:])]))
        self._write_manifest("finished", [self.config, self.environment, self.responses, self.table])
        self.parts.clear()

    def read(self) -> Iterator[Question]:
        """All questions with their answers, language by language. Raises InputError where they are not whole."""
        if not self.path.is_dir() or kind_of(self.path) != KIND:
            found = "it holds no responses" if self.path.exists() else "there is no such folder"
            fix = "Make them with: python -m alignlab.prepare responses"
            raise InputError(Problem(f"responses ({self.path})", found, "a folder of responses", fix))
        if not self.is_finished:
            fix = f"Go on with: python -m alignlab.prepare responses config={self.config} folder={self.path}"
            found = "its answers are not all there yet"
            raise InputError(Problem(f"responses ({self.path})", found, "finished ones", fix))
        self._check_written()
        return self._questions()

    def _questions(self) -> Iterator[Question]:
        with self.responses.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                row = json.loads(line)
                yield Question(**{**row, "answers": [Answer(**answer) for answer in row["answers"]]})

    def _being_written(self) -> list[Path]:
        """What killed processes had begun to write."""
        names = {path.name for path in (self.config, self.environment, self.responses, self.table)} | {NAME}
        entries = list(self.path.iterdir()) if self.path.is_dir() else []
        return [entry for entry in entries if name_being_written(entry) in names] + self.parts.being_written()

    def _check_written(self) -> None:
        if faults := verify(self.path):
            fix = "Restore it from a copy, or set folder to another folder."
            raise InputError(*(Problem(str(self.path), fault, "the file that was written", fix) for fault in faults))

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
        write_text(self.path / NAME, json.dumps({"kind": KIND, "files": listed, "state": state}, indent=2) + "\n")
