"""How neurons move between two classifications of one model's neurons, and how English stands to others in one.

Two snapshots of a model in training are compared neuron by neuron (Zhang et al. 2025). The second should be classified
at the tau and lambda of the first (`anchor` of `alignlab.neurons.identifiers`): where tau is taken anew, more general
neurons force fewer others, and moves are compositional.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import grid_problems, require_alike
from alignlab.neurons.classification import Classification
from alignlab.neurons.groups import REFERENCE, Group, group_languages
from alignlab.neurons.kinds import Convention, Kind
from alignlab.neurons.overlaps import overlap, share
from alignlab.neurons.probabilities import Bools
from alignlab.neurons.summary import KINDS_OF_A_LANGUAGE


def transitions(before: Tensor, after: Tensor, layers: bool = False) -> Tensor:
    """How many neurons went from each kind to each, NONE included: (5, 5) int64, row = kind before, column = after.

    before, after: (L, N) int8 codes of `Kind`, as `Classification.kinds` gives them, both by the same convention.
    layers: the table of each layer instead, (L, 5, 5).

    Rows add up to the counts before, columns to those after. Raises InputError for other types, shapes that differ, and
    numbers that are no code of a Kind.
    """
    _check_kinds(before, after)
    depth, kinds = len(before), len(Kind)
    place = before.numpy().astype(np.int32) * kinds + after.numpy()
    place += kinds * kinds * np.arange(depth, dtype=np.int32)[:, None]
    table = np.bincount(place.ravel(), minlength=depth * kinds * kinds).reshape(depth, kinds, kinds)
    return torch.from_numpy((table if layers else table.sum(axis=0)).astype(np.int64))


def survival(before: Tensor, after: Tensor) -> dict[Kind, float]:
    """Of the neurons of each kind before, the share that is of the same kind after; NaN where there were none.

    before, after: as for `transitions`, and refused as there. A snapshot against itself gives 1.
    """
    table = transitions(before, after)
    return {kind: share(int(table[kind, kind]), int(table[kind].sum())) for kind in Kind}


def survival_by_language(
    before: Classification, after: Classification, convention: Convention = "paper"
) -> dict[str, dict[Kind, float]]:
    """Of the neurons that a language owns of a kind before, the share that it owns after, and that kind they are then.

    By language, for the kinds specific and related; to own is to be above tau. So a specific neuron that went from one
    language to another has survived as specific in `survival`, but in neither language here. NaN where there were none.

    Raises InputError for classifications of other languages or other L, N. The order of the languages may differ.
    """
    _check_pair(before, after)
    first, second = _owned(before, before.languages, convention), _owned(after, before.languages, convention)
    had = {kind: np.count_nonzero(first[kind], axis=(1, 2)).tolist() for kind in KINDS_OF_A_LANGUAGE}
    kept = {kind: np.count_nonzero(first[kind] & second[kind], axis=(1, 2)).tolist() for kind in KINDS_OF_A_LANGUAGE}
    return {
        name: {kind: share(kept[kind][i], had[kind][i]) for kind in KINDS_OF_A_LANGUAGE}
        for i, name in enumerate(before.languages)
    }


def overlap_ratios(before: Classification, after: Classification) -> dict[str, float]:
    """By language, the share of its set (selected and above tau) before that is in its set after: `Overlap.ratio`.

    Raises InputError for classifications of other languages or other L, N.
    """
    _check_pair(before, after)
    return {name: overlap(before.sets[name], after.sets[name]).ratio for name in before.languages}


@dataclass(frozen=True)
class EnglishUniqueness:
    """English beside the other languages, in all layers together.

    convention: by which specific and related neurons were counted; paper and selection count the same here, in the
        selection. English can look unusual in the selection and not over all neurons, so no number stands without it.
    english: its name.
    counts: by language, its numbers of neurons that are "specific", "related" (of that kind and above tau) and
        "selected" (selected and above tau, of whatever kind, by every convention).
    ratios: English's number over the mean of all other languages', for each of the three; NaN where that mean is 0.
    means: the mean number of each of the three over the languages of each group of `group_languages`, English being
        the reference.
    """

    convention: Convention
    english: str
    counts: dict[str, dict[str, int]]
    ratios: dict[str, float]
    means: dict[Group, dict[str, float]]


def english_uniqueness(
    result: Classification, trained: Collection[str], convention: Convention = "paper", english: str = REFERENCE
) -> EnglishUniqueness:
    """How far English stands out, as Zhang et al. 2025 found; and the means of the others.

    trained: names of the languages in training.
    english: its name in the result. Raises InputError where the result has no such language.
    """
    names = result.languages
    if english not in names:
        fix = "Count English too, or name it as this record does."
        raise InputError(Problem("languages", ", ".join(names), f"{english!r} among them", fix))
    owned = _owned(result, names, convention)
    numbers = {kind.label: np.count_nonzero(owned[kind], axis=(1, 2)).tolist() for kind in KINDS_OF_A_LANGUAGE}
    numbers["selected"] = [int(np.count_nonzero(result.sets[name].numpy())) for name in names]
    counts = {name: {label: column[i] for label, column in numbers.items()} for i, name in enumerate(names)}

    def mean(members: Collection[str]) -> dict[str, float]:
        return {label: fmean(counts[name][label] for name in members) for label in numbers}

    others = mean([name for name in names if name != english])
    ratios = {label: share(counts[english][label], others[label]) for label in numbers}
    means = {group: mean(members) for group, members in group_languages(names, trained, english).items()}
    return EnglishUniqueness(convention, english, counts, ratios, means)


def _owned(result: Classification, names: Collection[str], convention: Convention) -> dict[Kind, Bools]:
    """By kind that languages own, the neurons that each owns, (G, L, N) in the order of `names`."""
    codes = result.kinds(convention).numpy()
    above = np.stack([result.above[name].numpy() for name in names])
    return {kind: above & (codes == kind) for kind in KINDS_OF_A_LANGUAGE}


def _check_kinds(before: Tensor, after: Tensor) -> None:
    given = {"before": before, "after": after}
    refuse_any(grid_problems(given, torch.int8))
    ranges = {name: (int(codes.min()), int(codes.max())) for name, codes in given.items()}
    expected = f"codes of Kind, 0 to {len(Kind) - 1}"
    refuse_any(
        [
            Problem(name, f"codes from {low} to {high}", expected)
            for name, (low, high) in ranges.items()
            if not 0 <= low <= high < len(Kind)
        ]
    )


def _check_pair(before: Classification, after: Classification) -> None:
    require_alike("classification", (before.languages, after.languages), (before.shape, after.shape))
