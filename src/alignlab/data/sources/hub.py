"""A data set of the Hugging Face Hub, or a local folder of the same form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import Ids, check_text, no_column
from alignlab.errors import InputError, refuse_any
from alignlab.hub import hub_answers
from alignlab.languages import check_codes


class Hub(Options):
    """Rows of a data set, loaded by `datasets`; one subset a language, or the language in a column."""

    name: Literal["hub"] = "hub"
    path: str = option(REQUIRED, "id on the Hub, such as juletxara/mgsm, or a local folder of a data set")
    subset: str | None = option(None, "subset (config) of the data set, with {language} for the code")
    split: str = option("train", "split of the data set")
    revision: str | None = option(None, "branch, tag or commit of the data set; null takes the newest")
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
    spelled: dict[str, str] = option({}, "how the data set spells a code where it differs, such as {ja: jp}")
    limit: int | None = option(None, "first rows to take of each language; null takes all", unit="rows", ge=1)

    @property
    def clusters(self) -> str:
        return f"column {self.cluster}" if self.cluster is not None else ""

    def load(self) -> list[Record]:
        return [record for code in self.languages for record in self._language(code)]

    def _language(self, code: str) -> list[Record]:
        name = self.spelled.get(code, code)
        table = self._table(self.subset.replace("{language}", name) if self.subset else None)
        prompt = self.prompt.replace("{language}", name)
        answer = self.answer.replace("{language}", name) if self.answer else None
        wanted = [column for column in (prompt, answer, self.id, self.language, self.cluster) if column is not None]
        have = table.column_names
        refuse_any([no_column(self._where, column, have) for column in wanted if column not in have])
        rows = (
            (number, row)
            for number, row in enumerate(table.select_columns(wanted))
            if self.language is None or row[self.language] == name
        )
        records, ids = [], Ids()
        for number, row in islice(rows, self.limit):
            key = str(number) if self.id is None else self._text(row, self.id, number)
            ids.add(code, key, f"{self._where}, row {number}")
            columns = (prompt, answer, self.cluster)
            question, reply, group = (self._text(row, column, number) if column else "" for column in columns)
            records.append(Record(key if self.parallel else f"{code}:{key}", code, question, reply, group))
        if not records:
            raise InputError.of(self._where, f"no row of language {name!r}", "at least one")
        return records

    @property
    def _where(self) -> str:
        return f"{self.path} ({self.split})"

    def _text(self, row: dict[str, Any], column: str, number: int) -> str:
        value = row[column]
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).strip():
            found = f"column {column!r} holds {value!r:.40}"
            raise InputError.of(f"{self._where}, row {number}", found, "text or a number")
        text = str(value).strip()
        check_text(f"{self._where}, row {number}", f"column {column!r}", text)
        return text

    def _table(self, subset: str | None) -> Any:
        import datasets  # a second to import: only for those who load from it

        datasets.disable_progress_bars()
        try:
            with _from_cache_where_the_hub_is_silent(self.path):
                return datasets.load_dataset(self.path, subset, split=self.split, revision=self.revision)
        except ConnectionError as error:
            raise InputError.of(
                f"{self.path} ({subset})" if subset else self.path,
                "it is not here and the Hub cannot be reached",
                "a data set of the Hub or a local folder",
                "Check the network, or download the data set elsewhere and give its folder.",
            ) from error
        # It raises whatever its readers of all formats stumble over, RuntimeError for a data set that is a script.
        except Exception as error:
            generating = isinstance(error, datasets.exceptions.DatasetGenerationError) and error.__cause__
            lines = str(generating or error).split("\n")
            raise InputError.of(
                f"{self.path} ({subset})" if subset else self.path,
                f"it cannot be loaded ({' '.join(lines[:2]).strip() or type(error).__name__})",
                "a data set of the Hub or a local folder",
                "Check the id, the subset and the split; for a gated data set log in with: hf auth login.",
            ) from error


@contextmanager
def _from_cache_where_the_hub_is_silent(path: str) -> Iterator[None]:
    """Within the block `datasets` asks nobody for what it cannot get: it would try again for half a minute."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not (Path(path).is_dir() or hub_answers())
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before
