"""Language forcing: whether neurons of a language turn the answers to questions in any language into that language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from alignlab.analysis.arm_outcomes import ArmRecord, answered_in
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_rows import SetOf, corrected
from alignlab.analysis.verdicts import with_verdicts
from alignlab.neurons.table import Row

FORCED = "answers in the set's language"


def forcing_rows(record: ArmRecord, sets: Mapping[str, SetOf], *, analysis: str = "forcing") -> list[Row]:
    """A matrix as those of `effect_matrices.matrix_rows`, of the share of answers that are in the language of the set.

    The rows of a matrix are sets of a language, its columns the languages of the questions. Cells are corrected as in
    other matrices, among those of this one: questions in the set's language by Holm, all others by a false-discovery
    rate. Sets of a language that answers were not told apart by have no rows; nor has a record without answers any.
    """
    rows: list[Row] = []
    if record.output_language is None:
        return rows
    for language in dict.fromkeys(of.language for of in sets.values() if of.language in record.languages):
        outcome = answered_in(record, language)
        told = matrix_rows(record, sets, [outcome], analysis=analysis)
        rows += [
            replace(
                row,
                measure=row.measure.replace(outcome.name, FORCED),
                family=row.family.replace(outcome.name, FORCED),
            )
            for row in told
            if row.set in sets and sets[row.set].language == language
        ]
    return _as_one_matrix(rows)


def _as_one_matrix(rows: Sequence[Row]) -> list[Row]:
    """The rows corrected again: each set's p came beside those of all other sets for answers in its language, which no
    one asks for."""
    changes = {_cell(row): row.value for row in rows if row.measure == f"change of {FORCED}"}
    over = f"{FORCED} over control"
    alone = [
        row if row.measure == over else replace(row, family="", correction="", p_adjusted=None, beyond_noise=None)
        for row in rows
    ]
    told = []
    for row in corrected(alone):
        beyond = row.beyond_control
        if beyond is not None:
            of_set = changes[_cell(replace(row, control=""))]
            beyond = row.beyond_noise and abs(of_set) > abs(changes[_cell(row)])
        told.append(replace(row, beyond_noise=None, beyond_control=beyond) if row.measure == over else row)
    return with_verdicts(told)


def _cell(row: Row) -> tuple[object, ...]:
    return row.set, row.operation, row.strength, row.other, row.control
