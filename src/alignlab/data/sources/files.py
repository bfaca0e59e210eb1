"""Local files: a folder of `<code>` files, a pattern with `{language}` in it, or one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import SUFFIXES, Ids, TextRow, line_block, nearest, no_column, read_rows
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.languages import check_codes, is_code


class Files(Options):
    """Files of text (.txt), tabs (.tsv, no header, no quoting), JSON lines (.jsonl), CSV (.csv, a header) or Parquet.

    One document a line; in CSV, where a cell may hold newlines, and Parquet (.parquet) one a row.
    """

    name: Literal["files"] = "files"
    path: str = option(REQUIRED, "a folder of files named <code>.<suffix>, a file, or a path with {language} in it")
    languages: list[str] | None = option(
        None,
        "languages, by ISO 639 code; null takes every file of the folder that is named by a code",
        check=check_codes,
    )
    prompt: str | int = option(
        0, "column of the prompt: a key of a JSON line, a name in CSV and Parquet, or the number of a column from 0"
    )
    answer: str | int | None = option(None, "column of the answer; null where there are none")
    messages: str | None = option(
        None,
        "column of a conversation (JSON lines): a list of turns, each with a role (system, user or assistant) and its "
        "content; in place of prompt and answer",
    )
    id: str | int | None = option(None, "column of the document's id; null numbers the lines")
    language: str | int | None = option(None, "column of the language's code, for one file with several languages")
    cluster: str | int | None = option(
        None,
        "column of what documents come from that are not independent, such as a template or an article; null takes "
        "each document on its own",
    )
    cluster_lines: int | None = option(
        None, "lines of a block that is taken as one article, where no column names it", unit="lines", ge=1
    )
    parallel: bool = option(True, "lines of the same number (or id) say the same thing in every language")
    spelled: dict[str, str] = option({}, "how file names or the column spell a code otherwise, such as {ja: jp}")
    limit: int | None = option(None, "first documents to take of each language; null takes all", unit="documents", ge=1)

    @property
    def clusters(self) -> str:
        if self.cluster_lines is not None:
            return f"blocks of {self.cluster_lines} lines"
        return f"column {self.cluster}" if self.cluster is not None else ""

    def load(self) -> list[Record]:
        if self.cluster is not None and self.cluster_lines is not None:
            found = f"{self.cluster_lines}, beside cluster {self.cluster!r}"
            raise InputError.of(f"cluster_lines of path {self.path}", found, "one of the two")
        records: list[Record] = []
        problems: list[Problem] = []
        ids = Ids()
        for language, path in self._files():
            taken: dict[str, int] = {}
            for place, row in enumerate(read_rows(path)):
                if not place:
                    self._check_columns(row)
                try:
                    code = language or self._language(row)
                    if self.languages is not None and code not in self.languages:
                        continue
                    taken[code] = taken.get(code, 0) + 1
                    if self.limit is None or taken[code] <= self.limit:
                        records.append(self._record(row, code, ids))
                except InputError as error:
                    problems += error.problems
            missing = [code for code in self.languages or () if language is None and code not in taken]
            if missing:
                expected = f"some of: {', '.join(taken) or 'none of them'}"
                problems.append(Problem(str(path), f"no line is in {', '.join(missing)}", expected))
        refuse_any(problems)
        return records

    def _check_columns(self, row: TextRow) -> None:
        """Refuse a file whose first row lacks columns: what follows would lack them too. Raises InputError."""
        text = ("prompt", "answer") if self.messages is None else ("messages",)
        asked = {key: getattr(self, key) for key in (*text, "id", "language", "cluster")}
        problems = []
        for key, column in asked.items():
            if column is not None and column not in row.values:
                problem = no_column(row.where, column, row.values)
                problems.append(replace(problem, fix=problem.fix or f"Name the column in the source's {key}."))
        refuse_any(problems)

    def _files(self) -> Sequence[tuple[str | None, Path]]:
        """Each file with the language that its name gives; None where a column gives it."""
        if "{language}" in self.path:
            if not self.languages:
                expected = "the codes that take the place of {language}"
                raise InputError.of(f"languages of path {self.path}", "null", expected)
            return [
                (code, Path(self.path.replace("{language}", self._spell(code))).expanduser()) for code in self.languages
            ]
        path = Path(self.path).expanduser()
        if not path.exists():
            raise InputError.of(str(path), "there is no such file or folder", fix=nearest(path))
        if path.is_dir():
            return self._folder(path)
        if self.language is not None:
            return [(None, path)]
        if self.languages is None or len(self.languages) != 1:
            fix = "Give one code in the source's languages, or in its language the column of the codes."
            raise InputError.of(str(path), "one file, but not which language it is in", "its code", fix)
        return [(self.languages[0], path)]

    def _folder(self, folder: Path) -> list[tuple[str, Path]]:
        paths = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
        by_name: dict[str, Path] = {}
        for path in paths:
            by_name.setdefault(path.stem, path)
        refuse_any(
            [
                Problem(
                    str(folder),
                    f"{path.name} lies beside {by_name[path.stem].name}",
                    "one file a language",
                    f"Move one away, or give the path with its suffix: {folder}/{{language}}{path.suffix}",
                )
                for path in paths
                if path is not by_name[path.stem] and (is_code(path.stem) or path.stem in self.spelled.values())
            ]
        )
        if self.languages is None:
            names = [(name, name) for name in by_name if is_code(name)] + list(self.spelled.items())
            found = [(code, by_name[name]) for code, name in names if name in by_name]
            if not found:
                expected = "files named by a language's code, such as en.txt, de.csv or sw.jsonl"
                raise InputError.of(str(folder), f"{len(by_name)} text files, none named by a code", expected)
            return found
        if missing := [name for name in map(self._spell, self.languages) if name not in by_name]:
            expected = f"one of: {', '.join(by_name) or 'no text file'}"
            raise InputError.of(str(folder), f"there is no file {'.*, '.join(missing)}.*", expected)
        return [(code, by_name[self._spell(code)]) for code in self.languages]

    def _spell(self, code: str) -> str:
        return self.spelled.get(code, code)

    def _language(self, row: TextRow) -> str:
        assert self.language is not None
        name = row.text(self.language)
        code = next((code for code, spelled in self.spelled.items() if spelled == name), name)
        if self.languages is None and not is_code(code):
            raise InputError.of(row.where, f"{name!r} is no language code", "an ISO 639 code")
        return code

    def _record(self, row: TextRow, language: str, ids: Ids) -> Record:
        turns = row.messages(self.messages) if self.messages is not None else ()
        prompt = "" if turns else row.text(self.prompt)
        if not prompt and not turns:
            raise InputError.of(row.where, f"column {self.prompt!r} is empty", "a prompt")
        name = str(row.number) if self.id is None else row.text(self.id)
        ids.add(language, name, row.where)
        return Record(
            id=name if self.parallel else f"{language}:{name}",
            language=language,
            prompt=prompt,
            answer="" if self.answer is None or turns else row.text(self.answer),
            cluster=self._cluster(row, language),
            messages=turns,
        )

    def _cluster(self, row: TextRow, language: str) -> str:
        """The cluster of a row; empty where each document is on its own."""
        if self.cluster_lines is not None:
            block = line_block(row.number, self.cluster_lines)
            return block if self.parallel else f"{language}:{block}"
        if self.cluster is None:
            return ""
        if not (name := row.text(self.cluster)):
            raise InputError.of(row.where, f"column {self.cluster!r} is empty", "the name of a cluster")
        return name
