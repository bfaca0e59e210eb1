"""The record of mean activations: of every document, layer and neuron, over the counted tokens of the document.

Axes are always ``(document, layer, neuron)``, the documents language after language. It is a folder with a file a
layer, of which a language's rows are read at a time. From it come what does not stream: maximum, median and percentiles
over documents, and classifiers of single neurons.

A model of 32 x 14,336 neurons, 200 documents a language and 10 languages make 3.7 GB. While they are recorded, those of
one language are held, 367 MB, on the model's device and in memory; the files grow on the disk meanwhile. Then a layer
of all languages is held, 115 MB, and the disk needs as much again for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from alignlab.atomic import whole_folder
from alignlab.checksums import read_checked
from alignlab.errors import InputError
from alignlab.manifest import check_replaceable, kind_of, verify
from alignlab.models.distributed import from_first, rank, wait_for_all
from alignlab.models.options import SiteName
from alignlab.models.sites import Site
from alignlab.neurons.checks import require_one_of
from alignlab.neurons.groups import REFERENCE
from alignlab.neurons.headed_file import HeadedFormat
from alignlab.neurons.short_repr import in_words
from alignlab.recording.by_document import DocumentMeans
from alignlab.recording.counting import Origin
from alignlab.recording.finite import refuse_diverged
from alignlab.recording.observers import Extent
from alignlab.recording.passing import Progress, pass_through
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import Answers
from alignlab.redaction import hide

KIND = "record of means"
OverDocuments = Literal["maximum", "median", "percentile"]

_NAMES = (tuple[str, ...], "a JSON list of names")
_COUNT = (int, "an integer")
_HEADER = ("site", "scope", "model", "revision", "reference", "data_fingerprint", "clusters")
MEANS = HeadedFormat(
    name="alignlab-means",
    what="mean activations of documents",
    writer="record_means",
    texts=_HEADER,
    values={
        "languages": _NAMES,
        "trained_languages": _NAMES,
        "step": (int | None, "an integer or null"),
        "layers": _COUNT,
        "layer": _COUNT,
    },
    tensors=("means", "tokens", "documents"),
)
_DOCUMENTS = TypeAdapter(dict[str, list[tuple[str, str]]])


@dataclass(frozen=True, eq=False)
class ActivationMeans:
    """The mean activation of every neuron over the counted tokens of each document, with where they come from.

    folder: where its files are, each read when it is asked for.
    languages: G names, of all whose documents follow each other or of some.
    shape: L, N.
    documents: by language, id and cluster of each of its documents, in the order of the probe.
    tokens: by language, (D,) int64, how many are counted in each; a document with none has no mean, and is left out of
        all that is made from them.
    site, scope, model, revision, step, trained_languages, reference, data_fingerprint, clusters: as for
        `ActivationCounts`.

    It is made by `record_means` and read by `ActivationMeans.load`.
    """

    folder: Path
    languages: tuple[str, ...]
    shape: tuple[int, int]
    documents: Mapping[str, tuple[tuple[str, str], ...]] = field(repr=False)
    tokens: Mapping[str, Tensor] = field(repr=False)
    site: SiteName
    scope: str
    model: str = ""
    revision: str = ""
    step: int | None = None
    trained_languages: tuple[str, ...] = ()
    reference: str = REFERENCE
    data_fingerprint: str = ""
    clusters: str = ""
    _means: dict[str, Tensor] = field(default_factory=dict, repr=False)  # over tokens, by language, once asked for
    _whole: set[int] = field(default_factory=set, repr=False)  # layers whose checksums have been seen to fit

    def __repr__(self) -> str:
        layers, neurons = self.shape
        numbers = in_words([f"{language} {len(self.documents[language])}" for language in self.languages])
        facts = [f"{layers} x {neurons} neurons at {self.site}", hide(self.model)]
        of = f"documents ({self.scope}) of {len(self.languages)} languages"
        return f"<ActivationMeans: {', '.join(filter(None, facts))}\n {of}: {numbers}>"

    def layer(self, layer: int, language: str) -> Tensor:
        """Of a layer, the means of a language's documents, (D, N) float32, or float64 of a model in double precision.

        NaN where a document has no counted token. Raises InputError where the file is missing, damaged or another one.
        """
        require_one_of("language", language, self.languages)
        path = _file(self.folder, layer)
        with MEANS.opened(path) as (file, header):
            if (header["layer"], header["data_fingerprint"]) != (layer, self.data_fingerprint):
                raise InputError.of(f"{path}", "it is of another layer or other texts", f"layer {layer} of this record")
            if layer not in self._whole:
                read_checked(path, file)
                self._whole.add(layer)
            names = [*self.documents]  # in the order of the file; `languages` may be some of them
            before = names[: names.index(language)]
            start = sum(len(self.documents[name]) for name in before)
            rows: Tensor = file.get_slice("means")[start : start + len(self.documents[language])]
        return rows

    def mean(self, language: str) -> Tensor:
        """Mean activation over all counted tokens of a language, (L, N) float64: a document weighs as its tokens do.

        It is kept. Raises InputError for a language without a counted token.
        """
        if language not in self._means:
            said = self._with_tokens(language)
            weights = self.tokens[language][said].double()
            weights /= weights.sum()
            of_layers = [weights @ self.layer(layer, language)[said].double() for layer in range(self.shape[0])]
            self._means[language] = torch.stack(of_layers)
        return self._means[language]

    def over_documents(
        self, language: str, by: OverDocuments, percentile: float = 50, layers: Collection[int] | None = None
    ) -> Tensor:
        """A statistic of the means of a language's documents, (L, N) float64, in which each document counts once.

        by: `maximum`; `median`, the lower one of an even number; or `percentile`, the highest mean at or below it.
        percentile: from 0 to 100.
        layers: those that are read; the others are NaN. None takes all.

        Raises InputError for a language without a counted token.
        """
        require_one_of("by", by, get_args(OverDocuments))
        said = self._with_tokens(language)
        place = {"maximum": 100.0, "median": 50.0, "percentile": percentile}[by]
        found = np.full(self.shape, np.nan)
        for layer in range(self.shape[0]) if layers is None else layers:
            # A value that is there, not one between two.
            found[layer] = np.percentile(self.layer(layer, language)[said].numpy(), place, axis=0, method="lower")
        return torch.from_numpy(found)

    def _with_tokens(self, language: str) -> Tensor:
        """Which documents of a language have a counted token, (D,) bool."""
        require_one_of("language", language, self.languages)
        said = self.tokens[language] > 0
        if not said.any():
            raise InputError.of(f"{self.folder}", f"no counted token in {language}", "one or more, for its means")
        return said

    @classmethod
    def load(cls, folder: Path | str) -> ActivationMeans:
        """Open what `record_means` wrote. Raises InputError where it is missing, torn, or of another format."""
        folder = Path(folder)
        if not folder.is_dir() or kind_of(folder) != KIND:
            found = "it holds something else" if folder.is_dir() else "there is no such folder"
            raise InputError.of(f"{folder}", found, f"a {KIND}, as record_means writes it")
        if faults := verify(folder, deep=False):
            fix = "Restore it from a copy, or record it again."
            raise InputError.of(f"{folder}", "; ".join(faults), f"a {KIND} as it was written", fix)
        path = _file(folder, 0)
        with MEANS.opened(path) as (file, header):
            neurons = file.get_slice("means").get_shape()[1]
            written, tokens = file.get_tensor("documents"), file.get_tensor("tokens")
        try:
            documents = _DOCUMENTS.validate_json(written.numpy().tobytes(), strict=False)
        except ValidationError:
            raise InputError.of(f"{path}", "its documents are no such list", "ids and clusters by language") from None
        numbers = [len(documents[language]) for language in header["languages"]]
        of = dict(zip(header["languages"], tokens.split(numbers), strict=True))
        shape = (header.pop("layers"), neurons)
        header.pop("layer")
        return cls(folder, shape=shape, documents={name: tuple(documents[name]) for name in of}, tokens=of, **header)


def record_means(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe | PromptProbe,
    folder: Path | str,
    *,
    origin: Origin | None = None,
    answers: Answers | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> ActivationMeans:
    """Record the mean activations of every document of a probe; a collective call where there are several ranks.

    sites: one of every layer, as `find_sites(model, at)` gives them.
    folder: it appears whole or not at all, and replaces a record of means that is there; all ranks read it.
    origin: where they come from, for the header.
    answers, context, progress: as for `pass_through`.

    Raises InputError as `pass_through` does; for a folder that holds something else; and for a model that has diverged.
    OSError where the files cannot be written.

        >>> from alignlab.data.wordproblems import generate
        >>> from alignlab.models.load import ModelConfig
        >>> from alignlab.models.sites import find_sites
        >>> from alignlab.recording.means import record_means
        >>> from alignlab.recording.probes import build_probe
        >>> demo = ModelConfig(source="builtin:demo")
        >>> model, tokenizer = demo.build(), demo.build_tokenizer()
        >>> probe = build_probe(generate(["en", "de"], count=3, split="probe"), tokenizer)
        >>> means = record_means(model, find_sites(model), probe, "means")
        >>> means.layer(0, "de").shape, means.mean("de").shape
        (torch.Size([3, 640]), torch.Size([4, 640]))
        >>> bool((means.over_documents("de", "maximum") >= means.mean("de") - 1e-6).all())
        True
    """
    folder, origin = Path(folder), origin or Origin()
    from_first(lambda: check_replaceable(folder, KIND, "folder"))
    first = rank() == 0
    with whole_folder(folder, KIND) if first else nullcontext() as partial:
        files = _LayerFiles(partial, len(sites), sites[0].width) if partial is not None else None
        observer = _AllMeans(sites, files)
        read = pass_through(model, probe, [observer], sites=sites, answers=answers, context=context, progress=progress)
        refuse_diverged(observer.diverged, origin.model, origin.step)
        if files is not None:
            files.finish(read, sites[0].at, origin)
    wait_for_all()
    return ActivationMeans.load(folder)


class _AllMeans(DocumentMeans):
    """The means of all neurons, written as they come.

    diverged: languages on which some are not finite.
    """

    def __init__(self, sites: Sequence[Site], files: _LayerFiles | None) -> None:
        every = torch.arange(sites[0].width)
        super().__init__({site.layer: every for site in sites}, self._take)
        self.files = files
        self.diverged: list[str] = []

    def start(self, extent: Extent) -> None:
        super().start(extent)
        if self.files is not None:
            self.files.start(extent)

    def _take(self, language: str, means: dict[int, Tensor]) -> None:
        if not all(values[~self._silent].isfinite().all() for values in means.values()):
            self.diverged.append(language)
        if self.files is not None:
            self.files.add(means)


class _LayerFiles:
    """The files of a record that is being made: rows are put where they belong on the disk, a language at a time."""

    def __init__(self, folder: Path, layers: int, neurons: int) -> None:
        self.folder = folder
        self.shape = layers, neurons
        self.rows = 0

    def start(self, extent: Extent) -> None:
        documents = sum(map(len, extent.probe.documents.values()))
        dtype = torch.empty(0, dtype=extent.floats).numpy().dtype
        for layer in range(self.shape[0]):
            np.lib.format.open_memmap(self._raw(layer), mode="w+", dtype=dtype, shape=(documents, self.shape[1]))

    def add(self, means: Mapping[int, Tensor]) -> None:
        for layer, values in means.items():
            self._open(layer, "r+")[self.rows : self.rows + len(values)] = values.numpy()
        self.rows += len(next(iter(means.values())))

    def finish(self, probe: Probe, site: SiteName, origin: Origin) -> None:
        """Make the files of what has been put there."""
        named = {
            language: [(document.id, document.cluster) for document in documents]
            for language, documents in probe.documents.items()
        }
        written = json.dumps(named, ensure_ascii=False).encode()
        counted = [
            int(probe.counted(document).sum()) for documents in probe.documents.values() for document in documents
        ]
        for layer in range(self.shape[0]):
            tensors = {
                "means": torch.from_numpy(np.array(self._open(layer, "r"))),
                "tokens": torch.tensor(counted, dtype=torch.int64),
                "documents": torch.frombuffer(bytearray(written), dtype=torch.uint8),
            }
            header = _Header(
                languages=probe.languages,
                layers=self.shape[0],
                layer=layer,
                site=site,
                scope=probe.scope,
                data_fingerprint=probe.fingerprint,
                clusters=probe.clusters,
                **{name: getattr(origin, name) for name in vars(origin)},
            )
            MEANS.save(_file(self.folder, layer), tensors, header)
            self._raw(layer).unlink()

    def _raw(self, layer: int) -> Path:
        return self.folder / f"layer-{layer:03d}.npy"

    def _open(self, layer: int, mode: Literal["r", "r+"]) -> npt.NDArray[Any]:
        return np.lib.format.open_memmap(self._raw(layer), mode=mode)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What every file of a record says of itself."""

    languages: tuple[str, ...]
    layers: int
    layer: int
    site: SiteName
    scope: str
    data_fingerprint: str
    clusters: str
    model: str
    revision: str
    step: int | None
    trained_languages: tuple[str, ...]
    reference: str


def _file(folder: Path, layer: int) -> Path:
    return folder / f"layer-{layer:03d}.safetensors"
