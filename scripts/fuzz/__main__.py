"""`make fuzz SEED=1 MINUTES=20`: hostile input of every kind, from a seed; exit status 1 where something was found.

A finding can be looked at again: `python scripts/fuzz --seed 1 --number 4711`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}

from running import Report, fuzz
from targets import TARGETS

_MOST = 1 << 40


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description="Give alignlab hostile input and see that it refuses it.")
    parser.add_argument("--seed", default="1", help="any text")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--cases", type=int, default=_MOST, help="end after as many, if the minutes are not over")
    parser.add_argument("--number", type=int, help="this case only")
    parser.add_argument("--target", default="", choices=["", *TARGETS], help="this target only")
    given = parser.parse_args()
    if given.number is not None:
        report = fuzz(given.seed, range(given.number, given.number + 1))
        show(report, given.seed, whole=True)
    else:
        until = time.monotonic() + 60 * given.minutes
        report = fuzz(given.seed, range(given.cases), until=until, only=given.target)
        show(report, given.seed)
    return int(bool(report.found))


def show(report: Report, seed: str, *, whole: bool = False) -> None:
    """Print the numbers of cases, and each finding with the command that repeats it."""
    for found in report.found:
        print(f"\n{found.kind} in {found.target}: python scripts/fuzz --seed {seed} --number {found.number}")
        print(found.text if whole else "\n".join(found.text.strip().splitlines()[-6:]))
    kinds = [found.kind for found in report.found]
    print(f"\nseed {seed}")
    for name, number in report.cases.items():
        print(f"{name:10} {number:7,} cases, {report.refused[name]:7,} refused")
    print(f"{'all':10} {report.cases.total():7,} cases, {report.refused.total():7,} refused")
    print(
        f"tracebacks {kinds.count('traceback')}, hangs {kinds.count('hang')}, files outside the run "
        f"{kinds.count('outside')}, refusals without a message {kinds.count('no message')}"
    )


if __name__ == "__main__":
    sys.exit(main())
