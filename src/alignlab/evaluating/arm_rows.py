"""The numbers of an intervention: what each measure is under it, how that changes, and whether controls do as much.

A task says what its measures are of a model as it is; of an arm it is asked the same, and the record of the model as it
is stands as the first. What an intervention does beyond its controls is told as `analysis.beyond_control` does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alignlab.analysis.arm_outcomes import BOTH, RIGHT, Outcome
from alignlab.analysis.beyond_control import Excess, excess
from alignlab.analysis.effect_matrices import FLOOR
from alignlab.analysis.effect_rows import MATCHED, arms_of, over_control_row, plain_row
from alignlab.analysis.verdicts import family_of, with_verdicts
from alignlab.evaluating.interventions import Under
from alignlab.evaluating.task import BuiltTask, alone, apart_from
from alignlab.neurons.groups import group_languages
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import Row
from alignlab.recording.effects import Effects, joined

OVER_CONTROL = "over control"
# What `Row.label` says of items that are compared: none, or some, share an id or a cluster with the documents on which
# the neurons were found.
APART, SAME = "apart from what the neurons were found on", "text on which the neurons were found"


def arm_rows(
    task: BuiltTask,
    base: Effects,
    under: Sequence[tuple[Under, Effects]],
    answers: Mapping[str, Path],
    *,
    label: str,
) -> list[Row]:
    """Every measure under each intervention, its paired change since the model as it is, and that over its controls.

    base: the record of the model as it is, `under`: those of its interventions, all of the same items.
    answers: by intervention the file with the texts of its answers, where a task has any.
    label: of the model.
    """
    plain = alone(base, 0)
    low = {(row.measure, row.group, row.language) for row in task.rows(plain, None, label, label) if _is_low(row)}
    rows: list[Row] = []
    for one, effects in under:
        arm = alone(effects, 0)
        made = task.rows(arm, plain, label, label)
        made += task.rows_of_answers(arm, answers[one.name], label, effects.labels[0].digest)
        rows += [_named(row, one, low) for row in made]
    which = {one.name: _which(task, one, base) for one, _ in under}
    rows += _over_controls(task, base, under, label)
    return [replace(row, label="; ".join(filter(None, [row.label, which[row.set]]))) for row in rows]


def _which(task: BuiltTask, under: Under, base: Effects) -> str:
    """Which of a task's items are compared, where that is to be known."""
    if not task.names_texts or under.found_on is None or under.options.sets is not None:
        return ""
    if under.apart:
        return APART
    shared = any(not apart_from(item, *under.found_in) for item in base.items)
    return SAME if shared else ""


def _is_low(row: Row) -> bool:
    """Whether so few are right with nothing changed that they can hardly fall."""
    return row.measure in (RIGHT, BOTH) and row.value < FLOOR


def _named(row: Row, under: Under, low: set[tuple[str, str, str]]) -> Row:
    fallen = row.is_change and row.status == "ok" and (row.measure, row.group, row.language) in low
    family = f"{row.family}, {under.name}" if row.family else ""
    return replace(row, **_columns(under), family=family, status="floor" if fallen else row.status)


def _columns(under: Under) -> dict[str, Any]:
    label = under.labels[0]
    what = {"set": under.name, "operation": label.operation, "strength": label.strength}
    return what | {"site": under.site, "scope": under.options.scope}


@dataclass(frozen=True)
class _Asked:
    """Whose number is asked: that of a language, or of a group.

    items: (n,) the places of its items.  languages, clusters: (n,) numbers of theirs, from 0.
    """

    group: str
    language: str
    items: NDArray[np.int64]
    languages: NDArray[np.int64]
    clusters: NDArray[np.int64]


def _asked_of(base: Effects) -> list[_Asked]:
    """Every language, and the groups of them."""
    languages = np.array([item.language for item in base.items])
    names = np.unique(np.array([item.cluster for item in base.items]), return_inverse=True)[1]
    groups = group_languages(base.item_languages, base.trained_languages, base.reference or None)
    of = [("language", code, (code,)) for code in base.item_languages]
    asked = []
    for group, language, members in [*of, *((group, "", members) for group, members in groups.items())]:
        items = np.isin(languages, members).nonzero()[0]
        numbers = [np.unique(some[items], return_inverse=True)[1] for some in (languages, names)]
        asked.append(_Asked(group, language, items, *numbers))
    return asked


def _over_controls(task: BuiltTask, base: Effects, under: Sequence[tuple[Under, Effects]], label: str) -> list[Row]:
    """The mean change of the draws of each control, and the change under the intervention over it.

    Interventions that do the same to other neurons are one question: the spread of their draws is pooled.
    """
    alike = dict[tuple[object, ...], list[tuple[Under, Effects]]]()
    for one, effects in under:
        key = one.labels[0].operation, one.labels[0].strength, one.options.scope
        alike.setdefault(key, []).append((one, effects))
    asked = _asked_of(base)
    found = dict[str, list[tuple[Row, bool]]]()
    for members in alike.values():
        records = [joined([replace(base, answers_checksum=""), replace(of, answers_checksum="")]) for _, of in members]
        for outcomes in zip(*(task.outcomes(record) for record in records), strict=True):
            for group in asked:
                for control, told in _compared(members, records, outcomes, group, label):
                    found.setdefault(control, []).extend(told)
    return [row for control, told in found.items() for row in _with_verdicts(told, control)]


