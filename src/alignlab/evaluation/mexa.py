"""MEXA: how far a language's sentences lie nearest to their own English translations, layer by layer.

Kargaran et al. 2024 (arXiv 2410.05873). A sentence is embedded at each of the L + 1 states of transformers'
`hidden_states`: what the first layer reads, what each layer gives, and of the last what the output head reads (behind
the final norm). It is aligned where its cosine with its translation is strictly higher than with any other translation,
and than that of the translation with any other sentence. By chance that is 1 / (2n - 1) of n pairs: the highest of the
2n - 1 entries of its row and column.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from alignlab.errors import Problem, UnsupportedModelError, did_you_mean, refuse_any
from alignlab.evaluation.accuracy import Accuracy, accuracy
from alignlab.models.layer_traces import decoder_layers
from alignlab.models.output_rows import output_head
from alignlab.models.sites import Site, find_sites
from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.passing import Progress, pass_through
from alignlab.recording.pieces import Piece
from alignlab.recording.probes import Probe

Pooling = Literal["weighted", "last"]


@dataclass(frozen=True)
class Mexa:
    """Which sentences of each language are aligned with their translations into the pivot.

    aligned: language -> (L + 1, n) bool, by state and sentence; n may differ among languages.
    clusters: language -> n names.
    """

    pivot: str
    aligned: Mapping[str, Tensor]
    clusters: Mapping[str, Sequence[str]]

    def by_state(self, language: str) -> list[Accuracy]:
        """MEXA at each of the L + 1 states, with intervals over clusters of sentences."""
        return [accuracy(np.asarray(one), self.clusters[language]) for one in self.aligned[language]]

    def chance(self, language: str) -> float:
        """What sentences without any relation give."""
        return 1 / (2 * self.aligned[language].shape[1] - 1)


def mexa(
    model: nn.Module,
    probe: Probe,
    *,
    pivot: str = "en",
    pooling: Pooling = "weighted",
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
    progress: Progress = lambda _tokens: nullcontext(lambda _done: None),
) -> Mexa:
    """Embed the parallel sentences of a probe and compare each language with the pivot; collective over ranks.

    probe: with every token counted, special ones too (`scope="all"`, `count_special_tokens=True`); the paper takes 100
        sentences of each language (`max_texts=100`). Sentences of one id say the same.
    pooling: `weighted`, sum t * h_t / sum t with t from 1, or `last`, the last token.
    Edits around the call are made in every forward, and are seen at the layers behind them.

    It holds embeddings of two languages at a time, 8 bytes x (L + 1) x sentences x width each: 108 MB of 100 sentences
    for 32 layers of width 4,096. Raises InputError for another probe, and `UnsupportedModelError`.
    """
    refuse_any(_problems(probe, pivot, pooling))
    ordered = replace(probe, documents={pivot: probe.documents[pivot], **probe.documents})
    compared = _Compared(pivot, pooling)
    pass_through(model, ordered, [compared], sites=state_sites(model), context=context, progress=progress)
    languages = [language for language in probe.languages if language != pivot]
    return Mexa(
        pivot,
        {language: compared.aligned[language] for language in languages},
        {
            language: [probe.documents[language][number].cluster for number in compared.numbers[language]]
            for language in languages
        },
    )


def aligned(embeddings: Tensor, pivot: Tensor) -> Tensor:
    """Which sentences are aligned with their translations: (..., n) bool.

    embeddings, pivot: (..., n, width), the i-th of one says what the i-th of the other does. Cosines are taken in
    float64; ties are no alignment, nor is a sentence whose embedding is 0.
    """
    first, second = (torch.nn.functional.normalize(one.double(), dim=-1, eps=0) for one in (embeddings, pivot))
    cosines = (first @ second.mT).nan_to_num(nan=-torch.inf)
    own = cosines.diagonal(dim1=-2, dim2=-1)
    diagonal = torch.eye(own.shape[-1], dtype=torch.bool, device=own.device)
    others = cosines.masked_fill(diagonal, -torch.inf)
    return (own > others.amax(dim=-1)) & (own > others.amax(dim=-2))


def state_sites(model: nn.Module) -> list[Site]:
    """Where the L + 1 states are seen: the first layer's input, each other layer's, and the output head's."""
    given = find_sites(model, "residual")
    width, head = given[0].width, output_head(model)
    if getattr(head, "in_features", width) != width:
        found = f"the output head reads {getattr(head, 'in_features', None)} numbers, layers give {width}"
        raise UnsupportedModelError.of("model.source", found, "states of one width")
    prefix, layers = decoder_layers(model)
    first = Site(0, f"{prefix}.0", layers[0], width, "residual", "input")
    between = [replace(site, layer=site.layer + 1) for site in given[:-1]]
    return [first, *between, Site(len(given), "output embeddings", head, width, "residual", "input")]


