"""The files of what a model answers while it trains: a record and the texts of the answers at each step."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignlab.analysis.capability import capability_rows
from alignlab.atomic import write_text
from alignlab.callbacks.step_files import StepFiles
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.evaluation.answering import Answered
from alignlab.evaluation.tasks import Task
from alignlab.manifest import checksum
from alignlab.neurons.table import Row
from alignlab.recording.effects import Effects
from alignlab.recording.writing import refusing
from alignlab.runs import step_name

_FIX = "Restore it from a copy, or remove the checkpoints from step {step} on, so that the run goes on from before it."


@dataclass(frozen=True)
class CapabilityFiles(StepFiles):
    """`evaluation/step-*.safetensors`, `.jsonl` and `.csv` in a folder, and `evaluation.csv`, the tables of all steps.

    The record is written behind the answers and names their checksum: where it is, they are whole.
    """

    name: ClassVar[str] = "evaluation"
    suffixes: ClassVar[tuple[str, ...]] = ("csv", "jsonl")
    what: ClassVar[str] = "evaluation"
    source: ClassVar[str] = "record"

    def answers(self, step: int) -> Path:
        return self.inner / f"{step_name(step)}.jsonl"

    def write(self, answered: Answered, rows: list[Row]) -> None:
        """Write what was answered at a step, and the tables of all up to it."""
        step = answered.effects.step or 0
        with refusing(self.inner, f"the evaluation of step {step}"):
            self.record(step).unlink(missing_ok=True)  # of a step that is done again: its answers change first
            write_text(self.answers(step), answered.text)
            answered.effects.save(self.record(step))
            self.write_tables(step, rows)

    def load(self, step: int, task: Task) -> Effects:
        """What the model of a step answered. Raises InputError where it is damaged, or of another step or task."""
        path, answers = self.record(step), self.answers(step)
        fix = _FIX.format(step=step)
        effects = Effects.load(path)
        if effects.step != step:
            raise InputError(Problem(f"{path}", f"it holds the evaluation of step {effects.step}", f"step {step}", fix))
        if effects.data_fingerprint != task.fingerprint:
            other = "Answers to other problems cannot be compared: give the same problems, or another folder."
            raise InputError(Problem(f"{path}", "answers to other problems", "those to the task of this run", other))
        if not answers.is_file():
            raise InputError(Problem(f"{answers}", "there is no such file", f"the answers of step {step}", fix))
        if checksum(answers) != effects.answers_checksum:
            found = "its checksum does not fit: it was changed after it was written"
            raise InputError(Problem(f"{answers}", found, f"the answers of step {step}", fix))
        return effects

    def check_earlier(self, step: int, task: Task, due: Collection[int]) -> None:
        """Check the records up to a step against the run that goes on there, and write tables again that are wrong.

        due: steps at which there are records beside step 0.
        Raises `InputError` for records that are missing or damaged, or of another task.
        """
        problems = self.missing(step, due)
        present = [one for one in self.steps() if one <= step]
        first: Effects | None = None
        for one in present:
            try:
                effects = self.load(one, task)
            except InputError as error:
                problems += error.problems
                continue
            if not problems:
                self.mend_table(one, capability_rows(effects, first))
                first = first or effects
        refuse_any(problems)
        self.mend_whole_table(present)
