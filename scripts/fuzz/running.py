"""One case after another, each in a forked worker and a folder of its own, with a limit of time and of memory."""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from targets import TARGETS, Target, prepare

from alignlab.errors import InputError

SECONDS = 30.0  # of a case; with a margin for machines that do other things too
_MEMORY = 24 << 30  # of addresses, of which torch takes several GB without using them
_REFUSED, _RAISED = 2, 70
_OURS = "runs"  # the one folder into which alignlab may write
_MADE = re.compile(rf"{_OURS}|user\.yaml|texts|m|sets\.\w+|(prefix\.)?activation\..*")  # and what targets make


@dataclass
class Found:
    """What a case did that it may not do.

    kind: `traceback`, `hang`, `outside` or `no message`.
    """

    target: str
    number: int
    kind: str
    text: str


@dataclass
class Report:
    """What came of some cases: how many of each target were there, were refused, and what was found."""

    cases: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    found: list[Found] = field(default_factory=list)


def fuzz(seed: str, numbers: range, *, until: float = float("inf"), only: str = "", seconds: float = SECONDS) -> Report:
    """Run cases by number until they, or the time (of `time.monotonic`), are over. only: one target."""
    prepare()
    report, names = Report(), list(TARGETS)
    for number in numbers:
        if time.monotonic() >= until:
            break
        name = names[number % len(names)]
        if only in ("", name):
            status, found = run_case(name, TARGETS[name], seed, number, seconds)
            report.cases[name] += 1
            report.refused[name] += status == _REFUSED
            report.found += found
    return report


def run_case(name: str, target: Target, seed: str, number: int, seconds: float) -> tuple[int, list[Found]]:
    """The worker's exit status, and what it did wrong."""
    around = Path(tempfile.mkdtemp(prefix="alignlab-fuzz-"))
    try:
        folder = around / "user"
        (folder / _OURS / "user" / "neurons").mkdir(parents=True)
        said = around / "said.txt"
        worker = os.fork()
        if worker == 0:
            _work(target, Random(f"{seed} {number}"), folder, said, seconds)
        status = _wait(worker, 2 * seconds)
        text = said.read_text(encoding="utf-8", errors="replace")
        found = []
        if status not in (0, _REFUSED) or "Traceback (most recent call last)" in text:
            found.append(Found(name, number, "hang" if status in (1, -signal.SIGKILL) else "traceback", text))
        elif status == _REFUSED and not text.strip():
            found.append(Found(name, number, "no message", text))
        if outside := _outside(around):
            found.append(Found(name, number, "outside", "\n".join(outside)))
        return status, found
    finally:
        shutil.rmtree(around, ignore_errors=True)


def _work(target: Target, rng: Random, folder: Path, said: Path, seconds: float) -> None:
    """The case, in the worker; it never comes back. faulthandler's own thread ends it where Python hangs in C."""
    status = _RAISED
    try:
        os.setsid()
        descriptor = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        faulthandler.dump_traceback_later(seconds, exit=True)
        os.chdir(folder)
        status = target(rng) or 0
    except InputError as error:
        status = _REFUSED
        os.write(2, f"{error}\n".encode(errors="replace"))
    except BaseException:  # noqa: BLE001 - to be reported, whatever it is
        os.write(2, traceback.format_exc().encode(errors="replace"))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(worker: int, seconds: float) -> int:
    end = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(worker, signal.SIGKILL)
        time.sleep(0.002)


def _outside(around: Path) -> list[str]:
    """What lies in the folder of a case, but is neither what the target made nor in the folder of runs."""
    found = [path for path in around.iterdir() if path.name not in {"user", "said.txt"}]
    found += [path for path in (around / "user").iterdir() if not _MADE.fullmatch(path.name)]
    return [str(path.relative_to(around)) for path in found]
