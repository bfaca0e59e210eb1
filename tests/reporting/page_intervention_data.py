"""Folders of interventions as `alignlab.intervene` leaves them, with effects that are planted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import yaml

from alignlab.analysis.arm_outcomes import NATS, outcomes
from alignlab.analysis.effect_contrasts import own_language_rows
from alignlab.analysis.effect_forcing import forcing_rows
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_strengths import strength_rows
from alignlab.begun_folder import BegunFolder
from alignlab.neurons.table import Row, write_csv

from ..analysis.arm_records import SETS, Record, answers, arms, likelihoods

CONFIG = {
    "identifier": {"name": "ternary", "top_rate": 0.1, "bar": 0.95, "lambda_": "largest"},
    "neurons": None,
    "seeds": 4,
    "same_documents": False,
}


class Folder(BegunFolder):
    kind = "interventions"
    holds = "effects"
    ignored = ()
    made_from: ClassVar[dict[str, tuple[str, str]]] = {}

    @property
    def about(self) -> Path:
        return self.path / "about.json"

    @property
    def results(self) -> Sequence[Path]:
        return self.table, self.about


def rows_of(record: Record) -> list[Row]:
    """Every number of a record, as the command has them."""
    rows = [*matrix_rows(record, SETS), *own_language_rows(record, SETS), *forcing_rows(record, SETS)]
    if len({arm.strength for arm in record.labels if arm.strength is not None}) > 1:
        for outcome in outcomes(record):
            rows += strength_rows(record, SETS, outcome, better="low" if outcome.name == NATS else "high")
    return rows


def switched_off() -> list[Row]:
    """Each set hurts its own language by .5 nats a token, far beyond its controls, and no other."""
    return rows_of(likelihoods(0, arms()))


def amplified(strengths: Sequence[float] = (0.5, 1.0, 2.0)) -> list[Row]:
    return rows_of(likelihoods(1, arms(strengths=strengths, operation="scale")))


def answered() -> list[Row]:
    return rows_of(answers(0, arms()))


def write_folder(run: Path, name: str, rows: Sequence[Row], *, end: bool = True, **config: Any) -> Folder:
    """A folder of interventions in a run."""
    folder = Folder(run / "interventions" / name)
    folder.path.mkdir(parents=True)
    folder.begin(yaml.safe_dump(CONFIG | config), {"versions": {}})
    write_csv(folder.table, rows)
    about = {set_name: {"matrix": "specific(g) | related(g)"} for set_name in dict.fromkeys(row.set for row in rows)}
    folder.about.write_text(json.dumps(about), encoding="utf-8")
    if end:
        folder.end()
    return folder


def many_languages(languages: int = 50, strengths: Sequence[float | None] = (None,)) -> list[Row]:
    """Matrices of so many languages, made of the rows of one cell: numbers of as many digits as real ones."""
    random = np.random.default_rng(0)
    found = switched_off()
    cell = [row for row in found if row.set == "de" and row.other == "zh"]
    codes = [f"l{number:02d}" for number in range(languages)]
    return [
        replace(
            row, set=name, language=name, other=code, strength=strength, value=random.normal(), low=random.normal(),
            high=random.normal(), p_adjusted=row.p_adjusted and random.random(),
            beyond_control=None if row.beyond_control is None else bool(random.random() < 0.1),
        )
        for strength in strengths for name in codes for code in codes for row in cell
    ]  # fmt: skip
