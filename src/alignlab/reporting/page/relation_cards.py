"""The cards of overlaps, transitions, layer parts and losses: each has a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from alignlab.neurons.table import ANCHORED
from alignlab.reporting.page.answer import basis, number
from alignlab.reporting.page.card import THRESHOLDS, Caption, Card, capital, grouped, letters, lower, rows_of
from alignlab.reporting.page.data import TRANSITION_KINDS, LanguageOverlap, LayerParts, PageRun
from alignlab.reporting.page.loss_figures import loss_by_language, training_loss
from alignlab.reporting.page.payload import PageFigure, Table
from alignlab.reporting.page.relation_figures import (
    MEASURES,
    layer_parts,
    measure_of,
    overlap_against_chance,
    overlap_heatmaps,
    transition_flow,
)


def overlap(runs: Sequence[PageRun]) -> Card:
    note = "Languages stand in order of their families. A language with itself is left blank."
    card = Card("overlap", "Overlap between languages", note, PageFigure(("run", "measure")))
    for place, run, overlaps, titles in _overlapping(runs, card):
        names = {language.code: language for language in run.languages}
        for measure, words in MEASURES.items():
            draw = partial(overlap_heatmaps, overlaps, names, titles, measure)
            card.figure.add(f"{place}|{measure}", draw, f"Heat maps of {words} by pair of languages", 2)
        card.figure.tables[str(place)] = _pairs_table(run, overlaps)
    return card


def chance(runs: Sequence[PageRun]) -> Card:
    note = "Every point is a pair of languages; on the dotted line it shares what two random sets of those sizes would."
    card = Card("chance", "Overlap against chance", note, PageFigure(("run",)))
    for place, run, overlaps, titles in _overlapping(runs, card):
        names = {language.code: language for language in run.languages}
        draw = partial(overlap_against_chance, overlaps, names, titles)
        card.figure.add(str(place), draw, "Points of the Jaccard index of every pair of languages against chance", 2)
        card.figure.tables[str(place)] = _pairs_table(run, overlaps)
    return card


def _overlapping(
    runs: Sequence[PageRun], card: Card
) -> Iterator[tuple[int, PageRun, list[LanguageOverlap], list[str]]]:
    """The runs with overlaps, with the captions of the card."""
    for place, run in enumerate(runs):
        if not run.overlaps:
            card.missing.append(Caption(run.missing("overlaps"), place))
            continue
        overlaps = list(run.overlaps)
        what = "; ".join(dict.fromkeys(found.of for found in overlaps))
        text = f"Site {run.site}, scope {run.scope}; {what}; thresholds anchored to {run.step_name(min(run.steps))}."
        card.captions.append(Caption(text, place))
        said = [_against_noise(run, found) for found in overlaps if found.against_noise]
        card.captions.append(Caption(" ".join(said) or f"Intervals: {lower(run.missing('intervals'))}", place))
        yield place, run, overlaps, [capital(run.step_name(found.step)) for found in overlaps]


def _against_noise(run: PageRun, found: LanguageOverlap) -> str:
    assert found.against_noise is not None
    more, fewer, pairs = found.against_noise
    return (
        f"{capital(run.step_name(found.step))}: beyond noise, {more} of {pairs} pairs share more than chance and "
        f"{fewer} less."
    )


def _pairs_table(run: PageRun, overlaps: Sequence[LanguageOverlap]) -> Table:
    """Every pair of languages at every step."""
    measures = ("jaccard", "chance", "z")
    return {
        "columns": ["run", "step", "a", "b", *measures, "beyond_chance_low", "beyond_chance_high"],
        "rows": [
            [
                run.name,
                found.step,
                a,
                b,
                *(measure_of(found, measure, i, j) for measure in measures),
                *(ends[i][j] if ends else None for ends in (found.low, found.high)),
            ]
            for found in overlaps
            for i, a in enumerate(found.languages)
            for j, b in enumerate(found.languages)
            if i < j
        ],
    }


def transitions(runs: Sequence[PageRun]) -> Card:
    note = "Strong bands leave their kind, pale ones keep it. Neurons of no kind at both ends are in the table only."
    card = Card("transitions", "From kind to kind", note, PageFigure(("run", "thresholds", "until")))
    for place, run in enumerate(runs):
        first = run.step_name(min(run.steps))
        rows: list[list[object]] = []
        for found in run.transitions or ():
            key = f"{place}|{found.thresholds}|{found.step}"
            moved = sum(n for i, line in enumerate(found.table) for j, n in enumerate(line) if i != j)
            label = f"Flow of neurons from {first} to {run.step_name(found.step)}: {number(moved)} change their kind"
            figure = transition_flow(found, capital(first), capital(run.step_name(found.step)))
            card.figure.variants[key], card.figure.labels[key] = (figure, figure), label
            rows += [
                [
                    run.name,
                    found.thresholds,
                    found.step,
                    before,
                    after,
                    found.table[i][j],
                    *(ends[i][j] if ends else None for ends in (found.low, found.high)),
                ]
                for i, before in enumerate(TRANSITION_KINDS)
                for j, after in enumerate(TRANSITION_KINDS)
            ]
        card.figure.tables[str(place)] = {
            "columns": ["run", "thresholds", "step", "before", "after", "count", "low", "high"],
            "rows": rows,
        }
        for thresholds in THRESHOLDS:
            if any(found.thresholds == thresholds for found in run.transitions or ()):
                card.captions.append(Caption(basis(run, thresholds), place, thresholds))
            else:
                card.missing.append(Caption(run.missing("transitions"), place, thresholds))
    return card


def parts(runs: Sequence[PageRun]) -> Card:
    note = "The layers cut into parts where specific, related and general neurons change together."
    card = Card("parts", "Parts of the layers", note, PageFigure(("run", "partsAt")))
    for place, run in enumerate(runs):
        if not run.parts:
            why = f"Refused: {run.parts_refused}" if run.parts_refused else run.missing("parts")
            card.missing.append(Caption(why, place))
            continue
        rows = rows_of(run, ANCHORED, "layer")
        for found in run.parts:
            names = ", ".join(label or "no label" for label in found.labels)
            draw = partial(layer_parts, rows, found)
            card.figure.add(
                f"{place}|{found.step}", draw, f"Curves over layers in {len(found.labels)} parts: {names}", 2
            )
        card.captions.append(Caption(basis(run, ANCHORED), place))
        card.figure.tables[str(place)] = {
            "columns": ["run", "step", "part", "first_layer", "last_layer", "label", "cut_share"],
            "rows": [[run.name, *line] for found in run.parts for line in part_rows(run, found)],
        }
    return card


def part_rows(run: PageRun, parts: LayerParts) -> list[tuple[int, int, int, int, str, float | None]]:
    """Step, part from 1, its first and last layer, its label, and the share of resamples with its first cut there."""
    bounds = [0, *parts.cuts, run.shape[0]]
    shares: list[float | None] = [None] * (len(parts.cuts) + 1)
    shares[1:] = parts.cut_shares or shares[1:]
    return [
        (parts.step, place + 1, bounds[place], bounds[place + 1] - 1, label, shares[place])
        for place, label in enumerate(parts.labels)
    ]


def losses(runs: Sequence[PageRun]) -> Card:
    note = "Left: hollow the first step, filled the last; circles are trained languages, diamonds unseen ones."
    card = Card("losses", "Loss by language", note, PageFigure(("run",)))
    for place, run in enumerate(runs):
        if not run.losses:
            card.missing.append(Caption(run.missing("losses"), place))
            continue
        draw = partial(loss_by_language, run.losses, run.languages)
        card.figure.add(str(place), draw, "Dots of the loss of every language at the first and last step", 2)
        text = (
            f"Mean negative log-likelihood of the counted tokens (scope {run.scope}) of every language, nats a token."
        )
        card.captions.append(Caption(text, place))
        card.figure.tables[str(place)] = {
            "columns": ["run", "step", "language", "loss"],
            "rows": [[run.name, row.step, row.language, row.loss] for row in run.losses],
        }
    return card


def training(runs: Sequence[PageRun]) -> Card:
    card = Card("training", "Loss of training", "Of the answer tokens that are trained on.", PageFigure(("all",)))
    curves = {label: run.training_loss for label, run in letters(runs).items() if run.training_loss}
    if curves:
        ends = "; ".join(f"{label} {curve[0][1]:.3f} to {curve[-1][1]:.3f}" for label, curve in curves.items())
        card.figure.add("", partial(training_loss, curves), f"Line of the training loss over steps: {ends}", 1)
        card.captions.append(Caption("Mean over the trained tokens of a step, nats a token."))
    table = {
        "columns": ["run", "step", "loss"],
        "rows": [[run.name, step, loss] for run in runs for step, loss in run.training_loss or ()],
    }
    card.figure.tables[""] = table
    absent = {label: run.missing("training_loss") for label, run in letters(runs).items() if not run.training_loss}
    card.missing += [Caption(text) for text in grouped(absent, len(runs))]
    return card
