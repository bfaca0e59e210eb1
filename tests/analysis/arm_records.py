"""Records of effects that are made up, with what their arms do known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignlab.analysis.effect_rows import SetOf


@dataclass(frozen=True)
class Arm:
    name: str
    set: str = ""
    operation: str = ""
    strength: float | None = None
    control: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Item:
    id: str
    language: str
    cluster: str


@dataclass(frozen=True)
class Record:
    items: Sequence[Item]
    labels: Sequence[Arm]
    languages: Sequence[str]
    nats: Tensor | None = None
    counted: Tensor | None = None
    right: Tensor | None = None
    output_language: Tensor | None = None
    task: str = "sums"
    step: int | None = 20
    clusters: str = "templates"


LANGUAGES = ("en", "de", "zh")
SETS = {language: SetOf(language, "specific", site="mlp.act", scope="all") for language in LANGUAGES}


def arms(draws: int = 4, strengths: Sequence[float | None] = (None,), operation: str = "zero") -> list[Arm]:
    """The model as it is; then for every set the operation at every strength, on it and on its controls."""
    made = [Arm("none")]
    for name in LANGUAGES:
        for strength in strengths:
            what = f"{operation} {strength} {name}"
            made.append(Arm(what, name, operation, strength))
            made += [
                Arm(f"{what} {control} {seed}", name, operation, strength, control, seed)
                for control in ("random", "matched")
                for seed in range(draws)
            ]
    return made


def items(clusters: int = 15, each: int = 2) -> list[Item]:
    """Parallel items, language after language."""
    return [Item(f"{i}", language, f"c{i // each}") for language in LANGUAGES for i in range(clusters * each)]


def likelihoods(seed: int, labels: Sequence[Arm], own: float = 0.5, spread: float = 0.02) -> Record:
    """Documents of which an arm changes the nats a token by a draw, and a set those of its own language by `own`."""
    random = np.random.default_rng(seed)
    documents = items()
    counted = random.integers(5, 60, len(documents))
    base = random.normal(3, 0.5, len(documents))
    changes = random.normal(0.1, spread, len(labels)) + random.normal(0, 0.05, (len(documents), len(labels)))
    changes[:, 0] = 0.0
    for place, label in enumerate(labels):
        if label.set and not label.control:
            changes[[item.language == label.set for item in documents], place] += own * (label.strength or 1.0)
    nats = (base[:, None] + changes) * counted[:, None]
    return Record(documents, labels, LANGUAGES, torch.from_numpy(nats), torch.from_numpy(counted))


def answers(seed: int, labels: Sequence[Arm], right: float = 0.7) -> Record:
    """Answers of which a set leaves few right, and few in the language asked, in its own language."""
    random = np.random.default_rng(seed)
    problems = items(clusters=20)
    shape = (len(problems), len(labels))
    own = np.array([[arm.set == item.language and not arm.control for arm in labels] for item in problems])
    hits = random.random(shape) < np.where(own, 0.1, right)
    asked = np.array([LANGUAGES.index(item.language) for item in problems])[:, None]
    elsewhere = random.random(shape) < np.where(own, 0.9, 0.05)
    output = np.where(elsewhere, 0, asked).astype(np.int16)
    return Record(problems, labels, LANGUAGES, right=torch.from_numpy(hits), output_language=torch.from_numpy(output))
