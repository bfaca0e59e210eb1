"""What an analysis looks at: one record, classified, beside the first one and the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

from alignlab.analysis.rows import Row
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention
from alignlab.neurons.overlaps import Overlap, overlap
from alignlab.neurons.summary import CountRow
from alignlab.reporting.snapshots import ANCHORED, REESTIMATED, Snapshot


@dataclass(frozen=True)
class View:
    """A record among others; everything in it is let go before the next is looked at.

    counts, now: the record and its classification.
    first, before: the first record and the one before this, classified; None where this is the first.
    convention: which neurons count as of a kind.
    neurons: (layer, neuron) pairs to look at singly.
    """

    counts: ActivationCounts
    now: Snapshot
    first: Snapshot | None
    before: Snapshot | None
    convention: Convention
    neurons: tuple[tuple[int, int], ...] = ()

    def row(self, value: float, **columns: Any) -> Row:
        """A row of this record at anchored thresholds, but for what `columns` say; whose row it is the study knows."""
        own = {"analysis": "", "record": self.now.label, "step": self.counts.step, "thresholds": ANCHORED}
        return Row(**{**own, "value": value, **columns})

    def of_count(self, count: CountRow, thresholds: str = ANCHORED) -> Row:
        """The row of a count."""
        values = asdict(count)
        return self.row(values.pop("count"), thresholds=thresholds, **values)

    def change(self, count: CountRow, before: CountRow, since: str, thresholds: str = ANCHORED) -> Row:
        """The row of the change from one count to another of the same kind."""
        return replace(self.of_count(count, thresholds), value=count.count - before.count, since=since)

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
