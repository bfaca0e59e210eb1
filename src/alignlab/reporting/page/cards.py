"""The cards of the page: every figure with its captions; here those of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from alignlab.neurons.table import ANCHORED, REESTIMATED, Row
from alignlab.reporting.page import relation_cards
from alignlab.reporting.page.answer import alternative, basis
from alignlab.reporting.page.card import THRESHOLDS, Caption, Card, grouped, letters
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.figures import (
    degree_histogram,
    kinds_over_steps,
    languages_before_and_after,
    layer_heatmaps,
    layers_at_step,
    trained_and_unseen,
)
from alignlab.reporting.page.panels import Panels, has_interval
from alignlab.reporting.page.payload import PageFigure


def cards(runs: Sequence[PageRun]) -> dict[str, Card]:
    """Every card of the page by its name."""
    made = [
        _kinds(runs),
        _groups(runs),
        _heatmaps(runs),
        _layers(runs),
        _languages(runs),
        _degrees(runs),
        relation_cards.overlap(runs),
        relation_cards.chance(runs),
        relation_cards.transitions(runs),
        relation_cards.parts(runs),
        relation_cards.losses(runs),
        relation_cards.training(runs),
    ]
    for card in made:
        for key, figures in card.figure.variants.items():
            shown = runs[int(key.split("|")[0])] if "run" in card.figure.by else None
            names = shown.step_names if shown else {step: name for run in runs for step, name in run.step_names.items()}
            for figure in figures:
                figure.name_steps(names)
    return {card.name: card for card in made}


def _kinds(runs: Sequence[PageRun]) -> Card:
    note = "Each panel has a scale of its own, so that small counts show; bands and bars are 95 % intervals."
    return _over_steps(runs, "kinds", "All neurons, by kind", note, "all", kinds_over_steps, "total", 2)


def _groups(runs: Sequence[PageRun]) -> Card:
    note = (
        "How many neurons a language owns on average: trained languages as solid lines, unseen ones (without training "
        "text) as dashed lines. General neurons belong to all languages and unassigned ones to none."
    )
    return _over_steps(runs, "groups", "Trained and unseen languages", note, "groups", trained_and_unseen, "mean")


def _over_steps(
    runs: Sequence[PageRun],
    name: str,
    title: str,
    note: str,
    group: str,
    build: Callable[[Mapping[str, Sequence[Row]], int], Panels],
    part: str,
    wide: int = 0,
) -> Card:
    """A card of all runs in one figure. wide: its columns; 0 for one a run."""
    card = Card(name, title, note, PageFigure(("thresholds",), parts=(part,), every_run=True))
    labels = letters(runs)
    for thresholds in THRESHOLDS:
        rows = {label: run.counts(thresholds, part) for label, run in labels.items()}
        if any(rows.values()):
            # One run needs no label: the panel's title says it all.
            named = {"" if len(runs) == 1 else label: found for label, found in rows.items() if found}
            said = alternative(labels, thresholds, group)
            card.figure.add(thresholds, partial(build, named), said, wide or max(2, len(named)))
    for thresholds in THRESHOLDS:
        there = {label: run for label, run in labels.items() if run.counts(thresholds, part)}
        lacking = {label: run for label, run in labels.items() if label not in there}
        what = "reestimated" if thresholds == REESTIMATED else "languages" if part == "mean" else "totals"
        present = {label: basis(run, thresholds) for label, run in there.items()}
        absent = {label: run.missing(what) for label, run in lacking.items()}
        card.captions += [Caption(text, None, thresholds) for text in grouped(present, len(runs))]
        card.missing += [Caption(text, None, thresholds) for text in grouped(absent, len(runs))]
    card.captions += _interval_captions(runs, part)
    return card


def _heatmaps(runs: Sequence[PageRun]) -> Card:
    note = "Layer 0 is at the bottom. Blank is none; the scale of each kind ends at its highest count."
    card = Card("heatmaps", "Layers over steps", note, PageFigure(("run", "thresholds"), parts=("layer",)))
    return _by_thresholds(
        runs, card, "layers", lambda run, rows, columns: layer_heatmaps(rows, columns), "Heat maps of neurons", 4, 2
    )


def _layers(runs: Sequence[PageRun]) -> Card:
    note = "Bars: the chosen step, with 95 % intervals where computed. Line: the first step."
    card = Card("layers", "Layers at one step", note, PageFigure(("run", "thresholds"), parts=("layer",)))
    return _by_thresholds(
        runs,
        card,
        "layers",
        lambda run, rows, columns: layers_at_step(rows, max(run.steps), columns),
        "Bars of neurons by layer and kind; the slider chooses the step",
        2,
    )


def _languages(runs: Sequence[PageRun]) -> Card:
    note = "Hollow: first step; filled: last step. Circles: trained; diamonds: unseen."
    figure = PageFigure(("run", "thresholds"), parts=("language",))
    card = Card("languages", "Neurons owned, by language", note, figure)
    return _by_thresholds(
        runs,
        card,
        "languages",
        lambda run, rows, columns: languages_before_and_after(rows, run.languages, columns),
        "Dots of the specific and related neurons of every language, first and last step",
        2,
    )


def _degrees(runs: Sequence[PageRun]) -> Card:
    note = (
        "The degree of a neuron is the number of languages in which it is above tau. Hollow: first step; filled: last. "
        "Degree 0 (above tau in none) is in the table, not drawn: over all neurons it would flatten the rest."
    )
    card = Card("degrees", "Degrees before and after", note, PageFigure(("run", "thresholds"), parts=("degree",)))
    return _by_thresholds(
        runs,
        card,
        "degrees",
        lambda run, rows, columns: degree_histogram(rows, columns),
        "Bars of neurons by the number of languages in which they are above tau",
        2,
    )


def _by_thresholds(
    runs: Sequence[PageRun],
    card: Card,
    part: str,
    build: Callable[[PageRun, Sequence[Row], int], Panels],
    label: str,
    wide: int,
    narrow: int = 1,
) -> Card:
    """A card of one run at a time, at either thresholds. part: its name among what can be missing."""
    part_shown = card.figure.parts[0]
    for place, run in enumerate(runs):
        for thresholds in THRESHOLDS:
            rows = run.counts(thresholds, part_shown)
            if rows:
                draw = partial(build, run, rows)
                said = f"{label}, run {run.name}, {thresholds} thresholds"
                card.figure.add(f"{place}|{thresholds}", draw, said, wide, narrow)
                card.captions.append(Caption(_with_denominator(basis(run, thresholds), rows), place, thresholds))
            else:
                what = "reestimated" if thresholds == REESTIMATED and run.counts(ANCHORED, part_shown) else part
                card.missing.append(Caption(run.missing(what), place, thresholds))
    card.captions += _interval_captions(runs, part_shown)
    return card


def _with_denominator(text: str, rows: Sequence[Row]) -> str:
    within = sorted({row.denominator or 0 for row in rows if row.degree is not None and row.convention == "selection"})
    others = sorted({row.denominator or 0 for row in rows} - set(within))
    said = f"{text} Counts are out of {' or '.join(f'{value:,}' for value in others)}"
    if within:
        said += f"; within the selection out of {within[0]:,}"
        said += f" to {within[-1]:,}" if len(within) > 1 else ""
    return f"{said} neurons."


def _interval_captions(runs: Sequence[PageRun], part: str) -> list[Caption]:
    """Says where there are no intervals, so that no one takes a missing band for a narrow one."""
    found = []
    for place, run in enumerate(runs):
        rows = [row for thresholds in THRESHOLDS for row in run.counts(thresholds, part)]
        if rows and not any(has_interval(row) for row in rows):
            whose = "Intervals" if len(runs) == 1 else f"Intervals of {run.name}"
            found.append(Caption(f"{whose}. {run.missing('intervals')}", place))
    return found
