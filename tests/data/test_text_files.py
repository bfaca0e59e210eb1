"""Lines and rows of text files, and what is said of files that cannot be read."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from alignlab.data.text_files import TextRow, nearest, read_lines, read_rows
from alignlab.errors import InputError


def message(error: pytest.ExceptionInfo[InputError]) -> str:
    (problem,) = error.value.problems
    return str(problem)


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "en.txt"
    path.write_bytes("\ufeffone\u2028still one\x0band\x85still\r\n\ntwo\rhalf\n".encode())
    assert read_lines(path) == ["one\u2028still one\x0band\x85still", "", "two\rhalf"]


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_last_newline_makes_no_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "en.txt"
    path.write_text(f"one\ntwo{end}", encoding="utf-8")
    assert read_lines(path) == ["one", "two"]


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n", "\ufeff"])
def test_an_empty_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "en.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_lines(path)
    assert message(refused) == f"{path}: the file is empty; expected one document a line."


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
@pytest.mark.parametrize(("before", "line"), [(b"", 1), (b"a\nb\n", 3), (b"a\n\nbc", 3)])
def test_what_is_not_utf8_is_refused_with_its_line(tmp_path: Path, mark: bytes, before: bytes, line: int) -> None:
    path = tmp_path / "de.txt"
    path.write_bytes(mark + before + "ä\n".encode("latin-1") + b"x\ny\n")
    with pytest.raises(InputError) as refused:
        read_lines(path)
    assert message(refused).startswith(f"{path}:{line}: byte 0xe4 is not UTF-8; expected UTF-8 text. Convert the file")


def test_a_missing_file_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "german.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_lines(tmp_path / "germann.txt")
    assert "there is no such file" in message(refused)
    assert message(refused).endswith("Did you mean 'german.txt'?")
    assert nearest(tmp_path / "no" / "such" / "en.txt") == f"The nearest folder that exists is {tmp_path}."
    assert nearest(tmp_path / "quite-different.bin") == ""


def test_a_path_through_a_file_is_told_and_so_is_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "texts.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_lines(tmp_path / "texts.txt" / "de" / "train.de")
    assert message(refused).endswith(f"expected a text file. {tmp_path / 'texts.txt'} is no folder.")
    monkeypatch.chdir(tmp_path)
    assert nearest(Path("no/such/en.txt")) == f"The nearest folder that exists is {tmp_path.resolve()}."


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be read \(Is a directory\)"):
        read_lines(tmp_path)


def test_rows_of_each_kind_keep_their_line_numbers(tmp_path: Path) -> None:
    text, table, objects = tmp_path / "a.txt", tmp_path / "a.tsv", tmp_path / "a.jsonl"
    text.write_text("first\tone\n\nsecond\n", encoding="utf-8")
    table.write_text('a\t"b"\n \nc\td\te\n', encoding="utf-8")
    objects.write_text('{"q": "x", "n": 3}\n\n{"q": "y"}\n', encoding="utf-8")
    assert list(read_rows(text)) == [TextRow(text, 1, {0: "first\tone"}), TextRow(text, 3, {0: "second"})]
    assert list(read_rows(table)) == [
        TextRow(table, 1, {0: "a", 1: '"b"'}),
        TextRow(table, 3, {0: "c", 1: "d", 2: "e"}),
    ]
    assert list(read_rows(objects)) == [TextRow(objects, 1, {"q": "x", "n": 3}), TextRow(objects, 3, {"q": "y"})]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"unknown kind of file '\.xml'; expected one of: \.txt, \.tsv, \.csv, \.jsonl"
    ):
        list(read_rows(tmp_path / "en.xml"))


def test_rows_of_csv_and_parquet_are_those_of_other_writers(tmp_path: Path) -> None:
    """pandas writes both: commas, quotes and newlines within cells, Unicode, text that looks like a formula."""
    frame = pd.DataFrame(
        {
            "question": ["one, two", 'he said "no"', "two\nlines\r\nand a third", "\u2028=1+1", "鳥, 7"],
            "n": [1, 2, 3, 4, 5],
        }
    )
    table, packed = tmp_path / "a.csv", tmp_path / "a.parquet"
    frame.to_csv(table, index=False, encoding="utf-8-sig")
    frame.to_parquet(packed, row_group_size=2)
    expected = list(frame.itertuples(index=False, name=None))
    for path in (table, packed):
        rows = list(read_rows(path))
        assert [(row.values["question"], int(row.values["n"])) for row in rows] == expected
        assert [(row.values[0], int(row.values[1])) for row in rows] == expected
        assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert [row.where for row in read_rows(table)] == [f"{table}:{line}" for line in (2, 3, 4, 7, 8)]
    assert [row.where for row in read_rows(packed)] == [f"{packed}, row {number}" for number in range(1, 6)]


def test_an_empty_row_of_csv_is_counted_as_in_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("q,n\na,1\n\n , \nb,2\n\n", encoding="utf-8")
    assert [(row.number, row.values["q"]) for row in read_rows(path)] == [(1, "a"), (4, "b")]


@pytest.mark.parametrize(
    ("content", "line", "found"),
    [
        ("q,a\nx,1\ny\n", 3, "1 cells; expected 2, as the header has. Text with a comma or a newline"),
        ("q,a\nx,1\ny,2,3\n", 3, "3 cells; expected 2, as the header has."),
        ('q,a\n"x\n,1\ny,2\n', 2, "not CSV (unexpected end of data)"),
        ('q,a\nx,1\n"x"y,1\n', 3, "not CSV (',' expected after '\"')"),
        ("q;a\nx;1\n", 1, "its columns seem to be separated by ';'; expected columns separated by commas"),
        ("q,a,q\nx,1,y\n", 1, "several columns are called q; expected a name of its own for each."),
        ("\nx\n", 1, "there is no header; expected the names of the columns."),
        ("", 1, "there is no header"),
        ("q,a\nx\0,1\n", 2, "a NUL character"),
    ],
)
def test_csv_that_is_none_is_refused_with_its_line(tmp_path: Path, content: str, line: int, found: str) -> None:
    path = tmp_path / "en.csv"
    path.write_text(content, encoding="utf-8")
    limit = csv.field_size_limit()
    with pytest.raises(InputError) as refused:
        list(read_rows(path))
    assert message(refused).startswith(f"{path}:{line}: {found}")
    assert csv.field_size_limit() == limit


def test_a_long_cell_is_a_document_until_it_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / "en.csv"
    path.write_text(f"q\n{'a' * 200_000}\n{'b' * 1_000_001}\n", encoding="utf-8")
    long, longer = read_rows(path)
    assert long.text("q") == "a" * 200_000  # more than the csv module takes by itself
    with pytest.raises(InputError, match=r"en\.csv:3: column 'q' holds 1,000,001 characters; expected a document of"):
        longer.text("q")


@pytest.mark.parametrize(("name", "content"), [("en.csv", b"q,a\n"), ("en.csv", b"\xef\xbb\xbfq\n")])
def test_a_header_alone_is_an_empty_file(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match="the file is empty but for its header"):
        list(read_rows(tmp_path / name))


def test_damaged_parquet_is_one_message(tmp_path: Path) -> None:
    path = tmp_path / "en.parquet"
    table = pa.table({"q": [f"question {n}" for n in range(3000)]})
    parquet.write_table(table, path, use_dictionary=False, compression="none", write_page_checksum=True)
    whole = path.read_bytes()
    assert len(list(read_rows(path))) == 3000
    for content in (b"", b"q,a\nx,1\n", whole[:-20], whole[: len(whole) // 2], whole[:4] + whole[90:]):
        path.write_bytes(content)
        with pytest.raises(InputError) as refused:
            list(read_rows(path))
        assert message(refused).startswith(f"{path}: it cannot be read as Parquet")
    with pytest.raises(InputError, match=r"there is no such file.*Did you mean 'en\.parquet'\?"):
        list(read_rows(tmp_path / "enn.parquet"))
    pipe = tmp_path / "pipe.parquet"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="It is a pipe or a device"):
        list(read_rows(pipe))
    parquet.write_table(table.slice(0, 0), path)
    with pytest.raises(InputError, match="the file is empty"):
        list(read_rows(path))


def test_cells_of_parquet_that_are_no_text_are_refused_with_their_row(tmp_path: Path) -> None:
    path = tmp_path / "en.parquet"
    columns = {"q": ["a", None], "n": [float("nan"), 2.5], "l": [["x"], []], "b": [b"x", b"y"]}
    parquet.write_table(pa.table(columns), path)
    first, second = read_rows(path)
    assert (first.text("q"), second.text("n")) == ("a", "2.5")
    for row, column, found in (
        (second, "q", "row 2: column 'q' holds NoneType"),
        (first, "n", "row 1: column 'n' holds nan"),
        (first, "l", "row 1: column 'l' holds list"),
        (first, "b", "row 1: column 'b' holds bytes"),
        (second, "m", "row 2: there is no column 'm'; expected one of: q, n, l, b."),
    ):
        with pytest.raises(InputError) as refused:
            row.text(column)
        assert message(refused).startswith(f"{path}, {found}")


class Executes:
    """What a pickle may do."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path("executed").touch, ()


