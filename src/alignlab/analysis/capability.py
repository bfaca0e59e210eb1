"""What a model can do, from the record of its answers: means over the answers, and their change since the first record.

A number of a group of languages is of all their problems together: as many of each language, where the task has them.
Intervals and tests are over clusters of problems: problems that say the same in several languages, or come from one
template, are one. `docs/statistics/accuracy.md` measures how often they are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from alignlab.analysis.verdicts import with_verdicts
from alignlab.errors import InputError, Problem
from alignlab.evaluation.accuracy import Accuracy, accuracy, accuracy_change
from alignlab.evaluation.estimates import Estimate, mean
from alignlab.neurons.groups import group_languages
from alignlab.neurons.table import Row
from alignlab.recording.effects import ABSTAINED, NO_INTERVENTION, Effects

RIGHT, BOTH, IN_LANGUAGE, UNTOLD = "right", "right in language", "in language", "no language told"
TOKENS = "answer tokens"

Values = NDArray[Any]


@dataclass(frozen=True)
class Measure:
    """A number of each answer, of which groups have the mean.

    of: the values of a record, (I, A); bool where the mean is a share; NaN where the model's numbers are not finite.
    unit: of the mean.
    chance: of each item what the value would be by chance, (I,); None where there is no such.
    """

    of: Callable[[Effects], Tensor]
    unit: str = "share"
    chance: Callable[[Effects], Tensor] | None = None


MEASURES: dict[str, Measure] = {
    RIGHT: Measure(lambda effects: effects.measured("right")),
    BOTH: Measure(lambda effects: effects.measured("right") & effects.in_language),
    IN_LANGUAGE: Measure(lambda effects: effects.in_language),
    UNTOLD: Measure(lambda effects: effects.measured("output_language") == ABSTAINED),
    TOKENS: Measure(lambda effects: effects.measured("tokens"), "tokens"),
}


def capability_rows(
    effects: Effects,
    first: Effects | None = None,
    *,
    label: str = "",
    since: str = "",
    arm: str = NO_INTERVENTION,
    measures: Mapping[str, Measure] = MEASURES,
    analysis: str = "capability",
) -> list[Row]:
    """The means of a record, then their changes since `first`, paired problem by problem (None where this is it).

    Measures, all of all problems: `right`, the answer's last number is the expected one; `right in language`, and the
    answer is in the language of the question; `in language`, right or not; `no language told`, the answer has too
    little text to tell; `answer tokens`, its length with the EOS. Groups: each language, and those of
    `group_languages`. Where some problems are of clusters that are in training and others are not, the groups' numbers
    stand for either part, too, with `Row.label`. Where a measure has a chance level, that is the row's `reference`, p
    tests it, and `beyond_noise` says whether the share is another.

    label, since: of the record and of the first; by default their steps.
    measures: others than these, of a task of another kind.  analysis: in the rows.
    Raises InputError for records of different problems.
    """
    label = label or f"step {effects.step or 0}"
    if first is not None and not same_items(effects, first):
        raise InputError(Problem(label, "answers to other problems than the first record's", "the same problems"))
    now = measured(effects, arm, measures)
    before = measured(first, arm, measures) if first is not None else None
    since = since or f"step {(first.step if first is not None else None) or 0}"
    clusters = np.array([item.cluster for item in effects.items])
    languages = np.array([item.language for item in effects.items])
    rows, changes = [], []
    for which, chosen in _parts(effects):
        there = tuple(dict.fromkeys(languages[chosen].tolist()))
        groups = group_languages(there, effects.trained_languages, effects.reference or None)
        asked: list[tuple[str, str, tuple[str, ...]]] = []
        asked += [("language", name, (name,)) for name in there] if not which else []
        asked += [(group, "", members) for group, members in groups.items()]
        for measure, about in measures.items():
            chances = None if about.chance is None else about.chance(effects).numpy()
            for group, language, members in asked:
                taken = chosen & np.isin(languages, members)
                columns: dict[str, Any] = {
                    "analysis": analysis,
                    "record": label,
                    "step": effects.step,
                    "group": group,
                    "language": language,
                    "task": effects.task,
                    "measure": measure,
                    "label": which,
                    "unit": about.unit,
                    "denominator": int(taken.sum()),
                }
                over = "clusters" if effects.clusters else "documents"
                by_chance = {} if chances is None else {"reference": float(chances[taken].mean())}
                found = _mean(now[measure][taken], about.unit, clusters[taken].tolist(), by_chance.get("reference"))
                rows.append(_row(found, over, columns | by_chance))
                if before is not None and first is not None:
                    both = before[measure][taken], now[measure][taken]
                    found = _change(*both, about.unit, clusters[taken].tolist())
                    changes.append(_row(found, over, columns | {"since": since, "reference": 0.0}))
    return with_verdicts(rows) + with_verdicts(changes)


def same_items(one: Effects, other: Effects) -> bool:
    """Whether two records are of the same items in the same order."""
    return [(item.language, item.id) for item in one.items] == [(item.language, item.id) for item in other.items]


def measured(
    effects: Effects, arm: str = NO_INTERVENTION, measures: Mapping[str, Measure] = MEASURES
) -> dict[str, Values]:
    """Each measure of every item, (I,)."""
    place = effects.arms.index(arm)
    return {name: measure.of(effects)[:, place].numpy() for name, measure in measures.items()}


def _as_told(values: Values, unit: str) -> Values:
    """The finite values of some items: of a share bool, also where others of the record are not finite."""
    return values.astype(np.bool_) if unit == "share" else values


def _mean(values: Values, unit: str, clusters: Sequence[str], chance: float | None) -> Accuracy | Estimate | None:
    if not np.isfinite(values).all():
        return None
    values = _as_told(values, unit)
    if chance == 1:  # of questions with a single option there is nothing to test
        chance = None
    return accuracy(values, clusters, chance) if values.dtype == np.bool_ else mean(values, clusters)


def _change(before: Values, after: Values, unit: str, clusters: Sequence[str]) -> Accuracy | Estimate | None:
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        return None
    before, after = _as_told(before, unit), _as_told(after, unit)
    if before.dtype == np.bool_:
        return accuracy_change(before, after, clusters)
    return mean(after.astype(np.float64) - before, clusters)


def _row(found: Accuracy | Estimate | None, over: str, columns: dict[str, Any]) -> Row:
    """The row of an estimate; None is one of a model whose numbers are not finite."""
    if found is None:
        return Row(value=math.nan, status="diverged", **columns)
    row = Row(value=found.value, **columns)
    if math.isnan(found.low):  # of one cluster, or all alike
        return replace(row, status="too few")
    asked = row.reference is not None and not math.isnan(found.p)  # a mean alone is compared with nothing
    return replace(row, low=found.low, high=found.high, over=over, p=found.p if asked else None)


def _parts(effects: Effects) -> Sequence[tuple[str, Values]]:
    """All items; and, where there are both, those of clusters that are in training and those of others."""
    seen = np.array([item.seen is True for item in effects.items])
    unseen = np.array([item.seen is False for item in effects.items])
    parts = [("", np.ones(len(effects.items), dtype=np.bool_))]
    if effects.clusters and seen.any() and unseen.any():
        parts += [(f"{effects.clusters} in training", seen), (f"{effects.clusters} not in training", unseen)]
    return parts
