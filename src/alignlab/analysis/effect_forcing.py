"""Language forcing: whether neurons of a language turn the answers to questions in any language into that language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alignlab.analysis.arm_outcomes import ArmRecord, answered_in
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_rows import SetOf
from alignlab.neurons.table import Row

FORCED = "answers in the set's language"


def forcing_rows(record: ArmRecord, sets: Mapping[str, SetOf], *, analysis: str = "forcing") -> list[Row]:
    """A matrix as those of `effect_matrices.matrix_rows`, of the share of answers that are in the language of the set.

    The rows of a matrix are sets of a language, its columns the languages of the questions. Cells are corrected among
    those of one set. Sets of a language that answers were not told apart by have no rows; nor has a record without
    answers any.
    """
    rows: list[Row] = []
    if record.output_language is None:
        return rows
    for language in dict.fromkeys(of.language for of in sets.values() if of.language in record.languages):
        outcome = answered_in(record, language)
        told = matrix_rows(record, sets, [outcome], analysis=analysis)
        rows += [
            replace(row, measure=row.measure.replace(outcome.name, FORCED))
            for row in told
            if row.set in sets and sets[row.set].language == language
        ]
    return rows
