"""Files and folders that appear whole or not at all: written beside their place, synced, then moved there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# It can only be asked for by setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; after the block it is `path`. A reader finds the old file, the new one, or none.

    Nothing is left behind when the block raises. OSError is what a full disk or a missing permission gives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        yield partial
        _settle(partial)
        partial.replace(path)
        _sync(path.parent)  # the new name is on disk only once the folder is
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder, which replaces one that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, old = path.with_name(f"{path.name}.partial"), path.with_name(f"{path.name}.old.partial")
    remove(partial)
    remove(old)
    partial.mkdir()
    try:
        yield partial
        for entry in sorted(partial.rglob("*")):
            _settle(entry)
        _sync(partial)
        if path.exists():
            path.replace(old)  # moved away before it is removed: what is half removed must not bear the name
        try:
            partial.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        _sync(path.parent)
    finally:
        remove(partial)
        remove(old)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def remove(folder: Path) -> None:
    """Remove a folder with all that is in it, if it is there.

    A link to a folder stays, and what it points to is emptied: who put it there wants the files on that disk.
    """
    if not folder.is_symlink():
        if folder.exists():
            shutil.rmtree(folder)
        return
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _settle(path: Path) -> None:
    """Bring to the disk, with the permissions of any new file: safetensors lets nobody but the owner read its own."""
    if path.is_file() and not path.is_symlink():
        path.chmod(path.stat().st_mode | (0o666 & ~_UMASK))
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
