"""Recording how important each neuron is in every document: whatever the measure, a language at a time.

A measure gives numbers of a few documents, and nothing else; here they become the record. What one is is said by
`Measure`, and a new one is a class or a function that makes one, with its place in `MEASURES`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from alignlab.atomic import name_being_written
from alignlab.errors import InputError, did_you_mean
from alignlab.manifest import NAME, check_replaceable, kind_of, stranger_problem, write_manifest
from alignlab.models.distributed import from_first, over_ranks, rank, wait_for_all
from alignlab.models.modes import evaluating
from alignlab.neurons.importance import (
    KIND,
    LANGUAGE_FILES,
    Importance,
    ImportanceHeader,
    Wanted,
    is_written,
    language_file,
    ranks,
    save_language,
)
from alignlab.recording.by_gradient import Attribution, Relevance
from alignlab.recording.counting import Origin
from alignlab.recording.finite import refuse_diverged
from alignlab.recording.passing import Progress, dealt
from alignlab.recording.pieces import ProbeBatch, make_batch
from alignlab.recording.probes import Probe
from alignlab.recording.removal import Removal

Context = Callable[[], AbstractContextManager[object]]


class Measure(Protocol):
    """How important neurons are in documents; it passes them through the model itself, by the root module.

    shapes: by site, L and N, in the order of the sites that were asked for.
    """

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]: ...

    def of(self, batch: ProbeBatch, context: Context) -> Mapping[str, Tensor]:
        """By site, the importance of every neuron in each document of the batch, (D, L, N) of a floating type.

        context: entered around each forward, such as an autocast. The model is in evaluation mode, and gradients are
        off; a measure that needs them turns them on. A batch of no documents (`numbers` is empty) still goes through
        the model as often as another, since the forwards of a sharded one are collective: what comes of it is not
        looked at, nor are the rows of documents without a counted token.
        """

    def flops(self, sizes: Sequence[tuple[int, int]]) -> int:
        """Operations for documents of so many tokens, of which so many are counted; the model is on the meta device."""


# By name, what makes a measure of a model. Each raises InputError for sites and options that it cannot serve.
MEASURES: dict[str, Callable[[nn.Module, Wanted], Measure]] = {
    "removal": Removal,
    "attribution": Attribution,
    "relevance": Relevance,
}


def record_importance(
    model: nn.Module,
    wanted: Wanted,
    probe: Probe,
    folder: Path | str,
    *,
    origin: Origin | None = None,
    context: Context = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> Importance:
    """Record the importance of neurons in every document of a probe; a collective call where there are several ranks.

    wanted: the measure, its sites and options.
    folder: of the record. The file of each language appears whole; one that was stopped goes on with the next language.
        A record of other text, of another model or of something else wanted is replaced.
    origin: where it comes from, for the headers.
    context, progress: as for `pass_through`.

    Documents are weighed alike, whatever their length; those without a counted token are left out.

    Raises InputError for a measure that is not there, as the measure does, for a folder that holds something else, and
    for a model that has diverged. OSError where the files cannot be written.

        >>> from alignlab.data.wordproblems import generate
        >>> from alignlab.models.load import ModelConfig
        >>> from alignlab.neurons.importance import Wanted
        >>> from alignlab.recording.importance import record_importance
        >>> from alignlab.recording.probes import build_probe
        >>> demo = ModelConfig(source="builtin:demo")
        >>> model, tokenizer = demo.build(), demo.build_tokenizer()
        >>> probe = build_probe(generate(["en", "de"], count=3, split="probe"), tokenizer)
        >>> record = record_importance(model, Wanted("removal", ("mlp.act",)), probe, "importance")
        >>> record.total("mlp.act", "de").shape, record.documents("de").sum()
        (torch.Size([3, 4, 640]), tensor(3))
        >>> in_all = record.worst_rank("mlp.act", "de").amax(0) < 64  # among the top 64 of its layer in every document
        >>> bool((in_all.sum(dim=1) <= 64).all())
        True
    """
    folder, origin = Path(folder), origin or Origin()
    if wanted.measure not in MEASURES:
        raise InputError.of(
            "measure", f"{wanted.measure!r}", ", ".join(MEASURES), did_you_mean(wanted.measure, MEASURES)
        )
    measure = MEASURES[wanted.measure](model, wanted)
    header = ImportanceHeader(
        measure=wanted.measure,
        options=dict(wanted.options),
        shapes=dict(measure.shapes),
        languages=probe.languages,
        shards=probe.shards,
        scope=probe.scope,
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        trained_languages=origin.trained_languages,
        reference=origin.reference,
        data_fingerprint=probe.fingerprint,
        clusters=probe.clusters,
    )
    files = {
        language: (language_file(folder, number), replace(header, language=language))
        for number, language in enumerate(probe.languages)
    }

    def begin() -> list[str]:
        _begin(folder, [path for path, _ in files.values()])
        return [language for language, (path, own) in files.items() if not is_written(path, own)]

    todo = from_first(begin)
    tokens = sum(len(document) for language in todo for document in probe.documents[language])
    with evaluating(model), torch.no_grad(), progress(tokens) as advance:
        for language in todo:
            found = _read_language(model, measure, probe, language, context, advance)
            refuse_diverged([] if found.finite else [language], origin.model, origin.step)
            if rank() == 0:
                save_language(*files[language], found.values, found.documents)
            wait_for_all()
    if rank() == 0:
        write_manifest(folder, KIND)
    wait_for_all()
    return Importance.load(folder)


class _Language:
    """What a rank has of a language: by site, the total and the worst rank of every shard and neuron."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, int]], probe: Probe, language: str, device: torch.device
    ) -> None:
        said = [bool(probe.counted(document).any()) for document in probe.documents[language]]
        self.said = torch.tensor(said, dtype=torch.bool, device=device)
        shards = torch.from_numpy(probe.shards_of(language)).to(device)
        self.documents = shards.new_zeros(probe.shards).index_add_(0, shards, self.said.to(shards.dtype))
        self.finite = True
        self.values = {
            site: (
                torch.zeros((probe.shards, *shape), dtype=torch.float64, device=device),
                torch.zeros((probe.shards, *shape), dtype=torch.int32, device=device),
            )
            for site, shape in shapes.items()
        }

    def add(self, batch: ProbeBatch, importance: Mapping[str, Tensor]) -> None:
        keep = self.said[batch.numbers]
        for site, values in importance.items():
            total, worst = self.values[site]
            for shard, of_document in zip(batch.shards[keep].tolist(), values[keep].double(), strict=True):
                self.finite &= bool(of_document.isfinite().all())
                total[shard] += of_document
                torch.maximum(worst[shard], ranks(of_document).to(torch.int32), out=worst[shard])

    def merge(self) -> None:
        """With what the other ranks have: one collective a tensor."""
        self.finite = bool(over_ranks(torch.tensor(self.finite, dtype=torch.int32, device=self.said.device), "min"))
        self.values = {site: (over_ranks(a), over_ranks(b, "max")) for site, (a, b) in self.values.items()}


