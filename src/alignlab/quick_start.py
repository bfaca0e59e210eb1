"""What the process of a command does not wait for: a collector that looks through modules while they are imported, and
modules that are taken apart when all is written. Together these are two fifths of the seconds of a short command.
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_MANY = 100  # modules
_status: int | None = None


@contextmanager
def quick_imports() -> Iterator[None]:
    """Within it nothing is collected; if many modules were imported, none of them is looked through again."""
    enabled, before = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) - before > _MANY:
            gc.freeze()
        if enabled:
            gc.enable()


def end_quickly(status: int) -> None:
    """End the process with that status as soon as the functions registered with `atexit` have run, whenever it ends."""
    global _status
    _status = status


def _end() -> None:
    if _status is None:
        return
    logging.shutdown()  # whose own function was registered before
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads any more, which Python itself says, and ends with 120
            return
    os._exit(_status)


# Functions run last that were registered first: of whatever is imported after this, all have run.
atexit.register(_end)
