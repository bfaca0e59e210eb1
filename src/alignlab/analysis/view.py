"""What an analysis looks at: one record, classified, beside the first one and the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from alignlab.analysis.noise import Intervals, Noise
from alignlab.analysis.rows import Row
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention
from alignlab.neurons.overlaps import Overlap, overlap
from alignlab.neurons.summary import CountRow
from alignlab.neurons.uncertainty import Interval
from alignlab.reporting.snapshots import ANCHORED, REESTIMATED, Snapshot


@dataclass(frozen=True)
class View:
    """A record among others; everything in it is let go before the next is looked at.

    counts, now: the record and its classification.
    first, before: the first record and the one before this, classified; None where this is the first.
    convention: which neurons count as of a kind.
    neurons: (layer, neuron) pairs to look at singly.
    noise, intervals: how sure its counts and changes are; None and empty where it was not asked.
    """

    counts: ActivationCounts
    now: Snapshot
    first: Snapshot | None
    before: Snapshot | None
    convention: Convention
    neurons: tuple[tuple[int, int], ...] = ()
    noise: Noise | None = None
    intervals: Intervals = field(default_factory=dict)

    def row(self, value: float, **columns: Any) -> Row:
        """A row of this record at anchored thresholds, but for what `columns` say; whose row it is the study knows."""
        own = {"analysis": "", "record": self.now.label, "step": self.counts.step, "thresholds": ANCHORED}
        return Row(**{**own, "value": value, **columns})

    def of_count(self, count: CountRow, thresholds: str = ANCHORED) -> Row:
        """The row of a count."""
        values = asdict(count)
        row = self.row(values.pop("count"), thresholds=thresholds, **values)
        return _with_interval(row, self.intervals.get((thresholds, "", count)))

    def change(self, count: CountRow, before: CountRow, since: str, thresholds: str = ANCHORED) -> Row:
        """The row of the change from one count to another of the same kind."""
        row = replace(self.of_count(count, thresholds), value=count.count - before.count, since=since)
        interval = self.intervals.get((thresholds, since, count))
        beyond = None if interval is None else not interval.low <= 0 <= interval.high
        return replace(_with_interval(row, interval), beyond_noise=beyond)

    def tables(self) -> list[tuple[str, list[CountRow], list[CountRow]]]:
        """Both thresholds with the counts at them, of this record and of the first (none where this is it)."""
        now, first = self.now, self.first
        return [
            (ANCHORED, now.anchored, first.anchored if first else []),
            (REESTIMATED, now.reestimated, first.reestimated if first else []),
        ]

    @cached_property
    def overlaps(self) -> dict[tuple[str, str], Overlap]:
        """Of each pair of languages, how many selected neurons they share; the pool is the selection."""
        result = self.now.result
        names = result.languages
        return {
            (a, b): overlap(result.sets[a], result.sets[b], pool=result.selected)
            for index, a in enumerate(names)
            for b in names[index + 1 :]
        }


@dataclass(frozen=True)
class Analysis:
    """A named analysis.

    meaning: what it shows.
    figure: what it corresponds to in Zhang et al. 2025, or "".
    rows: the numbers of one record; none where it needs an earlier record and there is none.
    """

    meaning: str
    figure: str
    rows: Callable[[View], list[Row]]


def _with_interval(row: Row, interval: Interval | None) -> Row:
    if interval is None:
        return replace(row, low=None, high=None, noise_bias=None)
    return replace(row, low=interval.low, high=interval.high, noise_bias=interval.noise_bias)
