"""A run as people who write Python see it: its snapshots, tables, sets and config, each read when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from alignlab.analysis.records import snapshots_of
from alignlab.analyze import base_of
from alignlab.config import load
from alignlab.errors import InputError, Problem
from alignlab.neurons.classification import Classification
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier, identifier_of
from alignlab.neurons.sets import NeuronSets
from alignlab.neurons.table import unguarded
from alignlab.options import AnalyzeOptions
from alignlab.recording.effects import Effects
from alignlab.regular_files import read_regular
from alignlab.runs import RunFolder, snapshot_files, step_name, step_of


class Snapshots(Mapping[int, ActivationCounts]):
    """The counts of a run by optimiser step; each is read from its file when it is asked for, and not kept."""

    def __init__(self, folder: RunFolder) -> None:
        self._records = {step_of(record.path): record for record in snapshots_of(folder.path)}

    def __getitem__(self, step: int) -> ActivationCounts:
        if step not in self._records:
            there = ", ".join(map(str, self._records))
            raise InputError(Problem("step", f"the run has no snapshot of step {step}", f"one of: {there}"))
        return self._records[step].load()

    def __iter__(self) -> Iterator[int]:
        return iter(self._records)

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, step: object) -> bool:
        return step in self._records

    def __repr__(self) -> str:
        return f"Snapshots of steps {', '.join(map(str, self))}"


@dataclass(frozen=True)
class StoredRun:
    """A run that `alignlab.train`, or a tracker, has written.

    folder: where it lies.

        >>> import torch
        >>> from alignlab import ActivationCounts, load_run
        >>> firings = torch.stack([torch.arange(200), torch.arange(200).flip(0)]).view(2, 1, 2, 100)
        >>> tokens = torch.tensor([[200], [200]])
        >>> for step in (0, 20):  # as a tracker writes them
        ...     counts = ActivationCounts(("en", "de"), firings, tokens, tokens, "mlp.act", "all", step=step)
        ...     counts.save(f"runs/mine/neurons/step-{step:06d}.safetensors")
        >>> run = load_run("runs/mine")
        >>> run.snapshots[20].languages
        ('en', 'de')
        >>> run.classification(20).threshold
        0.945
        >>> run.sets()
        <NeuronSets: 2 x 100 neurons at mlp.act, tau 0.945, lambda 0.2, score -0.2653
         2 sets: en 1, de 1>
    """

    folder: Path
    snapshots: Snapshots = field(repr=False)

    @property
    def steps(self) -> tuple[int, ...]:
        """The steps that have a snapshot, in order."""
        return tuple(self.snapshots)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config of the run, as plain containers; empty for one that was tracked in somebody's own script."""
        run = RunFolder(self.folder)
        return run.stored_config() if run.config.is_file() else {}

    @cached_property
    def table(self) -> pd.DataFrame:
        """Every count of every snapshot: the rows of `neurons.csv`."""
        return _frame(RunFolder(self.folder).table)

    @cached_property
    def evaluation(self) -> pd.DataFrame:
        """What the model could do at every step, and its change since step 0: the rows of `evaluation.csv`."""
        return _frame(RunFolder(self.folder).evaluation_table)

    def effects(self, step: int | None = None) -> Effects:
        """What the model answered at a step, by default the last, problem by problem."""
        folder = RunFolder(self.folder).evaluation
        steps = sorted(step_of(path) for path in snapshot_files(folder, "safetensors"))
        if not steps or (step is not None and step not in steps):
            found = "the run has answers of no step" if step is None else f"the run has no answers of step {step}"
            raise InputError(Problem("step", found, f"one of: {', '.join(map(str, steps)) or 'none'}"))
        return Effects.load(folder / f"{step_name(steps[-1] if step is None else step)}.safetensors")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """Every logged number: step, key, value."""
        return _frame(RunFolder(self.folder).metrics)

    @cached_property
    def identifier(self) -> Identifier:
        """How the run classifies its neurons."""
        return identifier_of(load(AnalyzeOptions, [f"run={self.folder}"], base_of)[0].identifier)

    def classification(self, step: int, *, anchored: bool = True) -> Classification:
        """A snapshot's neurons as the run's own identifier classifies them.

        anchored: at the thresholds of the first snapshot, by which the run's changes are meant; else at its own.
        """
        counts, first = self.snapshots[step], self.steps[0]
        if not anchored or step == first:
            return self.identifier.identify(counts)
        return self.identifier.identify(counts, self.identifier.identify(self.snapshots[first]))

    def sets(self, step: int | None = None) -> NeuronSets:
        """The neurons of each language at a step, by default the last: selected, and above tau."""
        at = self.steps[-1] if step is None else step
        return NeuronSets.of(self.classification(at), counts=self.snapshots[at])

    def __repr__(self) -> str:
        name = self.config.get("run", {}).get("name", self.folder.name)
        model = self.config.get("model", {}).get("source", "a model of somebody's own")
        return f"Run {name!r} of {model}, in {self.folder}\n  snapshots of {len(self.steps)} steps: {_some(self.steps)}"


def load_run(folder: Path | str) -> StoredRun:
    """The run in a folder. Raises InputError where there is none, or its snapshots are torn.

    >>> import torch
    >>> from alignlab import ActivationCounts, load_run
    >>> firings, tokens = torch.tensor([[[[9, 1, 5]]], [[[2, 1, 5]]]]), torch.tensor([[10], [5]])
    >>> counts = ActivationCounts(("en", "de"), firings, tokens, tokens, "mlp.act", "all", step=0)
    >>> counts.save("runs/mine/neurons/step-000000.safetensors")  # as a tracker writes it
    >>> load_run("runs/mine")
    Run 'mine' of a model of somebody's own, in runs/mine
      snapshots of 1 steps: 0
    """
    path = Path(folder).expanduser()
    return StoredRun(path, Snapshots(RunFolder(path)))


def _frame(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(Problem(str(path), "there is no such file", "a table that the run has written"))
    try:
        # Only empty cells are missing: `na` is a language.
        table = pd.read_csv(BytesIO(read_regular(path)), keep_default_na=False, na_values=[""])
        texts = table.select_dtypes(include=["object", "string"])
        return table.assign(**{name: texts[name].map(_text) for name in texts})
    except (ValueError, OSError) as error:  # of bytes that are no UTF-8, and of rows that do not fit
        raise InputError(
            Problem(str(path), f"it cannot be read ({error})", "a table that the run has written")
        ) from error


def _text(cell: Any) -> Any:
    """A cell of a column with texts, or with verdicts of which some are missing."""
    return unguarded(cell) if isinstance(cell, str) else cell


def _some(steps: tuple[int, ...]) -> str:
    shown = steps if len(steps) <= 6 else (*steps[:3], "...", *steps[-2:])
    return ", ".join(map(str, shown))
