"""The cards of the page: every figure with its captions; here those of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page import capability, relation_cards
from alignlab.reporting.page.answer import alternative, basis
from alignlab.reporting.page.answer_figure import answer
from alignlab.reporting.page.card import MARKERS, THRESHOLDS, Caption, Card, Table, first_and_last, grouped, letters
from alignlab.reporting.page.data import GROUPS, MEANS, MOVEMENT_VERDICTS, PageRun
from alignlab.reporting.page.evaluations import ShownTask
from alignlab.reporting.page.figures import (
    degree_histogram,
    kinds_over_steps,
    layer_heatmaps,
    layers_at_step,
    trained_and_unseen,
)
from alignlab.reporting.page.interventions import Shown
from alignlab.reporting.page.language_figures import languages_before_and_after
from alignlab.reporting.page.panels import Panels, listed
from alignlab.reporting.wording import digits, signed

_RUN = ("run", "thresholds")


def cards(runs: Sequence[PageRun], effects: Sequence[Shown] = (), tasks: Sequence[ShownTask] = ()) -> dict[str, Card]:
    """Every card of the page by its name.  effects: of the runs' interventions.  tasks: of their evaluations."""
    of_counts = (_answer, _kinds, _groups, _heatmaps, _layers, _languages, _degrees)
    made = [*(make(runs) for make in of_counts), *relation_cards.cards(runs)]
    if any(run.capability for run in runs):
        made.append(capability.card([run.capability for run in runs], [run.name for run in runs]))
    made += [one.card for one in tasks if one.card is not None]
    made += [card for one in effects for card in one.cards]
    for card in made:
        for key, figures in card.variants.items():
            shown = [runs[int(key.split("|")[0])]] if "run" in card.by else runs
            names = {step: name for run in shown for step, name in run.step_names.items()}
            ends = shown[0].stage_ends if all(run.stage_ends == shown[0].stage_ends for run in shown) else {}
            for figure in figures:
                figure.name_steps(names)
                figure.mark_ends(ends)
    return {card.name: card for card in made}


def _answer(runs: Sequence[PageRun]) -> Card:
    title = "Change of each kind"
    note = (
        "Points: the change since the first snapshot, with its 95 % interval. Pale bars: what reassigned movement "
        "brings. Filled points are beyond noise and told from movement. Intervals and bars are 95 % each; verdicts are "
        "corrected for all that are asked together, so that a point outside its bar may not be told from movement."
    )
    if all(len(run.steps) == 1 for run in runs):
        title, note = (
            "Neurons of each kind",
            "Points: how many there are, with the 95 % interval where it was computed.",
        )
    card = Card("answer", title, note, _RUN, narrow_below=440)
    for place, run in enumerate(runs):
        for thresholds in THRESHOLDS:
            if len(rows := _moves(run, thresholds)):
                label = "Points of the change of each kind: " + ", ".join(
                    f"{row.group} {row.kind} {signed(row.value, digits(row.group))}" for row in rows.itertuples()
                )
                card.add(f"{place}|{thresholds}", partial(answer, rows), label, 2)
                card.captions.append(Caption(basis(run, thresholds), place, thresholds))
            else:
                lacking = "reestimated" if thresholds == REESTIMATED else "totals"
                card.missing.append(Caption(run.missing(lacking), place, thresholds))
        if (run.moves.movement_verdict == MOVEMENT_VERDICTS[None]).all() and len(run.steps) > 1:
            card.captions.append(Caption(f"Reassigned movement. {run.missing('movement')}", place))
        card.tables[str(place)] = _moves_table(run)
    card.captions += _interval_captions(runs, "total")
    return card


def _moves(run: PageRun, thresholds: str) -> pd.DataFrame:
    """What the first figure shows: the change of every kind in every group; of a single snapshot the counts."""
    if len(run.steps) > 1:
        found = run.moves
        found = found[found.layer.isna() & (found.thresholds == thresholds)].assign(value=found.change, what="change")
    else:
        parts = [run.counts(thresholds, part) for part in ("total", "mean")]
        found = pd.concat(parts).assign(what="count")
    found = found[found["group"].isin(GROUPS)]
    order = {group: place for place, group in enumerate(GROUPS)}
    return found.sort_values("group", key=lambda group: group.map(order), kind="stable")


def _moves_table(run: PageRun) -> Table:
    names = ["thresholds", "group", "kind", "value", "low", "high", "verdict", "movement_low", "movement_high"]
    names += ["movement_verdict"]
    rows = pd.concat([_moves(run, thresholds) for thresholds in THRESHOLDS])
    lines = zip(*(listed(rows[name]) for name in names), strict=True)
    return {"columns": ["run", *names], "rows": [[run.name, *line] for line in lines]}


def _kinds(runs: Sequence[PageRun]) -> Card:
    note = "Each panel has a scale of its own, so that small counts show; bands and bars are 95 % intervals."
    card = Card("kinds", "All neurons, by kind", note, ("thresholds",), ("total",), every_run=True, narrow_below=800)
    return _over_steps(runs, card, "totals", ("all",), kinds_over_steps, wide=4, narrow=2)


def _groups(runs: Sequence[PageRun]) -> Card:
    note = (
        "How many neurons a language owns on average: trained languages as solid lines, the reference as dotted ones, "
        "unseen languages as dashed ones. General neurons belong to all languages and unassigned ones to none."
    )
    card = Card("groups", "Groups of languages", note, ("thresholds",), ("mean",), every_run=True)
    return _over_steps(runs, card, "languages", MEANS, trained_and_unseen, wide=2)


