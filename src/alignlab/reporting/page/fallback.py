"""What the page shows of a fallback: the language of the answers while languages are switched off one after another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from alignlab.neurons.table import Row
from alignlab.reporting.fallback_table import Path, path_sentences, paths
from alignlab.reporting.page.card import Caption, Card
from alignlab.reporting.page.intervention_figures import Curve, fallback_curves
from alignlab.reporting.page.panels import plain
from alignlab.reporting.wording import joined

_NOTE = (
    "From left to right one more language is off at every step, none at the first. Each line is the share of all "
    "answers that are in a language; its 95 % interval is in the data. Right: matched neurons in the languages' "
    "place, the mean of their draws."
)
COLUMNS = (
    "path", "step", "switched_off", "language", "share", "low", "high", "matched_control", "control_sd", "over_control",
    "over_control_low", "over_control_high", "p_corrected", "correction", "beyond_control", "answers",
)  # fmt: skip
_UNTOLD = "untold"


def fallback_card(name: str, title: str, rows: Sequence[Row], run: int) -> tuple[Card | None, dict[str, str]]:
    """The paths of a folder of interventions, and the keys of the variants by their names; no card without any.

    name, title: of the card.  run: its place.
    """
    found = paths(rows)
    if not found:
        return None, {}
    card, views = Card(name, title, _NOTE, ("run", name)), {}
    for number, path in enumerate(found):
        steps = f"Lines over {len(path.steps)} steps, a line a language. {' '.join(path_sentences(path))}"
        off = [step.last for step in path.steps]
        card.add(f"{run}|{number}", partial(fallback_curves, curves(path), off), plain(steps), 2)
        views[_named(path)] = str(number)
        card.captions += [Caption(plain(f"{path.record}: {sentence}"), run) for sentence in path_sentences(path)]
    card.captions.append(Caption(_basis(found), run))
    card.tables[str(run)] = {"columns": list(COLUMNS), "rows": [line for path in found for line in lines(path)]}
    return card, views


def curves(path: Path) -> list[Curve]:
    """Of every language, and of answers in none that is told, its share at each step and under the matched control."""
    made = []
    for language in [*path.languages, ""]:
        rows = [step.shares[language] for step in path.steps]
        beside = [step.controls.get(language) for step in path.steps]
        made.append(
            Curve(
                language or _UNTOLD,
                [float(count) for count in range(len(rows))],
                [_short(row.value) for row in rows],
                [_short(row.low) for row in rows],
                [_short(row.high) for row in rows],
                # At step 0 nothing is changed under the control either.
                [_short(row.value if row is not None else rows[0].value if not place else None)
                 for place, row in enumerate(beside)],
            )
        )  # fmt: skip
    return made


def lines(path: Path) -> Iterator[list[Any]]:
    """The table of a path, a line for each language at each step, in `COLUMNS`."""
    for count, step in enumerate(path.steps):
        for language, row in step.shares.items():
            control, over = step.controls.get(language), step.over.get(language)
            beyond: list[Any] = [None, None, None, None, "", None]
            if over is not None:
                beyond = [*map(_short, (over.value, over.low, over.high, over.p_adjusted))]
                beyond += [over.correction, over.beyond_control]
            yield [
                _named(path), count, step.last, language or _UNTOLD, *map(_short, (row.value, row.low, row.high)),
                *map(_short, (control.value, control.sd) if control is not None else (None, None)), *beyond,
                row.denominator,
            ]  # fmt: skip


def _named(path: Path) -> str:
    return f"{path.operation}, {path.record}, {path.task}"


def _basis(found: Sequence[Path]) -> str:
    rows = [row for path in found for step in path.steps for row in step.shares.values()]
    over = [row.over for path in found for step in path.steps for row in step.over.values()]
    sizes = sorted({row.denominator or 0 for row in rows})
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    what = joined([one for one in dict.fromkeys(row.over for row in rows) if one]) or "nothing (too few)"
    beside = joined([one for one in dict.fromkeys(over) if one])
    more = f", of what is over the matched control over {beside}" if beside else ""
    return (
        f"Shares of all {each} answers of a step, in whatever language the problems are; intervals over {what} of "
        f"problems{more}. p is corrected by Holm for the languages just switched off, for others as a false-discovery "
        "rate."
    )


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.4g}")
