"""Pairs of preference: to each prompt an answer that is chosen and one that is rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import Ids, TextRow, nearest, read_rows
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.languages import check_codes, is_code


class Pairs(Options):
    """A JSON-lines file, one pair a line; methods without preferences are trained on the chosen answers."""

    name: Literal["pairs"] = "pairs"
    path: str = option(REQUIRED, "file of the pairs (.jsonl)")
    languages: list[str] | None = option(
        None, "languages to take, by ISO 639 code; null takes all that the file has", check=check_codes
    )
    prompt: str = option("prompt", "column of the prompt")
    chosen: str = option("chosen", "column of the better answer")
    rejected: str = option("rejected", "column of the worse answer")
    language: str = option("language", "column of the language's code")
    id: str | None = option("id", "column of the pair's id, its own in its language; null numbers the lines")
    cluster: str | None = option(
        None,
        "column of what pairs come from that are not independent, such as the question; null takes each on its own",
    )
    limit: int | None = option(None, "first pairs to take of each language; null takes all", unit="pairs", ge=1)

    @property
    def clusters(self) -> str:
        return f"column {self.cluster}" if self.cluster is not None else ""

    def load(self) -> list[Record]:
        path = Path(self.path).expanduser()
        if path.suffix != ".jsonl":
            raise InputError.of(str(path), f"a file of kind {path.suffix!r}", "pairs as JSON lines (.jsonl)")
        if not path.exists():
            raise InputError.of(str(path), "there is no such file", fix=nearest(path))
        records: list[Record] = []
        problems: list[Problem] = []
        taken: dict[str, int] = {}
        ids = Ids()
        for row in read_rows(path):
            try:
                code = self._language(row)
                if self.languages is not None and code not in self.languages:
                    continue
                taken[code] = taken.get(code, 0) + 1
                if self.limit is None or taken[code] <= self.limit:
                    records.append(self._record(row, code, ids))
            except InputError as error:
                problems += error.problems
        if missing := [code for code in self.languages or () if code not in taken]:
            found = f"no line is in {', '.join(missing)}"
            problems.append(Problem(str(path), found, f"some of: {', '.join(taken) or 'none of them'}"))
        refuse_any(problems)
        return records

    def _language(self, row: TextRow) -> str:
        code = row.text(self.language)
        if not is_code(code):
            raise InputError.of(row.where, f"{code!r} is no language code", "an ISO 639 code")
        return code

    def _record(self, row: TextRow, language: str, ids: Ids) -> Record:
        prompt, chosen, rejected = (self._text(row, column) for column in (self.prompt, self.chosen, self.rejected))
        if chosen == rejected:
            found = f"columns {self.chosen!r} and {self.rejected!r} hold the same text"
            raise InputError.of(row.where, found, "two answers", "A pair of equals teaches nothing: leave it out.")
        name = str(row.number) if self.id is None else row.text(self.id)
        ids.add(language, name, row.where)
        cluster = "" if self.cluster is None else self._text(row, self.cluster)
        return Record(name, language, prompt, chosen, cluster, rejected=rejected)

    def _text(self, row: TextRow, column: str) -> str:
        if not (text := row.text(column)):
            raise InputError.of(row.where, f"column {column!r} is empty", "text")
        return text
