"""The list that lies in every folder which alignlab wrote as a whole: what kind it is of, and each file's checksum.

Only what is on the list is ever removed or replaced: a file that a person has put there is theirs.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import xxhash

from alignlab.errors import InputError, Problem
from alignlab.regular_files import read_regular

NAME = "manifest.json"
_CHUNK = 1 << 22

# What folders held before there were manifests: the file that tells the kind, and the names of all that may be there.
_EARLIER = {
    "analysis": ("table.csv", r"(table\.csv|sets\.safetensors|report\.html|config\.yaml)"),
    "checkpoint": (
        "trainer.ckpt",
        r"(trainer\.ckpt|README\.md|adapter_config\.json|adapter_model\.safetensors|(generation_)?config\.json"
        r"|model(-\d+-of-\d+)?\.safetensors(\.index\.json)?|tokenizer.*|special_tokens_map\.json|added_tokens\.json"
        r"|vocab\..*|merges\.txt|spiece\.model|chat_template\.jinja)",
    ),
}


def write_manifest(folder: Path, kind: str) -> None:
    """List all files of a folder, with their sizes and checksums; `kind` says what it holds, such as `checkpoint`."""
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "xxh3_128": checksum(file)}
        for file in _files(folder)
        if file not in (folder / NAME, folder / f"{NAME}.partial")
    }
    text = json.dumps({"kind": kind, "files": files}, indent=2, ensure_ascii=False)
    partial = folder / f"{NAME}.partial"  # never half a list in a folder that is there already
    partial.write_text(f"{text}\n", encoding="utf-8")
    partial.replace(folder / NAME)


def kind_of(folder: Path) -> str | None:
    """What a folder holds; None where no manifest says so, nor the names of its files."""
    if (manifest := _read(folder)) is not None:
        return str(manifest["kind"])
    return next((kind for kind in _EARLIER if _is_earlier(folder, kind)), None)


def check_replaceable(folder: Path, kind: str, where: str) -> None:
    """Refuse to replace a folder of another kind, or one in which there are files that are not on its list.

    where: the config key that names the folder.
    """
    while True:
        before = _identity(folder)
        try:
            problem = _obstacle(folder, kind, where)
        except FileNotFoundError:
            continue
        if _identity(folder) == before:  # else another process has replaced it meanwhile
            break
    if problem is not None:
        raise InputError(problem)


def _obstacle(folder: Path, kind: str, where: str) -> Problem | None:
    if not folder.exists() and not folder.is_symlink():
        return None
    if not folder.is_dir():
        return Problem(f"{where} ({folder})", "it is a file", "a folder", "Name another.")
    if not any(folder.iterdir()):
        return None
    found = kind_of(folder)
    if found != kind:
        what = f"it holds {_with_article(found)}" if found else "it holds something else"
        return Problem(f"{where} ({folder})", what, f"a new folder, or {_with_article(kind)}", "Name another.")
    others = strangers(folder)
    return stranger_problem(where, folder, others) if others else None


def _identity(folder: Path) -> tuple[int, int] | None:
    """Which folder now bears the name."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def strangers(folder: Path) -> list[Path]:
    """The files in a folder that are not on its list: all of them where there is no list."""
    known = {folder / name for name in listed(folder)} | {folder / NAME}
    return [file for file in _files(folder) if file not in known]


def stranger_problem(where: str, folder: Path, others: list[Path]) -> Problem:
    """What is said of files that nobody may remove but who put them there."""
    names = ", ".join(str(path.relative_to(folder)) for path in others[:3]) + ", ..." * (len(others) > 3)
    found = f"it also holds {names}, which alignlab did not write"
    return Problem(f"{where} ({folder})", found, "only files that alignlab wrote", "Move them elsewhere first.")


def verify(folder: Path, *, deep: bool = True) -> list[str]:
    """What is wrong with the files of a folder: missing, or other bytes than were written; empty where it is whole.

    deep: read all files for their checksums; else sizes alone are compared.
    A folder without a manifest, from before there were any, cannot be verified and passes.
    """
    faults = []
    for name, written in (_read(folder) or {"files": {}})["files"].items():
        file = folder / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif file.stat().st_size != written["bytes"] or (deep and checksum(file) != written["xxh3_128"]):
            faults.append(f"{name} is not as it was written")
    return faults


def checksum(file: Path) -> str:
    """XXH3 of a file, 128 bits as hexadecimal digits: against damage, not against forgers."""
    digest = xxhash.xxh3_128()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def checksum_of(written: bytes) -> str:
    """The same of bytes."""
    return xxhash.xxh3_128_hexdigest(written)


def remove_listed(folder: Path) -> None:
    """Remove the files that alignlab wrote in a folder, then their list, and the folders that are empty by then."""
    for name in listed(folder):
        (folder / name).unlink(missing_ok=True)
    (folder / NAME).unlink(missing_ok=True)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        _remove_empty(inner)
    _remove_empty(folder)


def listed(folder: Path) -> list[str]:
    """The files that alignlab wrote there, by their paths in the folder."""
    if (manifest := _read(folder)) is not None:
        return list(manifest["files"])
    if any(_is_earlier(folder, kind) for kind in _EARLIER):
        return [file.name for file in folder.iterdir()]
    return []


def _is_earlier(folder: Path, kind: str) -> bool:
    """Whether it is a folder of that kind from before there were manifests."""
    mark, names = _EARLIER[kind]
    return (folder / mark).is_file() and all(
        file.parent == folder and re.fullmatch(names, file.name) for file in _files(folder)
    )


def _remove_empty(folder: Path) -> None:
    if not folder.is_symlink() and not any(folder.iterdir()):
        folder.rmdir()


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads(read_regular(folder / NAME))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        manifest = None
    well_formed = (
        isinstance(manifest, dict)
        and isinstance(manifest.get("kind"), str)
        and isinstance(manifest.get("files"), dict)
        and all(_is_entry(name, entry) for name, entry in manifest["files"].items())
    )
    if not well_formed:
        found = "it is not the list of files that alignlab wrote"
        raise InputError(Problem(str(folder / NAME), found, "that list", "Restore it, or move the folder away."))
    assert isinstance(manifest, dict)
    return manifest


def _is_entry(name: str, entry: Any) -> bool:
    """Whether it names a file inside the folder, with what is to be known of it."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts and "\0" not in name
    return inside and isinstance(entry, dict) and {"bytes", "xxh3_128"} <= entry.keys()


def _files(folder: Path) -> list[Path]:
    """Everything below a folder that is no folder; links to folders count as files."""
    found = []
    for at, folders, files in os.walk(folder):
        found += [Path(at) / name for name in files]
        found += [Path(at) / name for name in folders if (Path(at) / name).is_symlink()]
    return sorted(found)


def _with_article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
