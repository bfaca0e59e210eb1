"""The models whose neurons are changed: of a run those of some steps, each with its own counts and documents."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from alignlab import console
from alignlab.analysis.records import snapshots_of
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.options import SiteName
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_file import read_header
from alignlab.runs import RunFolder, step_of


@dataclass(frozen=True)
class Subject:
    """A model, and one site of its neurons.

    label: what people call it.  source: folder or Hub id.
    step: its optimiser steps, None outside a run.
    snapshot: the file with its counts; None outside a run.
    first: that of the run's first step, whose thresholds hold.
    site: where the neurons are, if that was asked for; empty where the counts say it.
    """

    label: str
    source: str
    step: int | None = None
    snapshot: Path | None = None
    first: Path | None = None
    site: str = ""

    @property
    def stem(self) -> str:
        """Of the files of its results."""
        return ("" if self.step is None else f"-step-{self.step:06d}") + (f"-{self.site}" if self.site else "")

    def counts(self) -> ActivationCounts | None:
        """What the run has counted of it. Raises InputError where the file is damaged."""
        return None if self.snapshot is None else ActivationCounts.load(self.snapshot)


def subjects_of_run(folder: Path, base: str, steps: Sequence[int] | Literal["ends"] | None) -> list[Subject]:
    """The models of a run at some steps; None takes its last one, `ends` the base and that.

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
    if steps in (None, "ends") and both[-1] < last:
        lacks = " and no ".join(
            name for name, there in (("snapshot", snapshots), ("checkpoint", checkpoints)) if last not in there
        )
        console.complain(f"note: there is no {lacks} of step {last}, the last of {folder}: step {both[-1]} is taken")
    if steps == "ends":
        steps = list(dict.fromkeys([0, both[-1]]))
    problems = []
    for step in steps or ():
        if step not in both:
            lacks = "snapshot" if step not in snapshots else "checkpoint"
            expected = f"one of: {', '.join(map(str, both))}"
            problems.append(Problem("step", f"the run has no {lacks} of step {step}", expected))
    if problems:
        raise InputError(*problems)
    first = snapshots[min(snapshots)]
    return [Subject(f"step {step}", checkpoints[step], step, snapshots[step], first) for step in steps or both[-1:]]


def at_sites(
    subjects: Sequence[Subject], sites: Sequence[SiteName], run: Path, base: str, digest: Callable[[str], str]
) -> list[Subject]:
    """Each model of a run once for each site, with its counts there.

    They are those of the run where it has counted there, else those that `alignlab.analyze` has counted since.
    base: the model at step 0.  digest: of the weights of a source.
    Raises InputError, for all sites together, where there are none, with the command that counts them.
    """
    problems, found = [], []
    for site in sites:
        here = [_at(subject, site, run, base, digest) for subject in subjects]
        missing = {step for _, steps in here for step in steps}
        if missing:
            header = read_header(subjects[0].first or "")
            steps = ",".join(map(str, sorted(missing)))
            command = f"python -m alignlab.analyze run={shlex.quote(str(run))} recount=true probe.site={site}"
            what = f"it has counted at {header.site}, and nothing at {site} of step {steps.replace(',', ', ')}"
            fix = f"Count there first: {command} models=[{steps}]"
            problems.append(Problem(f"sites ({run})", what, "counts at every site", fix))
        found += [subject for subject, _ in here]
    refuse_any(problems)
    return sorted(found, key=lambda subject: [one.step for one in subjects].index(subject.step))


def _at(
    subject: Subject, site: SiteName, run: Path, base: str, digest: Callable[[str], str]
) -> tuple[Subject, list[int]]:
    """A model with its counts at a site and those of the first step, and the steps of which there are none."""
    assert subject.first is not None
    assert subject.snapshot is not None
    assert subject.step is not None
    named = replace(subject, label=f"{subject.label} at {site}", site=site)
    counted = read_header(subject.first)
    if counted.site == site:
        return named, []
    first = step_of(subject.first)
    files = []
    for step, source in ((subject.step, subject.source), (first, base)):
        files.append(_recounted(run, site, step, counted.data_fingerprint, digest(source)))
    snapshot, earliest = files
    missing = [step for step, file in ((subject.step, snapshot), (first, earliest)) if file is None]
    return replace(named, snapshot=snapshot, first=earliest), missing


def _recounted(run: Path, site: str, step: int, text: str, weights: str) -> Path | None:
    """The file of counts at a site that `alignlab.analyze` has made of these weights and text; None where none is."""
    for path in sorted((run / "analysis" / "counts").glob("*.safetensors")):
        try:
            header = read_header(path)
        except InputError:  # torn: analyze counts it again
            continue
        if (header.site, header.step, header.data_fingerprint, header.revision) == (site, step, text, weights):
            return path
    return None
