"""Where the counts come from that are analysed: the snapshots of a run, or a folder of published counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from alignlab import console
from alignlab.analysis.options import CountsFormat
from alignlab.data.text_files import nearest
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_file import check_step
from alignlab.neurons.formats import COUNT_FORMATS
from alignlab.neurons.identifiers import Identifier, reading_problems
from alignlab.neurons.importance import Importance
from alignlab.neurons.subset import subset
from alignlab.recording.means import ActivationMeans
from alignlab.redaction import hide
from alignlab.runs import RunFolder, step_name, step_of


@dataclass(frozen=True)
class StoredCounts:
    """A record that is read when it is asked for, and not kept: a run may have hundreds of them.

    label: what people call it, such as `step 100`.
    read: how the file, or the folder, at `path` is read.
    beside: where another record of the same documents is, which identifiers may read in place of counts; None where
        there is none.
    shards: those that are looked at; None for all.
    control: where such a record of a control set is; None where there is none.
    """

    label: str
    path: Path
    read: Callable[[Path], ActivationCounts] = ActivationCounts.load
    beside: Path | None = None
    shards: tuple[int, ...] | None = None
    control: Path | None = None

    def load(self) -> ActivationCounts:
        """The counts. Raises InputError as `read` does."""
        return self.read(self.path)

    def read_by(self, identifier: Identifier, counts: ActivationCounts) -> Any:
        """What the identifier classifies: these counts, or the record beside them, in their languages.

        Raises InputError for an identifier of a record that is not there.
        """
        if identifier.reads == "means" and self.beside is not None:
            return replace(ActivationMeans.load(self.beside), languages=counts.languages)
        if identifier.reads == "importance" and self.beside is not None:
            importance = Importance.load(self.beside)
            shards = importance.shards if self.shards is None else len(self.shards)
            control = None
            if self.control is not None:
                control = replace(Importance.load(self.control), languages=counts.languages, site=counts.site)
            return replace(
                importance,
                languages=counts.languages,
                site=counts.site,
                shards=shards,
                only=self.shards,
                control=control,
            )
        refuse_any(reading_problems(identifier))
        return counts


def snapshots_of(folder: Path) -> list[StoredCounts]:
    """The snapshots of a run, in the order of their steps. Raises InputError where there are none, or torn ones."""
    run = RunFolder(folder)
    if not folder.is_dir():
        found, fix = ("it is a file", "") if folder.exists() else ("there is no such folder", nearest(folder))
        raise InputError(Problem(f"run ({folder})", found, "the folder of a run", fix))
    paths = run.snapshots()
    if not paths:
        expected = f"snapshots as {run.neurons}/step-000000.safetensors"
        fix = "Give the folder of a run that alignlab.train or a tracker wrote."
        raise InputError(Problem(f"run ({folder})", "the folder holds no snapshot", expected, fix))
    problems: list[Problem] = []
    for path in paths:
        try:
            check_step(path, step_of(path))
        except InputError as error:
            problems += error.problems
    missing = sorted(set(run.snapshot_steps_expected()) - {step_of(path) for path in paths})
    if 0 in missing:
        found, expected = "there is no such file", "the snapshot of step 0, to which all others are compared"
        fix = "Restore it from a copy, or count the checkpoints again with recount=true."
        problems.append(Problem(f"{run.neurons / step_name(0)}.safetensors", found, expected, fix))
    elif missing:
        console.complain(f"note: {folder} lacks the snapshots of steps {', '.join(map(str, missing))}")
    try:
        if run.config.is_file():
            run.stored_config()
    except InputError as error:
        problems += error.problems
    refuse_any(problems)
    return [StoredCounts(f"step {step_of(path)}", path) for path in paths]


def stored_counts(
    path: Path,
    written_by: CountsFormat,
    languages: Sequence[str] | None,
    tag: str | None,
) -> list[StoredCounts]:
    """One record of counts in alignlab's own format (a file) or a published one (a folder, with its languages)."""
    if not path.exists():
        raise InputError(Problem(f"counts ({path})", "there is no such file or folder", "counts", nearest(path)))
    if written_by == "alignlab":
        if path.is_dir():
            fix = "Give one file, or the run's folder as run=... for all its snapshots."
            raise InputError(Problem(f"counts ({path})", "a folder", "a file that ActivationCounts.save wrote", fix))
        return [StoredCounts(hide(path.name), path)]
    if not languages:
        fix = "The files have no list of them: pass classify_languages=[en,zh,...], the codes in their names."
        raise InputError(Problem("classify_languages", "not given", "the languages of the counts", fix))
    read = partial(COUNT_FORMATS[written_by], languages=list(languages), tag=tag)
    return [StoredCounts(hide(path.name), path, read)]


def parts(
    records: Sequence[StoredCounts],
    languages: Sequence[str] | None,
    shards: Sequence[int] | None,
    denominator: str | None = None,
) -> list[StoredCounts]:
    """The same records with some languages and shards only, and another denominator if one is named."""

    def read(record: StoredCounts, path: Path) -> ActivationCounts:
        counts = subset(record.read(path), languages, shards, where="classify_languages")
        return counts if denominator is None else replace(counts, denominator=denominator)

    def part(record: StoredCounts) -> StoredCounts:
        taken = None if shards is None else tuple(shards)
        return replace(record, read=partial(read, record), shards=taken)

    return [part(record) for record in records]
