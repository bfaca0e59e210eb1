"""One process a folder: a lock that ends with the process, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from alignlab.errors import InputError, Problem

LOCK = ".lock"


@contextmanager
def locked(folder: Path, key: str) -> Iterator[None]:
    """Hold a folder, which is made where there is none, against a second process.

    key: the config key that names it.
    Where nothing was written in the end, no folder is left, nor those that were made above it.
    Raises InputError where another process holds it.
    """
    made = [above for above in folder.parents if not above.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = _lock(folder, key)
    try:
        yield
    finally:
        if [entry.name for entry in folder.iterdir()] == [LOCK]:
            (folder / LOCK).unlink()
            with suppress(OSError):
                for path in (folder, *made):
                    path.rmdir()
        os.close(descriptor)


def _lock(folder: Path, key: str) -> int:
    path, where = folder / LOCK, f"{key} ({folder})"
    while True:
        try:
            # No link is followed: what it leads to is not ours.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            found = f"{path} cannot be opened ({error.strerror})"
            fix = f"Remove it, or set {key} to another folder."
            raise InputError(Problem(where, found, "a file that no link leads to", fix)) from None
        try:
            # Not flock: a killed run's loader processes would inherit it and hold it for some seconds.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                found = f"it cannot be locked ({error.strerror})"
                fix = f"Set {key} to a folder on another disk."
                raise InputError(Problem(where, found, "a file system with locks", fix)) from None
            found, expected = f"another process is using this {key.replace('.', ' ')}", "one process a folder"
            raise InputError(Problem(where, found, expected, "Wait for it or stop it.")) from None
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        os.close(descriptor)  # the one that held it has just removed the file


def is_held(folder: Path) -> bool:
    """Whether another process holds a folder now; one that this process holds must not be asked about."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EACCES, errno.EAGAIN)
    finally:
        os.close(descriptor)
    return False
