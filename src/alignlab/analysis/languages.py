"""Analyses by language: English beside the others, what each keeps, and what pairs have in common."""

from __future__ import annotations

from alignlab.analysis.snapshots import Snapshot
from alignlab.analysis.view import View
from alignlab.languages import LANGUAGES
from alignlab.neurons.dynamics import english_uniqueness, family_overlap, overlap_ratios
from alignlab.neurons.table import Row


def uniqueness(view: View) -> list[Row]:
    """The reference (English) over the mean of all other languages, and the mean of each group."""
    result = view.now.result
    if not view.now.reference:
        return []
    (english,) = view.now.reference
    found = english_uniqueness(result, view.now.trained, view.convention, english)
    rows = [
        view.row(
            ratio, group="language", language=english, kind=kind, unit="ratio", measure="over the others", reference=1.0
        )
        for kind, ratio in found.ratios.items()
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
    """What each pair of languages shares of its related neurons, beside chance in the pool and among all neurons."""
    return [
        view.row(
            value,
            group="pair",
            language=a,
            other=b,
            convention=view.convention,
            measure=measure,
            unit=unit,
            reference=reference,
        )
        for (a, b), shared in view.overlaps.items()
        for measure, value, unit, reference in (
            ("jaccard", shared.jaccard, "share", None),
            ("chance", shared.chance, "share", None),
            ("beyond chance", shared.jaccard - shared.chance, "share", 0.0),
            ("z", shared.z, "z", None),
            ("chance among all neurons", view.overlaps_among_all[a, b].chance, "share", None),
            ("z among all neurons", view.overlaps_among_all[a, b].z, "z", None),
            ("common", shared.common, "neurons", None),
        )
    ]


def families(view: View) -> list[Row]:
    """Whether languages of one family have more in common than others: mean Jaccard, and what is beyond chance."""
    names = view.now.result.languages
    if not all(name in LANGUAGES for name in names):
        return []
    found = family_overlap(view.overlaps, {name: LANGUAGES[name].family for name in names})
    rows = [
        view.row(value, group=group, measure=measure, unit="share", denominator=mean.pairs, reference=reference)
        for group, mean in (("within", found.within), ("between", found.between))
        for measure, value, reference in (("jaccard", mean.jaccard, None), ("beyond chance", mean.beyond_chance, 0.0))
    ]
    more = found.within.beyond_chance - found.between.beyond_chance
    return [*rows, view.row(more, group="within less between", measure="beyond chance", unit="share", reference=0.0)]
