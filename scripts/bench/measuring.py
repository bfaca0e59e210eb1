"""Time, memory and the rows of the table. Imports nothing heavy: the process that starts the others must stay small."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    rounds: timed rounds, of which the median is taken.
    texts: documents that are counted; 250 is what a user's run takes of each language.
    hidden: width of the model whose neurons are counted on a processor; its MLP is four times as wide.
    part: the arrays of the classifications are this many times smaller.
    snapshots: of a long run that is analysed.
    device: where models run, cpu or cuda.
    folders: of texts, for what is measured on real ones.
    """

    rounds: int
    texts: int = 250
    hidden: int = 384
    part: int = 1
    snapshots: int = 100
    device: str = "cpu"
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One line of the table.

    ours, theirs: median seconds.  ratio: median over the rounds of theirs / ours; over 1 means that ours is faster.
    note: what belongs to the figure, or why there is none.
    """

    what: str
    ours: float | None = None
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    goal: str = ""
    note: str = ""


def paired(what: str, ours: Callable[[], object], peer: str, theirs: Callable[[], object], rounds: int) -> Row:
    """Both in turn, A B A B, so that a machine whose speed drifts slows both; after one round that is not counted."""
    return _paired(what, ours, peer, theirs, rounds, time.perf_counter)


def cpu_paired(what: str, ours: Callable[[], object], peer: str, theirs: Callable[[], object], rounds: int) -> Row:
    """As `paired`, in CPU seconds of this process, which other work on the machine hardly moves."""
    return replace(_paired(what, ours, peer, theirs, rounds, time.process_time), note="CPU seconds of one thread")


def _paired(
    what: str,
    ours: Callable[[], object],
    peer: str,
    theirs: Callable[[], object],
    rounds: int,
    clock: Callable[[], float],
) -> Row:
    pairs = [(seconds(ours, clock), seconds(theirs, clock)) for _ in range(rounds + 1)][1:]
    return Row(
        what,
        statistics.median(a for a, _ in pairs),
        peer,
        statistics.median(b for _, b in pairs),
        statistics.median(b / a for a, b in pairs),
    )


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """Median seconds; without a round in advance, as users wait for the first."""
    return statistics.median(seconds(work) for _ in range(rounds))


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds that the work takes."""
    start = clock()
    work()
    return clock() - start


def peak_gigabytes() -> float:
    """Most memory that this process has held so far. On Linux it starts at what its parent held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
