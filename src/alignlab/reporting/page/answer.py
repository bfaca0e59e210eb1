"""What the page says in words: the answer, and under every figure what its numbers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page.data import VERDICTS, PageRun
from alignlab.reporting.page.figures import KINDS, LANGUAGE_KINDS
from alignlab.reporting.page.panels import digits

_LEADS = {
    VERDICTS[True]: "changed beyond noise",
    VERDICTS[False]: "not told from noise",
    VERDICTS[None]: "not tested against noise",
}
# The second verdict, beside the first: whether movement of this size brings the change wherever it falls.
_MOVEMENT = {True: ", beyond reassigned movement", False: ", within reassigned movement", None: ""}


def lead(run: PageRun) -> str:
    """The answer in one sentence."""
    if len(run.steps) == 1:
        return "One snapshot: there is nothing yet to compare it with."
    of = {said: [move for move in run.moved() if move.verdict == verdict] for verdict, said in _LEADS.items()}
    parts = [f"{said}: {_joined([_change(move) for move in found])}" for said, found in of.items() if found]
    return f"{capital('; '.join(parts))}." if parts else "No counts over all layers are given."


def _change(move: Any) -> str:
    return f"{move.kind} ({signed(move.change)}{_MOVEMENT[move.beyond_movement]})"


def sentences(run: PageRun) -> list[str]:
    """The answer in full, most important first; for what was not computed, that it was not."""
    if len(run.steps) == 1:
        found = [_one_snapshot(run)]
    else:
        found = [_kinds(run), *(_group(run, group) for group in ("trained", "unseen")), _layers(run), _reestimated(run)]
    found.append(_losses(run))
    if any(move.verdict == VERDICTS[None] for move in run.moved()):
        found.append(f"Intervals: {lower(run.missing('intervals'))}")
    return [sentence for sentence in found if sentence]


def _kinds(run: PageRun) -> str:
    first, last = min(run.steps), max(run.steps)
    span = f"Over {last - first:,} steps"
    if first in run.step_names or last in run.step_names:
        span = f"From {run.step_name(first)} to {run.step_name(last)}"
    said = _joined([f"{move.kind} neurons {_course(move)}" for move in run.moved()])
    return f"{span}, of {run.neurons:,} neurons at the first snapshot's thresholds: {said}." if said else ""


def _one_snapshot(run: PageRun) -> str:
    found = run.counts(ANCHORED, "total").set_index("kind").value
    said = _joined([f"{number(found[kind])} {kind}" for kind in KINDS if kind in found])
    return f"{capital(run.step_name(run.steps[0]))}, of {run.neurons:,} neurons: {said}." if said else ""


def _group(run: PageRun, group: str) -> str:
    codes = run.of_group(trained=group == "trained")
    said = [f"its {move.kind} neurons {_course(move)}" for move in run.moved(group) if move.kind in LANGUAGE_KINDS]
    if said:
        article = "A trained" if group == "trained" else "An unseen"
        return f"{article} language ({', '.join(codes)}), on average: {_joined(said)}."
    return "" if codes else f"No language is {group}."


def _layers(run: PageRun) -> str:
    of = run.moves
    found = of[(of["group"] == "all") & (of.thresholds == ANCHORED) & of.layer.notna() & (of.change != 0)]
    if found.empty:
        return ""
    # Of equal moves the first kind and layer.
    most = found.loc[found.change.abs().idxmax()]
    # One of many: the largest of so many is beyond noise more often than one that was named before.
    among = f"{len(found)} kinds and layers that changed"
    return f"The largest move of the {among}: {most.kind} in layer {most.layer:.0f} {_course(most)}."


def _reestimated(run: PageRun) -> str:
    said = [f"{move.kind} {number(move.before)} to {number(move.after)}" for move in run.moved("all", REESTIMATED)]
    if not said:
        return f"At re-estimated thresholds: {lower(run.missing('reestimated'))}"
    return (
        f"At thresholds re-estimated at each snapshot (compositional: more of one degree leave fewer of the "
        f"others): {_joined(said)}."
    )


def _losses(run: PageRun) -> str:
    losses, said = run.losses, []
    if losses.empty:
        return f"Loss by language: {lower(run.missing('losses'))}"
    for group in ("trained", "unseen"):
        at = losses[losses["group"] == group].set_index("step").value
        if set(run.ends) <= set(at.index):
            before, after = at[min(run.steps)], at[max(run.steps)]
            verdict = [*run.of("losses", group=group, step=max(run.steps), is_change=True).verdict, VERDICTS[None]][0]
            said.append(f"{_way(after - before)} from {before:.3f} to {after:.3f} on {group} languages ({verdict})")
    return f"The loss (nats a token) {_joined(said)}." if said else ""


def _course(move: Any) -> str:
    """For example "rose from 60 to 70 (+10; beyond noise, within reassigned movement)"."""
    places = digits(move.group)
    before, after, change = number(move.before, places), number(move.after, places), signed(move.change, places)
    course = f"{_way(move.change)} from {before} to {after}" if change.strip("+0.") else f"stayed at {after}"
    return f"{course} ({change}; {move.verdict}{_MOVEMENT[move.beyond_movement]})"


def _way(change: float) -> str:
    return ("stayed", "rose", "fell")[int(np.sign(change))]


def basis(run: PageRun, thresholds: str) -> str:
    """What the counts are: site, scope, thresholds and denominator. It stands under every figure of counts."""
    layers, width = run.shape
    what = f"Site {run.site}, scope {run.scope}; {run.neurons:,} neurons ({layers:,} layers x {width:,})"
    values = ", ".join(f"{name} {_range(found)}" for name, found in thresholds_of(run, thresholds))
    if thresholds == ANCHORED:
        anchor = f"{run.step_name(min(run.steps))} ({values or 'tau and lambda not given'})"
        return f"{what}; thresholds anchored to {anchor}."
    at = f"thresholds re-estimated at every snapshot{values and f' ({values})'}"
    return f"{what}; {at}: compositional, more neurons of one degree leave fewer of the others."


def thresholds_of(run: PageRun, thresholds: str) -> Iterable[tuple[str, pd.Series]]:
    """By name, such as tau, the thresholds at all steps."""
    found: Iterable[tuple[str, pd.Series]] = run.of("thresholds", thresholds=thresholds, is_change=False).groupby(
        "measure", sort=False
    )["value"]
    return found


def alternative(runs: Mapping[str, PageRun], thresholds: str, groups: Sequence[str]) -> str:
    """What a chart of kinds over steps shows, for those who cannot see it."""
    said = []
    for label, run in runs.items():
        for group in groups:
            words = [
                f"{move.kind} {number(move.before, digits(group))} to {number(move.after, digits(group))}"
                for move in run.moved(group, thresholds)
            ]
            if words:
                said.append(f"{label} {'' if group == 'all' else group}".strip() + f": {', '.join(words)}")
    return "Lines of neurons over steps. " + "; ".join(said)


def number(value: float | None, places: int = 0, sign: str = "") -> str:
    """With thousands separators and a minus as long as the plus; "" for none.  sign: "+" where a plus is to be seen."""
    if value is None or value != value:
        return ""
    text = f"{value:{sign}z,.{places}f}"
    return text.replace("-", "−")


def signed(value: float | None, places: int = 0) -> str:
    """A change, with its sign."""
    return number(value, places, "+")


def interval(low: float, high: float, places: int, sign: str = "") -> str:
    """Its ends, each as `number` says it; "" for none."""
    ends = number(low, places, sign), number(high, places, sign)
    return " to ".join(ends) if all(ends) else ""


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.4f}", f"{max(values):.4f}"
    return low if low == high else f"{low} to {high}"


def _joined(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
