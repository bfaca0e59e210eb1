"""Counts of neurons by kind, language, layer and degree, as one tidy table."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignlab.neurons.identifiers import Identified
from alignlab.neurons.kinds import Convention, Kind, count_by_layer

COUNTED_KINDS = (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL, Kind.UNASSIGNED)

# General neurons belong to every language and unassigned ones to none: both are counted once, for all together.
KINDS_OF_A_LANGUAGE = (Kind.SPECIFIC, Kind.RELATED)


@dataclass(frozen=True)
class CountRow:
    """One count, with the columns of the table; a column that does not apply is empty ("" or None).

    step: of the snapshot.
    group: "all" neurons whoever owns them; a "language"; or the mean over the "trained" or the "unseen" languages.
    language: its name, for the group "language".
    layer: from 0; None for all layers together.
    kind: "specific", "related", "general" or "unassigned"; "" in rows by degree.
    degree: number of languages above tau, 0 to G; None in rows by kind.
    convention: "paper", "selection" or "all", see `alignlab.neurons.kinds.kinds_of`; in rows by degree "all" is over
        all neurons and "selection" within the selection.
    count: number of neurons; a mean over languages for "trained" and "unseen".
    denominator: number of neurons that could have been counted: those of the model or of the layer, or, in rows by
        degree within the selection, those selected.
    """

    step: int | None
    group: str
    language: str
    layer: int | None
    kind: str
    degree: int | None
    convention: str
    count: float
    denominator: int


def kind_counts(
    result: Identified, trained: Collection[str], kinds: Convention = "paper", step: int | None = None
) -> list[CountRow]:
    """The table of one classification.

    trained: names of the languages in training; all others in the result are unseen. Names that the result lacks are
        left out, and a group without languages has no rows.

    Rows: each kind in all layers, then in each layer; specific and related by language (a language counts the neurons
    of that kind which it owns, p > tau), then their mean over the trained and the unseen languages; neurons by degree,
    over all and within the selection.
    """
    codes = result.kinds(kinds)
    by_layer = count_by_layer(codes)
    by_language = torch.stack([count_by_layer(codes, owned).sum(dim=0) for owned in result.above.values()])
    is_trained = torch.tensor([name in trained for name in result.languages])
    width, size = codes.shape[1], codes.numel()

    def rows(
        counts: Tensor, chosen: tuple[Kind, ...], group: str, language: str = "", layer: int | None = None
    ) -> Iterator[CountRow]:
        denominator = size if layer is None else width
        for kind in chosen:
            count = float(counts[kind])
            yield CountRow(step, group, language, layer, kind.label, None, kinds, count, denominator)

    table = list(rows(by_layer.sum(dim=0), COUNTED_KINDS, "all"))
    for layer, counts in enumerate(by_layer):
        table += rows(counts, COUNTED_KINDS, "all", layer=layer)
    for language, counts in zip(result.languages, by_language, strict=True):
        table += rows(counts, KINDS_OF_A_LANGUAGE, "language", language)
    for group, members in (("trained", is_trained), ("unseen", ~is_trained)):
        if members.any():
            table += rows(by_language[members].double().mean(dim=0), KINDS_OF_A_LANGUAGE, group)
    degree = result.degree.numpy()
    degrees = {"all": degree.ravel(), "selection": degree[result.selected.numpy()]}
    for convention, values in degrees.items():
        histogram = np.bincount(values, minlength=len(result.languages) + 1).tolist()
        for value, count in enumerate(histogram):
            table.append(CountRow(step, "all", "", None, "", value, convention, float(count), len(values)))
    return table
