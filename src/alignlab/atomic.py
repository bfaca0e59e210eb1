"""Files and folders that appear whole or not at all: written beside their place, synced, then moved there.

What is being written has a name of its own in every process, so that two that write the same file do not meet; the one
that ends last stands. What a killed process has left is removed when the same file is written again.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alignlab.manifest import check_replaceable, write_manifest

PARTIAL = ".partial"
# What is said of writing alone, and of a file that is open without its name.
_NO_ROOM = frozenset((errno.EDQUOT, errno.EFBIG, errno.ENOSPC))
_ATTEMPTS = 100
# It can only be asked for by setting it.
_UMASK = os.umask(0o077)
os.umask(_UMASK)

_MACHINE = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
_numbers = itertools.count()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; after the block it is `path`. A reader finds the old file, the new one, or none.

    Nothing is left behind when the block raises. OSError is what a full disk or a missing permission gives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    partial = _partial(path)
    try:
        yield partial
        _settle(partial)
        partial.replace(path)
        _sync(path.parent)  # the new name is on disk only once the folder is
    except OSError as error:
        if error.filename is None and error.errno in _NO_ROOM:
            error.filename = str(path)  # so that people are told which file it was
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path, kind: str, where: str = "folder") -> Iterator[Path]:
    """The same for a folder, with a manifest of its files; it replaces one that was there, of the same kind.

    kind: what it holds, such as `checkpoint`.  where: the config key that names the folder.
    Raises InputError, before and after the block, where something would be replaced that alignlab did not write.
    """
    check_replaceable(path, kind, where)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(path)
    partial, old = _partial(path), _partial(path, "old.")
    partial.mkdir()
    try:
        yield partial
        write_manifest(partial, kind)
        for entry in sorted(partial.rglob("*")):
            _settle(entry)
        _sync(partial)
        check_replaceable(path, kind, where)
        _put(partial, path, old)
        _sync(path.parent)
    finally:
        remove(partial)
        if old.is_symlink():  # the folder was a link: what it led to stays where it is
            old.unlink()
        remove(old)
        for folder in made:  # where the block has raised, nothing is in them
            with suppress(OSError):
                folder.rmdir()


def _put(partial: Path, path: Path, old: Path) -> None:
    """Give the folder its name. One that bears it is moved away before it is removed, never half removed in place."""
    for _ in range(_ATTEMPTS):  # another process may give the name to its own between two of these lines
        with suppress(FileNotFoundError):
            path.replace(old)
        try:
            partial.replace(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                remove(old)
                continue
            if old.exists():
                old.replace(path)
            raise
        return
    raise OSError(errno.EBUSY, "other processes keep replacing the folder", str(path))


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def discard(folder: Path) -> None:
    """Remove a folder so that it bears its name as a whole or not at all."""
    old = _partial(folder, "old.")
    folder.replace(old)
    if old.is_symlink():
        old.unlink()
    remove(old)


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


def name_being_written(path: Path) -> str | None:
    """The name that a file or folder would have got, had it been written to the end; None for any other name.

    Earlier versions of alignlab wrote `NAME.partial` and `NAME.old.partial`.
    """
    match = re.fullmatch(rf"(.+?)(?:\.old)?(?:\.[0-9a-f]{{6}}-\d+-\d+)?{re.escape(PARTIAL)}", path.name)
    return match[1] if match else None


def _partial(path: Path, infix: str = "") -> Path:
    return path.with_name(f"{path.name}.{infix}{_MACHINE}-{os.getpid()}-{next(_numbers)}{PARTIAL}")


def _remove_stale(path: Path) -> None:
    """Remove what processes of this machine that are no more have left of the same file or folder."""
    pattern = re.compile(re.escape(path.name) + rf"\.(?:old\.)?{_MACHINE}-(\d+)-\d+{re.escape(PARTIAL)}")
    for entry in path.parent.iterdir():
        match = pattern.fullmatch(entry.name)
        if match is None or _lives(int(match[1])):
            continue
        mine = _partial(path, "old.")
        with suppress(FileNotFoundError):  # another process has come first, and removes it
            entry.replace(mine)
            if mine.is_dir():
                remove(mine)
            else:
                mine.unlink()


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, but there
        return True
    return True


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
