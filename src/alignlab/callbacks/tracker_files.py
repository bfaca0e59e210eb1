"""The files of a tracker: made ready for a training, written at each snapshot, and checked when a training goes on."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.atomic import write_text
from alignlab.callbacks.step_files import StepFiles
from alignlab.config import Options, to_plain
from alignlab.errors import InputError, refuse_any
from alignlab.manifest import stranger_problem
from alignlab.marks import YAML, is_ours
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_file import check_step
from alignlab.neurons.identifiers import Identifier, name_of
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import recall
from alignlab.recording.writing import refusing
from alignlab.runs import RunFolder


@dataclass(frozen=True)
class TrackerFiles(StepFiles):
    """`neurons/step-*.safetensors` and `.csv` in a folder, and `neurons.csv`, the tables of all snapshots.

    Outside a run of `alignlab.train`, whose config says it, `neurons/identifier.yaml` says how they are classified.
    """

    name: ClassVar[str] = "neurons"
    suffixes: ClassVar[tuple[str, ...]] = ("csv", "responses.jsonl")
    what: ClassVar[str] = "snapshot"
    source: ClassVar[str] = "counts"

    @property
    def neurons(self) -> Path:
        return self.inner

    @property
    def identifier(self) -> Path:
        return RunFolder(self.folder).identifier

    def beside(self) -> list[Path]:
        return [self.identifier] if self.identifier.exists() else []

    def counts(self, step: int) -> Path:
        return self.record(step)

    def write_identifier(self, identifier: Identifier) -> None:
        """Write down how the snapshots are classified, for those who ask them again.

        One that is somebody's own class has its name only: whoever asks is told that no such identifier is known.
        """
        if self.identifier.exists() and not is_ours(self.identifier):
            raise InputError(stranger_problem("folder", self.folder, [self.identifier]))
        options = to_plain(identifier) if isinstance(identifier, Options) else {"name": name_of(identifier)}
        told = json.dumps({"identifier": options}, indent=2)  # JSON is YAML
        with refusing(self.neurons, "the identifier"):
            write_text(self.identifier, f"{YAML.decode()}how the snapshots beside this file are classified\n{told}\n")

    def write(self, counts: ActivationCounts, snapshot: Snapshot) -> None:
        """Write a snapshot, and the tables of all up to it."""
        with refusing(self.inner, f"the snapshot of step {snapshot.step}"):
            counts.save(self.counts(snapshot.step))
            self.write_tables(snapshot.step, snapshot.table)

    def check_earlier(
        self,
        step: int,
        probe: Probe | PromptProbe,
        identifier: Identifier,
        trained: Collection[str],
        reference: str,
        due: Collection[int],
    ) -> None:
        """Check the snapshots up to a step against the run that goes on there, and write tables again that are wrong.

        due: steps at which there are snapshots beside step 0.
        Raises `InputError` for snapshots that are missing or damaged, or of another probe or site.
        """
        problems = self.missing(step, due)
        present = [one for one in self.steps() if one <= step]
        first: Snapshot | None = None
        for one in present:
            try:
                counts = self._load(one, probe)
            except InputError as error:
                problems += [one for one in error.problems if one not in problems]  # responses serve all steps
                continue
            if not problems:
                snapshot = summarise(counts, identifier, trained, first, reference=reference)
                first = first or snapshot
                self.mend_table(one, snapshot.table)
        refuse_any(problems)
        self.mend_whole_table(present)

    def _load(self, step: int, probe: Probe | PromptProbe) -> ActivationCounts:
        """A snapshot of this run's. Raises InputError for one that is damaged, or of another step, probe or site."""
        path = self.counts(step)
        check_step(path, step)
        counts = ActivationCounts.load(path)
        if counts.data_fingerprint != recall(probe, self.neurons, step).fingerprint:
            fix = "Counts on different text cannot be compared: give the same texts, or another folder."
            raise InputError.of(f"{path}", "counted on another probe", "the probe of this run", fix)
        if counts.site != probe.site:
            expected = f"{probe.site}, the site of this run"
            raise InputError.of(
                f"{path}", f"counted at {counts.site}", expected, "Give the same site, or another folder."
            )
        return counts
