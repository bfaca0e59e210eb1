"""The folder of a grid's results: begun, continued to the part, and whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from alignlab.begun_folder import BegunFolder
from alignlab.config import to_plain
from alignlab.evaluation.options import ObjectOptions
from alignlab.intervening.options import WITH_TEXTS, FallbackOptions, Measure
from alignlab.intervening.subjects import Subject
from alignlab.labels import LabelsOptions
from alignlab.manifest import remove_listed

_RECORDS: dict[Measure, str] = {
    "perplexity": "effects",
    "accuracy": "answers",
    "lss": "objects",
    "fallback": "fallback",
}
# Keys that grids had not yet which are there already, with what they had meant.
_LATER: Mapping[str, Any] = {
    "sites": None,
    "anchored": True,
    "group": None,
    "objects": to_plain(ObjectOptions()),
    "fallback": to_plain(FallbackOptions()),
    "labels": to_plain(LabelsOptions()),
    "beside": None,
}


@dataclass(frozen=True)
class GridFolder(BegunFolder):
    """Names of all that is in it, and what may be done with it.

    subjects: the models of the grid, each with its own files.
    measures: what is measured of each.
    within_run: it lies in the run, so that the path of the run tells nothing: it may be moved, or written otherwise.
    """

    subjects: Sequence[Subject] = ()
    measures: Sequence[Measure] = ()
    within_run: bool = False

    kind = "interventions"
    holds = "effects"
    ignored = ("dry_run", "folder", "name", "show_languages")
    made_from: ClassVar[Mapping[str, tuple[str, str]]] = {
        "text_fingerprint": ("text", "the documents that are measured, as tokenised,"),
        "model_fingerprint": ("model.source", "the weights of the model"),
        "neurons_fingerprint": ("sets", "the neurons of the sets"),
        "task_fingerprint": ("evaluation", "the problems or objects, as tokenised,"),
    }

    def _stored_config(self) -> dict[str, Any]:
        return {**_LATER, **super()._stored_config()}

    @property
    def _may_differ(self) -> Sequence[str]:
        return (*self.ignored, "run") if self.within_run else self.ignored

    @property
    def results(self) -> Sequence[Path]:
        return *(path for one in self.subjects for path in self.of(one)), self.table

    def of(self, subject: Subject) -> list[Path]:
        """The results of a model."""
        records = [self.effects(subject, measure) for measure in self.measures]
        texts = [self.texts(subject, measure) for measure in self.measures if measure in WITH_TEXTS]
        return [*records, *texts, self.sets(subject), self.about(subject)]

    def effects(self, subject: Subject, measure: Measure = "perplexity") -> Path:
        """The record of what was measured of a model under every arm."""
        return self.path / f"{_RECORDS[measure]}{subject.stem}.safetensors"

    def texts(self, subject: Subject, measure: Measure) -> Path:
        """The texts of the answers of a record, under every arm (see `recording.responses_file`)."""
        return self.effects(subject, measure).with_suffix(".jsonl")

    def sets(self, subject: Subject) -> Path:
        """The neurons that were changed in it."""
        return self.path / f"sets{subject.stem}.safetensors"

    def about(self, subject: Subject) -> Path:
        """What its sets are, and how far their controls are from them."""
        return self.path / f"about{subject.stem}.json"

    def means(self, subject: Subject) -> Path:
        """The folder of its mean activations, which is there while the work goes on."""
        return self.path / f"means{subject.stem}"

    def clear_parts(self) -> None:
        """Remove the parts, and the means."""
        for subject in self.subjects:
            if self.means(subject).is_dir():
                remove_listed(self.means(subject))
        super().clear_parts()
