"""Counts of neurons by kind, language, layer and degree, as rows of the table."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.neurons.identifiers import Identified
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.probabilities import Bools, Floats, Integers
from alignlab.neurons.table import Row

COUNTED_KINDS = (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL, Kind.UNASSIGNED)

# General neurons belong to every language and unassigned ones to none: both are counted once, for all together.
KINDS_OF_A_LANGUAGE = (Kind.SPECIFIC, Kind.RELATED)


def kind_counts(
    result: Identified,
    trained: Collection[str],
    kinds: Convention = "paper",
    *,
    step: int | None = None,
    record: str = "",
    thresholds: str = "",
) -> list[Row]:
    """The counts of one classification, `analysis` being `kinds`.

    trained: names of the languages in training; all others in the result are unseen. Names that the result lacks are
        left out, and a group without languages has no rows.
    step, record, thresholds: what these columns say.

    Rows: each kind in all layers, then in each layer; specific and related by language (a language counts the neurons
    of that kind which it owns, p > tau), then their mean over the trained and the unseen languages; neurons by degree,
    over all and within the selection.
    """
    is_trained = np.array([name in trained for name in result.languages])
    layers, width = result.degree.shape
    degrees, selected = result.degree.numpy(), result.selected.numpy()
    above = np.stack([mask.numpy() for mask in result.above.values()])
    values = iter(count_values(result.kinds(kinds).numpy(), above, degrees, selected, is_trained).tolist())

    def row(denominator: int, convention: str = kinds, **columns: Any) -> Row:
        return Row(
            analysis="kinds",
            record=record,
            step=step,
            thresholds=thresholds,
            convention=convention,
            value=next(values),
            denominator=denominator,
            **columns,
        )

    def rows(chosen: tuple[Kind, ...], group: str, language: str = "", layer: int | None = None) -> list[Row]:
        denominator = layers * width if layer is None else width
        return [row(denominator, group=group, language=language, layer=layer, kind=kind.label) for kind in chosen]

    table = rows(COUNTED_KINDS, "all")
    for layer in range(layers):
        table += rows(COUNTED_KINDS, "all", layer=layer)
    for language in result.languages:
        table += rows(KINDS_OF_A_LANGUAGE, "language", language)
    for group, members in (("trained", is_trained), ("unseen", ~is_trained)):
        if members.any():
            table += rows(KINDS_OF_A_LANGUAGE, group)
    for convention, denominator in (("all", layers * width), ("selection", int(selected.sum()))):
        table += [row(denominator, convention, degree=degree) for degree in range(len(result.languages) + 1)]
    return table


def count_values(codes: NDArray[np.int8], above: Bools, degree: Integers, selected: Bools, trained: Bools) -> Floats:
    """The counts of the rows of `kind_counts`, in their order, without their labels; for many resamples of one record.

    codes, degree, selected: (L, N). above: (G, L, N). trained: (G,), whether each language is in training.
    """
    layers, g = len(codes), len(above)
    place = codes + len(Kind) * np.arange(layers, dtype=np.int32)[:, None]
    by_layer = np.bincount(place.ravel(), minlength=layers * len(Kind)).reshape(layers, len(Kind))[:, COUNTED_KINDS]
    flat = above.reshape(g, -1)
    by_language = np.stack(
        [np.count_nonzero(flat & (codes == kind).ravel(), axis=1) for kind in KINDS_OF_A_LANGUAGE], axis=1
    )
    groups = [by_language[members].mean(axis=0) for members in (trained, ~trained) if members.any()]
    degrees = [np.bincount(values, minlength=g + 1) for values in (degree.ravel(), degree[selected])]
    parts = [by_layer.sum(axis=0), by_layer.ravel(), by_language.ravel(), *groups, *degrees]
    return np.concatenate(parts).astype(np.float64)
