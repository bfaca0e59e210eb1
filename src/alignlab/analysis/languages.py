"""Analyses by language: the reference beside the others, what each keeps, and what pairs have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

from alignlab.analysis.snapshots import Snapshot
from alignlab.analysis.view import View
from alignlab.languages import find
from alignlab.neurons.corrections import Correction
from alignlab.neurons.dynamics import english_uniqueness, overlap_ratios
from alignlab.neurons.family_overlap import family_overlap
from alignlab.neurons.table import Row

# What pairs of languages share, beside chance that keeps every neuron's degree and every language's number.
EXPECTED, EXPECTED_COMMON = "jaccard expected from the margins", "common expected from the margins"
LESS_OTHERS = "less the others"
EXCESS, Z = "jaccard beyond the margins", "z beyond the margins"
PAIRS, FAMILIES = "pairs of languages", "within less between language families"


def uniqueness(view: View) -> list[Row]:
    """The reference (English) over, and less, the mean of all other languages, and the mean of each group."""
    result = view.now.result
    if not view.now.reference:
        return []
    (reference,) = view.now.reference
    found = english_uniqueness(result, view.now.trained, view.convention, reference)
    rows = [
        view.row(
            ratio,
            group="language",
            language=reference,
            kind=kind,
            unit="ratio",
            measure="over the others",
            reference=1.0,
        )
        for kind, ratio in found.ratios.items()
    ]
    others = [counts for name, counts in found.counts.items() if name != reference]
    rows += [
        view.row(
            count - fmean(counts[kind] for counts in others),
            group="language",
            language=reference,
            kind=kind,
            measure=LESS_OTHERS,
            reference=0.0,
        )
        for kind, count in found.counts[reference].items()
        if others
    ]
    for name, counts in found.counts.items():
        rows += [view.row(count, group="language", language=name, kind=kind) for kind, count in counts.items()]
    for group, means in found.means.items():
        rows += [view.row(mean, group=group, kind=kind) for kind, mean in means.items()]
    return rows


def ratios(view: View, earlier: Snapshot) -> list[Row]:
    """Of each language's neurons in the earlier record, the share that it still has."""
    sets = earlier.result.sets
    return [
        view.row(ratio, group="language", language=name, unit="share", denominator=int(sets[name].sum()))
        for name, ratio in overlap_ratios(earlier.result, view.now.result).items()
    ]


def language_overlap(view: View) -> list[Row]:
    """What each pair of languages shares of its related neurons, beside chance that keeps the margins.

    The margins fix the sum over all pairs: what is beyond them says which pairs share more than others.
    """
    found = view.overlaps
    rows = []
    for (a, b), shared in found.pairs.items():
        whose = {"group": "pair", "language": a, "other": b, "convention": view.convention}
        rows += [
            view.row(value, **whose, measure=measure, unit=unit, denominator=of, reference=reference)
            for measure, value, unit, of, reference in (
                ("jaccard", shared.jaccard, "share", shared.either, None),
                (EXPECTED, shared.expected_jaccard, "share", None, None),
                (EXCESS, shared.excess, "share", None, 0.0),
                ("common", shared.common, "neurons", shared.either, None),
                (EXPECTED_COMMON, shared.expected, "neurons", None, None),
            )
        ]
        rows.append(_verdict(view, shared.z, shared.p, shared.p_adjusted, PAIRS, found.correction, **whose))
    return rows


def families(view: View) -> list[Row]:
    """Whether languages of one family share more than others: mean Jaccard, and what is beyond the margins."""
    known = {name: language.family for name in view.now.result.languages if (language := find(name))}
    if not all(known.get(name) for name in view.now.result.languages):
        return []
    found = family_overlap(view.overlaps, known)
    rows = [
        view.row(value, group=group, measure=measure, unit="share", denominator=mean.pairs, reference=reference)
        for group, mean in (("within", found.within), ("between", found.between))
        for measure, value, reference in (("jaccard", mean.jaccard, None), (EXCESS, mean.excess, 0.0))
    ]
    group = "within less between"
    rows.append(view.row(found.more, group=group, measure=EXCESS, unit="share", reference=0.0))
    # One question, so nothing to correct for.
    return [*rows, _verdict(view, found.z, found.p, found.p, FAMILIES, "holm", group=group)]


def _verdict(
    view: View, z: float, p: float, p_adjusted: float, family: str, correction: Correction, **whose: str
) -> Row:
    """z with its p, against chance that keeps the margins; without p where chance leaves no freedom."""
    row = view.row(z, **whose, measure=Z, unit="z")
    return row if math.isnan(p) else replace(row, p=p, p_adjusted=p_adjusted, family=family, correction=correction)
