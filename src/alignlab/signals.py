"""How a process is asked to stop: Ctrl-C, SIGTERM, and SIGUSR1, by which SLURM warns of a time limit."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Stopped(BaseException):
    """The process was asked to stop.

    signal: by which.  done: what was done about it, for the line that people read; empty where nothing was.
    """

    def __init__(self, number: int, done: str = "") -> None:
        self.signal = signal.Signals(number)
        self.done = done
        super().__init__(f"stopped by {self.signal.name}")

    @property
    def status(self) -> int:
        """The exit status that shells give a process which a signal has ended."""
        return 128 + self.signal


@contextmanager
def handled(handle: Callable[[int], None]) -> Iterator[None]:
    """Call `handle` with every signal by which the process is asked to stop, until the block ends.

    Forked children, such as the workers of a loader, end by the signal as ever; Ctrl-C, which reaches all, they leave
    to their parent. Outside the main thread, where Python sets no handlers, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handler(number: int, _frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handle(number)
        elif number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    before: dict[int, Any] = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def stop(number: int) -> None:
    """End at once, in good order: what is being written is not left half written."""
    raise Stopped(number)
