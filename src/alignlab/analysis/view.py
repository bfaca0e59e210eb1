"""What an analysis looks at: one record, classified, beside the first one and the one before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from alignlab.analysis.noise import Intervals, Noise
from alignlab.analysis.rows import Row
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.overlaps import Overlap, overlaps
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.summary import CountRow
from alignlab.reporting.snapshots import ANCHORED, REESTIMATED, Snapshot


@dataclass(frozen=True)
class View:
    """A record among others; everything in it is let go before the next is looked at.

    counts, now: the record and its classification.
    first, before: the first record and the one before this, classified; None where this is the first.
    convention: which neurons count as of a kind.
    neurons: (layer, neuron) pairs to look at singly.
    noise, intervals: how sure its counts and changes are; None and empty where it was not asked.
    resampled: (G, L, N) probabilities of the resample that stands in for the record, if one does.
    """

    counts: ActivationCounts
    now: Snapshot
    first: Snapshot | None
    before: Snapshot | None
    convention: Convention
    neurons: tuple[tuple[int, int], ...] = ()
    noise: Noise | None = None
    intervals: Intervals = field(default_factory=dict)
    resampled: Floats | None = None

    def row(self, value: float, **columns: Any) -> Row:
        """A row of this record at anchored thresholds, but for what `columns` say; whose row it is the study knows."""
        own = {"analysis": "", "record": self.now.label, "step": self.counts.step, "thresholds": ANCHORED}
        return Row(**{**own, "value": value, **columns})

    def of_count(self, count: CountRow, thresholds: str = ANCHORED) -> Row:
        """The row of a count."""
        values = dict(vars(count))
        row = self.row(values.pop("count"), thresholds=thresholds, **values)
        return self._with_interval(row, count)

    def change(self, count: CountRow, before: CountRow, since: str, thresholds: str = ANCHORED) -> Row:
        """The row of the change from one count to another of the same kind."""
        values = dict(vars(count))
        difference = values.pop("count") - before.count
        row = self.row(difference, since=since, reference=0.0, thresholds=thresholds, **values)
        return self._with_interval(row, count)

    def tables(self) -> list[tuple[str, list[CountRow], list[CountRow]]]:
        """Both thresholds with the counts at them, of this record and of the first (none where this is it)."""
        now, first = self.now, self.first
        return [
            (ANCHORED, now.anchored, first.anchored if first else []),
            (REESTIMATED, now.reestimated, first.reestimated if first else []),
        ]

    @cached_property
    def p(self) -> Floats:
        """(G, L, N) probabilities of the record, or of the resample in its place."""
        if self.resampled is not None:
            return self.resampled
        probabilities: Floats = self.counts.probabilities().numpy()
        return probabilities

    @property
    def shared(self) -> dict[str, Tensor]:
        """By language, the neurons that it may share: the related ones that it owns, or its set without kinds."""
        result = self.now.result
        if not result.has_degree:
            return result.sets
        related = result.kinds(self.convention) == Kind.RELATED
        return {name: above & related for name, above in result.above.items()}

    @property
    def pool(self) -> Tensor | None:
        """From which neurons those of a language are: the selection, or those above tau where all have a kind.

        None, for all neurons, where there are no kinds: sets are not taken from a selection then.
        """
        result = self.now.result
        if not result.has_degree:
            return None
        return result.degree > 0 if self.convention == "all" else result.selected

    @cached_property
    def overlaps(self) -> dict[tuple[str, str], Overlap]:
        """Of each pair of languages, what they share of these; specific ones are disjoint anyway."""
        return overlaps(self.shared, self.pool)

    @cached_property
    def overlaps_among_all(self) -> dict[tuple[str, str], Overlap]:
        """The same, beside chance among all neurons."""
        return overlaps(self.shared)

    def _with_interval(self, row: Row, count: CountRow) -> Row:
        interval = self.intervals.get((row.thresholds, row.since, count))
        return row if interval is None else row.within(interval.low, interval.high, interval.noise_bias)


@dataclass(frozen=True)
class Analysis:
    """A named analysis; what it means stands in `options.MEANINGS`.

    rows: the numbers of one record; none where it needs an earlier record and there is none.
    redrawn: its numbers follow from the classifications (and `View.resampled`) alone, and it gives as many rows in the
        same order whatever they are: so it can be asked of every resample, and its numbers have intervals. Numbers that
        are counts, or changes of counts, have theirs by `View.of_count` and `View.change`.
    needs_degree: an identifier without a tau, and so without degrees and kinds, has no such numbers.
    """

    rows: Callable[[View], list[Row]]
    redrawn: bool = False
    needs_degree: bool = False
