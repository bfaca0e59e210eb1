"""What a snapshot says: its counts, losses and thresholds as rows of the table, and their change since the first."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE, Group, group_languages
from alignlab.neurons.identifiers import Identifier
from alignlab.neurons.kinds import Convention
from alignlab.neurons.summary import kind_counts
from alignlab.neurons.table import ANCHORED, REESTIMATED, Row

LOSS = "loss"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot's counts with their classification.

    label: what people call it, such as `step 100`.
    groups: by group of languages its members, of `group_languages`; a group without any is left out.
    result, own: classified at the thresholds of the run's first snapshot, and at its own.
    rows: counts at anchored thresholds, by which changes are meant; then at re-estimated ones; losses; thresholds.
    changes: the same, since the run's first snapshot; none where this is it.
    shape: layers, neurons a layer.
    site: where neurons of experts were read, and of what their probabilities are shares; empty for others.
    """

    step: int
    label: str
    groups: Mapping[Group, tuple[str, ...]]
    result: Classification
    own: Classification
    rows: list[Row]
    changes: list[Row]
    shape: tuple[int, int]
    site: str = ""

    @property
    def trained(self) -> tuple[str, ...]:
        """Languages in training."""
        return self.groups.get("trained", ())

    @property
    def unseen(self) -> tuple[str, ...]:
        """Languages that are neither in training nor the reference."""
        return self.groups.get("unseen", ())

    @property
    def reference(self) -> tuple[str, ...]:
        """The language that others are aligned to; empty where it was not counted."""
        return self.groups.get("reference", ())

    @property
    def table(self) -> list[Row]:
        """All of it."""
        return self.rows + self.changes

    @cached_property
    def anchored(self) -> list[Row]:
        """The counts at anchored thresholds."""
        return [row for row in self.rows if row.analysis == "kinds" and row.thresholds == ANCHORED]


def summarise(
    counts: ActivationCounts,
    identifier: Identifier,
    trained: Collection[str],
    first: Snapshot | None,
    kinds: Convention = "paper",
    label: str = "",
    reference: str | None = REFERENCE,
    read: Any = None,
) -> Snapshot:
    """Classify a snapshot, at its own thresholds and at those of `first`, the run's first (None where this is it).

    trained, reference: as for `group_languages`.  kinds: which neurons count as of a kind.  label: by default the step.
    read: the record that is classified, where it is another than the counts.
    """
    step = counts.step or 0
    label = label or f"step {step}"
    record = counts if read is None else read
    own = identifier.identify(record)
    result = own if first is None else identifier.identify(record, first.result)
    at = ((ANCHORED, result), (REESTIMATED, own))
    rows = [
        row
        for thresholds, found in at
        for row in kind_counts(
            found, trained, kinds, reference=reference, step=counts.step, record=label, thresholds=thresholds
        )
    ]
    groups = group_languages(counts.languages, trained, reference)
    rows += _losses(counts, label, groups)
    rows += [
        Row(analysis="thresholds", record=label, step=counts.step, thresholds=thresholds, measure=name, value=value,
            unit="")
        for thresholds, found in at
        for name, value in found.thresholds.items()
    ]  # fmt: skip
    changes = [] if first is None else changes_of(rows, first.rows, since=first.label)
    return Snapshot(
        step=step,
        label=label,
        groups=groups,
        result=result,
        own=own,
        rows=rows,
        changes=changes,
        shape=(counts.shape[2], counts.shape[3]),
        site=counts.read_at if counts.experts else "",
    )


def changes_of(rows: list[Row], earlier: list[Row], **since: str) -> list[Row]:
    """The change of each row that an earlier record has too; `since` names that record."""
    before = {place_of(row): row for row in earlier}
    return [row.less(before[place], **since) for row in rows if (place := place_of(row)) in before]


def place_of(row: Row) -> tuple[object, ...]:
    """Which number it is, in whichever record."""
    return (
        row.analysis, row.thresholds, row.group, row.language, row.layer, row.kind, row.degree, row.convention,
        row.measure,
    )  # fmt: skip


def _losses(counts: ActivationCounts, label: str, groups: Mapping[Group, tuple[str, ...]]) -> list[Row]:
    """The mean negative log-likelihood of every language's counted tokens, then its mean over each group's languages.

    Not a number for a language without a token, and for a group with such a language: each has one weight.
    """
    found = counts.losses()
    if found is None:
        return []
    of = dict(zip(counts.languages, found.tolist(), strict=True))
    values = [("language", name, loss) for name, loss in of.items()]
    values += [(group, "", sum(of[name] for name in names) / len(names)) for group, names in groups.items()]
    return [
        Row(analysis="losses", record=label, step=counts.step, group=group, language=language, measure=LOSS,
            value=value, unit="nats a token")
        for group, language, value in values
    ]  # fmt: skip
