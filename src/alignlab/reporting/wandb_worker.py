"""Work for Weights & Biases in threads of its own: what fails is said once, and nobody waits for ever."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from alignlab import console


class Worker:
    """A thread that does one thing after another and does not keep Python from ending; its first failure is said."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.failed = False
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=console.BACKGROUND, daemon=True)
        self._thread.start()

    def do(self, task: Callable[[], object]) -> None:
        self._tasks.put(task)

    def end(self, seconds: float) -> bool:
        """Whether all was done, and done well, within that time."""
        self._tasks.put(None)
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive() and not self.failed

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - whatever W&B raises, training goes on
                if not (self.failed or self.quiet):
                    console.complain(f"W&B failed, training goes on: {first_line(error)}.")
                self.failed = True


def quietly(task: Callable[[], object], seconds: float = 30) -> None:
    """Do what may fail or hang, and may."""
    worker = Worker(quiet=True)
    worker.do(task)
    worker.end(seconds)


def first_line(error: Exception) -> str:
    """The first line of what went wrong, without its full stop; the sort of error where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def upload_line(run: Any) -> str:
    """How to upload what a W&B run has left on the disk."""
    path = Path(run.dir).parent
    online = "" if path.name.startswith("offline-") else "--include-online "
    return f"Upload it later: wandb sync {online}{shlex.quote(str(path))}"
