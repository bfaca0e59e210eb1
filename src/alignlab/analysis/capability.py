"""What a model can do, from the record of its answers: means over the answers, and their change since the first record.

A number of a group of languages is of all their problems together: as many of each language, where the task has them.
Intervals and tests are over clusters of problems: problems that say the same in several languages, or come from one
template, are one. `docs/statistics/accuracy.md` measures how often they are right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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

    of: the values of a record, (I, A); bool where the mean is a share.
    unit: of the mean.
    """

    of: Callable[[Effects], Tensor]
    unit: str = "share"


MEASURES: dict[str, Measure] = {
    RIGHT: Measure(lambda effects: effects.measured("right")),
    BOTH: Measure(lambda effects: effects.measured("right") & effects.in_language),
    IN_LANGUAGE: Measure(lambda effects: effects.in_language),
    UNTOLD: Measure(lambda effects: effects.measured("output_language") == ABSTAINED),
    TOKENS: Measure(lambda effects: effects.measured("tokens"), "tokens"),
}


def capability_rows(
    effects: Effects, first: Effects | None = None, *, label: str = "", arm: str = NO_INTERVENTION
) -> list[Row]:
    """The means of a record, then their changes since `first`, paired problem by problem (None where this is it).

    Measures, all of all problems: `right`, the answer's last number is the expected one; `right in language`, and the
    answer is in the language of the question; `in language`, right or not; `no language told`, the answer has too
    little text to tell; `answer tokens`, its length with the EOS. Groups: each language, and those of
    `group_languages`. Where some problems are of clusters that are in training and others are not, the groups' numbers
    stand for either part, too, with `Row.label`.

    label: of the record; by default its step.
    Raises InputError for records of different problems.
    """
    label = label or f"step {effects.step or 0}"
    if first is not None and [item.id for item in first.items] != [item.id for item in effects.items]:
        raise InputError(Problem(label, "answers to other problems than the first record's", "the same problems"))
    now, before = measured(effects, arm), measured(first, arm) if first is not None else None
    clusters = np.array([item.cluster for item in effects.items])
    languages = np.array([item.language for item in effects.items])
    rows, changes = [], []
    for which, chosen in _parts(effects):
        there = tuple(dict.fromkeys(languages[chosen].tolist()))
        groups = group_languages(there, effects.trained_languages, effects.reference or None)
        asked: list[tuple[str, str, tuple[str, ...]]] = []
        asked += [("language", name, (name,)) for name in there] if not which else []
        asked += [(group, "", members) for group, members in groups.items()]
        for measure, about in MEASURES.items():
            for group, language, members in asked:
                taken = chosen & np.isin(languages, members)
                columns: dict[str, Any] = {
                    "analysis": "capability",
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
                rows.append(_row(_mean(now[measure][taken], clusters[taken].tolist()), over, columns))
                if before is not None and first is not None:
                    both = before[measure][taken], now[measure][taken]
                    found = _change(*both, clusters[taken].tolist())
                    since = {"since": f"step {first.step or 0}", "reference": 0.0}
                    changes.append(_row(found, over, columns | since))
    return rows + with_verdicts(changes)


def measured(effects: Effects, arm: str = NO_INTERVENTION) -> dict[str, Values]:
    """Each of `MEASURES` of every item, (I,)."""
    place = effects.arms.index(arm)
    return {name: measure.of(effects)[:, place].numpy() for name, measure in MEASURES.items()}


def _mean(values: Values, clusters: Sequence[str]) -> Accuracy | Estimate:
    return accuracy(values, clusters) if values.dtype == np.bool_ else mean(values, clusters)


def _change(before: Values, after: Values, clusters: Sequence[str]) -> Accuracy | Estimate:
    if before.dtype == np.bool_:
        return accuracy_change(before, after, clusters)
    return mean(after.astype(np.float64) - before, clusters)


def _row(found: Accuracy | Estimate, over: str, columns: dict[str, Any]) -> Row:
    row = Row(value=found.value, **columns)
    if math.isnan(found.low):  # of one cluster, or all alike
        return replace(row, status="too few")
    p = found.p if row.is_change and not math.isnan(found.p) else None
    return replace(row, low=found.low, high=found.high, over=over, p=p)


def _parts(effects: Effects) -> Sequence[tuple[str, Values]]:
    """All items; and, where there are both, those of clusters that are in training and those of others."""
    seen = np.array([item.seen is True for item in effects.items])
    unseen = np.array([item.seen is False for item in effects.items])
    parts = [("", np.ones(len(effects.items), dtype=np.bool_))]
    if effects.clusters and seen.any() and unseen.any():
        parts += [(f"{effects.clusters} in training", seen), (f"{effects.clusters} not in training", unseen)]
    return parts
