"""The list of what alignlab wrote in a folder: checksums that find damage, and whose files are whose."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import xxhash

from alignlab.errors import InputError
from alignlab.manifest import (
    NAME,
    check_replaceable,
    checksum,
    kind_of,
    remove_listed,
    strangers,
    verify,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "step-1"
    (made / "inner").mkdir(parents=True)
    (made / "weights").write_bytes(bytes(range(256)) * 40)
    (made / "inner" / "größe.txt").write_text("Äpfel", encoding="utf-8")
    (made / "empty").touch()
    write_manifest(made, "checkpoint")
    return made


def test_what_was_written_is_whole(folder: Path) -> None:
    assert verify(folder) == []
    assert kind_of(folder) == "checkpoint"
    assert strangers(folder) == []
    assert checksum(folder / "weights") == xxhash.xxh3_128(bytes(range(256)) * 40).hexdigest()


def test_any_flipped_byte_is_found_and_named(folder: Path) -> None:
    whole = (folder / "weights").read_bytes()
    random.seed(0)
    for place in random.sample(range(len(whole)), 50):
        (folder / "weights").write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        assert verify(folder) == ["weights is not as it was written"]
    (folder / "weights").write_bytes(whole[:-1])
    assert verify(folder) == ["weights is not as it was written"]
    (folder / "weights").unlink()
    assert verify(folder) == ["weights is missing"]
    (folder / "weights").write_bytes(whole)
    assert verify(folder) == []


def test_only_what_is_listed_is_removed(folder: Path) -> None:
    (folder / "inner" / "notes.txt").write_text("mine", encoding="utf-8")
    assert strangers(folder) == [folder / "inner" / "notes.txt"]
    remove_listed(folder)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*")] == ["inner", "inner/notes.txt"]
    (folder / "inner" / "notes.txt").unlink()


def test_a_link_into_another_folder_is_a_stranger_and_is_not_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "corpus.txt").write_text("much", encoding="utf-8")
    (folder / "link").symlink_to(tmp_path / "data")
    assert strangers(folder) == [folder / "link"]
    remove_listed(folder)
    assert (tmp_path / "data" / "corpus.txt").read_text(encoding="utf-8") == "much"


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", "{}", '{"kind": 3, "files": {}}', '{"kind": "checkpoint"}',
        '{"kind": "checkpoint", "files": []}',
        '{"kind": "checkpoint", "files": {"../../thesis.tex": {"bytes": 1, "xxh3_128": ""}}}',
        '{"kind": "checkpoint", "files": {"/etc/passwd": {"bytes": 1, "xxh3_128": ""}}}',
        '{"kind": "checkpoint", "files": {"weights": {}}}', "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_or_hostile_list_is_refused_and_nothing_is_removed(folder: Path, text: str) -> None:
    (folder / NAME).write_text(text, encoding="utf-8")
    for function in (verify, strangers, kind_of, remove_listed):
        with pytest.raises(InputError, match="it is not the list of files that alignlab wrote"):
            function(folder)
    assert (folder / "weights").is_file()


def test_results_from_before_there_were_lists_are_known_by_their_names(tmp_path: Path) -> None:
    for name in ("table.csv", "sets.safetensors", "report.html", "config.yaml"):
        (tmp_path / name).touch()
    assert kind_of(tmp_path) == "analysis"
    check_replaceable(tmp_path, "analysis", "folder")
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="it holds something else"):
        check_replaceable(tmp_path, "analysis", "folder")


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="it is a file; expected a folder"):
        check_replaceable(tmp_path / "file", "analysis", "folder")
    check_replaceable(tmp_path / "new", "analysis", "folder")


def test_the_list_names_every_file_with_its_size(folder: Path) -> None:
    files = json.loads((folder / NAME).read_text(encoding="utf-8"))["files"]
    assert {name: entry["bytes"] for name, entry in files.items()} == {
        "weights": 10_240, "inner/größe.txt": 6, "empty": 0,
    }  # fmt: skip
