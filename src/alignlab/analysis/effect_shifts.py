"""LSS, the language shift score (Rahmanisa et al.), as matrices: towards the language of the changed neurons, and away.

For a prompt in language b, l_x is the summed log-probability of the object in language x behind it, and
d = l_t - l_b. LSS(b -> t) is the share of items with a higher d under an arm than without. A set of language g has
two lines of it: b -> g for every b, and g -> t for every t. Neither has a cell for g itself. An arm that moves d either
way as often has .5, so no p is of 0: what tells is the matched control. An LSS that is lower than the control's has no
verdict, however much lower it is; the mean of d, which has a sign, does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from alignlab.analysis.arm_outcomes import ArmRecord, ItemLike, Outcome, PartOfRecord
from alignlab.analysis.effect_matrices import Cell, cells_of, judged
from alignlab.analysis.effect_rows import SetOf, arms_of
from alignlab.evaluation.lss import preference
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import Row

TOWARDS, AWAY = "towards the set's language", "from the set's language"
LSS, PREFERENCE = "LSS", "preference"
NORMALISED = ", a token"
LEFT_OUT = "items whose objects are alike"


def is_shift(measure: str) -> bool:
    """Whether a measure is one of the matrices here, which have no diagonal."""
    return measure.startswith((f"{LSS} ", f"{PREFERENCE} "))


class ShiftRecord(ArmRecord, Protocol):
    """A record of objects in `languages`, O of them: option_nats (I, A, O), option_tokens and option_alike (I, O)."""

    @property
    def option_nats(self) -> Tensor | None: ...
    @property
    def option_tokens(self) -> Tensor | None: ...
    @property
    def option_alike(self) -> Tensor | None: ...


@dataclass(frozen=True)
class _Item:
    """An item in a cell of a matrix. language: the column."""

    id: str
    language: str
    cluster: str


def shift_rows(record: ShiftRecord, sets: Mapping[str, SetOf], *, analysis: str = "lss", label: str = "") -> list[Row]:
    """Matrices as those of `effect_matrices.matrix_rows`, a set a line: of LSS, of the mean of d, and both by token.

    Columns are the languages of the prompts, or of the objects (`AWAY`). All cells of a matrix are one family with a
    false-discovery rate, since there is no diagonal. Sets of a language without objects have no rows; nor has a record
    without objects any. Items whose two objects are alike are in no cell; rows of `LEFT_OUT` count them.
    Raises InputError for a record without the arm of the model as it is.
    """
    if record.option_alike is None:
        return []
    base, asked = arms_of(record)
    cells: list[Cell] = []
    for place, language in enumerate(record.languages):
        of_language = {name: of for name, of in sets.items() if of.language == language}
        if not any(one.set in of_language for one in asked):
            continue
        own = [of == language for of in _prompts(record)]
        for direction in (TOWARDS, AWAY):
            away = direction == AWAY
            targets = [number for number in range(len(record.languages)) if number != place] if away else [place]
            part, found = _part(record, [i for i, there in enumerate(own) if there == away], targets, base, direction)
            told = cells_of(part, sets, found, analysis=analysis, label=label)
            told = [cell for cell in told if cell.row.set in of_language]
            cells += [*_undefined(told, language), *_from_levels(told)]
    return [*_left_out(record, analysis, label or f"step {record.step or 0}"), *judged(cells)]


def _prompts(record: ArmRecord) -> list[str]:
    return [item.language for item in record.items]


def _part(
    record: ShiftRecord, items: Sequence[int], targets: Sequence[int], base: int, direction: str
) -> tuple[PartOfRecord, list[Outcome]]:
    """Items with the objects of each target, labelled by the other language of the pair, and what is measured there."""
    assert record.option_nats is not None
    assert record.option_tokens is not None
    assert record.option_alike is not None
    own = torch.tensor([record.languages.index(language) for language in _prompts(record)])
    rows = torch.tensor(items, dtype=torch.int64)
    chosen: list[ItemLike] = []
    by_object: list[Floats] = []
    by_token: list[Floats] = []
    for target in targets:
        kept = rows[~record.option_alike[rows, target]]
        for lengths, into in ((None, by_object), (record.option_tokens[kept], by_token)):
            into.append(preference(record.option_nats[kept], own[kept], target, lengths).numpy())
        for number in kept.tolist():
            item = record.items[number]
            column = record.languages[target] if direction == AWAY else item.language
            chosen.append(_Item(item.id, column, item.cluster))
    part = PartOfRecord(chosen, record.labels, record.languages, record.task, record.step, record.clusters)
    outcomes = []
    for values, by, unit in ((by_object, "", "nats an object"), (by_token, NORMALISED, "nats a token")):
        d = np.concatenate(values)
        outcomes += [_lss(d, base, f"{LSS} {direction}{by}"), _mean(d, f"{PREFERENCE} {_ways(direction)}{by}", unit)]
    return part, outcomes


def _ways(direction: str) -> str:
    return {TOWARDS: "for the set's language", AWAY: "for another than the set's language"}[direction]


def _lss(d: Floats, base: int, name: str) -> Outcome:
    higher = (d > d[:, [base]]).astype(np.float64)
    # What is no number is no "not higher".
    return Outcome(name, "share", np.where(np.isfinite(d), higher, np.nan), np.ones(len(d)))


def _mean(d: Floats, name: str, unit: str) -> Outcome:
    return Outcome(name, unit, d, np.ones(len(d)))


def _undefined(cells: Sequence[Cell], language: str) -> Iterator[Cell]:
    """For each matrix and set the cell of its own language, which the measure does not have."""
    done = set()
    for cell in cells:
        row = cell.row
        key = row.set, row.operation, row.strength, row.measure
        if row.measure.startswith("change of ") and not row.control and key not in done:
            done.add(key)
            nothing: dict[str, Any] = {
                "low": None,
                "high": None,
                "p": None,
                "over": "",
                "reference": None,
                "denominator": 0,
            }
            yield Cell(replace(row, other=language, value=float("nan"), status="not defined", **nothing))


def _from_levels(cells: Sequence[Cell]) -> Iterator[Cell]:
    """With nothing changed LSS is 0: its change is the share itself, with the interval of a share and no p."""
    levels = {_place(cell.row): cell.row for cell in cells if cell.row.measure.startswith(LSS)}
    for cell in cells:
        is_change = cell.row.measure.startswith(f"change of {LSS}") and not cell.row.control
        level = levels[_place(cell.row)] if is_change else None
        yield cell if level is None else Cell(replace(level, measure=cell.row.measure))


def _place(row: Row) -> tuple[object, ...]:
    return row.set, row.operation, row.strength, row.other, row.measure.removeprefix("change of ")


def _left_out(record: ShiftRecord, analysis: str, label: str) -> Iterator[Row]:
    """How many items of each pair of languages are in no cell."""
    assert record.option_alike is not None
    prompts = np.array(_prompts(record))
    for language in dict.fromkeys(prompts.tolist()):
        of = torch.from_numpy(prompts == language)
        for place, other in enumerate(record.languages):
            if other != language:
                yield Row(
                    analysis=analysis, record=label, step=record.step, task=record.task,
                    group="pair", language=language, other=other, measure=LEFT_OUT, unit="items",
                    value=float(record.option_alike[of, place].sum()), denominator=int(of.sum()),
                )  # fmt: skip
