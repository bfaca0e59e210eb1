"""Reading text files of records, with the file and line of whatever is wrong in them."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.data.records import Message
from alignlab.errors import InputError, Problem, did_you_mean, some_of
from alignlab.regular_files import open_regular, read_regular

Column = str | int
SUFFIXES = (".txt", ".tsv", ".csv", ".jsonl", ".parquet")
ROLES = ("system", "user", "assistant")
_HALF_CHARACTER = re.compile("[\ud800-\udfff]")
_LONGEST = 1_000_000  # characters of a document: tokenizers take minutes for more, of which max_length cuts nearly all
_MOST_NAMES = 100
_BATCH = 1000  # rows of a Parquet file that are in memory at once


@dataclass(frozen=True)
class TextRow:
    """One row of a file: where it stands and its columns by name or number.

    number: from 1, of the line; in CSV and Parquet of the row, without the header.
    place: what messages call it, if it is not `path:number`.
    """

    path: Path
    number: int
    values: dict[Column, Any]
    place: str = ""

    @property
    def where(self) -> str:
        return self.place or f"{self.path}:{self.number}"

    def text(self, column: Column) -> str:
        """The column as text, without white space around it; refuses one that is missing or holds no text or number."""
        if column not in self.values:
            raise InputError(no_column(self.where, column, self.values))
        value = self.values[column]
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InputError.of(self.where, f"column {column!r} holds {type(value).__name__}", "text or a number")
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError.of(self.where, f"column {column!r} holds {value}", "text or a number")
        text = str(value).strip()
        check_text(self.where, f"column {column!r}", text)
        return text

    def messages(self, column: Column) -> tuple[Message, ...]:
        """The column as the turns of a conversation; refuses what is no list of such with a role and text."""
        if column not in self.values:
            raise InputError(no_column(self.where, column, self.values))
        turns = self.values[column]
        expected = "a list of turns such as {role: user, content: ...}"
        if not isinstance(turns, list) or not turns:
            found = "an empty list" if turns == [] else type(turns).__name__
            raise InputError.of(self.where, f"column {column!r} holds {found}", expected)
        return tuple(self._message(f"turn {number} of column {column!r}", turn) for number, turn in enumerate(turns, 1))

    def _message(self, which: str, turn: Any) -> Message:
        if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
            found = (
                f"keys {some_of(list(map(str, turn)), _MOST_NAMES)}" if isinstance(turn, dict) else type(turn).__name__
            )
            raise InputError.of(self.where, f"{which} holds {found}", "an object with role and content")
        role, content = turn["role"], turn["content"]
        if role not in ROLES:
            expected, fix = f"one of {', '.join(ROLES)}", did_you_mean(str(role), ROLES)
            raise InputError.of(self.where, f"the role of {which} is {role!r:.40}", expected, fix)
        if not isinstance(content, str) or not content.strip():
            raise InputError.of(self.where, f"the content of {which} is {content!r:.40}", "text")
        check_text(self.where, which, content)
        return Message(role, content)


def line_block(line: int, lines: int) -> str:
    """The name of the block of so many `lines` that a line, numbered from 1, is in."""
    first = line - (line - 1) % lines
    return f"lines {first}-{first + lines - 1}"


def check_text(where: str, column: str, text: str) -> None:
    """Refuse text of which no document can be made: no tokenizer reads half a character, and no text has a NUL."""
    if _HALF_CHARACTER.search(text):  # JSON can write one (\\ud83d)
        found = f"{column} holds half of a character that takes two (a lone surrogate)"
        raise InputError.of(where, found, "whole characters")
    if "\0" in text:
        raise InputError.of(where, f"{column} holds a NUL character", "text without it", "Remove it from the text.")
    if len(text) > _LONGEST:
        found, expected = f"{column} holds {len(text):,} characters", f"a document of at most {_LONGEST:,}"
        raise InputError.of(where, found, expected, "Split it into documents.")


class Ids:
    """The ids of documents by language, each of which may be there once."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], str] = {}

    def add(self, language: str, name: str, where: str) -> None:
        """Take one. Raises InputError for an empty one and for one that was there before."""
        if not name:
            raise InputError.of(where, "the document's id is empty", "one", "Leave id out to number the documents.")
        first = self._seen.setdefault((language, name), where)
        if first != where:
            found = f"the id {name!r} is that of another document in {language!r}, at {first}"
            fix = (
                "Documents that share an id say the same in different languages. Leave id out to number the documents."
            )
            raise InputError.of(where, found, "an id of its own", fix)


