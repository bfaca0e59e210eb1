"""Numbers with their intervals and changes; what is no count is asked again of every resample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.noise import Movement, Noise, Resampling
from alignlab.analysis.snapshots import Snapshot, place_of
from alignlab.analysis.verdicts import with_verdicts
from alignlab.analysis.view import Asked, Counted, View
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.row_intervals import with_intervals
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import ClassifiedResample, over_classified


class DrawnRow(NamedTuple):
    """A row, and its values in each resample, (R,); None where it was not resampled."""

    row: Row
    drawn: Floats | None


@dataclass(frozen=True)
class Numbers:
    """Rows without intervals.

    drawn: (R, rows), their values in each resample; None where there are none.
    movement: of changes, what reassigned movement brings beside them.
    """

    rows: list[Row]
    drawn: Floats | None = None
    movement: Movement = field(default_factory=dict)

    def table(self, analysis: str, counts: ActivationCounts) -> list[Row]:
        """The rows as that analysis', with intervals and verdicts where they were drawn from the shards of `counts`."""
        rows = [row if row.analysis else replace(row, analysis=analysis) for row in self.rows]
        if self.movement:
            rows = [row.beside(*ends) if (ends := self.movement.get(place_of(row))) else row for row in rows]
        if self.drawn is None or not rows:
            return rows
        return with_verdicts(with_intervals(rows, self.drawn, counts.shape[1], counts.over))

    def drawn_table(self, analysis: str, counts: ActivationCounts) -> list[DrawnRow]:
        """`table`, each row with its draws."""
        columns = [None] * len(self.rows) if self.drawn is None else self.drawn.T
        return [DrawnRow(*each) for each in zip(self.table(analysis, counts), columns, strict=True)]

    def less(self, earlier: Numbers, **since: str) -> Numbers:
        """The change from the same numbers of an earlier record, drawn alike; of those that both have."""
        pairs = [(i, i) for i in range(min(len(self.rows), len(earlier.rows)))]
        if any(_whose(self.rows[i]) != _whose(earlier.rows[j]) for i, j in pairs):  # such as losses that one lacks
            place = {place_of(row): j for j, row in enumerate(earlier.rows)}
            pairs = [(i, place[place_of(row)]) for i, row in enumerate(self.rows) if place_of(row) in place]
        rows = [self.rows[i].less(earlier.rows[j], **since) for i, j in pairs]
        if self.drawn is None or earlier.drawn is None:
            return Numbers(rows)
        mine, others = ([pair[side] for pair in pairs] for side in (0, 1))
        return Numbers(rows, self.drawn[:, mine] - earlier.drawn[:, others])


def _whose(row: Row) -> tuple[str, ...]:
    return row.thresholds, row.group, row.language, row.other, row.measure


@dataclass(frozen=True)
class Seen:
    """A record as later ones are compared to it.

    numbers: by analysis, what it found of this record alone; under "" what the record's snapshot has anyway.
    noise: None where it was not resampled.
    """

    counts: ActivationCounts
    snapshot: Snapshot
    noise: Noise | None
    numbers: Mapping[str, Numbers]


# In place of an analysis: the rows that a snapshot has anyway.
_SNAPSHOT = ""
# An analysis, and the column that names the record that it compares to: `since`, `since_before`, or "" for none.
Question = tuple[str, str]