def _read_language(
    model: nn.Module, measure: Measure, probe: Probe, language: str, context: Context, advance: Callable[[int], None]
) -> _Language:
    """The documents of a language through the measure, this rank's batches and then what all ranks have."""
    device = next(model.parameters()).device
    found = _Language(measure.shapes, probe, language, device)
    for numbers in dealt(probe.batches(language)):
        batch = make_batch(probe, language, numbers, device)
        importance = measure.of(batch, context)
        if numbers:
            found.add(batch, importance)
        advance(sum(len(probe.documents[language][number]) for number in numbers))
    found.merge()
    return found


def _begin(folder: Path, files: list[Path]) -> None:
    """Refuse a folder in which something else is. Of a record that is there, the files may still serve."""
    if not folder.is_dir() or kind_of(folder) is not None:
        check_replaceable(folder, KIND, "folder")
        # Its list goes first: without it nobody takes the folder for a whole record while its files are made again.
        (folder / NAME).unlink(missing_ok=True)
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    names = {path: name_being_written(path) or path.name for path in entries}
    if others := [path for path, name in names.items() if not re.fullmatch(rf"{LANGUAGE_FILES}|{NAME}", name)]:
        raise InputError(stranger_problem("folder", folder, others))
    for path in entries:
        if path not in files:
            path.unlink(missing_ok=True)