def no_column(where: str, column: Column, columns: Iterable[Column]) -> Problem:
    """The problem that there is no such column; of columns with names and numbers it tells the names."""
    columns = list(columns)
    names = [name for name in columns if isinstance(name, str)] or [str(name) for name in columns]
    fix = did_you_mean(str(column), names[:_MOST_NAMES])
    return Problem(where, f"there is no column {column!r}", f"one of: {some_of(names, _MOST_NAMES)}", fix)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file; a last empty one is left out."""
    # Not splitlines(): it also breaks at U+2028 and the like, which stand inside lines of real corpora.
    lines = [line.removesuffix("\r") for line in _read_text(path).split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not any(line.strip() for line in lines):
        raise InputError.of(str(path), "the file is empty", "one document a line")
    return lines


def _read_text(path: Path) -> str:
    """A UTF-8 file, without a byte order mark."""
    with _refusing(path):
        raw = read_regular(path)
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
    _check_lines(path, text)
    return text


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Say in our words what the system says of a file that cannot be read."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        raise InputError.of(str(path), "there is no such file", "a text file", nearest(path)) from None
    except OSError as error:
        raise InputError.of(str(path), f"it cannot be read ({error.strerror})", "a readable text file") from None


def _check_lines(path: Path, text: str) -> None:
    """Refuse text that is UTF-8 but was meant otherwise: as UTF-16, or with lines that old Macs end by CR."""
    if (at := text.find("\0")) >= 0:
        fix = "Is it UTF-16? Convert it: iconv -f UTF-16LE -t UTF-8. Else remove the character."
        line = text.count("\n", 0, at) + 1
        raise InputError.of(f"{path}:{line}", "a NUL character", "text without it", fix)
    body = text.removesuffix("\n").removesuffix("\r")
    if body.count("\r") - body.count("\r\n") > body.count("\n"):
        fix = r"Convert the file: tr '\r' '\n'."
        raise InputError.of(str(path), "its lines end with CR alone", "lines that end with LF, or CR LF", fix)


def read_rows(path: Path) -> Iterator[TextRow]:
    """The rows of a file, by its suffix; what is in their columns is looked at where it is asked for.

    .txt: one column, 0.  .tsv: columns 0, 1, ...; no header, no quoting.  .jsonl: the keys of the lines.
    .csv, .parquet: columns by name and by number; in CSV separated by commas, with a header, quoted where needed.
    Empty lines are passed over, and counted.
    """
    suffix = path.suffix
    if suffix not in SUFFIXES:
        raise InputError.of(str(path), f"unknown kind of file {suffix!r}", f"one of: {', '.join(SUFFIXES)}")
    if suffix == ".csv":
        yield from _csv_rows(path)
        return
    if suffix == ".parquet":
        yield from _parquet_rows(path)
        return
    for number, line in enumerate(read_lines(path), start=1):
        if line.strip():
            check_text(f"{path}:{number}", "the line", line)
            yield TextRow(path, number, _columns(f"{path}:{number}", suffix, line))


def _csv_rows(path: Path) -> Iterator[TextRow]:
    """The rows of a CSV file as its header names their columns; a quoted cell may hold commas, quotes and newlines."""
    rows = _csv_cells(path)
    line, header = next(rows, (1, []))
    if not any(header):
        raise InputError.of(f"{path}:{line}", "there is no header", "the names of the columns", "Add it as first line.")
    if len(header) == 1 and (other := re.search("[;\t|]", header[0])):
        found = f"its columns seem to be separated by {other[0]!r}"
        raise InputError.of(f"{path}:{line}", found, "columns separated by commas", "Convert the file.")
    _check_header(f"{path}:{line}", header)
    number = 0
    for number, (line, cells) in enumerate(rows, start=1):
        if not any(cell.strip() for cell in cells):
            continue
        where = f"{path}:{line}"
        if len(cells) != len(header):
            fix = 'Text with a comma or a newline in it stands in "quotes"; a quote within is doubled.'
            found, expected = f"{len(cells)} cells", f"{len(header)}, as the header has"
            raise InputError.of(where, found, expected, fix)
        yield TextRow(path, number, _by_name_and_number(header, cells), where)
    if not number:
        raise InputError.of(str(path), "the file is empty but for its header", "one document a row")


def _csv_cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The cells of each row, and the line on which the row begins."""
    text = _read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        # The limit is Python's own, for all readers: for the time of a row it is none, since ours is told in our words.
        before = csv.field_size_limit(len(text) + 1)
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fix = 'Is a quote not closed, or not doubled ("") within a cell?'
            raise InputError.of(f"{path}:{line}", f"not CSV ({error})", "a row of cells", fix) from None
        finally:
            csv.field_size_limit(before)
        yield line, cells


