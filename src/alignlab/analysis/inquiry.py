"""Records one after another through the analyses that are asked for; memory stays that of a few records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.intervals import DrawnRow, Seen, asked
from alignlab.analysis.noise import Movement, Noise, Resampling
from alignlab.analysis.records import StoredCounts
from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.analysis.view import View
from alignlab.errors import Problem, did_you_mean, refuse_any
from alignlab.neurons.checks import differences
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier, require_tau
from alignlab.neurons.kinds import Convention
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import check_pair
from alignlab.recording.finite import refuse_diverged


@dataclass(frozen=True)
class Inquiry:
    """What is asked of the records.

    trained, reference: languages in training, and the one that they are aligned to; None takes what a record says.
    neurons: (layer, neuron) pairs to look at singly.
    classified: languages that the records were reduced to, which every row says; empty where all counted are there.
    shown: languages of which there are rows; None for all. Numbers stay those of all.
    resampling: how the intervals of all counts and changes are made, and what reassigned movement brings beside changes
        since the first record; None makes none.
    resampled: which records have intervals: the first and the last, or all.
    since_before: also ask for changes since the record before.
    """

    identifier: Identifier
    analyses: Sequence[str]
    convention: Convention = "paper"
    trained: Sequence[str] | None = None
    reference: str | None = None
    neurons: tuple[tuple[int, int], ...] = ()
    resampling: Resampling | None = None
    resampled: Literal["ends", "all"] = "all"
    since_before: bool = True
    classified: tuple[str, ...] = ()
    shown: tuple[str, ...] | None = None

    def over(self, records: Sequence[StoredCounts]) -> Iterator[tuple[View, list[Row]]]:
        """Each record, classified and anchored to the first, with its rows. Raises InputError as `drawn_over` does."""
        for view, rows in self.drawn_over(records):
            yield view, [one.row for one in rows]

    def drawn_over(self, records: Sequence[StoredCounts]) -> Iterator[tuple[View, list[DrawnRow]]]:
        """Each record, classified and anchored to the first, with its rows and what these are in each resample.

        Raises InputError for a record that cannot be compared with the first, and for analyses that need degrees of an
        identifier that has none.
        """
        needing = [name for name in self.analyses if ANALYSES[name].needs_degree]
        if needing:
            require_tau(self.identifier, f"degrees for {' '.join(needing)}")
        first: Seen | None = None
        before: Seen | None = None
        for record in records:
            counts = record.load()
            self._check_shown(counts)
            _check_finite(record, counts)
            if first is not None:
                _check_comparable(record, counts, first.counts)
            trained = counts.trained_languages if self.trained is None else self.trained
            reference = counts.reference if self.reference is None else self.reference
            anchor = first.snapshot if first else None
            read = record.read_by(self.identifier, counts)
            now = summarise(counts, self.identifier, trained, anchor, self.convention, record.label, reference, read)
            self._check_neurons(now)
            noise: Noise | None = None
            movement: Movement = {}
            if self.resampling is not None and (self.resampled == "all" or record in (records[0], records[-1])):
                if first is not None:
                    check_pair(first.counts, counts)
                noise = self.resampling.noise_of(counts, now, anchor.result if anchor else now.result)
                if first is not None and first.noise is not None and now.result.cut is not None:
                    movement = self.resampling.movement_of(
                        counts, noise, now, first.counts, first.noise, first.snapshot.anchored
                    )
            view = View(counts, now, self.convention, self.neurons, noise, movement)
            earlier = {"since": first} | ({"since_before": before} if self.since_before else {})
            known = {column: seen for column, seen in earlier.items() if seen is not None}
            rows, numbers = asked(self.analyses, view, known, self.resampling)
            yield view, self._to_show(rows, counts)
            before = Seen(counts, now, noise, numbers)
            first = first or before

    def _to_show(self, rows: list[DrawnRow], counts: ActivationCounts) -> list[DrawnRow]:
        """The rows of the languages shown, each saying on which languages neurons were classified if not on all."""
        if self.shown is not None:
            hidden = {*counts.languages} - {*self.shown}
            rows = [one for one in rows if one.row.language not in hidden and one.row.other not in hidden]
        if self.classified:
            on = " ".join(counts.languages)
            rows = [one._replace(row=replace(one.row, classified_on=on)) for one in rows]
        return rows

    def _check_shown(self, counts: ActivationCounts) -> None:
        refuse_any(
            [
                Problem(
                    "show_languages",
                    f"{name!r} is not among the languages classified",
                    f"some of: {' '.join(counts.languages)}",
                    did_you_mean(name, counts.languages),
                )
                for name in self.shown or ()
                if name not in counts.languages
            ]
        )

    def _check_neurons(self, now: Snapshot) -> None:
        layers, width = now.shape
        problems = [
            Problem("neurons", f"there is no neuron {neuron} in layer {layer}", f"{layers} layers of {width} from 0")
            for layer, neuron in self.neurons
            if not (0 <= layer < layers and 0 <= neuron < width)
        ]
        refuse_any(problems)


def _check_finite(record: StoredCounts, counts: ActivationCounts) -> None:
    """Raises InputError for counts of a model that had diverged, as its losses tell."""
    if counts.loss_sum is not None:
        finite = counts.loss_sum.isfinite().all(dim=1).tolist()
        diverged = [name for name, fine in zip(counts.languages, finite, strict=True) if not fine]
        refuse_diverged(diverged, record.label, None)


def _check_comparable(record: StoredCounts, counts: ActivationCounts, first: ActivationCounts) -> None:
    """Raises InputError unless a record is of the same languages, layers, neurons and tokens as the first."""
    described = [
        {
            "languages": f"languages {' '.join(one.languages)}",
            "shape": "{} layers of {}".format(*one.shape[2:]),
            "site": f"site {one.site!r}",
            "scope": f"scope {one.scope!r}",
        }
        for one in (counts, first)
    ]
    refuse_any(differences(f"{record.path}", *described))
