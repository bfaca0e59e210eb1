"""What happens when a record cannot be written."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignlab.errors import InputError


@contextmanager
def refusing(folder: Path, what: str) -> Iterator[None]:
    """Turn a full disk or a missing permission into a refusal that names `what` was to be written into the folder."""
    try:
        yield
    except OSError as error:
        # What safetensors reports of a full disk has no number.
        in_the_way = error.errno in (errno.EISDIR, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.EROFS)
        mend = "Mend that" if in_the_way else "Make room"
        raise InputError.of(
            f"{folder}",
            f"{what} could not be written ({error})",
            "space and permission to write",
            f"{mend} and give the same command again: it continues from the last checkpoint.",
        ) from error
