"""Local files: a folder of `<code>` files, a pattern with `{language}` in it, or one file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import SUFFIXES, Row, nearest, read_rows
from alignlab.errors import InputError, Problem
from alignlab.languages import check_codes, is_code


class Files(Options):
    """Text (.txt), tab-separated (.tsv, no header, no quoting) or JSON-lines (.jsonl) files, one document a line."""

    name: Literal["files"] = "files"
    path: str = option(REQUIRED, "a folder of files named <code>.<suffix>, a file, or a path with {language} in it")
    languages: list[str] | None = option(
        None,
        "languages, by ISO 639 code; null takes every file of the folder that is named by a code",
        check=check_codes,
    )
    prompt: str | int = option(0, "column of the prompt: a key of a JSON line, or the number of a column from 0")
    answer: str | int | None = option(None, "column of the answer; null where there are none")
    id: str | int | None = option(None, "column of the document's id; null numbers the lines")
    language: str | int | None = option(None, "column of the language's code, for one file with several languages")
    parallel: bool = option(True, "lines of the same number (or id) say the same thing in every language")
    spelled: dict[str, str] = option({}, "how file names or the column spell a code otherwise, such as {ja: jp}")
    limit: int | None = option(None, "first documents to take of each language; null takes all", unit="documents", ge=1)

    def load(self) -> list[Record]:
        records = []
        for language, path in self._files():
            taken: dict[str, int] = {}
            for row in read_rows(path):
                code = language or self._language(row)
                if self.languages is not None and code not in self.languages:
                    continue
                taken[code] = taken.get(code, 0) + 1
                if self.limit is None or taken[code] <= self.limit:
                    records.append(self._record(row, code))
            missing = [code for code in self.languages or () if language is None and code not in taken]
            if missing:
                have = ", ".join(taken) or "none of them"
                raise InputError(Problem(str(path), f"no line is in {', '.join(missing)}", f"some of: {have}"))
        return records

    def _files(self) -> list[tuple[str | None, Path]]:
        """Each file with the language that its name gives; None where a column gives it."""
        if "{language}" in self.path:
            if not self.languages:
                where = f"languages of path {self.path}"
                raise InputError(Problem(where, "null", "the codes that take the place of {language}"))
            names = [(code, self.path.replace("{language}", self._spell(code))) for code in self.languages]
            return [(code, Path(name).expanduser()) for code, name in names]
        path = Path(self.path).expanduser()
        if not path.exists():
            raise InputError(Problem(str(path), "there is no such file or folder", fix=nearest(path)))
        if path.is_dir():
            return self._folder(path)
        if self.language is None:
            if self.languages is None or len(self.languages) != 1:
                fix = "Give one code in languages, or the column of the codes in language."
                raise InputError(Problem(str(path), "one file, but not which language it is in", "its code", fix))
            return [(self.languages[0], path)]
        return [(None, path)]

    def _folder(self, folder: Path) -> list[tuple[str | None, Path]]:
        by_name: dict[str, Path] = {}
        problems = []
        for path in sorted(folder.iterdir()):
            if path.suffix not in SUFFIXES:
                continue
            other = by_name.setdefault(path.stem, path)
            if other is not path and (is_code(path.stem) or path.stem in self.spelled.values()):
                fix = f"Move one away, or give the path with its suffix: {folder}/{{language}}{path.suffix}"
                beside = f"{path.name} lies beside {other.name}"
                problems.append(Problem(str(folder), beside, "one file a language", fix))
        if problems:
            raise InputError(*problems)
        if self.languages is None:
            found: list[tuple[str | None, Path]] = [(name, path) for name, path in by_name.items() if is_code(name)]
            found += [(code, by_name[name]) for code, name in self.spelled.items() if name in by_name]
            if not found:
                expected = "files named by a language's code, such as en.txt, de.tsv or sw.jsonl"
                raise InputError(Problem(str(folder), f"{len(by_name)} text files, none named by a code", expected))
            return found
        missing = [code for code in self.languages if self._spell(code) not in by_name]
        if missing:
            have = ", ".join(by_name) or "no text file"
            names = ", ".join(f"{self._spell(code)}.*" for code in missing)
            raise InputError(Problem(str(folder), f"there is no file {names}", f"one of: {have}"))
        return [(code, by_name[self._spell(code)]) for code in self.languages]

    def _spell(self, code: str) -> str:
        return self.spelled.get(code, code)

    def _language(self, row: Row) -> str:
        assert self.language is not None
        name = row.text(self.language)
        code = next((code for code, spelled in self.spelled.items() if spelled == name), name)
        if self.languages is None and not is_code(code):
            raise InputError(Problem(row.where, f"{name!r} is no language code", "an ISO 639 code"))
        return code

    def _record(self, row: Row, language: str) -> Record:
        prompt = row.text(self.prompt)
        if not prompt:
            raise InputError(Problem(row.where, f"column {self.prompt!r} is empty", "a prompt"))
        name = str(row.line) if self.id is None else row.text(self.id)
        return Record(
            id=name if self.parallel else f"{language}:{name}",
            language=language,
            prompt=prompt,
            answer="" if self.answer is None else row.text(self.answer),
        )
