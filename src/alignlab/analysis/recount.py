"""Counting again: checkpoints of a run, adapters and models, on any probe; nothing is counted twice.

Where another record is asked for beside the counts, each model reads the probe once more for it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import nn

from alignlab import console
from alignlab.analysis.beside import Beside, ImportanceBeside, Recorded
from alignlab.analysis.records import StoredCounts
from alignlab.data.encoding import check_vocabulary
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.adapters import ModelLoader, folder_problems
from alignlab.models.distributed import broadcast, from_first, is_first, wait_for_all
from alignlab.models.load import embedding_rows
from alignlab.models.precision import precision_of
from alignlab.models.sites import find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.identifiers import Identifier, ImportanceIdentifier, size_problems
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.importance import MEASURES
from alignlab.recording.passing import Progress
from alignlab.recording.probes import Probe, ProbeConfig, PromptProbe
from alignlab.recording.responses import check_can_answer, recall, respond, responses_path

# Part of every key: raise it when the numbers of a count change.
VERSION = 2
# The name of the control set among the probes; theirs have no spaces.
_CONTROL = "control set"


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
    beside: what else is recorded of every model, in a folder beside that of the counts; None for nothing.
    control: text on which nothing is counted, but `beside_control` is recorded of every model; None for none.
    """

    models: Sequence[ModelToCount]
    probes: dict[str, ProbeConfig]
    loader: ModelLoader
    folder: Path
    trained: tuple[str, ...] = ()
    reference: str = REFERENCE
    told_by: str = ""
    beside: Beside | None = None
    control: ProbeConfig | None = None
    beside_control: Beside | None = None

    def __post_init__(self) -> None:
        self._built: dict[tuple[str, str], Probe | PromptProbe] = {}
        self._shape: tuple[int, int, int, int] | None = None

    def share_texts(self, other: Recount) -> None:
        """Take the texts that another has built of the same probes, so that they are tokenised once for both."""
        self._built = other._built

    def missing(self) -> list[StoredCounts]:
        """Those that have yet to be counted, or what is beside them recorded."""
        return [record for (model, name), record in self._asked() if self._todo(model, name, record)]

    def records(self) -> list[StoredCounts]:
        """Where the counts of each model and probe are, or will be, in order."""
        return [
            StoredCounts(
                f"{model.label}, {name}" if name else model.label,
                path := self.path(model, name),
                beside=self._beside(model, name, path, self.beside),
                control=None if self.control is None else self._beside(model, _CONTROL, path, self.beside_control),
            )
            for model in self.models
            for name in self.probes
        ]

    def shape(self) -> tuple[int, int, int, int]:
        """Languages, shards, layers and neurons a layer of the first record, without loading a model."""
        if self._shape is None:
            first = self.models[0]
            name = next(iter(self.probes))
            probe = self.probe(first, name)
            self._shape = len(probe.languages), probe.shards, *self._grid(self._outline)
        return self._shape

    def _grid(self, outline: nn.Module) -> tuple[int, int]:
        """Layers and neurons a layer of a model on the meta device, at the site of the first probe."""
        sites = find_sites(outline, next(iter(self.probes.values())).site)
        return len(sites), sites[0].width

    @cached_property
    def _outline(self) -> nn.Module:
        """The first model on the meta device, without its adapter."""
        return self.loader.below(self.models[0].source).build_meta()

    @cached_property
    def cost_beside(self) -> str:
        """What the record beside the counts takes, in words. Raises InputError where a model cannot have it."""
        assert self.beside is not None
        return self.beside.cost(self._outline, [self.probe(self.models[0], name) for name in self.probes])

    @cached_property
    def cost_of_control(self) -> str:
        """As `cost_beside`, of the control set."""
        assert self.beside_control is not None
        return self.beside_control.cost(self._outline, [self.probe(self.models[0], _CONTROL)])

    def check_control(self) -> None:
        """Refuse a control set without text in some of the languages."""
        if self.control is None:
            return
        there = self.probe(self.models[0], _CONTROL).languages
        asked = dict.fromkeys(name for probe in self.probes for name in self.probe(self.models[0], probe).languages)
        if missing := [name for name in asked if name not in there]:
            found = f"no text in {' '.join(missing)}, but in {' '.join(there)}"
            raise InputError.of("control", found, f"text in every language of the probe: {' '.join(asked)}")

    def check_shapes(self) -> None:
        """Refuse models of which neurons cannot be compared with those of the first, before anything is recorded."""
        layers, width = self.shape()[2:]
        # Of a run's checkpoints, of which there may be hundreds, one tells for all.
        others = [model for model in self.models[1:] if model.step is None or self.models[0].step is None]
        below = {self.loader.below(model.source).source: model for model in others[::-1]}
        grids = {one.label: self._grid(self.loader.below(one.source).build_meta()) for one in below.values()}
        refuse_any(
            [
                Problem(f"models ({label})", "{} layers of {}".format(*grid), f"{layers} layers of {width}, as in the "
                        f"first ({self.models[0].label})", "Neurons are compared by layer and number: ask it alone.")
                for label, grid in grids.items()
                if grid != (layers, width)
            ]
        )  # fmt: skip

    def check_identifier(self, identifier: Identifier) -> None:
        """Refuse one that cannot take its numbers of neurons of these models, before anything is recorded of them.

        Raises InputError; UnsupportedModelError for models that have not what the record beside the counts is of.
        """
        layers, width = self.shape()[2:]
        problems = size_problems(identifier, layers * width)
        if isinstance(identifier, ImportanceIdentifier) and isinstance(self.beside, ImportanceBeside):
            measure = MEASURES[self.beside.wanted.measure](self._outline, self.beside.wanted)
            problems += identifier.shape_problems(measure.shapes)
        refuse_any(list(dict.fromkeys(problems)))

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
        asked = self._asked()
        todo = broadcast([[str(path) for path in self._todo(model, name, record)] for (model, name), record in asked])
        from_first(lambda: _check_deep([model for ((model, _), _), paths in zip(asked, todo, strict=True) if paths]))
        for ((model, name), record), paths in zip(asked, todo, strict=True):
            if paths:
                self._count(model, name, self.answered(model, name), record, paths)

    def _asked(self) -> list[tuple[tuple[ModelToCount, str], StoredCounts]]:
        """Models and names of probes, each with its record."""
        return list(zip(itertools.product(self.models, self.probes), self.records(), strict=True))

    def _todo(self, model: ModelToCount, name: str, record: StoredCounts) -> list[Path]:
        """The files of a record that are not there, not whole, or not of this model and probe."""
        made: list[tuple[Path, Callable[[Path], Recorded], str]] = [(record.path, ActivationCounts.load, name)]
        if self.beside is not None and record.beside is not None:
            made.append((record.beside, self.beside.load, name))
        if self.beside_control is not None and record.control is not None:
            made.append((record.control, self.beside_control.load, _CONTROL))
        return [path for path, load, text in made if not self._is_there(path, load, model, text)]

    def _is_there(self, path: Path, load: Callable[[Path], Recorded], model: ModelToCount, name: str) -> bool:
        if not path.exists():
            return False
        try:
            found = load(path)
        except InputError:  # torn, or of another version: it is made again
            return False
        probe = self.probe(model, name)
        read = probe.fingerprint if isinstance(probe, Probe) else found.data_fingerprint  # of answers it is not known
        expected = self.loader.digest(model.source), model.step, read
        return (found.revision, found.step, found.data_fingerprint) == expected

    def _count(self, model: ModelToCount, name: str, probe: Probe, record: StoredCounts, paths: Sequence[str]) -> None:
        """Make those files of a record of the probe of that name."""
        loaded = self.loader.load(model.source)
        check_vocabulary((d for ds in probe.documents.values() for d in ds), embedding_rows(loaded))
        sites = find_sites(loaded, probe.site)
        origin = Origin(model.source, self.loader.digest(model.source), model.step, self.trained, self.reference)

        def progress_of(what: str) -> Progress:
            at = f"{model.label}, {name}" if name else model.label
            return lambda tokens: console.progress(f"Tokens read for {what}, {at}", tokens)

        if str(record.path) in paths:
            counts = count_firings(
                loaded, sites, probe, origin=origin, context=self.context, progress=progress_of("counts")
            )
            if is_first():
                counts.save(record.path)
            wait_for_all()
        if self.beside is not None and record.beside is not None and str(record.beside) in paths:
            of = progress_of(self.beside.what)
            self.beside.record(loaded, probe, record.beside, origin, self.context, of)
        if self.beside_control is not None and record.control is not None and str(record.control) in paths:
            control = self.answered(model, _CONTROL)
            check_vocabulary((d for ds in control.documents.values() for d in ds), embedding_rows(loaded))
            of = progress_of(f"{self.beside_control.what} of the control set")
            self.beside_control.record(loaded, control, record.control, origin, self.context, of)

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
            config = self.control if name == _CONTROL and self.control is not None else self.probes[name]
            self._built[key] = config.build(below.build_tokenizer())
        return self._built[key]

    def path(self, model: ModelToCount, name: str) -> Path:
        """Where the counts of a model on a probe are kept: the name tells all that they are made from."""
        parts = [*self._made_from(model, name), self.probes[name].site, self.trained, self.reference]
        return self.folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.safetensors"

    def _beside(self, model: ModelToCount, name: str, counts: Path, beside: Beside | None) -> Path | None:
        """Where a record beside those counts is kept."""
        if beside is None:
            return None
        parts = [*self._made_from(model, name), self.trained, self.reference]
        return self.folder.parent / beside.name / beside.folder(counts, parts)

    def _made_from(self, model: ModelToCount, name: str) -> list[Any]:
        """What all records of a model on a probe are made from, as plain values."""
        probe = self.probe(model, name)
        parts = [VERSION, self.loader.digest(model.source), probe.fingerprint, model.step]
        return parts + ([self._answerer(model, probe)[1].name] if isinstance(probe, PromptProbe) else [])


def _check_deep(models: Sequence[ModelToCount]) -> None:
    sources = dict.fromkeys(model.source for model in models)
    refuse_any([problem for source in sources for problem in folder_problems(source, deep=True)])
