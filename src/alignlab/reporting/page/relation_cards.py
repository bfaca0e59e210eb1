"""The cards of overlaps, transitions, layer parts and losses: each has a table of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pandas as pd

from alignlab.analysis.languages import EXCESS, EXPECTED, Z
from alignlab.analysis.layer_parts import CURVE, FIRST_LAYER, NO_SIGNATURE, WITHIN_ONE
from alignlab.neurons.table import ANCHORED
from alignlab.reporting.page.answer import basis
from alignlab.reporting.page.asked import pairs_sentence
from alignlab.reporting.page.card import MARKERS, THRESHOLDS, Caption, Card, Table, first_and_last, grouped, letters
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.language_figures import ends_and_course
from alignlab.reporting.page.panels import listed
from alignlab.reporting.page.relation_figures import (
    MEASURES,
    Part,
    Parts,
    layer_parts,
    overlap_against_chance,
    overlap_heatmaps,
    transition_flow,
)
from alignlab.reporting.page.training_figure import training_loss
from alignlab.reporting.wording import joined, lower, number

_UNIT = "nats a token"
_PAIR = ["language", "other"]
_ANCHORED_ONLY = "At anchored thresholds only: at re-estimated ones neurons change their kind as the thresholds do."


def cards(runs: Sequence[PageRun]) -> list[Card]:
    """They, in their order."""
    return [_overlap(runs), _chance(runs), _transitions(runs), _parts(runs), _losses(runs), _training(runs)]


def _overlap(runs: Sequence[PageRun]) -> Card:
    note = (
        "Languages stand family by family, with lines between families. A language with itself is left blank; in the "
        "change * marks what is beyond noise."
    )
    card = Card("overlap", "Overlap between languages", note, ("run", "measure"), narrow_below=800)
    for place, overlaps, families in _overlapping(runs, card):
        changes = _changes(runs[place])
        for measure, words in MEASURES.items():
            draw = partial(overlap_heatmaps, overlaps, families, measure, changes)
            card.add(f"{place}|{measure}", draw, f"Heat maps of {words} by pair of languages", 3)
    return card


def _changes(run: PageRun) -> tuple[str, pd.DataFrame] | None:
    """With a title, the change of every pair since the first step, a column a measure, and if it is beyond noise."""
    rows = run.of("language_overlap", is_change=True, step=max(run.steps))
    if rows.empty:
        return None
    found = _by_measure(rows, _PAIR)
    beyond = rows[rows.measure == EXCESS].set_index(_PAIR).beyond_noise
    return f"Change since {run.step_name(min(run.steps))}", found.assign(beyond_noise=beyond.eq(True))


def _chance(runs: Sequence[PageRun]) -> Card:
    note = (
        "Every point is a pair of languages. On the dotted line it shares what chance gives where every neuron has as "
        "many languages, and every language as many neurons, as here (the margins). These fix the sum over all pairs: "
        "a point above the line shares more than other pairs do."
    )
    card = Card("chance", "Overlap against chance", note, ("run",))
    for place, overlaps, families in _overlapping(runs, card):
        label = "Points of the Jaccard index of every pair of languages against what the margins give"
        card.add(str(place), partial(overlap_against_chance, overlaps, families), label, 2)
    return card


def _overlapping(
    runs: Sequence[PageRun], card: Card
) -> Iterator[tuple[int, list[tuple[str, pd.DataFrame]], dict[str, str]]]:
    """The runs with overlaps: by name of the first and of the last step, what each pair of languages shares (a column a
    measure); and the languages' families. The card gets its captions and its table.
    """
    for place, run in enumerate(runs):
        rows = run.of("language_overlap", is_change=False)
        if rows.empty:
            card.missing.append(Caption(run.missing("overlaps"), place))
            continue
        among = "those above tau in some language" if rows.convention.iloc[0] == "all" else "those selected"
        text = (
            f"Site {run.site}, scope {run.scope}; related neurons, among {among}; thresholds anchored to "
            f"{run.step_name(min(run.steps))}."
        )
        said = [sentence for step in run.ends for sentence in (*_beyond_margins(run, step), *_against_noise(run, step))]
        intervals = () if rows.low.notna().any() else (f"Intervals: {lower(run.missing('intervals'))}",)
        texts = (text, " ".join(said), *intervals)
        card.captions += [Caption(text, place) for text in texts]
        card.tables[str(place)] = _pairs_table(run, rows)
        at = {step: rows[rows.step == step] for step in run.ends if step in set(rows.step)}
        overlaps = [(run.step_title(step), _with_ends(found)) for step, found in at.items()]
        yield place, overlaps, {language.code: language.family for language in run.languages}


def _with_ends(rows: pd.DataFrame) -> pd.DataFrame:
    """A column a measure, and the interval of what is beyond chance."""
    beyond = rows[rows.measure == EXCESS].set_index(_PAIR)
    return _by_measure(rows, _PAIR).join(beyond[["low", "high"]])


def _by_measure(rows: pd.DataFrame, whose: list[str]) -> pd.DataFrame:
    """A column a measure, in the order of the rows."""
    return rows.pivot(index=whose, columns="measure", values="value").reindex(
        pd.MultiIndex.from_frame(rows[whose].drop_duplicates())
    )


def _beyond_margins(run: PageRun, step: int) -> Iterator[str]:
    """How many pairs share more than others, given the margins, and whether families do."""
    name = run.step_title(step)
    pairs = run.of("language_overlap", step=step, measure=Z, is_change=False)
    if len(pairs):
        yield pairs_sentence(name, pairs.itertuples())
    for row in run.of("family_overlap", step=step, measure=Z, is_change=False).dropna(subset="p").itertuples():
        yield f"{name}: of pairs within a language family, less others: z {number(row.value, 1, '+')}, p {row.p:.2g}."


def _against_noise(run: PageRun, step: int) -> Iterator[str]:
    """How many pairs share more beyond the margins than at the first step."""
    name, first = run.step_title(step), run.step_name(min(run.steps))
    found = run.of("language_overlap", step=step, measure=EXCESS, is_change=True).dropna(subset="low")
    if len(found):
        beyond = found.beyond_noise.fillna(False).astype(bool)
        more, fewer = (beyond & (found.value > 0)).sum(), (beyond & ~(found.value > 0)).sum()
        yield (
            f"{name}: beyond noise, {more} of {len(found)} pairs share more beyond the margins than at {first} and "
            f"{fewer} less."
        )


def _pairs_table(run: PageRun, rows: pd.DataFrame) -> Table:
    """Every pair of languages at both steps, what it shares and by how much that has changed."""
    whose = ["step", *_PAIR]
    found = _by_measure(rows[rows.step.isin(run.ends)], whose).reset_index()
    for prefix, is_change in (("excess_", False), ("change_", True)):
        beyond = run.of("language_overlap", measure=EXCESS, is_change=is_change)
        found = found.merge(beyond[[*whose, "value", "low", "high"]], how="left", on=whose)
        found = found.rename(columns={end: prefix + end for end in ("value", "low", "high")})
    verdicts = run.of("language_overlap", measure=Z, is_change=False)
    found = found.merge(verdicts[[*whose, "p_adjusted"]], how="left", on=whose)
    ends = ["excess_low", "excess_high", "change", "change_low", "change_high"]
    names = {"language": "a", "other": "b", "change_value": "change", EXPECTED: "expected", Z: "z"}
    columns = ["step", "a", "b", "jaccard", "expected", "z", "p_adjusted", *ends]
    return _table(run, found.rename(columns=names), columns)


def _table(run: PageRun, rows: pd.DataFrame, columns: list[str]) -> Table:
    lines = zip(*(listed(rows[column]) for column in columns), strict=True)
    return {"columns": ["run", *columns], "rows": [[run.name, *line] for line in lines]}


def _transitions(runs: Sequence[PageRun]) -> Card:
    note = "Strong bands leave their kind, pale ones keep it. Neurons of no kind at both ends are in the table only."
    card = Card("transitions", "From kind to kind", note, ("run", "thresholds", "until"))
    for place, run in enumerate(runs):
        rows, first = run.of("transitions"), run.step_name(min(run.steps))
        for (thresholds, step), moves in run.transitions.items():
            moved = sum(row.value for (old, new), row in moves.items() if old != new)
            label = f"Flow of neurons from {first} to {run.step_name(step)}: {number(moved)} change their kind"
            figure = transition_flow(moves, run.step_title(min(run.steps)), run.step_title(step))
            key = f"{place}|{thresholds}|{step}"
            card.variants[key], card.labels[key] = (figure, figure), label
        columns = {"kind": "before", "to_kind": "after", "value": "count"}
        names = ["thresholds", "step", *columns.values(), "low", "high"]
        card.tables[str(place)] = _table(run, rows.rename(columns=columns), names)
        for thresholds in THRESHOLDS:
            if thresholds in set(rows.thresholds):
                card.captions.append(Caption(basis(run, thresholds), place, thresholds))
            else:
                lacking = _ANCHORED_ONLY if len(rows) else run.missing("transitions")
                card.missing.append(Caption(lacking, place, thresholds))
    return card


def _parts(runs: Sequence[PageRun]) -> Card:
    note = "The layers cut into parts where specific, related and general neurons change together."
    card = Card("parts", "Parts of the layers", note, ("run", "partsAt"))
    for place, run in enumerate(runs):
        found = parts_of(run)
        if not found:
            why = f"Not computed: {run.parts_refused}" if run.parts_refused else run.missing("parts")
            card.missing.append(Caption(why, place))
            continue
        for step, at in found.items():
            names = ", ".join(part.label or "no label" for part in at.parts)
            label = f"Curves over layers in {len(at.parts)} parts: {names}"
            card.add(f"{place}|{step}", partial(layer_parts, at), label, 2)
        card.captions.append(Caption(basis(run, ANCHORED), place))
        lines = [[run.name, step, *part] for step, at in found.items() for part in at.parts]
        card.tables[str(place)] = {"columns": ["run", "step", *Part._fields], "rows": lines}
    return card


def parts_of(run: PageRun) -> dict[int, Parts]:
    """The parts of the layers at each step that has them."""
    found: dict[int, Parts] = {}
    # One pass over plain tuples: there can be hundreds of steps.
    for row in run.of("layer_parts", is_change=False).sort_values("step", kind="stable").itertuples(index=False):
        at = found.setdefault(row.step, Parts(run.shape[0]))
        if row.measure == FIRST_LAYER:
            at.starts.append((int(row.value), row.label.replace(NO_SIGNATURE, "")))
        elif row.measure == WITHIN_ONE:
            at.shares[int(row.layer)] = row.value
        elif row.measure == CURVE:
            at.curves.setdefault(row.kind, []).append((int(row.layer), row.value))
        elif row.unit == "error":
            at.costs.append(row.value)
    return found


def _losses(runs: Sequence[PageRun]) -> Card:
    note = f"Left: {lower(first_and_last(runs))} {MARKERS} Pale bars: 95 % intervals."
    card = Card("losses", "Loss by language", note, ("run",))
    for place, run in enumerate(runs):
        if run.losses.empty:
            card.missing.append(Caption(run.missing("losses"), place))
            continue
        words: dict[str, Any] = {"groups": "mean over languages", "title": f"loss, {_UNIT}", "unit": _UNIT}
        draw = partial(ends_and_course, run.losses, run.languages, **words)
        card.add(str(place), draw, "Dots of the loss of every language at the first and last step", 2)
        what = f"Mean negative log-likelihood of the counted tokens (scope {run.scope}) of every language, {_UNIT}."
        card.captions.append(Caption(what, place))
        of_languages = run.losses[run.losses.language != ""].rename(columns={"value": "loss"})
        card.tables[str(place)] = _table(run, of_languages, ["step", "language", "loss"])
    return card


def _training(runs: Sequence[PageRun]) -> Card:
    card = Card("training", "Loss of training", "Of what is trained on.", ("all",))
    curves = {label: run.training_loss for label, run in letters(runs).items() if run.training_loss}
    if curves:
        ends = "; ".join(f"{label} {curve[0][1]:.3f} to {curve[-1][1]:.3f}" for label, curve in curves.items())
        units = list(dict.fromkeys(run.training_units for run in runs if run.training_loss))
        card.add("", partial(training_loss, curves, units), f"Line of the training loss over steps: {ends}", 1)
        card.captions.append(Caption(f"Mean over the {joined(units)} of a step; of tokens it is in nats."))
    rows = [[run.name, step, loss] for run in runs for step, loss in run.training_loss or ()]
    card.tables[""] = {"columns": ["run", "step", "loss"], "rows": rows}
    absent = {label: run.missing("training_loss") for label, run in letters(runs).items() if not run.training_loss}
    card.missing += [Caption(text) for text in grouped(absent, len(runs))]
    return card
