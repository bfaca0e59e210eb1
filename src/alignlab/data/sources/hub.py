"""A data set of the Hugging Face Hub, or a local folder of the same form."""

from __future__ import annotations

from itertools import islice
from typing import Any, Literal

from alignlab.config import REQUIRED, option
from alignlab.data.hub_table import HubTable
from alignlab.data.records import Record
from alignlab.data.text_files import Ids, check_text
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.languages import check_codes


class Hub(HubTable):
    """Rows of a data set, loaded by `datasets`; one subset a language, or the language in a column."""

    name: Literal["hub"] = "hub"
    languages: list[str] = option(REQUIRED, "languages of the prompts, by ISO 639 code", check=check_codes)
    prompt: str = option("question", "column of the prompt, with {language} for the code where it has one")
    answer: str | None = option(None, "column of the answer, likewise; null where there are none")
    id: str | None = option(None, "column of the document's id; null numbers the rows")
    language: str | None = option(None, "column of the language's code, where one subset holds several")
    cluster: str | None = option(
        None,
        "column of what documents come from that are not independent, such as a template or an article; null takes "
        "each document on its own",
    )
    parallel: bool = option(True, "rows of the same number (or id) say the same thing in every language")
    limit: int | None = option(None, "first rows to take of each language; null takes all", unit="rows", ge=1)

    @property
    def clusters(self) -> str:
        return f"column {self.cluster}" if self.cluster is not None else ""

    def load(self) -> list[Record]:
        records: list[Record] = []
        problems: dict[Problem, None] = {}
        for code in self.languages:
            try:
                records += self._language(code)
            except InputError as error:
                problems |= dict.fromkeys(error.problems)
        refuse_any(list(problems))
        return records

    def _language(self, code: str) -> list[Record]:
        name = self.spell(code)
        prompt = self.prompt.replace("{language}", name)
        answer = self.answer.replace("{language}", name) if self.answer else None
        wanted = [column for column in (prompt, answer, self.id, self.language, self.cluster) if column is not None]
        rows = (
            (number, row)
            for number, row in enumerate(self.table(code, list(dict.fromkeys(wanted))))
            if self.language is None or row[self.language] == name
        )
        records, ids = [], Ids()
        for number, row in islice(rows, self.limit):
            key = str(number) if self.id is None else self._text(row, self.id, number)
            ids.add(code, key, f"{self.where}, row {number}")
            columns = (prompt, answer, self.cluster)
            question, reply, group = (self._text(row, column, number) if column else "" for column in columns)
            records.append(Record(key if self.parallel else f"{code}:{key}", code, question, reply, group))
        if not records:
            raise InputError.of(self.where, f"no row of language {name!r}", "at least one")
        return records

    def _text(self, row: dict[str, Any], column: str, number: int) -> str:
        value = row[column]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            found = f"column {column!r} holds {value!r:.40}"
            raise InputError.of(f"{self.where}, row {number}", found, "text or a number")
        text = str(value).strip()
        check_text(f"{self.where}, row {number}", f"column {column!r}", text)
        return text
