"""The record of importance: how much each neuron mattered in the documents of every language, by a measure.

Axes are always ``(language, shard, layer, neuron)``, one site after another, since sites may differ in their width. It
is a folder with a file a language, each of which appears whole, so that a recording that was killed goes on with the
next language. Two numbers are kept of each neuron and shard: the sum of its importance over documents, and its worst
rank in any of them. From the second comes which neurons are among the top k of *every* document, for any k.

A model of 32 layers with 14,336 neurons, 20 shards and 10 languages make 916 MB at that site, 92 MB a language, of
which one is held at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem
from alignlab.manifest import kind_of, verify
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.fields import smallest_dtype
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.headed_file import HeadedFormat
from alignlab.neurons.short_repr import in_words
from alignlab.redaction import hide

KIND = "record of importance"
LANGUAGE_FILES = r"language-\d{4}\.safetensors"
_NAMES = (tuple[str, ...], "a JSON list of names")
IMPORTANCE = HeadedFormat(
    name="alignlab-importance",
    what="importance of neurons",
    writer="record_importance",
    texts=("measure", "language", "scope", "model", "revision", "reference", "data_fingerprint", "clusters"),
    values={
        "options": (dict[str, Any], "a JSON object"),
        "shapes": (dict[str, tuple[int, int]], "a JSON object of layers and neurons by site"),
        "languages": _NAMES,
        "trained_languages": _NAMES,
        "shards": (int, "an integer"),
        "step": (int | None, "an integer or null"),
    },
    tensors=("documents",),
)


@dataclass(frozen=True)
class Wanted:
    """Which importance is recorded.

    measure: its name, of `alignlab.recording.importance.MEASURES`, such as `removal`.
    sites: where the neurons are, of `SiteName`.
    options: whatever else changes the numbers, as plain values; they are in the header.
    """

    measure: str
    sites: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ImportanceHeader:
    """Where importance comes from, as each of its files says it.

    measure, options: as in `Wanted`.
    shapes: by site, L and N.
    languages: all G names, in order.  language: the one of the file; empty of a whole record.
    shards: S.
    scope, model, revision, step, trained_languages, reference, data_fingerprint, clusters: as for `ActivationCounts`.
    """

    measure: str
    options: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, int]]
    languages: tuple[str, ...]
    shards: int
    scope: str
    language: str = ""
    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()
    reference: str = REFERENCE
    data_fingerprint: str = ""
    clusters: str = ""

    @property
    def sites(self) -> tuple[str, ...]:
        """Where the neurons are."""
        return tuple(self.shapes)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Importance(ImportanceHeader):
    """A record, whose files are read when they are asked for.

    files: by language, the file of it.
    site: the one that is looked at, where one has to be; empty for none.
    only: the shards that are looked at; None for all. `shards` and the axis S are of these.
    control: the record of a control set of the same languages and sites, for identifiers that compare; None for none.
    The rest is as in `ImportanceHeader`. It is made by `record_importance` and read by `Importance.load`.
    """

    files: Mapping[str, Path]
    site: str = ""
    only: tuple[int, ...] | None = None
    control: Importance | None = None

    def __repr__(self) -> str:
        places = in_words([f"{site} {layers} x {neurons}" for site, (layers, neurons) in self.shapes.items()])
        of = ", ".join(filter(None, [f"{self.measure} at {places}", hide(self.model)]))
        return f"<Importance by {of}\n of {len(self.languages)} languages: {in_words([*self.languages])}>"

    def total(self, site: str, language: str) -> Tensor:
        """(S, L, N) float64, a neuron's importance in a document, summed over the documents of a shard.

        Raises InputError for a site or language that is not there, and for a damaged file.
        """
        return self._read(f"total.{site}", site, language)

    def worst_rank(self, site: str, language: str) -> Tensor:
        """(S, L, N) int32, the largest rank that a neuron has in any document of a shard.

        Rank 0 is the most important neuron of a layer and site in that document; equal ones rank by their index. So the
        neurons among the top k in every document are those of `worst_rank(...).amax(0) < k`, whatever k. In a shard
        without documents all are 0. Raises InputError as `total` does.
        """
        # In the file they are of the smallest type that fits, in which torch computes nothing.
        return self._read(f"worst_rank.{site}", site, language, torch.int32)

    def documents(self, language: str) -> Tensor:
        """(S,) int64, how many documents these are of: those with a counted token. Raises InputError as `total`."""
        return self._read("documents", self.sites[0], language)

    @classmethod
    def load(cls, folder: Path | str) -> Importance:
        """Open what `record_importance` wrote. Raises InputError where it is missing, torn, or of another format."""
        folder = Path(folder)
        if not folder.is_dir() or kind_of(folder) != KIND:
            found = "it holds something else" if folder.is_dir() else "there is no such folder"
            raise InputError.of(f"{folder}", found, f"a {KIND}, as record_importance writes it")
        if faults := verify(folder, deep=False):
            fix = "Restore it from a copy, or record it again."
            raise InputError.of(f"{folder}", "; ".join(faults), f"a {KIND} as it was written", fix)
        headers = {path: read_header(path) for path in sorted(folder.glob("language-*.safetensors"))}
        first = next(iter(headers.values()), None)
        of = {header.language: path for path, header in headers.items()}
        if first is None or set(of) != set(first.languages) or len({_shared(one) for one in headers.values()}) > 1:
            raise InputError.of(f"{folder}", f"files of {in_words([*of])}", "one file of each language of one record")
        whole = {one.name: getattr(first, one.name) for one in fields(ImportanceHeader)}
        return cls(**{**whole, "language": ""}, files={name: of[name] for name in first.languages})

    def _read(self, tensor: str, site: str, language: str, dtype: torch.dtype | None = None) -> Tensor:
        require_one_of("site", site, self.sites)
        require_one_of("language", language, self.languages)
        path = self.files[language]
        with IMPORTANCE.opened(path) as (file, header):
            if (header["language"], header["data_fingerprint"]) != (language, self.data_fingerprint):
                raise InputError.of(f"{path}", "it is of another language or text", f"{language} of this record")
            values = read_checked(path, file)[tensor].to(dtype)
        return values if self.only is None else values[list(self.only)]


def language_file(folder: Path, number: int) -> Path:
    """The file of a language, by its place among all: labels may be any text, and so no names of files."""
    return folder / f"language-{number:04d}.safetensors"


def read_header(path: Path) -> ImportanceHeader:
    """What a file of a language says of itself. Raises InputError where it is missing, torn or another kind of file."""
    with IMPORTANCE.opened(path) as (_, header):
        return ImportanceHeader(**header)


def is_written(path: Path, header: ImportanceHeader) -> bool:
    """Whether the file is there, whole, and of just this header: then it need not be made again."""
    try:
        with IMPORTANCE.opened(path) as (file, found):
            read_checked(path, file)
    except InputError:
        return False
    return _shared(ImportanceHeader(**found)) == _shared(header) and found["language"] == header.language


def save_language(
    path: Path, header: ImportanceHeader, values: Mapping[str, tuple[Tensor, Tensor]], documents: Tensor
) -> None:
    """Write the file of a language, whole or not at all.

    values: by site, `total` and `worst_rank`, (S, L, N) each.  documents: (S,).
    Raises InputError for sites and shapes other than those of the header, OSError when it cannot be written.
    """
    tensors = {"documents": documents.to(torch.int64)}
    for site, (layers, neurons) in header.shapes.items():
        for name, tensor in zip(("total", "worst_rank"), values[site], strict=True):
            if tensor.shape != (header.shards, layers, neurons):
                expected = f"{(header.shards, layers, neurons)}, shards, layers and neurons"
                raise InputError(Problem(f"{name} at {site}", f"shape {tuple(tensor.shape)}", expected))
        tensors[f"total.{site}"] = values[site][0].to(torch.float64)
        tensors[f"worst_rank.{site}"] = values[site][1].to(smallest_dtype(neurons - 1))
    IMPORTANCE.save(path, tensors, header)


def ranks(values: Tensor) -> Tensor:
    """The place of each along the last axis, (..., N) int64: 0 of the largest; equal ones in the order of index."""
    order = values.argsort(dim=-1, descending=True, stable=True)
    places = torch.arange(values.shape[-1], device=values.device).expand_as(order)
    return torch.empty_like(order).scatter_(-1, order, places)


def bytes_of(shapes: Mapping[str, Sequence[int]], languages: int, shards: int) -> int:
    """The bytes of a record's tensors. shapes: by site, L and N."""
    of_neurons = sum(
        layers * neurons * (8 + smallest_dtype(neurons - 1).itemsize) for layers, neurons in shapes.values()
    )
    return languages * shards * (of_neurons + 8)


def _shared(header: ImportanceHeader) -> str:
    """What all files of a record say alike."""
    return str([(one.name, getattr(header, one.name)) for one in fields(ImportanceHeader) if one.name != "language"])
