"""The models whose neurons are changed: of a run those of some steps, each with its own counts and documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alignlab import console
from alignlab.analysis.records import snapshots_of
from alignlab.errors import InputError, Problem
from alignlab.neurons.counts import ActivationCounts
from alignlab.runs import RunFolder, step_of


@dataclass(frozen=True)
class Subject:
    """A model.

    label: what people call it.  source: folder or Hub id.
    step: its optimiser steps, None outside a run.
    snapshot: the file with its counts; None outside a run.
    """

    label: str
    source: str
    step: int | None = None
    snapshot: Path | None = None

    @property
    def stem(self) -> str:
        """Of the files of its results."""
        return "" if self.step is None else f"-step-{self.step:06d}"

    def counts(self) -> ActivationCounts | None:
        """What the run has counted of it. Raises InputError where the file is damaged."""
        return None if self.snapshot is None else ActivationCounts.load(self.snapshot)


def subjects_of_run(folder: Path, base: str, steps: Sequence[int] | None) -> list[Subject]:
    """The models of a run at some steps; None takes its last one.

    base: the model at step 0.
    Raises InputError where there is no run, and for a step that has no snapshot or no checkpoint.
    """
    snapshots = {step_of(record.path): record.path for record in snapshots_of(folder)}
    run = RunFolder(folder)
    checkpoints = {0: base} | {step: str(run.checkpoint(step)) for step in run.checkpoint_steps()}
    both = [step for step in snapshots if step in checkpoints]
    if not both:
        found = f"no step of {folder} has a snapshot and a checkpoint"
        raise InputError.of("run", found, "a run with both", "Keep checkpoints: checkpoints.keep_last=null.")
    last = max(*snapshots, *checkpoints)
    if steps is None and both[-1] < last:
        lacks = " and no ".join(
            name for name, there in (("snapshot", snapshots), ("checkpoint", checkpoints)) if last not in there
        )
        console.complain(f"note: there is no {lacks} of step {last}, the last of {folder}: step {both[-1]} is taken")
    problems = []
    for step in steps or ():
        if step not in both:
            lacks = "snapshot" if step not in snapshots else "checkpoint"
            expected = f"one of: {', '.join(map(str, both))}"
            problems.append(Problem("step", f"the run has no {lacks} of step {step}", expected))
    if problems:
        raise InputError(*problems)
    return [Subject(f"step {step}", checkpoints[step], step, snapshots[step]) for step in steps or both[-1:]]
