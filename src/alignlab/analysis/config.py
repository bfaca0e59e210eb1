"""What can be asked of stored counts, and the plan of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignlab import console
from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.noise import Resampling
from alignlab.analysis.records import CountsFormat, StoredCounts, parts, snapshots_of, stored_counts
from alignlab.analysis.study import Study
from alignlab.config import option, to_plain, to_yaml, variant
from alignlab.errors import InputError, Problem
from alignlab.neurons.identifiers import IDENTIFIERS, Identifier
from alignlab.neurons.kinds import Convention

# Of the analyses, those that cost next to nothing beside the classification: all but those that need neurons named.
USUAL = [name for name in ANALYSES if name != "single_neuron_profile"]


def _neurons(values: Any) -> str | None:
    good = isinstance(values, list) and all(re.fullmatch(r"\d+\.\d+", str(value)) for value in values)
    return None if good else "layers and neurons from 0, such as ['3.127', '0.5']"


@dataclass
class AnalyzeConfig:
    """Everything about an analysis."""

    dry_run: bool = option(False, "print the plan and stop")
    run: str | None = option(None, "folder of a run, all of whose snapshots are analysed")
    counts: str | None = option(None, "file of counts, or folder of published ones")
    counts_format: CountsFormat = option("alignlab", "who wrote `counts`")
    counts_tag: str | None = option(None, "part of the names of published files after the code; null where all agree")
    languages: list[str] | None = option(None, "languages to compare, by name; null takes all")
    shards: list[int] | None = option(None, "groups of documents to count, by number from 0; null takes all")
    trained: list[str] | None = option(None, "languages in training; null takes those that the counts name")
    identifier: Identifier = variant(IDENTIFIERS, "how neurons are classified; by default as in the run", "ternary")
    kinds: Convention = option(
        "paper",
        "which neurons count as of a kind; paper: specific and related from the selection, general from all; "
        "selection: from the selection; all: from all, by degree",
    )
    analyses: list[str] = option(USUAL, "what is asked", choices=list(ANALYSES))
    neurons: list[str] = option([], "neurons of single_neuron_profile, as layer.neuron from 0", check=_neurons)
    intervals: bool = option(False, "also resample the shards of documents: an interval of every count and change")
    resamples: int = option(200, "resamples of each record", ge=2)
    seed: int = option(0, "of the resamples", ge=0)
    folder: str | None = option(
        None, "where tables and sets are written; null: analysis/<identifier>-<digest> in the run, else in runs/"
    )

    def records(self) -> list[StoredCounts]:
        """The counts that are asked. Raises InputError unless one source is given and is there."""
        if (self.run is None) == (self.counts is None):
            found = "neither run nor counts is set" if self.run is None else "both run and counts are set"
            raise InputError(
                Problem("command line", found, "one of them", "Write run=runs/demo, or counts=FOLDER counts_format=...")
            )
        if self.run is not None:
            records = snapshots_of(Path(self.run).expanduser())
        else:
            assert self.counts is not None
            path = Path(self.counts).expanduser()
            records = stored_counts(path, self.counts_format, self.languages, self.counts_tag)
        return parts(records, self.languages, self.shards)

    def study(self) -> Study:
        """What is asked of each record."""
        neurons = tuple((int(layer), int(neuron)) for layer, neuron in (name.split(".") for name in self.neurons))
        resampling = None
        if self.intervals:
            options = to_plain(self)["identifier"]
            resampling = Resampling(
                self.identifier, options, self.kinds, self.resamples, self.seed, self.results.parent / "cache"
            )
        return Study(self.identifier, self.analyses, self.kinds, self.trained, neurons, resampling)

    @property
    def results(self) -> Path:
        """The folder of the results: the same question has the same folder."""
        if self.folder is not None:
            return Path(self.folder).expanduser()
        base = Path("runs") if self.run is None else Path(self.run).expanduser()
        name = to_plain(self)["identifier"]["name"]
        return base / "analysis" / f"{name}-{hashlib.sha256(self.document.encode()).hexdigest()[:8]}"

    @property
    def document(self) -> str:
        """The question as YAML."""
        return to_yaml(replace(self, dry_run=False, folder=None))

    def show_plan(self, records: Sequence[StoredCounts]) -> None:
        """Print what will be asked of what."""
        identifier = to_plain(self)["identifier"]
        name = identifier.pop("name")
        options = ", ".join(f"{key} {value}" for key, value in identifier.items())
        size = sum(file.stat().st_size for record in records for file in _files(record.path))
        console.heading("Plan of the analysis")
        console.table(
            [
                (
                    "records",
                    f"{len(records)}, {console.size(size)}: {records[0].path}{' and so on' * (len(records) > 1)}",
                ),
                ("identifier", f"{name} ({options})"),
                ("kinds", self.kinds),
                ("analyses", " ".join(self.analyses)),
                ("results", str(self.results)),
            ]
        )


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
