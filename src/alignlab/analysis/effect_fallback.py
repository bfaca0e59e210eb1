"""Fallback: in which language problems are answered while languages are switched off one after another.

A record has an arm for each step, of which the set is the languages that are off, joined by ` + `; step 0 is the model
as it is. Beside each step are controls, as many other neurons in every layer. All problems count together, in whatever
language they are asked. Rows, by `Row.measure`:

    answers in the language                 the share of all answers that are in `language`; of controls their mean
    answers in the language over control    how that changed from step 0, less how it did under the controls
    answers in no language that is told     the rest

`set` is what is off, `label` the step. Over control the language that a step has switched off is the primary family,
corrected by Holm; all others have a false-discovery rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignlab.analysis.arm_outcomes import ArmRecord, LanguageSums, Outcome, PartOfRecord, answered_in, by_language
from alignlab.analysis.beyond_control import excess
from alignlab.analysis.effect_matrices import Cell, judged
from alignlab.analysis.effect_rows import Asked, SetOf, arms_of, in_family, manner, over_control_row, plain_row, row_of
from alignlab.evaluation.accuracy import accuracy
from alignlab.neurons.probabilities import Bools
from alignlab.neurons.table import Row
from alignlab.recording.effects import ABSTAINED

FALLBACK = "fallback"
SHARE, UNTOLD = "answers in the language", "answers in no language that is told"
OVER_CONTROL = f"{SHARE} over control"
TOGETHER = " + "


def fallback_rows(record: ArmRecord, sets: Mapping[str, SetOf], *, label: str = "") -> list[Row]:
    """Every number of a path.

    sets: by name what those of single languages are, and of steps what their controls have in common.
    label: as of `matrix_rows`.

    Raises InputError for a record without answers, or without the model as it is.
    """
    base, steps = arms_of(record)
    outcomes = [answered_in(record, language) for language in record.languages]
    cells = []
    for step in _steps(base, steps):
        path = _Path(record, base, step, sets, label)
        for language, outcome in zip(record.languages, outcomes, strict=True):
            cells += [Cell(row) for row in path.shares(language, outcome.values > 0)]
        cells += [Cell(row) for row in path.untold()]
    for language, outcome in zip(record.languages, outcomes, strict=True):
        cells += _over_controls(record, base, steps, sets, label, language, outcome)
    return judged(cells)


def off_at(name: str) -> list[str]:
    """The languages that are off, in the order in which they were switched off, from the name of a set."""
    return name.split(TOGETHER) if name else []


def _steps(base: int, steps: Sequence[Asked]) -> list[Asked]:
    return [Asked("", "", None, base, {}), *steps]


@dataclass(frozen=True)
class _Path:
    """A step of it."""

    record: ArmRecord
    base: int
    step: Asked
    sets: Mapping[str, SetOf]
    label: str

    @property
    def over(self) -> str:
        return "clusters" if self.record.clusters else "documents"

    def columns(self, language: str) -> dict[str, Any]:
        off = off_at(self.step.set)
        of = self.sets.get(off[-1], SetOf()) if off else SetOf()
        return {
            "analysis": FALLBACK,
            "record": self.label or f"step {self.record.step or 0}",
            "step": self.record.step,
            "task": self.record.task,
            "group": "language" if language else "all",
            "language": language,
            "set": self.step.set,
            "operation": self.step.operation,
            "strength": self.step.strength,
            "site": of.site,
            "scope": of.scope,
            "label": f"step {len(off)}",
            "measure": SHARE if language else UNTOLD,
            "unit": "share",
            "denominator": len(self.record.items),
        }

    def shares(self, language: str, there: Bools) -> Iterator[Row]:
        """The share of answers for which `there`, (I, A) bool, is true, and its mean under each kind of control."""
        told = accuracy(there[:, self.step.arm], [item.cluster for item in self.record.items])
        yield row_of(self.columns(language), (told.value, told.low, told.high, math.nan), self.over)
        for control, draws in self.step.controls.items():
            means = there[:, [place for place, _ in draws]].mean(axis=0)
            spread = float(means.std(ddof=1)) if len(means) > 1 else None
            yield plain_row(self.columns(language) | {"control": control, "sd": spread}, float(means.mean()))

    def untold(self) -> Iterator[Row]:
        assert self.record.output_language is not None
        return self.shares("", self.record.output_language.numpy() == ABSTAINED)


def _over_controls(
    record: ArmRecord,
    base: int,
    steps: Sequence[Asked],
    sets: Mapping[str, SetOf],
    label: str,
    language: str,
    outcome: Outcome,
) -> Iterator[Cell]:
    """At each step the share in a language over that of its controls; the steps are asked together."""
    sums = _together(record, outcome)
    changes = sums.sums - sums.sums[base]
    for control in dict.fromkeys(name for step in steps for name in step.controls):
        members = [step for step in steps if control in step.controls]
        drawn = [[place for place, _ in step.controls[control]] for step in members]
        shared = [sets.get(step.set, SetOf()).shared.get(control, 0.0) for step in members]
        found = excess(changes[[step.arm for step in members]], changes[drawn], sums.sizes, shared)
        for i, step in enumerate(members):
            path = _Path(record, base, step, sets, label)
            of_set = sets.get(step.set, SetOf()).shared.get(control)
            gaps = {"control": control, "measure": OVER_CONTROL, "reference": 0.0, "control_shared": of_set}
            row = over_control_row(path.columns(language) | gaps, found, i, f"{path.over} and controls")
            own = off_at(step.set)[-1] == language
            which = "switched off at the step" if own else "other languages"
            family = f"{FALLBACK} ({OVER_CONTROL}), {control}, {manner(step.operation, step.strength, '')}: {which}"
            yield Cell(in_family(row, family, "holm" if own else "fdr"), bool(found.beyond[i]))


@dataclass(frozen=True)
class _Item:
    id: str
    cluster: str
    language: str = "all"


def _together(record: ArmRecord, outcome: Outcome) -> LanguageSums:
    """The sums of all items by cluster, in whatever language they are."""
    items = [_Item(f"{item.language} {item.id}", item.cluster) for item in record.items]
    part = PartOfRecord(items, record.labels, record.languages, record.task, record.step, record.clusters)
    return by_language(part, outcome)["all"]
