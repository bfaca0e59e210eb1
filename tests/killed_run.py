"""Runs the main job in forks that kill themselves with SIGKILL at a chosen moment; used by test_killed_runs.

Usage: python killed_run.py FOLDER. Everything is imported once; a fork is a fresh process that costs a second, not ten.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alignlab.train
from alignlab.methods.base import AlignmentModule
from alignlab.recording import counting

ARGUMENTS = [
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=2", "checkpoints.every_n_steps=2",
    "probe.max_texts=6", "probe.source.count=6", "probe.source.languages=[en,de,sw]", "data.train.count=18",
    "data.examples_per_step=6", "data.workers=2", "trainer.accumulate_grad_batches=2", "method.lora.dropout=0.2",
    "wandb.mode=disabled",
]  # fmt: skip


def install(see: Callable[[str], None]) -> None:
    """Call `see(what)` before every write, rename, micro-batch and counted language."""

    def before(owner: Any, name: str, what: str) -> None:
        function = getattr(owner, name)

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            see(what)
            return function(*args, **kwargs)

        setattr(owner, name, wrapped)

    before(os, "fsync", "sync")
    before(Path, "replace", "rename")
    before(Path, "unlink", "unlink")
    before(AlignmentModule, "training_step", "micro-batch")
    before(counting, "_count_language", "language")


def fork(folder: Path, see: Callable[[str], None]) -> int:
    """Run the job in a fork; its wait status."""
    child = os.fork()
    if child == 0:
        log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        install(see)
        os.chdir(folder)
        os._exit(alignlab.train.main([*ARGUMENTS, "run.folder=run"]))
    return os.waitpid(child, 0)[1]


def main() -> None:
    """One whole run that tells its moments, then a killed and continued run for some of them."""
    root = Path(sys.argv[1])
    (root / "whole").mkdir()
    moments = root / "moments.txt"

    def tell(what: str) -> None:
        with moments.open("a") as file:
            file.write(f"{what}\n")

    if fork(root / "whole", tell) != 0:
        sys.exit(f"the whole run failed: {(root / 'whole/log.txt').read_text()}")
    names = moments.read_text().split()
    results = []
    # About thirty moments, spread over the whole run and over what is done at them.
    stride = max(1, len(names) // 30)
    for kill_at in range(0, len(names), stride):
        folder = root / f"killed-{kill_at:03d}"
        folder.mkdir()
        seen = iter(range(len(names) + 1))

        def kill(what: str, seen: Any = seen, kill_at: int = kill_at) -> None:
            if next(seen) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        killed = fork(folder, kill)
        again = fork(folder, lambda what: None)
        results.append(
            {"moment": kill_at, "what": names[kill_at], "killed": killed, "again": again, "folder": str(folder)}
        )
    (root / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