@pytest.mark.filterwarnings("ignore:.*arrow.py_extension_type.*")
def test_nothing_in_parquet_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Older pyarrow made types from pickles in the file (CVE-2023-47248)."""
    monkeypatch.chdir(tmp_path)
    forged = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Executes()),
    }
    parquet.write_table(pa.table([["a"]], schema=pa.schema([pa.field("q", pa.string(), metadata=forged)])), "a.parquet")
    (row,) = read_rows(Path("a.parquet"))
    assert row.text("q") == "a"
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("line", "found"),
    [('{"q": }', "not JSON (Expecting value at column 7)"), ("[1]", "a JSON list"), ("3", "a JSON int")],
)
def test_a_line_that_is_no_object_is_refused(tmp_path: Path, line: str, found: str) -> None:
    path = tmp_path / "en.jsonl"
    path.write_text(f'{{"q": "fine"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError) as refused:
        list(read_rows(path))
    assert message(refused) == f"{path}:2: {found}; expected one JSON object a line."


@pytest.mark.parametrize(("value", "text"), [(" x\n", "x"), (3, "3"), (2.5, "2.5"), ("", "")])
def test_a_column_is_text(value: object, text: str) -> None:
    assert TextRow(Path("a"), 1, {"q": value}).text("q") == text


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, "holds NoneType"),
        (True, "holds bool"),
        (["x"], "holds list"),
        ({}, "holds dict"),
        ("a\ud83d", "holds half of a character"),
    ],
)
def test_a_column_that_is_no_text_is_refused(value: object, found: str) -> None:
    with pytest.raises(InputError) as refused:
        TextRow(Path("a.jsonl"), 7, {"q": value}).text("q")
    assert message(refused).startswith("a.jsonl:7: column 'q' ")
    assert found in message(refused)


def test_a_missing_column_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError) as refused:
        TextRow(Path("a.jsonl"), 7, {"question": "x", "id": 1}).text("questoin")
    assert message(refused) == (
        "a.jsonl:7: there is no column 'questoin'; expected one of: question, id. Did you mean 'question'?"
    )
