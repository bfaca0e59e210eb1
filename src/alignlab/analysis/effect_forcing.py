"""Language forcing: whether neurons of a language turn the answers to questions in any language into that language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from alignlab.analysis.arm_outcomes import ArmRecord, answered_in
from alignlab.analysis.effect_matrices import Cell, cells_of, judged
from alignlab.analysis.effect_rows import SetOf
from alignlab.neurons.table import Row

FORCED = "answers in the set's language"


def forcing_rows(
    record: ArmRecord, sets: Mapping[str, SetOf], *, analysis: str = "forcing", label: str = ""
) -> list[Row]:
    """A matrix as those of `effect_matrices.matrix_rows`, of the share of answers that are in the language of the set.

    The rows of a matrix are sets of a language, its columns the languages of the questions. Its cells are corrected as
    those of any matrix: the sets' own languages by Holm, all others for a false-discovery rate. Sets of a language that
    answers were not told apart by have no rows; nor has a record without answers any.
    """
    cells: list[Cell] = []
    if record.output_language is None:
        return []
    for language in dict.fromkeys(of.language for of in sets.values() if of.language in record.languages):
        # The outcome differs from set to set: only under one name are all cells one family.
        outcome = replace(answered_in(record, language), name=FORCED)
        told = cells_of(record, sets, [outcome], analysis=analysis, label=label)
        cells += [cell for cell in told if cell.row.set in sets and sets[cell.row.set].language == language]
    return judged(cells)