def _heatmaps(runs: Sequence[PageRun]) -> Card:
    note = "Layer 0 is at the bottom; the scale of each kind ends at its highest count."
    card = Card("heatmaps", "Layers over steps", note, _RUN, ("layer",), narrow_below=800)
    return _by_run(
        runs, card, "layers", lambda _, rows, columns: layer_heatmaps(rows, columns), "Heat maps of neurons", 4, 2
    )


def _layers(runs: Sequence[PageRun]) -> Card:
    note = "Bars: the chosen step; line: the first step. Thin lines are 95 % intervals, where computed."
    card = Card("layers", "Layers at one step", note, _RUN, ("layer",), narrow_below=800)
    label = "Bars of neurons by layer and kind; the slider chooses the step"
    return _by_run(
        runs, card, "layers", lambda run, rows, columns: layers_at_step(rows, max(run.steps), columns), label, 4, 2
    )


def _languages(runs: Sequence[PageRun]) -> Card:
    note = f"{first_and_last(runs)} {MARKERS} Pale bars: 95 % intervals."
    card = Card("languages", "Neurons owned, by language", note, _RUN, ("language",))
    label = "Dots of the specific and related neurons of every language, first and last step"
    return _by_run(
        runs,
        card,
        "languages",
        lambda run, rows, columns: languages_before_and_after(rows, run.languages, columns),
        label,
    )


def _degrees(runs: Sequence[PageRun]) -> Card:
    note = (
        f"The degree of a neuron is the number of languages in which it is above tau. {first_and_last(runs)} "
        "Degree 0 is in the data, not drawn: over all neurons it would flatten the rest."
    )
    card = Card("degrees", "Degrees before and after", note, _RUN, ("degree",))
    label = "Bars of neurons by the number of languages in which they are above tau"
    return _by_run(runs, card, "degrees", lambda _, rows, columns: degree_histogram(rows, columns), label)


def _over_steps(
    runs: Sequence[PageRun],
    card: Card,
    what: str,
    groups: Sequence[str],
    build: Callable[[Mapping[str, pd.DataFrame], int], Panels],
    wide: int,
    narrow: int = 1,
) -> Card:
    """A card of all runs in one figure, of these groups. what: its name among what can be missing."""
    labels = letters(runs)
    for thresholds in THRESHOLDS:
        rows = {label: run.counts(thresholds, card.parts[0]) for label, run in labels.items()}
        # One run needs no label: the panel's title says it all.
        named = {"" if len(runs) == 1 else label: found for label, found in rows.items() if len(found)}
        if named:
            card.add(thresholds, partial(build, named), alternative(labels, thresholds, groups), wide, narrow)
        present = {label: basis(run, thresholds) for label, run in labels.items() if len(rows[label])}
        lacking = "reestimated" if thresholds == REESTIMATED else what
        absent = {label: run.missing(lacking) for label, run in labels.items() if not len(rows[label])}
        card.captions += [Caption(text, None, thresholds) for text in grouped(present, len(runs))]
        card.missing += [Caption(text, None, thresholds) for text in grouped(absent, len(runs))]
    card.captions += _interval_captions(runs, card.parts[0])
    return card


def _by_run(
    runs: Sequence[PageRun],
    card: Card,
    what: str,
    build: Callable[[PageRun, pd.DataFrame, int], Panels],
    label: str,
    wide: int = 2,
    narrow: int = 1,
) -> Card:
    """A card of one run at a time, at either thresholds. what: its name among what can be missing."""
    for place, run in enumerate(runs):
        for thresholds in THRESHOLDS:
            rows = run.counts(thresholds, card.parts[0])
            if len(rows):
                said = f"{label}, run {run.name}, {thresholds} thresholds"
                card.add(f"{place}|{thresholds}", partial(build, run, rows), said, wide, narrow)
                text = f"{basis(run, thresholds)} Counts are out of {_denominators(rows)} neurons."
                card.captions.append(Caption(text, place, thresholds))
            else:
                anchored = thresholds == REESTIMATED and len(run.counts(ANCHORED, card.parts[0]))
                card.missing.append(Caption(run.missing("reestimated" if anchored else what), place, thresholds))
    card.captions += _interval_captions(runs, card.parts[0])
    return card


def _denominators(rows: pd.DataFrame) -> str:
    within = sorted(set(rows[rows.degree.notna() & (rows.convention == "selection")].denominator.fillna(0)))
    said = " or ".join(f"{value:,.0f}" for value in sorted(set(rows.denominator.fillna(0)) - set(within)))
    if within:
        ends = dict.fromkeys((within[0], within[-1]))
        said += f"; within the selection out of {' to '.join(f'{value:,.0f}' for value in ends)}"
    return said


def _interval_captions(runs: Sequence[PageRun], part: str) -> list[Caption]:
    """Says where there are no intervals, so that no one takes a missing band for a narrow one."""
    found = []
    for place, run in enumerate(runs):
        rows = run.of("kinds", part=part, is_change=False)
        if len(rows) and rows[["low", "high"]].isna().any(axis=1).all():
            whose = "Intervals" if len(runs) == 1 else f"Intervals of {run.name}"
            found.append(Caption(f"{whose}. {run.missing('intervals')}", place))
    return found
