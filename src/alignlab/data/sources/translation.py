"""Requests to translate, out of files of which line i says the same in every language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from alignlab.config import REQUIRED, Options, option
from alignlab.data.records import Record
from alignlab.data.text_files import check_text, line_block, nearest, read_lines
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.languages import get, is_code

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NAMES = ("text", "source", "target", "source_code", "target_code")


class Translation(Options):
    """Sentences to translate, with their translations, such as NTREX or FLORES: a file a language, line by line.

    The language of a record is the one that is translated into. Those with the same sentence to translate share an id,
    and all of a line (or of a block of lines) a cluster.
    """

    name: Literal["translation"] = "translation"
    path: str = option(REQUIRED, "the files, with {language} for the code, such as ntrex/{language}.txt")
    pairs: list[str] = option(
        REQUIRED, "from which language into which, such as [de-en, en-de]", check=lambda pairs: _check_pairs(pairs)
    )
    template: str = option(
        "Translate the following sentence from {source} to {target}.\n{source}: {text}\n{target}:",
        "what is asked; {text}, {source} and {target} (English names), {source_code} and {target_code} are filled in",
        check=lambda template: check_request(template),
    )
    cluster_lines: int | None = option(
        None, "lines of a block that is taken as one article; null takes each line on its own", unit="lines", ge=1
    )
    first_line: int = option(1, "the line to begin with, from 1", ge=1)
    limit: int | None = option(None, "lines to take; null takes all", unit="lines", ge=1)
    spelled: dict[str, str] = option({}, "how file names spell a code otherwise, such as {ja: jp}")

    @property
    def clusters(self) -> str:
        return "lines" if self.cluster_lines is None else f"blocks of {self.cluster_lines} lines"

    def load(self) -> list[Record]:
        texts: dict[str, list[str]] = {}
        problems: list[Problem] = []
        for code in dict.fromkeys(code for pair in self.pairs for code in pair.split("-")):
            try:
                texts[code] = self._read(code)
            except InputError as error:
                problems += error.problems
        refuse_any(problems)
        lengths = {code: len(lines) for code, lines in texts.items()}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{code} {length:,}" for code, length in lengths.items())
            raise InputError.of(self.path, f"files of different lengths in lines: {found}", "line-aligned files")
        last = self.limit and self.first_line + self.limit - 1
        numbers = range(self.first_line, min(last or lengths[next(iter(lengths))], lengths[next(iter(lengths))]) + 1)
        if not numbers:
            raise InputError.of("first_line", f"{self.first_line}", f"one of the {max(lengths.values()):,} lines")
        return [
            self._record(source, target, number, texts[source][number - 1], texts[target][number - 1])
            for source, target in (pair.split("-") for pair in self.pairs)
            for number in numbers
        ]

    def _read(self, code: str) -> list[str]:
        path = Path(self.path.replace("{language}", self.spelled.get(code, code))).expanduser()
        if not path.exists():
            raise InputError.of(str(path), "there is no such file", fix=nearest(path))
        lines = [line.strip() for line in read_lines(path)]
        for number, line in enumerate(lines, start=1):
            check_text(f"{path}:{number}", "the line", line)
        empty = [number for number, line in enumerate(lines, start=1) if not line]
        refuse_any([Problem(f"{path}:{number}", "the line is empty", "a sentence") for number in empty])
        return lines

    def _record(self, source: str, target: str, number: int, text: str, reference: str) -> Record:
        asked = request(self.template, source, target, text)
        cluster = f"line {number}" if self.cluster_lines is None else line_block(number, self.cluster_lines)
        return Record(f"{source}:{number}", target, asked, reference, cluster)


def _check_pairs(pairs: Sequence[str]) -> str | None:
    codes = [pair.split("-") for pair in pairs]
    good = all(len(of) == 2 and all(map(is_code, of)) and of[0] != of[1] for of in codes)
    twice = len(set(pairs)) < len(pairs)
    return None if good and pairs and not twice else "pairs of two language codes, such as de-en, each once"


def request(template: str, source: str, target: str, text: str) -> str:
    """What a model is asked. source, target: codes. Values are put in as they are: a brace is only a brace."""
    values = {
        "text": text,
        "source": get(source).name,
        "target": get(target).name,
        "source_code": source,
        "target_code": target,
    }
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def check_request(template: str) -> str | None:
    """What a template has to look like, if this one does not."""
    names = _PLACEHOLDER.findall(template)
    good = "text" in names and all(name in _NAMES for name in names)
    return None if good else f"a text with {{text}} in it, and of other placeholders only {', '.join(_NAMES[1:])}"
