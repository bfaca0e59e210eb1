"""What an analysis looks at, one record, classified; and the two sorts of analyses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from alignlab.analysis.noise import Noise
from alignlab.analysis.snapshots import Snapshot
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.overlap_chance import LanguageOverlaps, language_overlaps
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import ANCHORED, Row


@dataclass(frozen=True)
class View:
    """A record; everything in it is let go before the next but one is looked at.

    counts, now: the record and its classification.
    convention: which neurons count as of a kind.
    neurons: (layer, neuron) pairs to look at singly.
    noise: its resamples; None where they were not asked.
    resampled: (G, L, N) probabilities of the resample that stands in for the record, if one does.
    record: the view of that record then.
    """

    counts: ActivationCounts
    now: Snapshot
    convention: Convention
    neurons: tuple[tuple[int, int], ...] = ()
    noise: Noise | None = None
    resampled: Floats | None = None
    record: View | None = None

    def row(self, value: float, **columns: Any) -> Row:
        """A row of this record at anchored thresholds, but for what `columns` say; whose row it is the study knows."""
        own = {"record": self.now.label, "step": self.counts.step, "thresholds": ANCHORED}
        return Row(**{**own, "value": value, **columns})

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

    @cached_property
    def overlaps(self) -> LanguageOverlaps:
        """Of each pair of languages, what they share of these; specific ones are disjoint anyway.

        Chance is drawn for the record alone; for a resample it follows the margins from there.
        """
        return language_overlaps(self.shared) if self.record is None else self.record.overlaps.at(self.shared)


@dataclass(frozen=True)
class Analysis:
    """A named analysis; which of the two below says how its numbers come about, `options.MEANINGS` what it means.

    needs_degree: an identifier without a tau, and so without degrees and kinds, has no such numbers.
    shows: what it gives, in this order: numbers ("") and changes `since` the first record and `since_before`.
    """

    needs_degree: bool = field(default=False, kw_only=True)
    shows: tuple[str, ...] = field(default=("", "since", "since_before"), kw_only=True)


@dataclass(frozen=True)
class Counted(Analysis):
    """Rows that a snapshot has anyway, with their intervals and their changes; `where` says which."""

    where: Callable[[Row], bool]


@dataclass(frozen=True)
class Asked(Analysis):
    """Numbers of one record, and their changes; or of two, an earlier one and this.

    rows: the numbers, in the same order for every record.
    compares: `rows` is of a record and an earlier snapshot.
    redrawn: they are asked of every resample too, which gives them intervals. Only for numbers that follow from the
        classification and `View.p` alone, that are as many whatever these are, and that a resample does not bias: one
        leaves documents out, so that what is never seen, or seen once, is not for it.
    """

    rows: Callable[..., list[Row]]
    compares: bool = False
    redrawn: bool = False

    def ask(self, view: View, earlier: Snapshot | None) -> list[Row]:
        """The numbers."""
        return self.rows(view, earlier) if self.compares else self.rows(view)
