"""Folders of interventions as `alignlab.intervene` leaves them, with effects that are planted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import yaml

from alignlab.analysis.arm_outcomes import NATS, outcomes
from alignlab.analysis.effect_contrasts import own_language_rows
from alignlab.analysis.effect_forcing import forcing_rows
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_strengths import strength_rows
from alignlab.begun_folder import BegunFolder
from alignlab.checksums import of_values
from alignlab.manifest import checksum
from alignlab.neurons.table import Row, write_csv
from alignlab.recording.effects import BASELINE, ArmLabel, Effects, Item

from ..analysis.arm_records import LANGUAGES, SETS, Record, answers, arms, likelihoods
from .page_capability_data import EVIL

CONFIG = {
    "identifier": {"name": "ternary", "top_rate": 0.1, "bar": 0.95, "lambda_": "largest"},
    "neurons": None,
    "seeds": 4,
    "same_documents": False,
}

ANSWERING = (
    BASELINE,
    ArmLabel("scale 0.5 de", "de", "scale", 0.5),
    ArmLabel("scale 2 de", "de", "scale", 2.0),
    ArmLabel("scale 2 de, random 0", "de", "scale", 2.0, "random", 0),
    ArmLabel("scale 2 de, matched 0", "de", "scale", 2.0, "matched", 0),
    ArmLabel("scale 2 de, matched 1", "de", "scale", 2.0, "matched", 1),
    ArmLabel("zero de", "de", "zero"),
    ArmLabel("zero en", "en", "zero"),
    ArmLabel("zero both", "both", "zero"),
)


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
        answers = [self.path / f"answers.{kind}" for kind in ("safetensors", "jsonl")]
        return self.table, self.about, *(path for path in answers if path.is_file())


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


def write_folder(
    run: Path,
    name: str,
    rows: Sequence[Row],
    *,
    end: bool = True,
    texts: Mapping[str, Sequence[str]] | None = None,
    **config: Any,
) -> Folder:
    """A folder of interventions in a run.  texts: see `write_answers`."""
    folder = Folder(run / "interventions" / name)
    folder.path.mkdir(parents=True)
    folder.begin(yaml.safe_dump(CONFIG | config), {"versions": {}})
    write_csv(folder.table, rows)
    about = {
        name: {
            "matrix": "specific(g) | related(g)",
            "language": name if name in LANGUAGES else "",
            "neurons": 1000,
            "general": [["random", 0, 10], ["matched", 0, 400], ["matched", 1, 500]],
        }
        for name in dict.fromkeys(row.set for row in rows if row.set)
    }
    if texts is not None:
        write_answers(folder.path, texts)
    folder.about.write_text(json.dumps(about), encoding="utf-8")
    if end:
        folder.end()
    return folder


def write_answers(folder: Path, texts: Mapping[str, Sequence[str]], labels: Sequence[ArmLabel] = ANSWERING) -> None:
    """A record of answers and the file of their texts. texts: by arm, to three problems in de and two in en.

    An answer is right where it has a 7, and in English where it has an E, else in German.
    """
    items = tuple(Item(f"{n}", code, f"{n}", "7") for code, count in (("de", 3), ("en", 2)) for n in range(count))
    said = [texts[label.name] for label in labels]
    right = torch.tensor([["7" in text for text in of_item] for of_item in zip(*said, strict=True)])
    told = torch.tensor([[int("E" not in text) for text in of_item] for of_item in zip(*said, strict=True)])
    lines: list[dict[str, Any]] = [
        {"language": item.language, "id": item.id, "prompt": f"{EVIL} {item.id}?", "tokens": [1], "ended": True,
         "text": text, "arm": label.name, "set": label.set, "operation": label.operation, "strength": label.strength,
         "control": label.control, "seed": label.seed, "expected": "7", "right": "7" in text,
         "output_language": "en" if "E" in text else "de"}
        for label, of_arm in zip(labels, said, strict=True) for item, text in zip(items, of_arm, strict=True)
    ]  # fmt: skip
    text = "".join(json.dumps(line | {"checksum": of_values(line)}, ensure_ascii=False) + "\n" for line in lines)
    (folder / "answers.jsonl").write_text(text, encoding="utf-8", newline="\n")
    tokens = torch.ones_like(told, dtype=torch.int32)
    Effects(
        items, tuple(labels), ("en", "de"), right, told.short(), tokens, tokens.bool(), task="sums", step=20,
        answers_checksum=checksum(folder / "answers.jsonl"),
    ).save(folder / "answers.safetensors")  # fmt: skip


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
