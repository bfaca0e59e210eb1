"""The study of programming languages, on a folder of files made here: what is taken, what is left out, and the null."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .scripts_as_modules import SCRIPTS, script_as_module


def loaded(name: str) -> Any:
    return script_as_module(SCRIPTS / f"studies/{name}.py")


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for package in range(5):
        for number in range(4):
            for suffix, line in (("py", "x_{} = [{}]"), ("c", "int x_{} = {};")):
                path = root / f"package{package}" / f"file{number}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("".join(line.format(at, 97 * (4 * package + number) + at) + "\n" for at in range(60)))
    (root / "package0" / "twin.py").write_text((root / "package0" / "file1.py").read_text())
    (root / "package1" / "short.py").write_text("x = 1\n")
    (root / "package1" / "minified.py").write_text("x=1;" * 500)
    (root / "package1" / "latin.py").write_bytes(b"# \xe9\n" * 200)
    (root / "package1" / "one.sql").write_text("SELECT x FROM t;\n" * 50)
    (root / "package1" / "link.py").symlink_to(root / "package0" / "file1.py")
    return root


@pytest.mark.slow
def test_real_files_are_gathered_counted_and_shuffled(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [str(files), "--least", "10", "--documents", "12", "--out"]
    texts = {}
    for name, more in (("found", []), ("null", ["--shuffled", "1"])):
        monkeypatch.setattr(sys, "argv", ["code_labels.py", *asked, str(tmp_path / name), *more])
        loaded("code_labels").main()
        printed = capsys.readouterr().out
        assert "sql: 1 documents of 1 packages: too few, left out" in printed
        assert "What stands in the place of languages here is of another kind: programming language." in printed
        assert "unseen (all others, as none is known to be in training): mean a language of python c_lang" in printed
        texts[name] = {
            label: [json.loads(line) for line in (tmp_path / name / "text" / f"{label}.jsonl").open()]
            for label in ("python", "c_lang")
        }
    found, null = texts["found"], texts["null"]
    assert [len(rows) for rows in [*found.values(), *null.values()]] == [12] * 4
    assert all("int " not in row["text"] and row["text"].startswith("x_20") for row in found["python"])
    assert len({row["text"] for rows in found.values() for row in rows}) == 24
    assert {row["cluster"] for row in found["python"]} <= {f"source/package{number}" for number in range(5)}
    assert sorted(row["text"] for rows in null.values() for row in rows) == sorted(
        row["text"] for rows in found.values() for row in rows
    )
    assert 0 < sum("int " in row["text"] for row in null["python"]) < 12


def test_lines_of_a_shuffled_script_are_each_once(tmp_path: Path) -> None:
    label_files = loaded("label_files")
    documents = {
        script: [label_files.Excerpt(f"{script} {line}", f"block {line // 10}", str(line)) for line in range(30)]
        for script in ("Latn", "Cyrl", "Hans")
    }
    config = label_files.write_labels(tmp_path, documents, {}, "script", shuffled=3)
    assert "axis: script" in config.read_text()
    everything = []
    for script in documents:
        rows = [json.loads(line) for line in (tmp_path / "text" / f"{script}.jsonl").open()]
        assert len({row["id"] for row in rows}) == len(rows) > 25
        everything += [row["text"] for row in rows]
    assert len(set(everything)) == len(everything)
