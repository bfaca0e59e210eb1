"""How a process is asked to stop: Ctrl-C, SIGTERM, and SIGUSR1, by which SLURM warns of a time limit."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_KNOCK = signal.SIGURG
_PATIENCE = 30.0  # seconds: what launchers wait too before they kill
_BETWEEN_KNOCKS = 0.1  # seconds
_END = 0  # no signal's number

_asked: int | None = None
# Of the process, like its handlers, which Lightning puts back in an order of its own. No Event: a handler may come
# while another one holds the Event's lock.
_answered = False


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

    Forked children, such as the workers of a loader, leave Ctrl-C and the first other signal, which may have gone to
    all of them, to their parent; a second ends them. Outside the main thread, where Python sets no handlers, this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    owner = os.getpid()

    def handler(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            handle(number)
        else:
            _leave_to_parent(number, frame)

    before: dict[int, Any] = {number: signal.signal(number, handler) for number in STOPPING}
    try:
        with _watched(), _raised_again():
            yield
    finally:
        for number, old in before.items():
            signal.signal(number, old if old is not None else signal.SIG_DFL)


def _leave_to_parent(number: int, _frame: FrameType | None) -> None:
    """In a worker: the first may have gone to the whole group, and the parent ends its workers itself."""
    if number != signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)


def start_worker(_number: int) -> None:
    """Let a loader's worker leave the stopping to its parent: torch ends it at SIGTERM, and so the training.

    To be the loader's `worker_init_fn`.
    """
    for number in STOPPING:
        signal.signal(number, _leave_to_parent)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_by_parent, args=(os.getppid(),), daemon=True).start()


def is_end_of_worker(error: BaseException) -> bool:
    """Whether torch says that a loader's process has ended: it is raised wherever its parent happens to be."""
    return isinstance(error, RuntimeError) and "DataLoader worker" in str(error)


def _end_by_parent(parent: int) -> None:
    """End when the parent asks for it; what others send has gone to the parent too."""
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


@contextmanager
def _raised_again() -> Iterator[None]:
    """Send a signal once more where Python drops the `Stopped` of it, as it does in a `__del__`."""
    before = sys.unraisablehook

    def say(dropped: sys.UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, Stopped):
            before(dropped)
        elif _asked is not None:  # who does more than `stop` has taken note of it
            threading.Timer(_BETWEEN_KNOCKS, os.kill, (os.getpid(), dropped.exc_value.signal)).start()

    sys.unraisablehook = say
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextmanager
def _watched() -> Iterator[None]:
    """End the process where Python does not come to answer a signal, as in a call that waits for a rank that is gone.

    The interpreter calls handlers between its own instructions only; what arrives in the meantime it writes to a pipe,
    by which a thread learns of it. The thread then knocks, with a signal that does nothing else, until it is answered.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    knocked = signal.signal(_KNOCK, _answer)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        global _answered
        while (number := os.read(reading, 1)[0]) != _END:
            if number not in STOPPING:
                continue
            _answered = False
            limit = time.monotonic() + _PATIENCE
            while not _answered:
                if time.monotonic() > limit:
                    text = f"\nStopped by {signal.Signals(number).name}, at once: it did not answer.\n"
                    os.write(2, text.encode())
                    os._exit(128 + number)
                # More than once: a knock just before the thread begins to wait does not wake it.
                signal.pthread_kill(main_thread, _KNOCK)
                time.sleep(_BETWEEN_KNOCKS)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, bytes([_END]))  # to close it would not do: forked workers hold it too
        thread.join()
        os.close(writing)
        os.close(reading)
        signal.signal(_KNOCK, knocked if knocked is not None else signal.SIG_DFL)


def _answer(_number: int, _frame: FrameType | None) -> None:
    global _answered
    _answered = True


def _forget_the_pipe() -> None:
    """In a forked child: its signals are not its parent's."""
    if threading.current_thread() is threading.main_thread():
        signal.set_wakeup_fd(-1)


os.register_at_fork(after_in_child=_forget_the_pipe)


def ignore_ctrl_c() -> None:
    """At the very end, where nothing is left to be stopped and Python's own cleaning up would be torn."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def stop(number: int) -> None:
    """End at once, in good order: what is being written is not left half written."""
    global _asked
    _asked = number
    raise Stopped(number)


def asked_to_stop() -> int | None:
    """The signal that `stop` has answered, if any: where Python itself was at work, it drops the exception."""
    return _asked


def begin() -> None:
    """Forget the signals of before, as a new command does."""
    global _asked
    _asked = None
