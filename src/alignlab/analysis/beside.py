"""What is recorded beside counts for identifiers that read something else: how, where, and at what cost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from torch import nn

from alignlab import console
from alignlab.data.batching import token_budget_batches
from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.options import SiteName
from alignlab.models.sites import find_sites
from alignlab.neurons.identifiers import ControlledIdentifier, Identifier, ImportanceIdentifier
from alignlab.neurons.importance import Importance, Wanted, bytes_of
from alignlab.recording.by_gradient import GradientMeasure
from alignlab.recording.counting import Origin
from alignlab.recording.importance import MEASURES, record_importance
from alignlab.recording.means import ActivationMeans, record_means
from alignlab.recording.passing import Progress
from alignlab.recording.probes import Probe, ProbeTexts


class Recorded(Protocol):
    """Any record of a model and a probe: it says of which."""

    @property
    def revision(self) -> str: ...
    @property
    def step(self) -> int | None: ...
    @property
    def data_fingerprint(self) -> str: ...


class Beside(Protocol):
    """A record that is made of each model and probe beside its counts.

    name: of its folder, and as the plan calls it.
    """

    name: ClassVar[str]

    @property
    def what(self) -> str:
        """What is recorded, in words."""

    def folder(self, counts: Path, made_from: Sequence[Any]) -> str:
        """The name of a record's folder. counts: the file beside it.  made_from: plain values that tell the rest."""

    def load(self, folder: Path) -> Recorded:
        """The record. Raises InputError where it is not there, not whole, or not of what is wanted."""

    def record(
        self,
        model: nn.Module,
        probe: Probe,
        folder: Path,
        origin: Origin,
        context: Callable[[], AbstractContextManager[object]],
        progress: Progress,
    ) -> object:
        """Make it; every rank has to call it."""

    def cost(self, model: nn.Module, probes: Sequence[ProbeTexts]) -> str:
        """What it takes of a model, which is on the meta device, in words. Raises InputError as the recording would."""


@dataclass(frozen=True)
class MeansBeside:
    """Mean activations of documents."""

    name: ClassVar[str] = "means"
    what: ClassVar[str] = "means of documents"

    def folder(self, counts: Path, made_from: Sequence[Any]) -> str:
        return counts.stem

    def load(self, folder: Path) -> Recorded:
        return ActivationMeans.load(folder)

    def record(
        self,
        model: nn.Module,
        probe: Probe,
        folder: Path,
        origin: Origin,
        context: Callable[[], AbstractContextManager[object]],
        progress: Progress,
    ) -> object:
        sites = find_sites(model, probe.site)
        return record_means(model, sites, probe, folder, origin=origin, context=context, progress=progress)

    def cost(self, model: nn.Module, probes: Sequence[ProbeTexts]) -> str:
        sites = find_sites(model, probes[0].site)
        documents = sum(len(texts) for probe in probes for texts in probe.documents.values())
        size = console.size(4 * len(sites) * sites[0].width * documents)
        return f"of {documents:,} documents, about {size} a model, which reads the text twice for them"


@dataclass(frozen=True)
class ImportanceBeside:
    """Importance of neurons by a measure, at some sites."""

    wanted: Wanted
    name: ClassVar[str] = "importance"

    @property
    def what(self) -> str:
        """See `Beside.what`."""
        return f"importance by {self.wanted.measure}"

    def folder(self, counts: Path, made_from: Sequence[Any]) -> str:
        # Not named as the counts, which are of one site: for those of another it is not recorded again.
        parts = [*made_from, self.wanted.measure, self.wanted.sites, dict(self.wanted.options)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]

    def load(self, folder: Path) -> Recorded:
        found = Importance.load(folder)
        if (found.measure, found.sites) != (self.wanted.measure, self.wanted.sites):
            there, wanted = (f"{one.measure} at {', '.join(one.sites)}" for one in (found, self.wanted))
            raise InputError.of(f"{folder}", f"importance by {there}", f"importance by {wanted}")
        return found

    def record(
        self,
        model: nn.Module,
        probe: Probe,
        folder: Path,
        origin: Origin,
        context: Callable[[], AbstractContextManager[object]],
        progress: Progress,
    ) -> object:
        return record_importance(model, self.wanted, probe, folder, origin=origin, context=context, progress=progress)

    def cost(self, model: nn.Module, probes: Sequence[ProbeTexts]) -> str:
        measure = MEASURES[self.wanted.measure](model, self.wanted)
        size = sum(bytes_of(measure.shapes, len(probe.languages), probe.shards) for probe in probes)
        sizes = [
            (len(document), int(probe.counted(document).sum()))
            for probe in probes
            for documents in probe.documents.values()
            for document in documents
        ]
        try:
            needs = f"about {measure.flops(sizes) / 1e12:.3g} TFLOP"
        except UnsupportedModelError as error:  # as of experts, whose memory cannot be followed without weights either
            needs = f"unknown operations ({error.problems[0].found})"
        else:
            if isinstance(measure, GradientMeasure):
                batches = (batch for probe in probes for batch in _batches(probe))
                most = max(batches, key=lambda batch: batch[0] * batch[1])
                needs += f", {console.size(measure.memory(*most))} of memory beside the weights"
        return (
            f"by {self.wanted.measure} at {', '.join(self.wanted.sites)}: {len(sizes):,} documents, "
            f"{needs} and {console.size(size)} a model"
        )


def _batches(probe: ProbeTexts) -> Iterator[tuple[int, int, int]]:
    """Documents, tokens with their padding and counted tokens of each batch."""
    for documents in probe.documents.values():
        for batch in token_budget_batches([len(document) for document in documents], probe.max_tokens_per_batch):
            some = [documents[number] for number in batch]
            counted = sum(int(probe.counted(document).sum()) for document in some)
            yield len(some), max(len(document) for document in some), counted


def beside_of(identifier: Identifier, site: SiteName) -> Beside | None:
    """What has to be recorded for an identifier; None where counts are enough.  site: of the probe."""
    if identifier.reads == "means":
        return MeansBeside()
    return _importance(identifier.wanted, site) if isinstance(identifier, ImportanceIdentifier) else None


def beside_of_control(identifier: Identifier, site: SiteName) -> Beside | None:
    """What has to be recorded of a control set; None for an identifier that has no use for one."""
    return _importance(identifier.wanted_of_control, site) if isinstance(identifier, ControlledIdentifier) else None


def _importance(wanted: Wanted, site: SiteName) -> ImportanceBeside:
    return ImportanceBeside(replace(wanted, sites=wanted.sites or (site,)))
