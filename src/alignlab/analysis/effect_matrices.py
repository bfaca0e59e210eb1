"""What switching neurons off, or changing them otherwise, does to every language: matrices, as rows of the table.

A matrix has the sets of neurons as its rows, usually those of each language, and the languages that are evaluated as
its columns. Its numbers are, by `Row.measure`:

    nats, right, ...                 what the model does under the arm, `none` included
    change of nats, ...              that less what it does as it is; of the controls of a set, the mean of their draws
    nats over control, ...           the set's change less that mean, and whether it exceeds it (`beyond_control`)
    log(1 + change of perplexity)    the scale of the papers' figures; NaN where perplexity falls by more than 1

Of the cells over control those of a language's own set are the primary family, corrected by Holm; all others together
have a false-discovery rate.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alignlab.analysis.arm_outcomes import BOTH, NATS, RIGHT, ArmRecord, LanguageSums, Outcome, by_language, outcomes
from alignlab.analysis.beyond_control import Excess, change, change_of, excess
from alignlab.analysis.effect_rows import (
    MATCHED,
    Asked,
    SetOf,
    arms_of,
    corrected,
    in_family,
    manner,
    over_control_row,
    plain_row,
    row_of,
)
from alignlab.analysis.verdicts import with_verdicts
from alignlab.evaluation.accuracy import accuracy, accuracy_change
from alignlab.evaluation.estimates import influences
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import Row

FLOOR = 0.2
ON_LOG_SCALE = "log(1 + change of perplexity)"


def matrix_rows(
    record: ArmRecord,
    sets: Mapping[str, SetOf],
    measured: Sequence[Outcome] | None = None,
    *,
    analysis: str = "effects",
    label: str = "",
) -> list[Row]:
    """The matrices of a record, with intervals and verdicts.

    sets: by name what the sets of the arms are; a set that is not named here has no language of its own.
    measured: by default all that the record has (`arm_outcomes.outcomes`).
    label: of the record; by default its step.

    Raises InputError for a record without the arm of the model as it is.
    """
    return judged(cells_of(record, sets, measured, analysis=analysis, label=label))


@dataclass(frozen=True)
class Cell:
    """A row whose verdict is still to come.  larger: of a set over its control, whether it does more, in size."""

    row: Row
    larger: bool = False


def cells_of(
    record: ArmRecord,
    sets: Mapping[str, SetOf],
    measured: Sequence[Outcome] | None = None,
    *,
    analysis: str = "effects",
    label: str = "",
) -> list[Cell]:
    """What `matrix_rows` gives before anything is corrected; `judged` corrects those of one or of several calls."""
    base, asked = arms_of(record)
    places: dict[str, tuple[list[int], list[str]]] = defaultdict(lambda: ([], []))
    for place, item in enumerate(record.items):
        places[item.language][0].append(place)
        places[item.language][1].append(item.cluster)
    label = label or f"step {record.step or 0}"
    made: list[Cell] = []
    for outcome in outcomes(record) if measured is None else measured:
        found = by_language(record, outcome)
        cells = _Cells(record, outcome, base, found, places, analysis, label)
        rows = [cells.level(language, base) for language in found]
        for one in asked:
            for language in found:
                rows += cells.effect(one, sets.get(one.set, SetOf()), language)
        made += [*map(Cell, rows), *_over_controls(cells, asked, sets)]
    return made


def judged(cells: Sequence[Cell]) -> list[Row]:
    """The rows of cells with their verdicts, corrected within their families."""
    rows = corrected([cell.row for cell in cells])
    found = []
    for cell, row in zip(cells, rows, strict=True):
        if not cell.row.family:
            found.append(row)
            continue
        beyond = bool(row.beyond_noise) and cell.larger if row.control == MATCHED else None
        found.append(replace(row, beyond_noise=None, beyond_control=beyond))
    return with_verdicts(found)


@dataclass(frozen=True)
class _Cells:
    """The numbers of one outcome."""

    record: ArmRecord
    outcome: Outcome
    base: int
    sums: Mapping[str, LanguageSums]
    places: Mapping[str, tuple[list[int], list[str]]]  # of a language's items, and their clusters
    analysis: str
    label: str

    @property
    def over(self) -> str:
        return "clusters" if self.record.clusters else "documents"

    def columns(self, language: str, asked: Asked | None, of: SetOf) -> dict[str, Any]:
        told: dict[str, Any] = {
            "analysis": self.analysis,
            "record": self.label,
            "step": self.record.step,
            "task": self.record.task,
            "measure": self.outcome.name,
            "unit": self.outcome.unit,
            "denominator": int(self.sums[language].sizes.sum()),
            "group": "language",
            "language": language,
        }
        if asked is not None:
            pair = {"group": "pair", "language": of.language, "other": language}
            what = {"set": asked.set, "operation": asked.operation, "strength": asked.strength}
            told |= pair | what | {"label": of.part, "site": of.site, "scope": of.scope}
        if self.outcome.name in (RIGHT, BOTH) and self.share(language, self.base) < FLOOR:
            told["status"] = "floor"
        return told

    def share(self, language: str, arm: int) -> float:
        sums = self.sums[language]
        return float(sums.sums[arm].sum() / sums.sizes.sum())

    def level(self, language: str, arm: int, asked: Asked | None = None, of: SetOf | None = None) -> Row:
        """What the model does under an arm."""
        columns = self.columns(language, asked, of or SetOf())
        if self.outcome.is_yes_or_no:
            right, clusters = self._items(language, arm)
            told = accuracy(right, clusters)
            return row_of(columns, (told.value, told.low, told.high, math.nan), self.over)
        sums = self.sums[language]
        found = change(sums.sums[arm], sums.sizes)
        low = max(float(found.low), 0.0) if self.outcome.name == NATS else float(found.low)
        return row_of(columns, (float(found.value), low, float(found.high), math.nan), self.over)

    def effect(self, asked: Asked, of: SetOf, language: str) -> Iterator[Row]:
        """What the model does under the arm of a set, and how that differs from the model as it is."""
        yield self.level(language, asked.arm, asked, of)
        columns = self.columns(language, asked, of)
        changed = columns | {"measure": f"change of {self.outcome.name}", "reference": 0.0}
        sums = self.sums[language]
        if self.outcome.is_yes_or_no:
            before, clusters = self._items(language, self.base)
            told = accuracy_change(before, self._items(language, asked.arm)[0], clusters)
            yield row_of(changed, (told.value, told.low, told.high, told.p), self.over)
        else:
            found = change(sums.sums[asked.arm] - sums.sums[self.base], sums.sizes)
            numbers = float(found.value), float(found.low), float(found.high), float(found.p)
            yield row_of(changed, numbers, self.over)
        if self.outcome.name == NATS:
            scaled = columns | {"measure": ON_LOG_SCALE, "unit": "log perplexity", "reference": 0.0}
            value, low, high = on_log_scale(sums.sums[asked.arm], sums.sums[self.base], sums.sizes)
            fallen = math.isnan(value) and math.isfinite(self.share(language, asked.arm))
            yield Row(value=value, **scaled) if fallen else row_of(scaled, (value, low, high, math.nan), self.over)

    def _items(self, language: str, arm: int) -> tuple[np.ndarray, list[str]]:
        of, clusters = self.places[language]
        return self.outcome.values[of, arm] > 0, clusters


def on_log_scale(nats: Floats, base: Floats, sizes: Floats) -> tuple[float, float, float]:
    """log(1 + the change of perplexity) and the ends of its interval, by the delta method over clusters.

    nats, base: (m,), summed by cluster under an arm and with nothing changed.  sizes: (m,), tokens.
    All NaN where perplexity falls by more than 1: the scale has no such place.
    """
    (after, before), moved = influences(np.stack([nats, base]), sizes)
    with np.errstate(over="ignore", invalid="ignore"):
        # 1 + exp(after) - exp(before), over exp(after), which may be too large for a float.
        left = float(np.exp(-after) + 1 - np.exp(before - after))
        if not left > 0:
            return math.nan, math.nan, math.nan
        found = change_of(np.asarray(after + np.log(left)), (moved[0] - np.exp(before - after) * moved[1]) / left)
    return float(found.value), float(found.low), float(found.high)


def _over_controls(cells: _Cells, asked: Sequence[Asked], sets: Mapping[str, SetOf]) -> list[Cell]:
    """The means of the controls, and the sets over them, each one of a family."""
    # Sets whose controls may be compared: those of one matrix and part, changed alike, with as many draws.
    alike: dict[tuple[Any, ...], list[tuple[Asked, SetOf]]] = defaultdict(list)
    for one in asked:
        of = sets.get(one.set, SetOf())
        for control, draws in one.controls.items():
            key = (control, of.matrix, of.part, one.operation, one.strength, len(draws))
            alike[key].append((one, of))
    made: list[Cell] = []
    for (control, matrix, _, operation, strength, _), members in alike.items():
        for language, sums in cells.sums.items():
            changes = sums.sums - sums.sums[cells.base]
            drawn = [[place for place, _ in one.controls[control]] for one, _ in members]
            shared = [of.shared.get(control, 0.0) for _, of in members]
            found = excess(changes[[one.arm for one, _ in members]], changes[drawn], sums.sizes, shared)
            for i, (one, of) in enumerate(members):
                mean, over = _pair(cells, one, of, language, control, found, i)
                own = of.language == language
                which = "own language" if own else "other languages"
                family = f"{over.analysis} ({over.measure}), {control}, {manner(operation, strength, matrix)}: {which}"
                judge = in_family(over, family, "holm" if own else "fdr")
                made += [Cell(mean), Cell(judge, bool(found.beyond[i]))]
    return made


def _pair(
    cells: _Cells, asked: Asked, of: SetOf, language: str, control: str, found: Excess, place: int
) -> tuple[Row, Row]:
    """The mean of the controls of a set in one language, and the set over it."""
    gaps = [of.gaps[control, seed] for _, seed in asked.controls[control] if (control, seed) in of.gaps]
    columns = cells.columns(language, asked, of) | {
        "control": control,
        "control_gap": float(np.mean(gaps)) if gaps else None,
        "control_shared": of.shared.get(control),
        "reference": 0.0,
    }
    sd = float(found.control_sd[place])
    spread = {"measure": f"change of {cells.outcome.name}", "sd": None if math.isnan(sd) else sd}
    mean = plain_row(columns | spread, float(found.control[place]))
    named = columns | {"measure": f"{cells.outcome.name} over control"}
    return mean, over_control_row(named, found, place, f"{cells.over} and controls")
