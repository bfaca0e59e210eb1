"""Runs a verb in forks that are stopped at a chosen moment, and then again; used by test_killed_runs.

Usage: python killed_run.py FOLDER VERB [--ranks 2] [--signal KILL] [--most 30] [--random 10] [--set KEY=VALUE]
                            [--without KEY] [--boundary | --start]

A moment is a write that is synced, a renaming, a removal, a micro-batch, a counted language, a batch of answers, one of
pairs whose log-probabilities are taken, or that a stage has ended. `--most` takes that many of them, spread over the
run (0: every one); `--random` takes moments by the clock instead, `--boundary` only those from the end of the first
stage to the first step of the next, and `--start` only those from the first log-probabilities to the first step.
Everything is imported once: a fork is a fresh process that costs a second, not ten.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only

import alignlab.analyze
import alignlab.evaluate
import alignlab.evaluating.evaluations
import alignlab.prepare
import alignlab.report
import alignlab.train
from alignlab import training_run
from alignlab.evaluation import answering
from alignlab.methods import preference
from alignlab.methods.base import AlignmentModule
from alignlab.preparation import responses
from alignlab.recording import passing

TRAIN = [
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=2", "checkpoints.every_n_steps=2",
    "probe.max_texts=6", "probe.source.count=6", "probe.source.languages=[en,de,sw]", "data.train.count=18",
    "data.examples_per_step=8", "data.workers=2", "trainer.accumulate_grad_batches=2", "method.lora.dropout=0.2",
    "wandb.mode=disabled", "run.folder=run", "evaluation.source.count=3", "evaluation.source.languages=[en,de]",
    "evaluation.max_new_tokens=8",
]  # fmt: skip
ARGUMENTS = {
    "train": TRAIN,
    "analyze": ["run=run", "recount=true", "probe.max_texts=4", "intervals=ends", "resamples=4", "folder=out"],
    "report": ["run=run", "resamples=4"],
    "prepare": [
        "responses",
        "config=prepare_demo",
        "source.count=8",
        "samples=3",
        "max_new_tokens=24",
        "folder=out",
        "max_tokens_per_batch=400",
    ],
    "evaluate": [
        "models=[builtin:demo]",
        "tasks.text.name=perplexity",
        "tasks.text.source.count=3",
        "tasks.text.source.languages=[en,zh]",
        "tasks.sums.name=problems",
        "tasks.sums.source.count=3",
        "tasks.sums.source.languages=[en,zh]",
        "tasks.sums.max_new_tokens=6",
        "tasks.sums.temperature=1",
        "max_tokens_per_batch=150",
        "folder=out",
    ],
}
NEEDS_RUN = ("analyze", "report")
RANKS = {2: ["trainer.devices=2", "trainer.strategy=ddp"]}


def install(see: Callable[[str], None]) -> None:
    """Call `see(what)` before every moment."""

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
    before(passing, "_read_language", "language")
    before(answering, "checked", "answers")
    before(responses, "generate", "answers")
    before(preference, "answer_log_probabilities", "log-probabilities")
    before(training_run, "end_stage", "end-of-stage")


def fork(folder: Path, verb: str, see: Callable[[str], None], *, ranks: int = 1, kill: Any = None) -> int:
    """Run the verb in as many forks as ranks, of which rank zero is watched; rank zero's wait status.

    kill: a signal and the seconds after which rank zero gets it, or None. KILL ends rank zero alone, and then the
    others, as a launcher does; any other goes to all ranks at once, as Ctrl-C and a launcher send it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children: list[int] = []
    for rank in range(ranks):
        children.append(fork_child(folder, verb, see, rank, ranks, port))
        os.setpgid(children[-1], children[0])
    if kill is not None:
        number, seconds = kill
        time.sleep(seconds)
        with suppress(ProcessLookupError):
            send(children[0], number)
    status = os.waitpid(children[0], 0)[1]
    for child in children[1:]:
        if os.WIFSIGNALED(status):  # as a launcher would
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return status


