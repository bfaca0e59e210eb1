"""The files of a tracker: made ready for a training, written at each snapshot, and checked when a training goes on."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from alignlab import console
from alignlab.analysis.snapshots import Snapshot, summarise
from alignlab.atomic import write_text
from alignlab.config import Options, to_plain
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.manifest import stranger_problem
from alignlab.marks import YAML, is_ours
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_file import check_step
from alignlab.neurons.identifiers import Identifier, name_of
from alignlab.neurons.table import collect_csv, csv_text, write_csv
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import recall
from alignlab.recording.writing import refusing
from alignlab.runs import RunFolder, snapshot_files, step_name, step_of


@dataclass(frozen=True)
class TrackerFiles:
    """`neurons/step-*.safetensors` and `.csv` in a folder, and `neurons.csv`, the tables of all snapshots.

    Outside a run of `alignlab.train`, whose config says it, `neurons/identifier.yaml` says how they are classified.
    """

    folder: Path

    @property
    def neurons(self) -> Path:
        return self.folder / "neurons"

    @property
    def whole_table(self) -> Path:
        return self.folder / "neurons.csv"

    @property
    def identifier(self) -> Path:
        return RunFolder(self.folder).identifier

    def counts(self, step: int) -> Path:
        return self.neurons / f"{step_name(step)}.safetensors"

    def table(self, step: int) -> Path:
        return self.neurons / f"{step_name(step)}.csv"

    def steps(self) -> list[int]:
        """Of the snapshots that are there."""
        return [step_of(path) for path in snapshot_files(self.neurons, "safetensors")]

    def clear(self, *, overwrite: bool) -> None:
        """Remove what an earlier training left. Raises InputError for other files, and for snapshots not to be lost."""
        suffixes = ("safetensors", "csv", "responses.jsonl")
        earlier = [path for suffix in suffixes for path in snapshot_files(self.neurons, suffix)]
        earlier += [self.identifier] if self.identifier.exists() else []
        whole = [self.whole_table] if self.whole_table.exists() else []
        if others := [path for path in (*earlier, *whole) if not is_ours(path)]:
            raise InputError(stranger_problem("folder", self.folder, others))
        if any(self.steps()) and not overwrite:
            raise InputError.of(
                f"folder ({self.folder})",
                f"it holds the snapshots of an earlier training, up to step {max(self.steps())}",
                "a folder of its own",
                "Give another folder, or overwrite=True to replace them.",
            )
        for path in earlier:
            path.unlink()

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
        with refusing(self.neurons, f"the snapshot of step {snapshot.step}"):
            counts.save(self.counts(snapshot.step))
            write_csv(self.table(snapshot.step), snapshot.table)
            tables = [path for path in snapshot_files(self.neurons, "csv") if step_of(path) <= snapshot.step]
            collect_csv(tables, self.whole_table)

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
        problems = [
            self._missing(one, step) for one in sorted({0, *(one for one in due if one < step)} - {*self.steps()})
        ]
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
                self._mend_table(snapshot)
        refuse_any(problems)
        before = _content(self.whole_table)
        with refusing(self.neurons, "the table"):
            collect_csv([self.table(one) for one in present], self.whole_table)
        now = self.whole_table.read_bytes()
        # It may have gone on to steps that are done again, or have ended before a process was killed.
        if before is None or not (before.startswith(now) or (before and now.startswith(before))):
            _tell_rewritten(self.whole_table, before)

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

    def _mend_table(self, snapshot: Snapshot) -> None:
        path = self.table(snapshot.step)
        found = _content(path)
        if found != csv_text(snapshot.table).encode():
            _tell_rewritten(path, found, " from its counts")
            with refusing(self.neurons, f"the table of step {snapshot.step}"):
                write_csv(path, snapshot.table)

    def _missing(self, step: int, now: int) -> Problem:
        found = f"there is no such file, and the run is at step {now}"
        if step == 0:
            expected = "the snapshot of step 0, to which the others are compared"
            fix = "Give the folder in which the run has been tracked from its start."
        else:
            expected = f"the snapshot of step {step}"
            fix = f"Restore it, or remove the checkpoints from step {step} on, so that the run goes on from before it."
        return Problem(f"{self.counts(step)}", found, expected, fix)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _tell_rewritten(path: Path, before: bytes | None, source: str = "") -> None:
    console.say(f"note: {path} {'was missing' if before is None else 'had changed'}: written again{source}")
