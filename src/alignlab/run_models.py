"""Models by name: checkpoints of a run, or folders and Hub ids, and the precision of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from alignlab.data.text_files import nearest
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.options import PrecisionName
from alignlab.models.precision import precision_name
from alignlab.redaction import hide
from alignlab.runs import RunFolder


@dataclass(frozen=True)
class NamedModel:
    """A model.

    label: what people call it.  source: folder or Hub id.  step: its optimiser steps, None outside a run.
    """

    label: str
    source: str
    step: int | None = None


def check_run(folder: Path) -> None:
    """Refuse a folder that is no run of `alignlab.train`: one that was only tracked says neither model nor text."""
    if not folder.is_dir():
        found, fix = ("it is a file", "") if folder.exists() else ("there is no such folder", nearest(folder))
        raise InputError(Problem(f"run ({folder})", found, "the folder of a run", fix))
    config = RunFolder(folder).config
    if not config.is_file():
        found = f"there is no {config}, which says the model and the text"
        fix = "Name the model and the text themselves, without run."
        raise InputError(Problem("run", found, "a run of alignlab.train", fix))


def models_of_run(folder: Path, base: str, steps: Sequence[int | Literal["last"]] | None = None) -> list[NamedModel]:
    """The base of a run and its checkpoints, or those of some steps, in their order.

    base: the model at step 0.
    Raises InputError for steps that have no checkpoint.
    """
    run = RunFolder(folder)
    there = {0: base} | {step: str(run.checkpoint(step)) for step in run.checkpoint_steps()}
    last = max(there)
    asked = list(there) if steps is None else [last if step == "last" else step for step in steps]
    expected = f"one of: {', '.join(map(str, there))}, last"
    missing = [step for step in asked if step not in there]
    refuse_any([Problem("steps", f"the run has no checkpoint of step {step}", expected) for step in missing])
    return [NamedModel(f"step {step}", there[step], step) for step in dict.fromkeys(asked)]


def named_models(sources: Sequence[str]) -> list[NamedModel]:
    """Models by the last part of their folder or Hub id, or by all of it where several end alike."""
    short = {source: hide(Path(source).name) for source in sources}
    often = Counter(short.values())
    return [NamedModel(name if often[name] == 1 else hide(source), source) for source, name in short.items()]


def precision_of_run(run: RunFolder | None, asked: PrecisionName | None) -> PrecisionName:
    """The precision that is asked for, else that in which the run was trained, else 32-true. Raises InputError."""
    if asked is not None or run is None:
        return asked or "32-true"
    trainer = run.stored_config().get("trainer")
    trained_in = trainer.get("precision") if isinstance(trainer, dict) else None
    name = precision_name(trained_in)
    if name is None:
        found = f"the run's is {trained_in!r}"
        raise InputError.of("precision", found, "one that is known here", "Set precision=bf16-mixed.")
    return name
