"""Counting again: checkpoints of a run, adapters and models, on any probe; nothing is counted twice.

Where means of activations are asked for too, each model reads the probe once for these and once for its counts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from alignlab import console
from alignlab.analysis.records import StoredCounts
from alignlab.data.encoding import check_vocabulary
from alignlab.errors import InputError, refuse_any
from alignlab.models.adapters import ModelLoader, folder_problems
from alignlab.models.distributed import broadcast, from_first, is_first, wait_for_all
from alignlab.models.load import embedding_rows
from alignlab.models.precision import precision_of
from alignlab.models.sites import find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.recording.responses import check_can_answer, recall, respond, responses_path

# Part of every key: raise it when the numbers of a count change.
VERSION = 2


@dataclass(frozen=True)
class ModelToCount:
    """A model to count.

    label: what people call it.  source: folder or Hub id.  step: its optimiser steps, None outside a run.
    """

    label: str
    source: str
    step: int | None = None


@dataclass
class Recount:
    """Counts each model on each probe, and keeps the counts by what they are made from.

    probes: by name; the name of the only one is "".
    trained, reference: languages in training, and the one that they are aligned to, for the header.
    told_by: the model that says these; empty where they were asked for.
    means: record the mean activations of every document too, in a folder beside that of the counts.
    """

    models: Sequence[ModelToCount]
    probes: dict[str, ProbeConfig]
    loader: ModelLoader
    folder: Path
    trained: tuple[str, ...] = ()
    reference: str = REFERENCE
    told_by: str = ""
    means: bool = False

    def __post_init__(self) -> None:
        self._built: dict[tuple[str, str], Probe | PromptProbe] = {}
        self._shape: tuple[int, int, int, int] | None = None

    def missing(self) -> list[StoredCounts]:
        """Those that have yet to be counted, or whose means have yet to be recorded."""
        return [record for record in self.records() if self._todo(record)]

    def records(self) -> list[StoredCounts]:
        """Where the counts of each model and probe are, or will be, in order."""
        return [
            StoredCounts(
                f"{model.label}, {name}" if name else model.label,
                path := self.path(model, name),
                means=self.folder.parent / "means" / path.stem if self.means else None,
            )
            for model in self.models
            for name in self.probes
        ]

    def shape(self) -> tuple[int, int, int, int]:
        """Languages, shards, layers and neurons a layer of the first record, without loading a model."""
        if self._shape is None:
            first = self.models[0]
            name = next(iter(self.probes))
            sites = find_sites(self.loader.below(first.source).build_meta(), self.probes[name].site)
            probe = self.probe(first, name)
            self._shape = len(probe.languages), probe.shards, len(sites), sites[0].width
        return self._shape

    def check(self) -> None:
        """Refuse folders of models that are damaged, all at once, before anything is made of them.

        Sizes are compared first, which is quick; where one is wrong, the checksums of all tell what else is.
        """
        if any(folder_problems(model.source, deep=False) for model in self.models):
            _check_deep(self.models)

    def count(self) -> None:
        """Count what is missing; every rank has to call it.

        Raises InputError, before it begins, for all checkpoints to be counted that are not as they were written.
        """
        records = self.records()
        todo = broadcast([[str(path) for path in self._todo(record)] for record in records])
        asked = list(itertools.product(self.models, self.probes))
        from_first(lambda: _check_deep([model for (model, _), paths in zip(asked, todo, strict=True) if paths]))
        for (model, name), record, paths in zip(asked, records, todo, strict=True):
            if paths:
                self._count(model, self.answered(model, name), record, paths)

    def _todo(self, record: StoredCounts) -> list[Path]:
        """The files of a record that are not there, or not whole."""
        made = [record.path] if record.means is None else [record.path, record.means]
        return [path for path in made if not _is_whole(path, path == record.means)]

    def _count(self, model: ModelToCount, probe: Probe, record: StoredCounts, paths: Sequence[str]) -> None:
        """Make those files of a record."""
        loaded = self.loader.load(model.source)
        check_vocabulary((d for ds in probe.documents.values() for d in ds), embedding_rows(loaded))
        sites = find_sites(loaded, probe.site)
        origin = Origin(model.source, self.loader.digest(model.source), model.step, self.trained, self.reference)

        def progress(tokens: int) -> AbstractContextManager[Callable[[int], None]]:
            return console.progress(f"Tokens read, {model.label}", tokens)

        if str(record.path) in paths:
            counts = count_firings(loaded, sites, probe, origin=origin, context=self.context, progress=progress)
            if is_first():
                counts.save(record.path)
            wait_for_all()
        if record.means is not None and str(record.means) in paths:
            record_means(loaded, sites, probe, record.means, origin=origin, context=self.context, progress=progress)

    def answered(self, model: ModelToCount, name: str) -> Probe:
        """The probe with all its responses: those of the data, of the first model, or of this one."""
        probe = self.probe(model, name)
        if isinstance(probe, Probe):
            return probe
        answerer, folder = self._answerer(model, probe)
        if not responses_path(folder, probe, 0).is_file():
            loaded = self.loader.load(answerer.source)
            check_can_answer(probe, loaded)
            check_vocabulary((d for ds in probe.documents.values() for d in ds), embedding_rows(loaded))
            return respond(probe, loaded, folder=folder, step=0, context=self.context, main=is_first())
        return recall(probe, folder, 0)

    def _answerer(self, model: ModelToCount, probe: PromptProbe) -> tuple[ModelToCount, Path]:
        """Which model answers the prompts, and where its responses are kept."""
        answerer = self.models[0] if probe.responses == "generated_once" else model
        made_from = f"{self.loader.digest(answerer.source)} {probe.fingerprint}"
        return answerer, self.folder / "responses" / hashlib.sha256(made_from.encode()).hexdigest()[:24]

    @property
    def context(self) -> Callable[[], AbstractContextManager[object]]:
        """What forwards run in, by the precision."""
        context: Callable[[], AbstractContextManager[object]] = precision_of(
            self.loader.precision, self.loader.device
        ).forward_context
        return context

    def probe(self, model: ModelToCount, name: str) -> Probe | PromptProbe:
        """The probe with the model's own tokenizer."""
        below = self.loader.below(model.source)
        key = (below.source, name)
        if key not in self._built:
            self._built[key] = self.probes[name].build(below.build_tokenizer())
        return self._built[key]

    def path(self, model: ModelToCount, name: str) -> Path:
        """Where the counts of a model on a probe are kept: the name tells all that they are made from."""
        probe = self.probe(model, name)
        parts = [VERSION, self.loader.digest(model.source), probe.fingerprint, model.step]
        parts += [self._answerer(model, probe)[1].name] if isinstance(probe, PromptProbe) else []
        parts += [self.probes[name].site, self.trained, self.reference]
        return self.folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.safetensors"


def _check_deep(models: Sequence[ModelToCount]) -> None:
    sources = dict.fromkeys(model.source for model in models)
    refuse_any([problem for source in sources for problem in folder_problems(source, deep=True)])


def _is_whole(path: Path, means: bool) -> bool:
    if not path.exists():
        return False
    try:
        if means:
            ActivationMeans.load(path)
        else:
            ActivationCounts.load(path)
    except InputError:  # torn, or of another version: it is counted again
        return False
    return True
