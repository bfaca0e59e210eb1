"""What the page says in words: the answer, and under every figure what its numbers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page.data import DIVERGED, GROUPS, MEANS, MOVEMENT_VERDICTS, TOO_FEW, VERDICTS, PageRun
from alignlab.reporting.page.figures import KINDS, LANGUAGE_KINDS
from alignlab.reporting.wording import capital, digits, joined, lower, number, signed

_LEADS = {
    VERDICTS[True]: "changed beyond noise",
    VERDICTS[False]: "not told from noise",
    VERDICTS[None]: "not tested against noise",
}
# Of what changed beyond noise: whether it is also more than movement of this size brings wherever it falls.
_BEYOND = {
    MOVEMENT_VERDICTS[True]: "changed beyond noise and beyond reassigned movement",
    MOVEMENT_VERDICTS[False]: "beyond noise, but not told from what reassigned movement brings",
    MOVEMENT_VERDICTS[None]: "changed beyond noise (reassigned movement not computed)",
}
_ORDER = (*_BEYOND.values(), *list(_LEADS.values())[1:], TOO_FEW, DIVERGED)
_RESAMPLED = {
    "clusters": "clusters of documents (texts of one template, article or conversation are one cluster)",
    "shards": "shards of documents",
    "seeds": "seeds",
}
_OF = {"trained": "a trained language", "reference": "the reference", "unseen": "an unseen language"}
_CORRECTIONS = {"holm": "Holm's correction", "fdr": "a false-discovery rate"}


def lead(run: PageRun) -> str:
    """The answer in one sentence: what changed, by both verdicts."""
    if len(run.steps) == 1:
        return "One snapshot: there is nothing yet to compare it with."
    said: dict[str, list[str]] = {words: [] for words in _ORDER}
    for move in run.moved():
        said[_said(move)].append(f"{move.kind} ({signed(move.change)})")
    # Of groups what changed by both verdicts alone: they are asked together with the kinds, and corrected with them.
    for group in MEANS[:3]:
        for move in run.moved(group):
            if (move.verdict, move.movement_verdict) == (VERDICTS[True], MOVEMENT_VERDICTS[True]):
                said[_said(move)].append(f"{move.kind} of {_OF[group]} ({signed(move.change, digits(group))})")
    parts = [f"{words}: {joined(found)}" for words, found in said.items() if found]
    return f"{capital('; '.join(parts))}." if parts else "No counts over all layers are given."


def _said(move: Any) -> str:
    if move.verdict == VERDICTS[True]:
        return _BEYOND[move.movement_verdict]
    verdict: str = move.verdict
    return _LEADS.get(verdict, verdict)


def glossary(run: PageRun) -> list[tuple[str, str]]:
    """The four terms that the page rests on, a line each: kinds, anchored, noise, unseen."""
    rows = run.of("kinds")
    kinds = (
        "of the neurons that are selected as unusual, specific ones are above tau in one language, related ones in "
        "several, unassigned ones in none; general neurons are above tau in all languages."
    )
    anchored = (
        "the first snapshot's thresholds hold at every snapshot, so that changes are the neurons'; re-estimated ones "
        "are each snapshot's own."
    )
    over = joined([_RESAMPLED.get(name, name) for name in dict.fromkeys(rows.over) if name])
    noise = f"what other {over or 'documents'} would have changed, in 95 % of resamples; not another training seed. "
    whole = rows[(rows.correction != "") & rows["group"].isin(GROUPS) & rows.layer.isna() & rows.degree.isna()]
    asked = dict.fromkeys(zip(whole.family, whole.correction, strict=True))
    families = [f"{family}: {_CORRECTIONS.get(correction, correction)}" for family, correction in asked]
    if families:
        noise += f"Verdicts are corrected for the questions asked together ({'; '.join(families)}). "
    noise += (
        "Reassigned movement: the same changes of probability, given to other neurons of their layer and level; a "
        "change beyond it is another than that brings, larger or smaller."
    )
    groups = {group: run.of_group(group) for group in MEANS[:3]}
    said = {group: " ".join(codes) or "none" for group, codes in groups.items()}
    unseen = (
        f"languages without prompts in training ({said['unseen']}); trained: {said['trained']}; reference, that others "
        f"are aligned to: {said['reference']}."
    )
    return [("Kinds", kinds), ("Anchored", anchored), ("Noise", noise.strip()), ("Unseen", unseen)]


def sentences(run: PageRun) -> list[str]:
    """The answer in full, most important first; for what was not computed, that it was not."""
    if len(run.steps) == 1:
        found = [_one_snapshot(run)]
    else:
        found = [_kinds(run), *(_group(run, group) for group in MEANS), _layers(run), _reestimated(run)]
    found.append(_losses(run))
    if any(move.verdict == VERDICTS[None] for move in run.moved()):
        found.append(f"Intervals: {lower(run.missing('intervals'))}")
    return [sentence for sentence in found if sentence]


def _kinds(run: PageRun) -> str:
    first, last = min(run.steps), max(run.steps)
    span = f"Over {last - first:,} steps"
    if first in run.step_names or last in run.step_names:
        span = f"From {run.step_name(first)} to {run.step_name(last)}"
    said = joined([f"{move.kind} neurons {_course(move)}" for move in run.moved()])
    if not said:
        return ""
    sizes = [run.selection[step] for step in (first, last) if step in run.selection]
    selected = f" Selected are {number(sizes[-1])} neurons, {number(sizes[0])} at first." if sizes[1:] else ""
    return f"{span}, of {run.neurons:,} neurons at the first snapshot's thresholds: {said}.{selected}"


def _one_snapshot(run: PageRun) -> str:
    found = run.counts(ANCHORED, "total").set_index("kind").value
    said = joined([f"{number(found[kind])} {kind}" for kind in KINDS if kind in found])
    return f"{run.step_title(run.steps[0])}, of {run.neurons:,} neurons: {said}." if said else ""


def _group(run: PageRun, group: str) -> str:
    said = [f"its {move.kind} neurons {_course(move)}" for move in run.moved(group) if move.kind in LANGUAGE_KINDS]
    codes = run.of_group(group)
    if said:
        whose = {"reference": "The reference", "all languages": "Any language"}.get(group)
        among = f" ({', '.join(codes)})" if codes else ""
        return f"{whose or f'{_article(group)} {group} language'}{among}, on average: {joined(said)}."
    return f"No language is {group}." if group in {"trained", "unseen"} and not codes else ""


def _article(word: str) -> str:
    return "An" if word[0] in "aeiou" else "A"


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
        f"others): {joined(said)}."
    )


def _losses(run: PageRun) -> str:
    losses, said = run.losses, []
    names = {"trained": "trained languages", "reference": "the reference", "unseen": "unseen languages"}
    if losses.empty:
        return f"Loss by language: {lower(run.missing('losses'))}"
    for group in MEANS[:3]:
        at = losses[losses["group"] == group].set_index("step").value
        if set(run.ends) <= set(at.index):
            before, after = at[min(run.steps)], at[max(run.steps)]
            verdict = [*run.of("losses", group=group, step=max(run.steps), is_change=True).verdict, VERDICTS[None]][0]
            said.append(f"{_way(after - before)} from {before:.3f} to {after:.3f} on {names[group]} ({verdict})")
    return f"The loss (nats a token) {joined(said)}." if said else ""


def _course(move: Any) -> str:
    """For example "rose from 60 to 70 (+10; beyond noise, within reassigned movement)"."""
    places = digits(move.group)
    before, after, change = number(move.before, places), number(move.after, places), signed(move.change, places)
    course = f"{_way(move.change)} from {before} to {after}" if change.strip("+0.") else f"stayed at {after}"
    movement = "" if move.movement_verdict == MOVEMENT_VERDICTS[None] else f"; {move.movement_verdict}"
    return f"{course} ({change}; {move.verdict}{movement})"


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


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values), 4), number(max(values), 4)
    return low if low == high else f"{low} to {high}"
