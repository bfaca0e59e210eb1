"""Which text drives a neuron: its highest activations in each language, with the tokens and documents they were on.

A safetensors file with a JSON header. It holds the text itself, a window around each token, so that it can be read
without the probe and its tokenizer; or, where that text is private, ids and positions alone, by which the probe of the
same fingerprint has it. Numbers are those of one pass: `recording.highest` says what it costs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from alignlab.checksums import read_checked
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any
from alignlab.models.options import SiteName
from alignlab.models.sites import Site
from alignlab.neurons.headed_file import HeadedFormat, contents_of
from alignlab.neurons.short_repr import in_words
from alignlab.recording.counting import Origin
from alignlab.recording.finite import LastLayerFinite, refuse_diverged
from alignlab.recording.highest import HighestActivations
from alignlab.recording.passing import Progress, pass_through
from alignlab.recording.probes import Probe, PromptProbe
from alignlab.recording.responses import Answers
from alignlab.recording.windows import Window, Windows
from alignlab.redaction import hide

DRIVING = HeadedFormat(
    name="alignlab-driving-texts",
    what="texts that drive neurons",
    writer="record_driving_texts",
    texts=("site", "scope", "model", "revision", "data_fingerprint"),
    values={
        "languages": (tuple[str, ...], "a JSON list of names"),
        "tokens": (tuple[int, ...], "a JSON list of integers"),
        "shape": (tuple[int, int], "a JSON list of layers and neurons"),
        "step": (int | None, "an integer or null"),
    },
    tensors=("neurons", "activations", "documents", "positions", "windows", "texts"),
)


@dataclass(frozen=True)
class _Texts:
    """The texts of a file: ids of documents, and windows."""

    ids: list[str]
    windows: list[tuple[str, str, str, bool]]


_TEXTS = TypeAdapter(_Texts)


@dataclass(frozen=True)
class Driving:
    """A high activation of a neuron, on one token.

    document: its id.  position: of the token, from 0.  window: the text; None where none is stored.
    """

    activation: float
    document: str
    position: int
    window: Window | None


@dataclass(frozen=True, eq=False, repr=False)
class DrivingTexts:
    """The k highest activations of n neurons in each of G languages, with where they come from.

    neurons: (n, 2) int64, layer and neuron, each once.
    activations: (G, n, k) float32, or float64 of a model in double precision, descending; NaN where there are fewer
        counted tokens than k.
    documents, positions, windows: (G, n, k) int32: of which document in `ids`, which of its tokens from 0, and which
        of `texts`; -1 for none.
    shape: L, N of the model.  tokens: counted of each language.
    site, scope, model, revision, step, data_fingerprint: as for `ActivationCounts`.

    Raises InputError for tensors that are not so.
    """

    languages: tuple[str, ...]
    neurons: Tensor
    activations: Tensor
    documents: Tensor
    positions: Tensor
    windows: Tensor
    ids: Sequence[str]
    texts: Sequence[Window]
    shape: tuple[int, int]
    tokens: tuple[int, ...]
    site: SiteName = "mlp.act"
    scope: str = ""
    model: str = ""
    revision: str = ""
    step: int | None = None
    data_fingerprint: str = ""
    _places: dict[tuple[int, int], int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        refuse_any(self._problems())
        self._places.update({(layer, neuron): row for row, (layer, neuron) in enumerate(self.neurons.tolist())})

    @property
    def k(self) -> int:
        """Activations kept of each neuron and language."""
        return self.activations.shape[2]

    def of(self, layer: int, neuron: int, language: str) -> list[Driving]:
        """A neuron's highest activations in a language, the highest first; fewer than k where it has fewer tokens.

        Raises InputError for a neuron or a language that is not in the record.
        """
        problems = []
        if (layer, neuron) not in self._places:
            named = in_words([f"{layer}.{neuron}" for layer, neuron in self._places])
            problems.append(Problem("neuron", f"{layer}.{neuron} is not in the record", f"one of {named}"))
        if language not in self.languages:
            expected, fix = f"one of {' '.join(self.languages)}", did_you_mean(language, self.languages)
            problems.append(Problem("language", f"{language!r} is not in the record", expected, fix))
        refuse_any(problems)
        at = self.languages.index(language), self._places[layer, neuron]
        columns = (tensor[at].tolist() for tensor in (self.activations, self.documents, self.positions, self.windows))
        return [
            Driving(activation, self.ids[document], position, self.texts[window] if window >= 0 else None)
            for activation, document, position, window in zip(*columns, strict=True)
            if document >= 0
        ]

    @property
    def notes(self) -> list[str]:
        """Languages that have fewer counted tokens than were asked for."""
        return [
            f"{language} has {tokens} counted token{'s' * (tokens != 1)}, fewer than the {self.k} highest asked for"
            for language, tokens in zip(self.languages, self.tokens, strict=True)
            if tokens < self.k
        ]

    def __repr__(self) -> str:
        where = f"{len(self.neurons)} of {self.shape[0]} x {self.shape[1]} neurons at {self.site}"
        facts = ", ".join(filter(None, [where, hide(self.model)]))
        return f"<DrivingTexts: {facts}\n the {self.k} highest in each of {' '.join(self.languages)}>"

    def save(self, path: Path | str) -> None:
        """Write it to a file, whole or not at all. Raises OSError when it cannot be written."""
        texts = json.dumps(asdict(_Texts(list(self.ids), [astuple(one) for one in self.texts])), ensure_ascii=False)
        tensors = {name: getattr(self, name) for name in DRIVING.tensors if name != "texts"}
        tensors["texts"] = torch.frombuffer(bytearray(texts.encode()), dtype=torch.uint8)
        DRIVING.save(Path(path), tensors, self)

    @classmethod
    def load(cls, path: Path | str) -> DrivingTexts:
        """Read what `save` wrote. Raises InputError where it is missing, damaged, or of another format or content."""
        path = Path(path)
        with DRIVING.opened(path) as (file, header):
            tensors = read_checked(path, file)
        try:
            texts = _TEXTS.validate_json(tensors.pop("texts").numpy().tobytes())
        except ValidationError:
            raise InputError.of(f"{path}", "its texts are no such list", "ids of documents, and windows") from None
        wanted: dict[str, Any] = {name: tensors[name] for name in DRIVING.tensors if name != "texts"}
        with contents_of(path):
            return cls(**wanted, **header, ids=texts.ids, texts=[Window(*one) for one in texts.windows])

    def _problems(self) -> list[Problem]:
        given = {name: getattr(self, name) for name in ("neurons", "documents", "positions", "windows")}
        if not self.languages or len(set(self.languages)) < len(self.languages):
            return [Problem("languages", f"{list(self.languages)}", "one or more, each once")]
        if self.neurons.dim() != 2 or self.neurons.shape[1] != 2 or self.activations.dim() != 3:
            found = f"shapes {tuple(self.neurons.shape)} and {tuple(self.activations.shape)}"
            return [Problem("neurons and activations", found, "(n, 2) and (G, n, k)")]
        shape = (len(self.languages), len(self.neurons), self.k)
        problems = [
            Problem(name, f"shape {tuple(getattr(self, name).shape)}", f"{shape}")
            for name in ("activations", "documents", "positions", "windows")
            if tuple(getattr(self, name).shape) != shape
        ]
        problems += [
            Problem(name, f"type {tensor.dtype}", "integers")
            for name, tensor in given.items()
            if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool
        ]
        if not self.activations.is_floating_point():
            problems.append(Problem("activations", f"type {self.activations.dtype}", "numbers"))
        if len(self.tokens) != len(self.languages):
            problems.append(Problem("tokens", f"{len(self.tokens)} numbers", f"{len(self.languages)}, one a language"))
        if problems or 0 in shape:
            return problems or [Problem("activations", f"shape {shape}", "one or more of each")]
        bounds = {
            "documents": (-1, len(self.ids) - 1),
            "windows": (-1, len(self.texts) - 1),
            "positions": (-1, torch.iinfo(torch.int32).max),
        }
        problems = [
            Problem(name, f"from {int(given[name].min())} to {int(given[name].max())}", f"from {low} to {high}")
            for name, (low, high) in bounds.items()
            if int(given[name].min()) < low or int(given[name].max()) > high
        ]
        return problems + neuron_problems("neurons", [(a, b) for a, b in self.neurons.tolist()], self.shape)


def neuron_problems(where: str, neurons: Sequence[tuple[int, int]], shape: tuple[int, int]) -> list[Problem]:
    """Which of some (layer, neuron) a model of this shape has not, or are named twice; and whether there is none."""
    layers, width = shape
    expected = f"{layers} layers of {width} from 0"
    problems = [
        Problem(where, f"there is no neuron {neuron} in layer {layer}", expected)
        for layer, neuron in neurons
        if not (0 <= layer < layers and 0 <= neuron < width)
    ]
    if len(set(neurons)) < len(neurons):
        twice = next(one for one in neurons if neurons.count(one) > 1)
        problems.append(Problem(where, "{}.{} is named more than once".format(*twice), "each neuron once"))
    return problems or ([] if neurons else [Problem(where, "none", "one or more neurons, as layer and neuron")])


def record_driving_texts(
    model: nn.Module,
    sites: Sequence[Site],
    probe: Probe | PromptProbe,
    neurons: Sequence[tuple[int, int]],
    tokenizer: Any,
    *,
    highest: int = 5,
    around: int | None = 60,
    origin: Origin | None = None,
    answers: Answers | None = None,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> DrivingTexts:
    """Find what drives some neurons in every language of a probe; a collective call where there are several ranks.

    Of equal activations the earlier document of the probe, then the earlier token, comes first.
    sites: one of every layer, as `find_sites(model, at)` gives them.
    neurons: (layer, neuron), each once.
    tokenizer: that of the probe, by which its tokens are read.
    highest: activations kept of each neuron and language.
    around: characters of text stored on each side of a token; None stores no text at all.
    origin: where they come from, for the header.
    answers, context, progress: as for `pass_through`.

    Raises InputError, before the pass, for neurons that the model has not and numbers that are none; as `pass_through`
    does; and for a model that has diverged.

        >>> from alignlab.data.wordproblems import generate
        >>> from alignlab.models.load import ModelConfig
        >>> from alignlab.models.sites import find_sites
        >>> from alignlab.recording.driving_texts import record_driving_texts
        >>> from alignlab.recording.probes import build_probe
        >>> demo = ModelConfig(source="builtin:demo")
        >>> model, tokenizer = demo.build(), demo.build_tokenizer()
        >>> probe = build_probe(generate(["en", "de"], count=3, split="probe"), tokenizer)
        >>> texts = record_driving_texts(model, find_sites(model), probe, [(2, 17)], tokenizer, highest=2)
        >>> texts
        <DrivingTexts: 1 of 4 x 640 neurons at mlp.act
         the 2 highest in each of en de>
        >>> first, second = texts.of(2, 17, "de")
        >>> first.activation >= second.activation
        True
    """
    origin = origin or Origin()
    problems = [] if highest >= 1 else [Problem("highest", f"{highest}", "1 or more")]
    if around is not None and around < 0:
        problems.append(Problem("around", f"{around}", "0 or more characters, or None to store no text"))
    refuse_any(problems + neuron_problems("neurons", list(neurons), (len(sites), sites[0].width)))
    ordered = sorted(neurons)
    by_layer: dict[int, list[int]] = {}
    for layer, neuron in ordered:
        by_layer.setdefault(layer, []).append(neuron)
    observer = HighestActivations({layer: torch.tensor(chosen) for layer, chosen in by_layer.items()}, highest)
    finite = LastLayerFinite()
    read = pass_through(
        model, probe, [observer, finite], sites=sites, answers=answers, context=context, progress=progress
    )
    refuse_diverged(finite.languages, origin.model, origin.step)
    found = [observer.found[language] for language in read.languages]
    numbers, positions = (torch.stack([getattr(one, name) for one in found]) for name in ("documents", "positions"))
    return DrivingTexts(
        languages=read.languages,
        neurons=torch.tensor(ordered, dtype=torch.int64),
        activations=torch.stack([one.activations for one in found]),
        positions=positions.to(torch.int32),
        **_texts(read, numbers, positions, None if around is None else Windows(tokenizer, around)),
        shape=(len(sites), sites[0].width),
        tokens=tuple(int(read.tokens(language).sum()) for language in read.languages),
        site=sites[0].at,
        scope=read.scope,
        model=origin.model,
        revision=origin.revision,
        step=origin.step,
        data_fingerprint=read.fingerprint,
    )


def _texts(probe: Probe, numbers: Tensor, positions: Tensor, windows: Windows | None) -> dict[str, Any]:
    """The documents and windows of (G, n, k) tokens, each once, and which of them belongs to which."""
    ids: list[str] = []
    texts: list[Window] = []
    documents, of = torch.full(numbers.shape, -1, dtype=torch.int32), torch.full(numbers.shape, -1, dtype=torch.int32)
    for place, language in enumerate(probe.languages):
        asked = torch.stack([numbers[place], positions[place]], dim=-1).flatten(0, 1)
        tokens, which = asked.unique(dim=0, return_inverse=True)  # document after document
        of_token, window_of = [], []
        last = -1
        for number, position in tokens.tolist():
            if number < 0:
                of_token.append(-1)
                window_of.append(-1)
                continue
            document = probe.documents[language][number]
            if number != last:
                ids.append(document.id)
                last = number
            of_token.append(len(ids) - 1)
            window_of.append(-1 if windows is None else len(texts))
            if windows is not None:
                texts.append(windows.of(document, position))
        shape = numbers[place].shape
        documents[place] = torch.tensor(of_token, dtype=torch.int32)[which].reshape(shape)
        of[place] = torch.tensor(window_of, dtype=torch.int32)[which].reshape(shape)
    return {"documents": documents, "windows": of, "ids": ids, "texts": texts}
