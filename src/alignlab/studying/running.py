"""Cells worked on, each step a process of its own: claimed by a lock, side by side, stopped in good order.

Any number of such workers may work on one study at a time, on whatever machines share its disk: what one has claimed,
or has finished, another leaves.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from alignlab import console
from alignlab.errors import InputError
from alignlab.folder_lock import is_held, locked
from alignlab.redaction import hide
from alignlab.signals import Stopped, handled
from alignlab.studying.configs import Study
from alignlab.studying.folder import Failure
from alignlab.studying.grid import Cell
from alignlab.studying.launched import of_cells
from alignlab.studying.remaining import remaining
from alignlab.studying.steps import Step

_BETWEEN_LOOKS = 0.1  # seconds
_TAIL = 1 << 16  # bytes of a log in which its last line is


@dataclass
class _Running:
    """A cell that is worked on. step: the one that runs.  held: what gives the cell up."""

    cell: Cell
    step: Step
    process: subprocess.Popen[bytes]
    began: float
    device: str | None
    held: ExitStack


@dataclass
class Worker:
    """Works on the cells of a study until none is left that it may take.

    elsewhere: cells that other processes were at work on when this one had nothing left to do.
    stopped: cells whose step ended before its time, by a signal or by trainer.max_time: the same command goes on.
    """

    study: Study
    elsewhere: list[Cell] = field(default_factory=list)
    stopped: list[Cell] = field(default_factory=list)
    _running: list[_Running] = field(default_factory=list)
    _asked: int = 0
    _times_asked: int = 0

    @property
    def jobs(self) -> int:
        """Processes side by side."""
        return self.study.options.jobs or max(1, len(self.study.options.devices))

    def work(self) -> None:
        """Work on all cells that are there to be worked on. Raises Stopped where it was asked to stop."""
        devices = self.study.options.devices
        free = deque(devices[place % len(devices)] if devices else None for place in range(self.jobs))
        waiting = deque(self._todo())
        with handled(self._note):
            try:
                while True:
                    while free and waiting and not self._asked:
                        device = free.popleft()
                        if not self._begin(waiting.popleft(), device):
                            free.append(device)
                    if self._asked or not self._running:
                        break
                    time.sleep(_BETWEEN_LOOKS)
                    free.extend(self._look())
                    if not waiting and free:
                        # What others had claimed before may have been given up since.
                        waiting.extend(self._given_up())
            finally:
                # Also where this process fails: none of its cells is left to work unwatched.
                self._stop()
        if self._asked:
            number = len(self.stopped)
            raise Stopped(self._asked, f"{number} cell{'s' * (number != 1)} stopped in good order" if number else "")

    def _note(self, number: int) -> None:
        self._asked = self._asked or number
        self._times_asked += 1

    def _todo(self) -> Iterator[Cell]:
        for cell in self.study.grid.cells:
            state = self.study.state(cell)
            if state in ("open", "begun") or (state == "failed" and self.study.options.retry == "failed"):
                yield cell

    def _given_up(self) -> list[Cell]:
        """Cells that others held and hold no longer, and that are not done."""
        folder = self.study.folder
        free = [cell for cell in self.elsewhere if not is_held(folder.cell(cell))]
        self.elsewhere = [cell for cell in self.elsewhere if cell not in free]
        return [cell for cell in free if self.study.state(cell) in ("open", "begun")]

    def _begin(self, cell: Cell, device: str | None) -> bool:
        """Claim a cell and start its first step that is not done; whether there is one, and nobody else is at it."""
        folder, held = self.study.folder, ExitStack()
        try:
            held.enter_context(locked(folder.cell(cell), "study.name"))
        except InputError:
            if not is_held(folder.cell(cell)):  # what it says is no other process
                raise
            self.elsewhere.append(cell)
            return False
        with ExitStack() as given_up:
            given_up.push(held)
            if any(is_held(folder.cell(cell) / step.name) for step in self.study.steps):
                # A worker was killed, and the process that it had started has not ended yet.
                self.elsewhere.append(cell)
                return False
            state = self.study.state(cell)  # now that nobody else can change it
            if state == "finished" or (state == "failed" and self.study.options.retry != "failed"):
                return False
            folder.begin_cell(cell, self.study.document(cell))
            self._start(cell, self._next(cell), device, held)
            given_up.pop_all()
        return True

    def _next(self, cell: Cell) -> Step:
        return next(step for step in self.study.steps_of(cell) if not self.study.folder.is_done(cell, step))

    def _start(self, cell: Cell, step: Step, device: str | None, held: ExitStack) -> None:
        folder = self.study.folder
        module, *before = step.command
        command = [sys.executable, "-m", f"alignlab.{module}", *before, *step.asked(cell, folder.cell(cell))]
        with folder.log(cell).open("ab") as log:
            log.write(hide(f"\n$ {' '.join(command)}\n").encode(errors="backslashreplace"))
            log.flush()
            # A session of its own: Ctrl-C is for this process, which passes it on once.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment(device),
                start_new_session=True,
            )  # fmt: skip
        self._running.append(_Running(cell, step, process, time.monotonic(), device, held))
        at = f" on device {device}" if device is not None else ""
        console.say(f"{cell.name}: {step.name} begins{at}")

    def _environment(self, device: str | None) -> dict[str, str]:
        own = of_cells(os.environ)
        own.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // self.jobs)))
        return own | ({"CUDA_VISIBLE_DEVICES": device} if device is not None else {})

    def _look(self) -> list[str | None]:
        """See which processes have ended, and go on with their cells; the devices of those that are done."""
        free = []
        for one in [one for one in self._running if one.process.poll() is not None]:
            self._running.remove(one)
            if self._end(one) == "done" and self.study.state(one.cell) != "finished":
                self._start(one.cell, self._next(one.cell), one.device, one.held)
                continue
            one.held.close()
            free.append(one.device)
        return free

    def _end(self, one: _Running) -> str:
        """Write down how a step has ended, and say it; `done`, `stopped` or `failed`."""
        folder, status, seconds = self.study.folder, one.process.returncode, time.monotonic() - one.began
        folder.end_step(one.cell, one.step, seconds, done=status == 0)
        name = f"{one.cell.name}: {one.step.name}"
        if folder.is_done(one.cell, one.step):
            left = self._left() if self._is_last(one) else ""
            console.say(f"{name} is done, after {console.duration(seconds)}{left}")
            return "done"
        by_request = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
        if status == 0 or status in [128 + number for number in by_request] or -status in by_request:
            self.stopped.append(one.cell)
            console.say(f"{name} was stopped after {console.duration(seconds)}; the same command goes on from there")
            return "stopped"
        failure = Failure(one.step.name, status, _last_line(folder.log(one.cell), status))
        folder.fail(one.cell, failure)
        console.complain(f"{name} has failed: {failure.says}")
        return "failed"

    def _is_last(self, one: _Running) -> bool:
        return self.study.state(one.cell) == "finished"

    def _left(self) -> str:
        """How many cells are done, and how long the others will take as far as these tell."""
        cells = self.study.grid.cells
        if len(cells) == 1:
            return ""
        states = {cell: self.study.state(cell) for cell in cells}
        done = f"; {list(states.values()).count('finished')} of {len(cells)} cells"
        todo = [cell for cell, state in states.items() if state in ("open", "begun")]
        says = remaining(self.study.folder, self.study.steps, cells, todo).says(self.jobs)
        return f"{done}, {says} left" if says else done

    def _stop(self) -> None:
        """Ask all processes to stop and wait until they have; asked to stop again, end them at once."""
        if not self._running:
            return
        number = len(self._running)
        told = "1 cell, with a checkpoint" if number == 1 else f"{number} cells, with a checkpoint each"
        console.complain(f"\nStopping {told} (again: at once).")
        asked = self._times_asked
        _send(self._running, signal.SIGTERM)
        while any(one.process.poll() is None for one in self._running):
            if self._times_asked > asked:
                _send(self._running, signal.SIGKILL)
            time.sleep(_BETWEEN_LOOKS)
        for one in self._running:
            if one.process.returncode == -signal.SIGKILL:  # by us: nothing is wrong with it
                self.study.folder.end_step(one.cell, one.step, time.monotonic() - one.began, done=False)
                self.stopped.append(one.cell)
            else:
                self._end(one)
            one.held.close()
        self._running.clear()


def _send(running: Sequence[_Running], number: int) -> None:
    for one in running:
        if one.process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(one.process.pid, number)


def _last_line(log: Path, status: int) -> str:
    """What a process said last, for people."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _TAIL))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    said = next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith("$ ")), "")
    if status < 0:
        by = signal.Signals(-status).name if -status in {*map(int, signal.Signals)} else f"signal {-status}"
        memory = ", as a machine that is out of memory does" if -status == signal.SIGKILL else ""
        said = f"it was ended by {by}{memory}; last it said: {said}"
    return hide(said[:2000]) or f"it ended with status {status} and said nothing"
