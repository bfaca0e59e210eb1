"""Lines and rows of text files, and what is said of files that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

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
    with pytest.raises(InputError, match=r"unknown kind of file '\.csv'; expected one of: \.txt, \.tsv, \.jsonl"):
        list(read_rows(tmp_path / "en.csv"))


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
