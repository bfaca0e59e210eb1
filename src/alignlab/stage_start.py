"""With which weights a stage of a run begins: always with those on the disk, so that it is the same after a restart.

A stage that trained all weights, or those of some neurons, has left a whole model as its last checkpoint. An adapter is
carried on from its last checkpoint, or merged into the model below it. That model is saved in the run: the adapters of
later stages stand on it, and whoever loads one of these needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peft
from safetensors import SafetensorError

from alignlab import console
from alignlab.atomic import whole_folder
from alignlab.errors import InputError, some_of
from alignlab.manifest import verify
from alignlab.models.load import digest_of, record_as
from alignlab.run_plan import RunPlan


@dataclass(frozen=True)
class StageStart:
    """model: folder of the model, None for the run's.  adapter: folder of the one that goes on, None for a new one."""

    model: Path | None = None
    adapter: Path | None = None

    @property
    def fingerprint(self) -> str:
        """Changes with any weight; empty for the model of the run."""
        return " ".join(digest_of(folder) for folder in (self.model, self.adapter) if folder is not None)


def start_of(plan: RunPlan, ends: Sequence[int]) -> StageStart:
    """With what the stage begins that follows those whose last steps are `ends`."""
    start = StageStart()
    for number, end in enumerate(ends):
        if plan.stages[number].config.method.trainable != "lora":
            start = StageStart(plan.folder.checkpoint(end))
        elif plan.stages[number + 1].carries:
            start = StageStart(start.model, plan.folder.checkpoint(end))
        else:
            start = StageStart(plan.folder.merged_model(end))
    return start


def make_start(plan: RunPlan, ends: Sequence[int]) -> None:
    """Merge the adapter that the last stage has trained into the model below it, if the next stage begins with that.

    A merged model that is there is replaced: the stage that had begun with it is to begin again.
    """
    target = plan.folder.merged_model(ends[-1])
    if start_of(plan, ends).model != target:
        return
    console.say(f"Merging the adapter of step {ends[-1]} into the weights, for the next stage.")
    model, adapter = load_start(plan, start_of(plan, ends[:-1])), plan.folder.checkpoint(ends[-1])
    _check_whole(adapter)
    merged: Any = peft.PeftModel.from_pretrained(model, str(adapter), use_safetensors=True)
    merged = merged.merge_and_unload()
    try:
        with whole_folder(target, "merged model") as partial:
            merged.save_pretrained(partial)
            plan.tokenizer.save_pretrained(partial)
    except (OSError, SafetensorError) as error:
        expected, fix = "space and permission to write", "Make room and give the same command again."
        raise InputError.of(str(target), f"the model could not be written ({error})", expected, fix) from error


def load_start(plan: RunPlan, start: StageStart) -> Any:
    """The model below what a stage trains. Raises InputError where what the run has written of it is damaged."""
    if start.model is None:
        return plan.model.build()
    _check_whole(start.model)
    model: Any = plan.model.model_copy(update={"source": str(start.model), "revision": None}).build()
    record_as(model, plan.outline)
    return model


def load_adapter(model: Any, start: StageStart) -> None:
    """Give the adapter of a model the weights of the one that goes on, where one does."""
    if start.adapter is None:
        return
    _check_whole(start.adapter)
    weights = peft.load_peft_weights(str(start.adapter), device="cpu")
    unknown = peft.set_peft_model_state_dict(model, weights).unexpected_keys
    if unknown:
        found = f"the adapter has no place for {some_of(unknown)}"
        raise InputError.of(str(start.adapter), found, "the adapter of this run", "Restore it from a copy.")


def _check_whole(folder: Path) -> None:
    fix = "Restore it from a copy."
    if not folder.is_dir():
        raise InputError.of(str(folder), "there is no such folder", "what the stage before has left", fix)
    if faults := verify(folder):
        raise InputError.of(str(folder), "; ".join(faults), "what the stage before has left", fix)
