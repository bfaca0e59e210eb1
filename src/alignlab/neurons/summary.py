"""Counts of neurons by kind, language, layer and degree, as rows of the table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.neurons.classification import Classification
from alignlab.neurons.groups import REFERENCE, group_languages
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.probabilities import Bools, Floats, Integers
from alignlab.neurons.table import Row

COUNTED_KINDS = (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL, Kind.UNASSIGNED)

# General neurons belong to every language and unassigned ones to none: both are counted once, for all together.
KINDS_OF_A_LANGUAGE = (Kind.SPECIFIC, Kind.RELATED)

# The neurons that were selected, of whatever kind: anchored, the selection may grow or shrink. Where an identifier has
# no tau, the neurons of the sets stand in place of the kinds under this name.
SELECTED = "selected"


def kind_counts(
    result: Classification,
    trained: Collection[str],
    kinds: Convention = "paper",
    *,
    reference: str | None = REFERENCE,
    step: int | None = None,
    record: str = "",
    thresholds: str = "",
) -> list[Row]:
    """The counts of one classification, `analysis` being `kinds`.

    trained, reference: which languages are in training, and which one others are aligned to: the groups are those of
        `group_languages`.
    step, record, thresholds: what these columns say.

    Rows: each kind in all layers, then in each layer; specific and related by language (a language counts the neurons
    of that kind which it owns, p > tau), then their mean over the languages of each group; neurons by degree, over
    all and within the selection; the selection itself. Without a tau the sets stand in place of the kinds, and no row
    is by degree.
    """
    groups = group_languages(result.languages, trained, reference)
    members = members_of(groups.values(), result.languages)
    layers, width = result.shape
    if result.has_degree:
        counted = count_values(result.kinds(kinds).numpy(), result, members)
        of_all, of_a_language = ([kind.label for kind in some] for some in (COUNTED_KINDS, KINDS_OF_A_LANGUAGE))
        of_kinds: str = kinds
    else:
        counted = _set_values(result, members)
        of_all = of_a_language = [SELECTED]
        of_kinds = ""
    values = iter(counted.tolist())

    def row(denominator: int, convention: str = of_kinds, **columns: Any) -> Row:
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

    def rows(labels: list[str], group: str, language: str = "", layer: int | None = None) -> list[Row]:
        denominator = layers * width if layer is None else width
        return [row(denominator, group=group, language=language, layer=layer, kind=kind) for kind in labels]

    table = rows(of_all, "all")
    for layer in range(layers):
        table += rows(of_all, "all", layer=layer)
    for language in result.languages:
        table += rows(of_a_language, "language", language)
    for group in groups:
        table += rows(of_a_language, group)
    if not result.has_degree:
        return table
    for among, denominator in (("all", layers * width), ("selection", int(result.selected.sum()))):
        table += [row(denominator, among, degree=degree) for degree in range(len(result.languages) + 1)]
    return [*table, row(layers * width, kind=SELECTED)]


def members_of(groups: Collection[Sequence[str]], languages: Sequence[str]) -> Bools:
    """Which of the G languages are in each group, (groups, G)."""
    return np.array([[name in group for name in languages] for group in groups], dtype=np.bool_)


def count_values(codes: NDArray[np.int8], result: Classification, members: Bools) -> Floats:
    """The counts of the rows of `kind_counts`, in their order, without their labels; for many resamples of one record.

    codes: (L, N), kinds of the `result`. members: (groups, G), the languages of each group.
    """
    layers, g = len(codes), len(result.languages)
    degree, selected = result.degree.numpy(), result.selected.numpy()
    place = codes + len(Kind) * np.arange(layers, dtype=np.int32)[:, None]
    by_layer = np.bincount(place.ravel(), minlength=layers * len(Kind)).reshape(layers, len(Kind))[:, COUNTED_KINDS]
    assert result.owned is not None
    flat = result.owned.numpy().reshape(g, -1)
    by_language = np.stack(
        [np.count_nonzero(flat & (codes == kind).ravel(), axis=1) for kind in KINDS_OF_A_LANGUAGE], axis=1
    )
    degrees = [np.bincount(values, minlength=g + 1) for values in (degree.ravel(), degree[selected])]
    return _in_order(by_layer, by_language, members, *degrees, degrees[1].sum(keepdims=True))


def _set_values(result: Classification, members: Bools) -> Floats:
    by_layer = result.selected.numpy().sum(axis=1)[:, None]
    by_language = np.array([[int(mask.sum())] for mask in result.sets.values()])
    return _in_order(by_layer, by_language, members)


def _in_order(by_layer: Integers, by_language: Integers, members: Bools, *degrees: Integers) -> Floats:
    groups = [by_language[group].mean(axis=0) for group in members]
    parts = [by_layer.sum(axis=0), by_layer.ravel(), by_language.ravel(), *groups, *degrees]
    return np.concatenate(parts).astype(np.float64)
