"""Records one after another through the analyses that are asked for; memory stays that of a few records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.noise import Intervals, Noise, Resampling, intervals
from alignlab.analysis.records import StoredCounts
from alignlab.analysis.redraw import with_intervals
from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier, reading_problems, require_tau
from alignlab.neurons.kinds import Convention
from alignlab.neurons.uncertainty import check_pair
from alignlab.reporting.snapshots import Snapshot, summarise


@dataclass(frozen=True)
class Study:
    """What is asked of the records.

    trained: languages in training; None takes those that each record names.
    neurons: (layer, neuron) pairs to look at singly.
    resampling: how the intervals of all counts and changes are made; None makes none.
    resampled: which records have intervals: the first and the last, or all.
    """

    identifier: Identifier
    analyses: Sequence[str]
    convention: Convention = "paper"
    trained: Sequence[str] | None = None
    neurons: tuple[tuple[int, int], ...] = ()
    resampling: Resampling | None = None
    resampled: Literal["ends", "all"] = "all"

    def over(self, records: Sequence[StoredCounts]) -> Iterator[tuple[View, list[Row]]]:
        """Each record, classified and anchored to the first, with its rows.

        Raises InputError for a record that cannot be compared with the first, and for analyses that need degrees of an
        identifier that has none.
        """
        refuse_any(reading_problems(self.identifier))
        needing = [name for name in self.analyses if ANALYSES[name].needs_degree]
        if needing:
            require_tau(self.identifier, f"degrees for {' '.join(needing)}")
        first: tuple[ActivationCounts, Snapshot] | None = None
        before: Snapshot | None = None
        noise_first: Noise | None = None
        noise_before: Noise | None = None
        for record in records:
            counts = record.load()
            if first is not None:
                _check_comparable(record, counts, first[0])
            trained = counts.trained_languages if self.trained is None else self.trained
            anchor = first[1] if first else None
            now = summarise(
                counts, self.identifier, trained, anchor.result if anchor else None, self.convention, record.label
            )
            self._check_neurons(now)
            noise: Noise | None = None
            found: Intervals = {}
            if self.resampling is not None and (self.resampled == "all" or record in (records[0], records[-1])):
                if first is not None:
                    check_pair(first[0], counts)
                noise = self.resampling.noise_of(counts, now, anchor.result if anchor else now.result)
                found = intervals(noise, *(old for old in (noise_first, noise_before) if old is not None))
            view = View(counts, now, anchor, before, self.convention, self.neurons, noise, found)
            rows = {name: ANALYSES[name].rows(view) for name in self.analyses}
            if self.resampling is not None and noise is not None:
                start = (first[0], noise_first) if first is not None and noise_first is not None else None
                rows = with_intervals(rows, view, self.resampling, start)
            yield view, [replace(row, analysis=name) for name, some in rows.items() for row in some]
            first, before = first or (counts, now), now
            noise_first, noise_before = noise_first or noise, noise

    def _check_neurons(self, now: Snapshot) -> None:
        layers, width = now.shape
        problems = [
            Problem("neurons", f"there is no neuron {neuron} in layer {layer}", f"{layers} layers of {width} from 0")
            for layer, neuron in self.neurons
            if not (0 <= layer < layers and 0 <= neuron < width)
        ]
        if problems:
            raise InputError(*problems)


def _check_comparable(record: StoredCounts, counts: ActivationCounts, first: ActivationCounts) -> None:
    where = f"{record.path}"
    problems = []
    if counts.languages != first.languages:
        found, expected = " ".join(counts.languages), " ".join(first.languages)
        problems.append(Problem(where, f"languages {found}", f"those of the first record, {expected}"))
    if counts.shape[2:] != first.shape[2:]:
        found, expected = ("{} layers of {}".format(*shape[2:]) for shape in (counts.shape, first.shape))
        problems.append(Problem(where, found, f"{expected}, as in the first record"))
    for name in ("site", "scope"):
        mine, its = getattr(first, name), getattr(counts, name)
        if mine != its:
            problems.append(Problem(where, f"{name} {its!r}", f"{mine!r}, as in the first record"))
    if problems:
        raise InputError(*problems)
