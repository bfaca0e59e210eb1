"""The cards of the page: every figure with its captions; here those of counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import pandas as pd

from alignlab.neurons.table import ANCHORED, REESTIMATED
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
from alignlab.reporting.page.panels import Panels

_RUN = ("run", "thresholds")


def cards(runs: Sequence[PageRun]) -> dict[str, Card]:
    """Every card of the page by its name."""
    made = [
        _over_steps(
            runs,
            Card(
                "kinds",
                "All neurons, by kind",
                "Each panel has a scale of its own, so that small counts show; bands and bars are 95 % intervals.",
                ("thresholds",),
                ("total",),
                every_run=True,
            ),
            "totals",
            ("all",),
            kinds_over_steps,
            wide=2,
        ),
        _over_steps(
            runs,
            Card(
                "groups",
                "Trained and unseen languages",
                "How many neurons a language owns on average: trained languages as solid lines, unseen ones (without "
                "training text) as dashed lines. General neurons belong to all languages and unassigned ones to none.",
                ("thresholds",),
                ("mean",),
                every_run=True,
            ),
            "languages",
            ("trained", "unseen"),
            trained_and_unseen,
            wide=0,  # one a run
        ),
        _by_run(
            runs,
            Card(
                "heatmaps",
                "Layers over steps",
                "Layer 0 is at the bottom. Blank is none; the scale of each kind ends at its highest count.",
                _RUN,
                ("layer",),
            ),
            "layers",
            lambda _, rows, columns: layer_heatmaps(rows, columns),
            "Heat maps of neurons",
            wide=4,
            narrow=2,
        ),
        _by_run(
            runs,
            Card(
                "layers",
                "Layers at one step",
                "Bars: the chosen step, with 95 % intervals where computed. Line: the first step.",
                _RUN,
                ("layer",),
            ),
            "layers",
            lambda run, rows, columns: layers_at_step(rows, max(run.steps), columns),
            "Bars of neurons by layer and kind; the slider chooses the step",
        ),
        _by_run(
            runs,
            Card(
                "languages",
                "Neurons owned, by language",
                "Hollow: first step; filled: last step. Circles: trained; diamonds: unseen.",
                _RUN,
                ("language",),
            ),
            "languages",
            lambda run, rows, columns: languages_before_and_after(rows, run.languages, columns),
            "Dots of the specific and related neurons of every language, first and last step",
        ),
        _by_run(
            runs,
            Card(
                "degrees",
                "Degrees before and after",
                "The degree of a neuron is the number of languages in which it is above tau. Hollow: first step; "
                "filled: last. Degree 0 (above tau in none) is in the table, not drawn: over all neurons it would "
                "flatten the rest.",
                _RUN,
                ("degree",),
            ),
            "degrees",
            lambda _, rows, columns: degree_histogram(rows, columns),
            "Bars of neurons by the number of languages in which they are above tau",
        ),
        *relation_cards.cards(runs),
    ]
    for card in made:
        for key, figures in card.variants.items():
            shown = [runs[int(key.split("|")[0])]] if "run" in card.by else runs
            names = {step: name for run in shown for step, name in run.step_names.items()}
            for figure in figures:
                figure.name_steps(names)
    return {card.name: card for card in made}


def _over_steps(
    runs: Sequence[PageRun],
    card: Card,
    what: str,
    groups: Sequence[str],
    build: Callable[[Mapping[str, pd.DataFrame], int], Panels],
    wide: int,
) -> Card:
    """A card of all runs in one figure, of these groups. what: its name among what can be missing."""
    labels = letters(runs)
    for thresholds in THRESHOLDS:
        rows = {label: run.counts(thresholds, card.parts[0]) for label, run in labels.items()}
        # One run needs no label: the panel's title says it all.
        named = {"" if len(runs) == 1 else label: found for label, found in rows.items() if len(found)}
        if named:
            card.add(thresholds, partial(build, named), alternative(labels, thresholds, groups), wide)
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
