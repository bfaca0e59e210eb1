"""MEXA from the record of which sentences are aligned at which state: its mean over states, its highest, each state's.

Kargaran et al. 2024 (arXiv 2410.05873) take the mean or the maximum over layers as the score of a language. Intervals
are over clusters of sentences; the others, among which a sentence is to find its translation, are taken as they are. A
mean over states has none where under 10 sentences are aligned anywhere, nor its change where under 10 differ. By
chance a share is 1 / (2n - 1) of n sentences, and so is its mean over states; the highest of several has no such level:
it is above that also by chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.analysis.capability import same_items
from alignlab.analysis.verdicts import with_verdicts
from alignlab.errors import InputError, Problem
from alignlab.evaluation.accuracy import Accuracy, accuracy, accuracy_change
from alignlab.evaluation.estimates import Estimate, mean
from alignlab.evaluation.resampling import Resampled, draw_clusters, mean_of
from alignlab.neurons.groups import group_languages
from alignlab.neurons.interval_methods import FEW
from alignlab.neurons.probabilities import Bools, Floats
from alignlab.neurons.table import Row
from alignlab.recording.effects import NO_INTERVENTION, Effects

ANALYSIS = "mexa"
MEAN, HIGHEST, BY_STATE = "MEXA", "MEXA, highest state", "MEXA by state"
_RESAMPLES, _SEED = 1000, 0


def mexa_rows(
    effects: Effects,
    first: Effects | None = None,
    *,
    label: str,
    since: str = "",
    arm: str = NO_INTERVENTION,
    sentences: int | None = None,
) -> list[Row]:
    """Shares of aligned sentences of each language and group, then their paired changes since `first`.

    effects: `values` are 1 where a sentence is aligned, by state, (I, A, S); languages have as many sentences each.
    sentences: n of chance, those among which a translation was to be found; None where the record has all of them.
    Changes of single states are given where both records have as many.
    Raises InputError for records of other sentences.
    """
    if first is not None and not same_items(effects, first):
        raise InputError(Problem(label, "other sentences than the first record's", "the same"))
    now, before = _aligned(effects, arm), None if first is None else _aligned(first, arm)
    languages = np.array([item.language for item in effects.items])
    clusters = np.array([item.cluster for item in effects.items])
    chance = 1 / (2 * (sentences or len(languages) / len(effects.item_languages)) - 1)
    groups = group_languages(effects.item_languages, effects.trained_languages, effects.reference or None)
    asked = [("language", name, (name,)) for name in effects.item_languages]
    over = "clusters" if effects.clusters else "documents"
    by_language = {name: languages == name for name in effects.item_languages}
    highest = {name: _highest(now[taken], clusters[taken]) for name, taken in by_language.items()}
    highest_before = (
        None
        if before is None
        else {name: _highest(before[taken], clusters[taken]) for name, taken in by_language.items()}
    )
    rows, changes = [], []
    for group, language, members in [*asked, *((group, "", members) for group, members in groups.items())]:
        taken = np.isin(languages, members)
        names = clusters[taken].tolist()
        columns: dict[str, Any] = {
            "analysis": ANALYSIS,
            "record": label,
            "step": effects.step,
            "group": group,
            "language": language,
            "task": effects.task,
            "unit": "share",
            "denominator": int(taken.sum()),
        }
        of_chance = columns | {"reference": chance}
        best = mean_of([highest[name] for name in members])
        rows.append(_mean_row(now[taken].mean(axis=1), names, over, of_chance | {"measure": MEAN}))
        rows.append(_row(best.estimate(most=1.0), over, columns | {"measure": HIGHEST}))
        rows += [
            _row(accuracy(of, names), over, of_chance | {"measure": BY_STATE, "layer": state})
            for state, of in enumerate(now[taken].T)
        ]
        if before is None or highest_before is None:
            continue
        moved = columns | {"since": since, "reference": 0.0}
        change = now[taken].mean(axis=1) - before[taken].mean(axis=1)
        best_change = best.since(mean_of([highest_before[name] for name in members]))
        changes.append(_mean_row(change, names, over, moved | {"measure": MEAN}))
        changes.append(_row(best_change.estimate(most=1.0, change=True), over, moved | {"measure": HIGHEST}))
        if before.shape == now.shape:
            changes += [
                _row(accuracy_change(*both, names), over, moved | {"measure": BY_STATE, "layer": state})
                for state, both in enumerate(zip(before[taken].T, now[taken].T, strict=True))
            ]
    return rows + with_verdicts(changes)


def _aligned(effects: Effects, arm: str) -> Bools:
    """(I, S) bool."""
    found: Bools = effects.measured("values")[:, effects.arms.index(arm)].numpy() == 1
    return found


def _highest(aligned: Bools, clusters: NDArray[np.str_]) -> Resampled:
    """The share at the state where it is highest, and the same of resamples of clusters: that of each its own state."""
    drawn = draw_clusters(clusters.tolist(), _RESAMPLES, _SEED)
    sums, sizes = drawn.sums(aligned.astype(np.int64)), drawn.sums(np.ones((len(aligned), 1), dtype=np.int64))
    shares = (drawn.counts @ sums) / (drawn.counts @ sizes)
    return Resampled(float(aligned.mean(axis=0).max()), shares.max(axis=1), len(aligned), drawn.clusters)


def _mean_row(values: Floats, clusters: Sequence[str], over: str, columns: dict[str, Any]) -> Row:
    """The mean of the sentences' shares of states, or of how these change: 0 of most."""
    found = mean(values, clusters)
    if np.count_nonzero(values) < FEW:  # the interval is off where it rests on so few
        return Row(value=found.value, status="too few", **columns)
    low = max(found.low, -1.0 if columns.get("since") else 0.0)
    return _row(replace(found, low=low, high=min(found.high, 1.0)), over, columns)


def _row(found: Accuracy | Estimate, over: str, columns: dict[str, Any]) -> Row:
    row = Row(value=found.value, **columns)
    if math.isnan(found.low):  # of one cluster, or all alike
        return replace(row, status="too few")
    p = found.p if row.is_change and not math.isnan(found.p) else None
    return replace(row, low=found.low, high=found.high, over=over, p=p)