def asked(
    names: Sequence[str], view: View, earlier: Mapping[str, Seen], resampling: Resampling | None
) -> tuple[list[DrawnRow], dict[str, Numbers]]:
    """The rows of some analyses, with intervals where they were resampled; and what later records are compared to.

    earlier: by column, `since` the first record and `since_before` the one before; all are of the same draws.
    """
    rows: dict[Question, list[Row]] = {}
    analyses = {name: ANALYSES[name] for name in names}
    for name, analysis in analyses.items():
        if not isinstance(analysis, Asked):
            continue
        for column in earlier if analysis.compares else ("",):
            snapshot = earlier[column].snapshot if column else None
            since: dict[str, Any] = {column: snapshot.label} if snapshot else {}
            rows[name, column] = [replace(row, **since) for row in analysis.ask(view, snapshot)]
    drawn = _drawn([question for question, found in rows.items() if found], view, earlier, resampling)
    numbers = {question: Numbers(found, drawn.get(question)) for question, found in rows.items()}
    numbers[_SNAPSHOT, ""] = Numbers(view.now.rows, None if view.noise is None else view.noise.values)
    alone = {name: found for (name, column), found in numbers.items() if not column}
    for name, found in alone.items():
        for column, seen in earlier.items():
            numbers[name, column] = found.less(seen.numbers[name], **{column: seen.snapshot.label})
    if view.movement:
        numbers[_SNAPSHOT, "since"] = replace(numbers[_SNAPSHOT, "since"], movement=view.movement)
    tables = {(name, column): found.drawn_table(name, view.counts) for (name, column), found in numbers.items()}
    table: list[DrawnRow] = []
    for name, analysis in analyses.items():
        for column in analysis.shows:
            if isinstance(analysis, Counted):
                # One verdict a number: it was corrected among all of its kind, whichever analysis shows it.
                counted = (one for one in tables.get((_SNAPSHOT, column), ()) if analysis.where(one.row))
                table += [one._replace(row=replace(one.row, analysis=name)) for one in counted]
            else:
                table += tables.get((name, column), ())
    return table, alone


def _drawn(
    questions: Sequence[Question], view: View, earlier: Mapping[str, Seen], resampling: Resampling | None
) -> dict[Question, Floats]:
    """The (R, rows) values of each question that can be asked of resamples; those drawn before are read."""
    if view.noise is None or resampling is None:
        return {}
    contents = {"": [view.noise.content]}
    contents |= {
        column: [view.noise.content, seen.noise.content] for column, seen in earlier.items() if seen.noise is not None
    }
    key = {
        "groups": {group: sorted(members) for group, members in view.now.groups.items()},
        "thresholds": view.now.result.thresholds,
        "neurons": view.neurons,
    }
    kept = {
        (name, column): resampling.kept({"table of": name, "contents": contents[column], **key})
        for name, column in questions
        if column in contents and _asked(name).redrawn
    }
    stored = {file: tensors["values"].numpy() for file in set(kept.values()) if (tensors := file.read()) is not None}
    # Where the first record is the one before, two questions are the same.
    missing = {file: question for question, file in kept.items() if file not in stored}
    values = _redrawn(list(missing.values()), view, earlier, resampling)
    for file, question in missing.items():
        file.write({"values": torch.from_numpy(values[question])})
        stored[file] = values[question]
    return {question: stored[file] for question, file in kept.items()}


def _asked(name: str) -> Asked:
    analysis = ANALYSES[name]
    assert isinstance(analysis, Asked)
    return analysis


def _redrawn(
    questions: Sequence[Question], view: View, earlier: Mapping[str, Seen], resampling: Resampling
) -> dict[Question, Floats]:
    if not questions:
        return {}
    columns = list(dict.fromkeys(column for _, column in questions if column))

    def ask(resamples: Sequence[ClassifiedResample]) -> list[list[float]]:
        *of_earlier, of_now = resamples
        again = replace(view, now=replace(view.now, result=of_now.result), noise=None, resampled=of_now.p, record=view)
        before = {
            column: replace(earlier[column].snapshot, result=one.result)
            for column, one in zip(columns, of_earlier, strict=True)
        }
        return [[row.value for row in _asked(name).ask(again, before.get(column))] for name, column in questions]

    found = over_classified(
        [*(earlier[column].counts for column in columns), view.counts],
        resampling.identifier,
        ask,
        anchor=earlier["since"].snapshot.result if earlier else view.now.result,
        resamples=resampling.resamples,
        seed=resampling.seed,
    )
    return {question: np.array(values) for question, values in zip(questions, zip(*found, strict=True), strict=True)}