class _Compared(Observer):
    """Embeddings of one language at a time, compared with those of the pivot, which comes first."""

    def __init__(self, pivot: str, pooling: Pooling) -> None:
        self.pivot, self.pooling = pivot, pooling
        self.aligned: dict[str, Tensor] = {}
        self.numbers: dict[str, list[int]] = {}

    def start(self, extent: Extent) -> None:
        self.extent = extent
        self._places = {document.id: number for number, document in enumerate(extent.probe.documents[self.pivot])}

    def begin(self, language: str) -> None:
        documents = self.extent.probe.documents[language]
        shape = (self.extent.layers, len(documents), self.extent.neurons)
        self._embeddings = torch.zeros(shape, dtype=torch.float64, device=self.extent.device)

    def see(self, piece: Piece) -> None:
        span = piece.span
        # All tokens are counted and padding is on the right, so the column is the token's place.
        places = torch.arange(1, span.counted.shape[1] + 1, dtype=torch.float64, device=piece.activations.device)
        weights = span.counted * places
        if self.pooling == "last":
            weights = (weights == weights.amax(dim=1, keepdim=True)).double()
        sums = torch.bmm(weights.unsqueeze(1), piece.activations.double()).squeeze(1)
        self._embeddings[piece.layer].index_copy_(0, span.numbers, sums / weights.sum(dim=1, keepdim=True))

    def parts(self) -> Mapping[str, Part]:
        return {"embeddings": Part(self._embeddings)}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        embeddings = merged["embeddings"]
        if language == self.pivot:
            self._pivot = embeddings
            return
        documents = self.extent.probe.documents[language]
        numbers = [number for number, document in enumerate(documents) if document.id in self._places]
        places = [self._places[documents[number].id] for number in numbers]
        self.numbers[language] = numbers
        self.aligned[language] = aligned(embeddings[:, numbers], self._pivot[:, places]).cpu()
        self._embeddings = embeddings.new_zeros(0)


def _problems(probe: Probe, pivot: str, pooling: str) -> list[Problem]:
    problems = []
    if pooling not in ("weighted", "last"):
        problems.append(
            Problem("pooling", f"{pooling!r}", "weighted or last", did_you_mean(pooling, ["weighted", "last"]))
        )
    if probe.scope != "all" or not probe.count_special_tokens:
        found = f"scope={probe.scope}, count_special_tokens={str(probe.count_special_tokens).lower()}"
        problems.append(Problem("probe", found, "scope=all, count_special_tokens=true: every token is weighted"))
    if pivot not in probe.languages:
        expected = f"one of: {', '.join(probe.languages)}"
        return [*problems, Problem("pivot", f"{pivot!r}, in which there is no text", expected)]
    ids = {document.id for document in probe.documents[pivot]}
    for language in probe.languages:
        shared = sum(document.id in ids for document in probe.documents[language])
        if shared < 2:
            found = f"{shared} sentences of {language!r} have an id of {pivot!r}"
            problems.append(Problem("probe", found, "two or more", "Parallel sentences share an id."))
    return problems
