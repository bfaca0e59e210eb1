"""Parts of work: read back as written, told from those of other works, refused where damaged."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from alignlab.errors import InputError
from alignlab.parts import Parts

ROWS = [{"number": 3, "nats": [0.1, 1e-300, 2.0**60 + 0.5], "text": "zwei\u2028Zeilen\n"}, {"number": 4, "nats": []}]


def test_rows_come_back_to_the_last_digit(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "parts", "ab12")
    parts.write(7, ROWS)
    assert parts.read(7) == ROWS
    parts.write(7, [{"nats": [math.nan, math.inf]}])
    (row,) = parts.read(7)
    assert math.isnan(row["nats"][0])
    assert math.isinf(row["nats"][1])
    assert [path.name for path in parts.written()] == ["part-ab12-000007.jsonl"]


def test_works_in_one_folder_do_not_meet(tmp_path: Path) -> None:
    one, other = Parts(tmp_path / "parts", "ab12"), Parts(tmp_path / "parts", "ff")
    one.write(0, ROWS)
    other.write(0, ROWS[:1])
    (tmp_path / "parts/part-ab12-000001.jsonl.0a1b2c-999999-0.partial").write_text("half")
    (tmp_path / "parts/part-ff-000001.jsonl.0a1b2c-999999-0.partial").write_text("half")
    one.clear()
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "part-ff-000000.jsonl", "part-ff-000001.jsonl.0a1b2c-999999-0.partial",
    ]  # fmt: skip
    assert other.read(0) == ROWS[:1]
    other.clear()
    assert not (tmp_path / "parts").exists()


def test_what_is_not_as_it_was_written_is_refused(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.write(0, ROWS)
    whole = parts.part(0).read_bytes()
    for damage in (whole.replace(b"0.1", b"0.2"), whole[:20], b"{", b"[]\n", b'{"number": 3}\n', b"\xff\n"):
        parts.part(0).write_bytes(damage)
        with pytest.raises(InputError, match="part-000000"):
            parts.read(0)
    with pytest.raises(InputError, match="part-000001"):
        parts.read(1)
    assert json.loads(whole.split(b"\n")[0])["number"] == 3
