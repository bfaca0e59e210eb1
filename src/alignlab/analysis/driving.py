"""Which text drives neurons of a record: they are chosen by its classification, then its model reads the text again.

A pass of its own, over some neurons: `recording.highest` says what it would cost to keep this of all of them at every
snapshot. What was recorded is kept by what it is made from, and is not made twice.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from alignlab import console
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.records import StoredCounts
from alignlab.analysis.recount import ModelToCount, Recount
from alignlab.data.encoding import check_vocabulary
from alignlab.errors import InputError
from alignlab.models.distributed import broadcast, from_first, is_first, wait_for_all
from alignlab.models.load import embedding_rows
from alignlab.models.sites import find_sites
from alignlab.neurons.counts_file import read_header
from alignlab.neurons.most_specific import most_specific
from alignlab.recording.counting import Origin
from alignlab.recording.driving_texts import DrivingTexts, record_driving_texts
from alignlab.recording.options import TextsOptions
from alignlab.recording.probes import Probe

# Part of every key: raise it when what is recorded changes.
VERSION = 1
Neuron = tuple[int, int]


@dataclass(frozen=True)
class NeuronTexts:
    """What drives which neurons.

    label: of the record.  record: None where no neuron was found.
    specific: by language, the most specific neurons of its set; empty where none were asked.
    named: those asked by name.
    around: characters on each side of a token; None where no text is stored.
    """

    label: str
    record: DrivingTexts | None
    specific: Mapping[str, Sequence[Neuron]]
    named: Sequence[Neuron]
    around: int | None

    @property
    def notes(self) -> list[str]:
        """What there is less of than was asked for."""
        without = [language for language, found in self.specific.items() if not found]
        notes = [f"no neuron of the set of {' or '.join(without)} fires more there than elsewhere"] if without else []
        return notes + (self.record.notes if self.record is not None else [])


@dataclass(frozen=True)
class TextsAsked:
    """Texts that are asked of the last record.

    recount: with its model and probe, by the name of which it is read.
    folder: where what was recorded is kept.
    named: how many neurons are named.
    """

    recount: Recount
    model: ModelToCount
    probe: str
    options: TextsOptions
    folder: Path
    named: int = 0

    @property
    def plan(self) -> str:
        """What will be read and kept, in words."""
        probe = self.recount.probe(self.model, self.probe)
        tokens = sum(len(document) for documents in probe.documents.values() for document in documents)
        asked = self.options
        languages = len(probe.languages)
        number = asked.neurons * languages + self.named
        values = number * asked.highest
        text, size = "no text is stored", 16
        if asked.around is not None:
            text, size = f"{asked.around} characters of text on each side", 16 + 8 * asked.around
        named = "neuron" if number == 1 else "neurons"
        return (
            f"the {asked.highest} highest activations of at most {number:,} {named} in each language, {text}; "
            f"{self.model.label} reads {tokens:,} tokens once more; {console.size(12 * values)} held, at most "
            f"{console.size(size * values * languages)} kept in {self.folder}"
        )

    def check(self, record: StoredCounts) -> None:
        """Refuse, before a model is loaded, texts that are no longer those of a stored record."""
        probe = self.recount.probe(self.model, self.probe)
        if isinstance(probe, Probe):
            _check_same(probe.fingerprint, read_header(record.path).data_fingerprint)

    def ask(self, inquiry: Inquiry, records: Sequence[StoredCounts]) -> NeuronTexts:
        """Choose the neurons and find what drives them; every rank has to call it.

        inquiry: by which the last record is classified, anchored to the first.

        Raises InputError where the probe is no longer the one that was counted, and as `record_driving_texts` does.
        """
        specific, fingerprint = from_first(lambda: self._chosen(inquiry, records))
        specific = {language: [(layer, neuron) for layer, neuron in found] for language, found in specific.items()}
        neurons = sorted({*inquiry.neurons, *(one for found in specific.values() for one in found)})
        record = self._record(neurons, fingerprint) if neurons else None
        return NeuronTexts(records[-1].label, record, specific, inquiry.neurons, self.options.around)

    def _chosen(self, inquiry: Inquiry, records: Sequence[StoredCounts]) -> tuple[dict[str, list[Neuron]], str]:
        """The most specific neurons of the last record, and the fingerprint of the texts that it counted."""
        ends = [records[0], records[-1]] if len(records) > 1 else [records[0]]
        alone = replace(inquiry, analyses=(), resampling=None, since_before=False)
        last = [view for view, _ in alone.over(ends)][-1]
        sets, counts = last.now.result.sets, last.counts
        asked = self.options.neurons > 0
        shown = {name: sets[name] for name in sets if asked and (inquiry.shown is None or name in inquiry.shown)}
        found = most_specific(shown, counts.languages, counts.probabilities(), self.options.neurons)
        return found, counts.data_fingerprint

    def _record(self, neurons: Sequence[Neuron], fingerprint: str) -> DrivingTexts:
        path = self._path(neurons)
        if not broadcast(_is_whole(path)):
            self._make(path, neurons, fingerprint)
        record = DrivingTexts.load(path)
        _check_same(record.data_fingerprint, fingerprint)
        return record

    def _make(self, path: Path, neurons: Sequence[Neuron], fingerprint: str) -> None:
        loader = self.recount.loader
        read = self.recount.answered(self.model, self.probe)
        _check_same(read.fingerprint, fingerprint)
        loaded = loader.load(self.model.source)
        check_vocabulary((one for ones in read.documents.values() for one in ones), embedding_rows(loaded))

        def progress(tokens: int) -> AbstractContextManager[Callable[[int], None]]:
            return console.progress(f"Tokens read for what drives neurons, {self.model.label}", tokens)

        made = record_driving_texts(
            loaded,
            find_sites(loaded, read.site),
            read,
            neurons,
            loader.below(self.model.source).build_tokenizer(),
            highest=self.options.highest,
            around=self.options.around,
            origin=Origin(self.model.source, loader.digest(self.model.source), self.model.step),
            context=self.recount.context,
            progress=progress,
        )
        if is_first():
            made.save(path)
        wait_for_all()

    def _path(self, neurons: Sequence[Neuron]) -> Path:
        """Where it is kept: the name tells all that it is made from."""
        counts, asked = self.recount.path(self.model, self.probe).stem, self.options
        parts = [VERSION, counts, asked.highest, asked.around, list(neurons)]
        return self.folder / f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]}.safetensors"


def _check_same(fingerprint: str, counted: str) -> None:
    if counted and fingerprint != counted:
        found = f"the texts have the fingerprint {fingerprint}, those that were counted {counted}"
        fix = "Restore the data, or count again on the texts of now with recount=true."
        raise InputError.of("texts", found, "the texts that were counted", fix)


def _is_whole(path: Path) -> bool:
    try:
        DrivingTexts.load(path)
    except InputError:  # missing, torn, or of another version: it is made
        return False
    return True
