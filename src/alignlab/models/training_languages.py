"""Which languages a checkpoint was trained on: a small file beside its weights says so, wherever they are copied to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeGuard

from alignlab.errors import InputError
from alignlab.languages import is_code, is_label
from alignlab.models.options import DEMO
from alignlab.regular_files import read_regular

NAME = "alignlab.json"


class TrainingLanguages(NamedTuple):
    """trained: languages of the training text.  reference: the one that they are aligned to; empty for none."""

    trained: tuple[str, ...]
    reference: str


def write_training_languages(folder: Path, languages: TrainingLanguages) -> None:
    """Say it in the folder of a checkpoint."""
    told = {"trained_languages": languages.trained, "reference": languages.reference}
    (folder / NAME).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def training_languages(source: str) -> TrainingLanguages | None:
    """What a model folder says; None for a Hub id and a folder that does not. Raises InputError for a damaged file."""
    folder = Path(source).expanduser()
    path = folder / NAME
    if source == DEMO or not folder.is_dir() or not path.exists():
        return None
    try:
        told = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        told = None
    said = told if isinstance(told, dict) else {}
    trained, reference = said.get("trained_languages"), said.get("reference")
    if not (_are_codes(trained) and isinstance(reference, str) and (not reference or _are_codes([reference]))):
        expected = "trained_languages, a list of codes of languages or labels, and reference, one or none"
        raise InputError.of(str(path), "it does not say the languages of a training", expected, "Restore it.")
    return TrainingLanguages(tuple(trained), reference)


def common_languages(sources: Sequence[str]) -> tuple[TrainingLanguages, str] | None:
    """What the models say that say anything, and which is the first to do so; None where none does.

    Raises InputError where they say different things: groups of languages are compared over all models.
    """
    told = {source: said for source in sources if (said := training_languages(source)) is not None}
    if not told:
        return None
    first = next(iter(told))
    other = next((source for source, said in told.items() if _sorted(said) != _sorted(told[first])), None)
    if other is not None:
        found = f"{first} was trained on {_shown(told[first])}, {other} on {_shown(told[other])}"
        fix = "Set trained=[...] and reference=..., by which all of them are compared."
        raise InputError.of("models", found, "models of one training, or which languages count as trained", fix)
    return told[first], first


def _are_codes(codes: object) -> TypeGuard[list[str]]:
    if not isinstance(codes, list) or not all(isinstance(code, str) for code in codes):
        return False
    # Labels need not be declared to be read: who analyses a checkpoint may not have the config of its training.
    return all(is_code(code) or is_label(code) for code in codes) and len(set(codes)) == len(codes)


def _sorted(said: TrainingLanguages) -> tuple[list[str], str]:
    return sorted(said.trained), said.reference


def _shown(said: TrainingLanguages) -> str:
    return f"{' '.join(said.trained) or 'no language'} towards {said.reference or 'no reference'}"
