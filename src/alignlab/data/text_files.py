"""Reading text files of records, with the file and line of whatever is wrong in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.errors import InputError, Problem, did_you_mean

Column = str | int
SUFFIXES = (".txt", ".tsv", ".jsonl")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class TextRow:
    """One line of a file: where it stands and its columns by name or number."""

    path: Path
    line: int
    values: dict[Column, Any]

    @property
    def where(self) -> str:
        return f"{self.path}:{self.line}"

    def text(self, column: Column) -> str:
        """The column as text, without white space around it; refuses one that is missing or holds no text or number."""
        if column not in self.values:
            raise InputError(no_column(self.where, column, self.values))
        value = self.values[column]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError.of(self.where, f"column {column!r} holds {type(value).__name__}", "text or a number")
        text = str(value).strip()
        if _HALF_CHARACTER.search(text):  # JSON can write one (\\ud83d), no tokenizer reads it
            found = f"column {column!r} holds half of a character that takes two (a lone surrogate)"
            raise InputError.of(self.where, found, "whole characters")
        return text


def line_block(line: int, lines: int) -> str:
    """The name of the block of so many `lines` that a line, numbered from 1, is in."""
    first = line - (line - 1) % lines
    return f"lines {first}-{first + lines - 1}"


def no_column(where: str, column: Column, columns: Iterable[Column]) -> Problem:
    """The problem that there is no such column."""
    names = [str(name) for name in columns]
    fix = did_you_mean(str(column), names)
    return Problem(where, f"there is no column {column!r}", f"one of: {', '.join(names)}", fix)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; a last empty one is left out."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise InputError.of(str(path), "there is no such file", "a text file", nearest(path)) from None
    except OSError as error:
        raise InputError.of(str(path), f"it cannot be read ({error.strerror})", "a readable text file") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # error.object, not raw: a byte order mark is no longer in it, and error.start counts without.
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError.of(
            f"{path}:{line}",
            f"byte {error.object[error.start]:#04x} is not UTF-8",
            "UTF-8 text",
            "Convert the file: iconv -f LATIN1 -t UTF-8, or whatever it was written in.",
        ) from None
    # Not splitlines(): it also breaks at U+2028 and the like, which stand inside lines of real corpora.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not any(line.strip() for line in lines):
        raise InputError.of(str(path), "the file is empty", "one document a line")
    return lines


def read_rows(path: Path) -> Iterator[TextRow]:
    """The rows of a .txt (one column, 0), .tsv (columns 0, 1, ...; no header, no quoting) or .jsonl file (its keys)."""
    suffix = path.suffix
    if suffix not in SUFFIXES:
        raise InputError.of(str(path), f"unknown kind of file {suffix!r}", f"one of: {', '.join(SUFFIXES)}")
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            yield TextRow(path, number, _columns(f"{path}:{number}", suffix, line))


def _columns(where: str, suffix: str, line: str) -> dict[Column, Any]:
    if suffix != ".jsonl":
        return dict(enumerate(line.split("\t") if suffix == ".tsv" else [line]))
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        found = f"not JSON ({error.msg} at column {error.colno})"
        raise InputError.of(where, found, "one JSON object a line") from None
    if not isinstance(value, dict):
        raise InputError.of(where, f"a JSON {type(value).__name__}", "one JSON object a line")
    return value


def nearest(path: Path) -> str:
    """What to say of a file or folder that is not there: the nearest name in its folder, or the nearest folder."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if folder != path.parent:
        return f"The nearest folder that exists is {folder}."
    return did_you_mean(path.name, [entry.name for entry in folder.iterdir()])