def _compared(
    members: Sequence[tuple[Under, Effects]],
    records: Sequence[Effects],
    outcomes: Sequence[Outcome],
    asked: _Asked,
    label: str,
) -> Iterator[tuple[str, list[tuple[Row, bool]]]]:
    """By control the rows of one measure of one group, each with whether it is larger than its controls'."""
    first, base = outcomes[0], records[0]
    over = f"{'clusters' if base.clusters else 'documents'} and controls"
    of_arms = [arms_of(record) for record in records]
    for control in of_arms[0][1][0].controls:
        places = [[none, one.arm, *(place for place, _ in one.controls[control])] for none, (one,) in of_arms]
        sums = [sums_of(outcome, asked, arms) for outcome, arms in zip(outcomes, places, strict=True)]
        sizes = sums[0][1]
        if not len(sizes):
            continue
        changes = np.stack([by_arm[1:] - by_arm[0] for by_arm, _ in sums])
        shared = [one.shared.get(control, 0.0) for one, _ in members]
        found = excess(changes[:, 0], changes[:, 1:], sizes, shared)
        told = []
        for place, (one, _) in enumerate(members):
            columns = _columns(one) | {
                "analysis": "evaluation",
                "record": label,
                "since": label,
                "step": base.step,
                "task": base.task,
                "group": asked.group,
                "language": asked.language,
                "unit": first.unit,
                "denominator": int(first.sizes[asked.items].sum()),
                "control": control,
                "control_gap": _gap(one, control),
                "control_shared": one.shared.get(control),
                "reference": 0.0,
            }
            mean, beyond = _pair(first.name, columns, found, place, over)
            told += [(mean, False), (beyond, bool(found.beyond[place]))]
        yield control, told


def sums_of(outcome: Outcome, asked: _Asked, arms: Sequence[int]) -> tuple[Floats, Floats]:
    """By arm and cluster sums of an outcome, (A, m), and their sizes (m,), whose ratio is the number of the group.

    Of what every item has once, such as whether it is right, that is the mean over all items; of what has sizes, such
    as nats of tokens, the mean of the languages' ratios, linearised as `analysis.likelihood.mean_of_ratios` does.
    """
    values: Floats = outcome.values[asked.items][:, list(arms)]
    sizes: Floats = outcome.sizes[asked.items]
    if not (sizes == 1).all():
        totals = np.bincount(asked.languages, weights=sizes)
        weights = (1 / (totals[asked.languages] * len(totals)))[:, None]
        below = sizes[:, None] * weights
        with np.errstate(invalid="ignore"):
            ratios = _summed(asked.languages, values).T / totals[:, None]
            values = (values - ratios[asked.languages] * sizes[:, None]) * weights + ratios.mean(axis=0) * below
        sizes = below[:, 0]
    by_arm, (units,) = _summed(asked.clusters, values), _summed(asked.clusters, sizes[:, None])
    return by_arm[:, units > 0], units[units > 0]


def _summed(of: NDArray[np.int64], values: Floats) -> Floats:
    """(n, A) values, summed by what they are of: (A, m)."""
    return np.stack([np.bincount(of, weights=column) for column in values.T]).astype(np.float64)


def _pair(name: str, columns: dict[str, Any], found: Excess, place: int, over: str) -> tuple[Row, Row]:
    """The mean of the controls' changes, and the change under the intervention less that."""
    sd = float(found.control_sd[place])
    mean = plain_row(columns | {"measure": name, "sd": None if math.isnan(sd) else sd}, float(found.control[place]))
    return mean, over_control_row(columns | {"measure": f"{name} {OVER_CONTROL}"}, found, place, over)


def _gap(under: Under, control: str) -> float | None:
    """How far the controls' neurons are in activation probability, on average over draws; None without counts."""
    gaps = [under.gaps[label.control, label.seed] for label in under.labels if label.control == control]
    return None if not gaps or math.isnan(gaps[0]) else float(np.mean(gaps))


def _with_verdicts(told: Sequence[tuple[Row, bool]], control: str) -> Iterator[Row]:
    """The rows corrected; only against matched controls there is a verdict."""
    for row, (_, larger) in zip(with_verdicts([row for row, _ in told]), told, strict=True):
        if row.p_adjusted is None:
            yield row
            continue
        beyond = row.beyond_noise and larger if control == MATCHED else None
        yield replace(row, family=f"{family_of(row)}, {control}", beyond_noise=None, beyond_control=beyond)
