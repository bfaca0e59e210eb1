"""Analyses by language: trained against unseen ones, English beside the others, and what pairs have in common."""

from __future__ import annotations

from alignlab.analysis.rows import Row
from alignlab.analysis.view import View
from alignlab.languages import LANGUAGES
from alignlab.neurons.dynamics import english_uniqueness, family_overlap, overlap_ratios

ENGLISH = "en"


def trained_vs_unseen(view: View) -> list[Row]:
    """Mean neurons of a trained and of an unseen language, and the change since the first record."""
    rows = []
    for thresholds, table, old in view.tables():
        rows += [view.of_count(row, thresholds) for row in table if row.group in {"trained", "unseen"}]
        if view.first is not None:
            rows += [
                view.change(row, before, view.first.label, thresholds)
                for row, before in zip(table, old, strict=True)
                if row.group in {"trained", "unseen"}
            ]
    return rows


def uniqueness(view: View) -> list[Row]:
    """English over the mean of all other languages, and the unseen ones with and without it."""
    result = view.now.result
    if ENGLISH not in result.languages:
        return []
    found = english_uniqueness(result, view.now.trained, view.convention, ENGLISH)
    rows = [
        view.row(
            ratio, group="language", language=ENGLISH, kind=kind, unit="ratio", label="over the others", reference=1.0
        )
        for kind, ratio in found.ratios.items()
    ]
    for name, counts in found.counts.items():
        rows += [view.row(count, group="language", language=name, kind=kind) for kind, count in counts.items()]
    for group, means in found.means.items():
        rows += [view.row(mean, group=group, kind=kind) for kind, mean in means.items()]
    return rows


def ratios(view: View) -> list[Row]:
    """Of each language's neurons in the first record, the share that it still has."""
    if view.first is None:
        return []
    first = view.first.result
    columns = {"since": view.first.label, "group": "language", "unit": "share"}
    return [
        view.row(ratio, language=name, denominator=int(first.sets[name].sum()), **columns)
        for name, ratio in overlap_ratios(first, view.now.result).items()
    ]


def language_overlap(view: View) -> list[Row]:
    """What each pair of languages shares of its related neurons, beside chance in the pool and among all neurons."""
    return [
        view.row(value, group="pair", language=a, other=b, label=label, unit=unit, reference=reference)
        for (a, b), shared in view.overlaps.items()
        for label, value, unit, reference in (
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
        view.row(value, group=group, label=label, unit="share", denominator=mean.pairs, reference=reference)
        for group, mean in (("within", found.within), ("between", found.between))
        for label, value, reference in (("jaccard", mean.jaccard, None), ("beyond chance", mean.beyond_chance, 0.0))
    ]
    more = found.within.beyond_chance - found.between.beyond_chance
    return [*rows, view.row(more, group="within less between", label="beyond chance", unit="share", reference=0.0)]