def _parquet_rows(path: Path) -> Iterator[TextRow]:
    """The rows of a Parquet file. Its cells are read as plain values: no type of the file's own is made."""
    from pyarrow import ArrowException, parquet  # here, since options have to be read fast

    number = 0
    with _refusing(path), open_regular(path) as file:
        try:
            table = parquet.ParquetFile(file)
            names = table.schema_arrow.names
            _check_header(str(path), names)
            for batch in table.iter_batches(batch_size=_BATCH):
                columns = [column.to_pylist() for column in batch.columns]
                for cells in zip(*columns, strict=True):
                    number += 1
                    yield TextRow(path, number, _by_name_and_number(names, cells), f"{path}, row {number}")
        except (ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
            # Of what is no Parquet, of a damaged page, of text that is no UTF-8, of a date that is none.
            reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
            after = f" after row {number}" if number else ""
            found = f"it cannot be read as Parquet{after} ({reason})"
            raise InputError.of(str(path), found, "a whole Parquet file", "Write or copy it again.") from None
    if not number:
        raise InputError.of(str(path), "the file is empty", "one document a row")


def _by_name_and_number(names: Sequence[str], cells: Sequence[Any]) -> dict[Column, Any]:
    return {**dict(enumerate(cells)), **dict(zip(names, cells, strict=True))}


def _check_header(where: str, names: Sequence[str]) -> None:
    """Refuse columns of the same name, of which nobody knows which is meant."""
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise InputError.of(where, f"several columns are called {some_of(twice)}", "a name of its own for each")


def _columns(where: str, suffix: str, line: str) -> dict[Column, Any]:
    if suffix != ".jsonl":
        return dict(enumerate(line.split("\t") if suffix == ".tsv" else [line]))
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        found = f"not JSON ({error.msg} at column {error.colno})"
        raise InputError.of(where, found, "one JSON object a line") from None
    except ValueError:  # Python reads no longer integers
        raise InputError.of(where, "a number of thousands of digits", "one JSON object a line") from None
    except RecursionError:
        raise InputError.of(where, "lists or objects nested too deep", "one JSON object a line") from None
    if not isinstance(value, dict):
        raise InputError.of(where, f"a JSON {type(value).__name__}", "one JSON object a line")
    return value


def nearest(path: Path) -> str:
    """What to say of a file or folder that is not there: the nearest name in its folder, or the nearest folder."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if folder != path.parent:
        inside = folder / path.relative_to(folder).parts[0]
        if inside.exists():
            return f"{inside} is no folder."
        return f"The nearest folder that exists is {folder.resolve() if folder == Path() else folder}."
    return did_you_mean(path.name, [entry.name for entry in folder.iterdir()])