def send(first: int, number: int) -> None:
    """Send a signal to rank zero, and all but KILL to the other ranks too: their process group bears its number."""
    if number == signal.SIGKILL:
        os.kill(first, number)
        return
    # From outside: what a loader's workers get from their own parent ends them. And without Python's hooks of a fork,
    # in which a handler that raises is not heard.
    sender = os.posix_spawnp("kill", ["kill", f"-{int(number)}", "--", f"-{first}"], os.environ)
    with suppress(ChildProcessError):
        os.waitpid(sender, 0)


def fork_child(folder: Path, verb: str, see: Callable[[str], None], rank: int, ranks: int, port: int) -> int:
    child = os.fork()
    if child:
        return child
    if rank == 0:
        os.setpgid(0, 0)
    log = os.open(folder / "log.txt", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if rank == 0:
        install(see)
    more = []
    rank_zero_only.rank = rank  # type: ignore[attr-defined]  # it looks when it is imported, before the fork
    if ranks > 1:
        os.environ |= {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": str(ranks),
            "LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            "TORCHELASTIC_RUN_ID": "test",
        }  # fmt: skip
        more = RANKS[ranks] if verb == "train" else []
    os.chdir(folder)
    status = 70  # a traceback
    try:
        status = getattr(alignlab, verb).main([*ARGUMENTS[verb], *more])
    except BaseException:  # noqa: BLE001 - it is said, and the fork ends all the same
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    """One whole run that tells its moments, then a stopped and continued run for some of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("verb", choices=list(ARGUMENTS))
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--signal", default="KILL")
    parser.add_argument("--most", type=int, default=30)
    parser.add_argument("--random", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], help="a key=value more for the training")
    parser.add_argument("--without", action="append", default=[], help="a key that the training is not to set")
    parser.add_argument("--boundary", action="store_true")
    parser.add_argument("--start", action="store_true")
    given = parser.parse_args()
    kept = [setting for setting in TRAIN if setting.partition("=")[0] not in given.without]
    ARGUMENTS["train"] = [*kept, *given.set]
    root: Path = given.folder
    number = signal.Signals[f"SIG{given.signal}"]

    start = root / "start"
    start.mkdir(parents=True)
    if given.verb in NEEDS_RUN and fork(start, "train", lambda what: None) != 0:
        sys.exit(f"the training failed: {(start / 'log.txt').read_text()}")
    shutil.copytree(start, root / "whole")
    moments = root / "moments.txt"

    def tell(what: str) -> None:
        with moments.open("a") as file:
            file.write(f"{what}\n")

    began = time.monotonic()
    if fork(root / "whole", given.verb, tell, ranks=given.ranks) != 0:
        sys.exit(f"the whole run failed: {(root / 'whole/log.txt').read_text()}")
    lasted = time.monotonic() - began
    names = moments.read_text().split()
    first, last = 0, len(names)
    if given.boundary:
        first = names.index("end-of-stage")
        last = names.index("micro-batch", first) + 1
    if given.start:
        first = names.index("log-probabilities")
        last = names.index("micro-batch", first) + 1
    stride = max(1, (last - first) // given.most) if given.most else 1
    random.seed(0)
    chosen = [(place, None) for place in range(first, last, stride)]
    if given.random:
        chosen = [(-1, random.uniform(0, lasted)) for _ in range(given.random)]
    results = []
    for case, (place, seconds) in enumerate(chosen):
        folder = root / f"stopped-{case:03d}"
        shutil.copytree(start, folder)
        seen = iter(range(len(names) + 100))

        def stop(what: str, seen: Any = seen, place: int = place) -> None:
            if next(seen) == place:
                send(os.getpid(), number)

        kill = None if seconds is None else (number, seconds)
        stopped = fork(folder, given.verb, stop, ranks=given.ranks, kill=kill)
        again = fork(folder, given.verb, lambda what: None, ranks=given.ranks)
        what = names[place] if place >= 0 else f"{seconds:.2f} s"
        results.append({"moment": place, "what": what, "stopped": stopped, "again": again, "folder": str(folder)})
    (root / "results.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()
