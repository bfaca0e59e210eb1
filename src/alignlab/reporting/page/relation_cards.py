"""The cards of overlaps, transitions, layer parts and losses: each has a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from alignlab.analysis.layer_parts import FIRST_LAYER, NO_SIGNATURE, WITHIN_ONE
from alignlab.neurons.table import ANCHORED, Row
from alignlab.reporting.page.answer import basis, number
from alignlab.reporting.page.card import THRESHOLDS, Caption, Card, capital, grouped, letters, lower
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.loss_figures import loss_by_language, training_loss
from alignlab.reporting.page.payload import PageFigure, Table
from alignlab.reporting.page.relation_figures import (
    MEASURES,
    Overlaps,
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
        card.figure.tables[str(place)] = _pairs_table(run)
    return card


def chance(runs: Sequence[PageRun]) -> Card:
    note = "Every point is a pair of languages; on the dotted line it shares what two random sets of those sizes would."
    card = Card("chance", "Overlap against chance", note, PageFigure(("run",)))
    for place, run, overlaps, titles in _overlapping(runs, card):
        names = {language.code: language for language in run.languages}
        draw = partial(overlap_against_chance, overlaps, names, titles)
        card.figure.add(str(place), draw, "Points of the Jaccard index of every pair of languages against chance", 2)
        card.figure.tables[str(place)] = _pairs_table(run)
    return card


def _overlapping(runs: Sequence[PageRun], card: Card) -> Iterator[tuple[int, PageRun, list[Overlaps], list[str]]]:
    """The runs with overlaps, of the first and the last step, with the captions of the card."""
    for place, run in enumerate(runs):
        rows = run.of("language_overlap", since="")
        if not rows:
            card.missing.append(Caption(run.missing("overlaps"), place))
            continue
        among = "those above tau in some language" if rows[0].convention == "all" else "those selected"
        text = (
            f"Site {run.site}, scope {run.scope}; related neurons, among {among}; thresholds anchored to "
            f"{run.step_name(min(run.steps))}."
        )
        card.captions.append(Caption(text, place))
        said = [sentence for step in run.ends for sentence in _against_noise(run, step)]
        card.captions.append(Caption(" ".join(said) or f"Intervals: {lower(run.missing('intervals'))}", place))
        steps = [step for step in run.ends if step in run.steps_of("language_overlap")]
        yield place, run, [_overlaps(run, step) for step in steps], [capital(run.step_name(step)) for step in steps]


def _overlaps(run: PageRun, step: int, *, changes: bool = False) -> Overlaps:
    rows = run.of("language_overlap", step=step)
    return {(row.language, row.other, row.measure): row for row in rows if row.is_change is changes}


def _against_noise(run: PageRun, step: int) -> Iterator[str]:
    """How many pairs share more than chance, and how many share more than at the first step."""
    name, first = capital(run.step_name(step)), run.step_name(min(run.steps))
    for changes, than in ((False, "than chance"), (True, f"beyond chance than at {first}")):
        found = [row for row in run.of("language_overlap", step=step, measure="beyond chance") if row.low is not None]
        verdicts = [(row.beyond_noise, row.value > 0) for row in found if row.is_change is changes]
        if verdicts:
            more, fewer = verdicts.count((True, True)), verdicts.count((True, False))
            yield f"{name}: beyond noise, {more} of {len(verdicts)} pairs share more {than} and {fewer} less."


def _pairs_table(run: PageRun) -> Table:
    """Every pair of languages at both steps."""
    measures = ("jaccard", "chance", "z")
    rows = []
    for step in run.ends:
        overlaps, changes = _overlaps(run, step), _overlaps(run, step, changes=True)
        for a, b in dict.fromkeys((a, b) for a, b, _ in overlaps):
            beyond, change = (found.get((a, b, "beyond chance")) for found in (overlaps, changes))
            values = [measure_of(overlaps, measure, a, b) for measure in measures]
            rows.append([run.name, step, a, b, *values, *_ends(beyond), change and change.value, *_ends(change)])
    ends = [f"{what}_{end}" for what in ("beyond_chance", "change") for end in ("low", "high")]
    return {"columns": ["run", "step", "a", "b", *measures, *ends[:2], "change", *ends[2:]], "rows": rows}


def _ends(row: Row | None) -> tuple[float | None, float | None]:
    return (None, None) if row is None else (row.low, row.high)


def transitions(runs: Sequence[PageRun]) -> Card:
    note = "Strong bands leave their kind, pale ones keep it. Neurons of no kind at both ends are in the table only."
    card = Card("transitions", "From kind to kind", note, PageFigure(("run", "thresholds", "until")))
    for place, run in enumerate(runs):
        first = run.step_name(min(run.steps))
        rows: list[list[object]] = []
        found = transition_tables(run)
        for (thresholds, step), moves in found.items():
            key = f"{place}|{thresholds}|{step}"
            moved = sum(row.value for (old, new), row in moves.items() if old != new)
            label = f"Flow of neurons from {first} to {run.step_name(step)}: {number(moved)} change their kind"
            figure = transition_flow(moves, capital(first), capital(run.step_name(step)))
            card.figure.variants[key], card.figure.labels[key] = (figure, figure), label
            rows += [
                [run.name, thresholds, step, old, new, int(row.value), row.low, row.high]
                for (old, new), row in moves.items()
            ]
        card.figure.tables[str(place)] = {
            "columns": ["run", "thresholds", "step", "before", "after", "count", "low", "high"],
            "rows": rows,
        }
        for thresholds in THRESHOLDS:
            if any(at == thresholds for at, _ in found):
                card.captions.append(Caption(basis(run, thresholds), place, thresholds))
            else:
                card.missing.append(Caption(run.missing("transitions"), place, thresholds))
    return card


def transition_tables(run: PageRun) -> dict[tuple[str, int], dict[tuple[str, str], Row]]:
    """By thresholds and step, the neurons that went from each kind at the first step to each."""
    found: dict[tuple[str, int], dict[tuple[str, str], Row]] = {}
    for row in run.of("transitions"):
        found.setdefault((row.thresholds, row.step or 0), {})[row.kind, row.to_kind] = row
    return found


def parts(runs: Sequence[PageRun]) -> Card:
    note = "The layers cut into parts where specific, related and general neurons change together."
    card = Card("parts", "Parts of the layers", note, PageFigure(("run", "partsAt")))
    for place, run in enumerate(runs):
        steps = run.steps_of("layer_parts")
        if not steps:
            why = f"Refused: {run.parts_refused}" if run.parts_refused else run.missing("parts")
            card.missing.append(Caption(why, place))
            continue
        for step in steps:
            found = run.of("layer_parts", step=step, since="")
            rows = [row for row in run.counts(ANCHORED, "layer") if row.step == step]
            names = [_label(row) or "no label" for row in found if row.measure == FIRST_LAYER]
            label = f"Curves over layers in {len(names)} parts: {', '.join(names)}"
            card.figure.add(f"{place}|{step}", partial(layer_parts, rows, found), label, 2)
        card.captions.append(Caption(basis(run, ANCHORED), place))
        card.figure.tables[str(place)] = {
            "columns": ["run", "step", "part", "first_layer", "last_layer", "label", "cut_share"],
            "rows": [[run.name, *line] for step in steps for line in part_rows(run, step)],
        }
    return card


def part_rows(run: PageRun, step: int) -> list[tuple[int, int, int, int, str, float | None]]:
    """Step, part from 1, its first and last layer, its label, and the share of resamples with its first cut there."""
    found = run.of("layer_parts", step=step, since="")
    starts = [row for row in found if row.measure == FIRST_LAYER]
    shares = {row.layer: row.value for row in found if row.measure == WITHIN_ONE}
    bounds = [*(int(row.value) for row in starts), run.shape[0]]
    return [
        (step, place + 1, bounds[place], bounds[place + 1] - 1, _label(row), shares.get(bounds[place]))
        for place, row in enumerate(starts)
    ]


def _label(row: Row) -> str:
    return "" if row.label == NO_SIGNATURE else row.label


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
            "rows": [[run.name, row.step, row.language, row.value] for row in run.losses if row.language],
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
