"""The folder of a model's answers: begun, continued to the batch, and whole.

While answers are made there is a file for each batch in `parts`, each line with a checksum; at the end
`responses.jsonl` has a line for each question, language by language, with all answers to it, and the parts are removed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import ClassVar

from alignlab.atomic import whole_file, write_text
from alignlab.begun_folder import BegunFolder
from alignlab.checksums import damaged
from alignlab.errors import InputError, Problem
from alignlab.manifest import kind_of
from alignlab.parts import lines
from alignlab.preparation.answers import Answer, Question


class ResponsesFolder(BegunFolder):
    """Names of all that is in it, and what may be done with it."""

    kind = "responses"
    holds = "answers"
    ignored = ("dry_run", "folder")
    made_from: ClassVar[Mapping[str, tuple[str, str]]] = {
        "questions_fingerprint": ("source", "the questions, as tokenised,"),
        "model_fingerprint": ("model.source", "the weights of the model"),
        "batches_fingerprint": ("max_tokens_per_batch", "how the answers lie in batches"),
    }

    @property
    def responses(self) -> Path:
        return self.path / "responses.jsonl"

    @property
    def results(self) -> Sequence[Path]:
        return self.responses, self.table

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
        self.end()

    def read(self) -> Iterator[Question]:
        """All questions with their answers, language by language. Raises InputError where they are not whole."""
        if not self.path.is_dir() or kind_of(self.path) != self.kind:
            found = "it holds no responses" if self.path.exists() else "there is no such folder"
            fix = "Make them with: python -m alignlab.prepare responses"
            raise InputError(Problem(f"responses ({self.path})", found, "a folder of responses", fix))
        if not self.is_finished:
            fix = f"Go on with: python -m alignlab.prepare responses config={self.config} folder={self.path}"
            found = "its answers are not all there yet"
            raise InputError(Problem(f"responses ({self.path})", found, "finished ones", fix))
        self.check_written()
        return self._questions()

    def _questions(self) -> Iterator[Question]:
        with self.responses.open(encoding="utf-8", newline="\n") as file:
            for line in file:
                row = json.loads(line)
                yield Question(**{**row, "answers": [Answer(**answer) for answer in row["answers"]]})
