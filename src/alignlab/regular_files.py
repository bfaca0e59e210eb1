"""Reading files that may be something else: a pipe would be waited for, and a device may have no end."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """The open file. Raises OSError for what is missing, unreadable, or a folder, pipe, socket or device."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    number = errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL
    reason = os.strerror(number) if stat.S_ISDIR(mode) else "It is a pipe or a device, not a file"
    raise OSError(number, reason, str(path))


def read_regular(path: Path) -> bytes:
    """All of the file. Raises OSError as `open_regular` does."""
    with open_regular(path) as file:
        return file.read()
