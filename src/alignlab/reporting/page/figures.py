"""Figures of counts, from tidy rows. Pure: the page embeds them, and `Panels.plotly` gives them to W&B.

Rows are those of one choice of thresholds ("anchored" or "reestimated"); rows that a figure does not show are passed
over, so that a snapshot's or a run's rows can be given whole. `columns` lays the panels out: 1 or 2 for phones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alignlab.neurons.summary import COUNTED_KINDS, KINDS_OF_A_LANGUAGE
from alignlab.neurons.table import Row
from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.page.panels import (
    GROUP_STYLE,
    STEP,
    Panels,
    chosen,
    digits,
    drawn,
    has_interval,
    interval_errors,
    kind_title,
    numbers,
    plain,
)
from alignlab.reporting.page.theme import LIGHT, faded, scale

KINDS = tuple(kind.label for kind in COUNTED_KINDS)
LANGUAGE_KINDS = tuple(kind.label for kind in KINDS_OF_A_LANGUAGE)
_RUN_SYMBOLS = ("circle", "square", "triangle-up", "x")

Runs = Mapping[str, Sequence[Row]]


def kinds_over_steps(runs: Runs, columns: int = 2) -> Panels:
    """Neurons of each kind over the steps: a panel a kind, the runs (by label) laid over each other."""
    several = len(runs) > 1
    figure = Panels([kind_title(kind) for kind in KINDS], columns, 170, margin_right=24 if several else 0)
    for panel, kind in enumerate(KINDS):
        lines = {label: chosen(rows, kind) for label, rows in runs.items()}
        for (label, line), symbol in zip(lines.items(), _RUN_SYMBOLS, strict=False):
            _line_with_band(figure, panel, line, kind, label, {"dash": "solid", "symbol": symbol, "filled": True})
        low, high = _range(lines.values(), 6)
        figure.steps(panel, [row.step for line in lines.values() for row in line])
        figure.y(panel, "neurons", tickformat=",", range=[low, high])
        if several:
            figure.label_ends(panel, _ends(lines), low, high)
    return figure


def trained_and_unseen(runs: Runs, columns: int | None = None) -> Panels:
    """Neurons that a language owns, on average, over the steps: trained against unseen; a panel a kind and run."""
    several = len(runs) > 1
    titles = [kind_title(kind) + (f" · {plain(label)}" if several else "") for kind in LANGUAGE_KINDS for label in runs]
    figure = Panels(titles, columns or max(2, len(runs)), 200, margin_right=56)
    for place, kind in enumerate(LANGUAGE_KINDS):
        lines = {label: {group: chosen(rows, kind, group) for group in GROUP_STYLE} for label, rows in runs.items()}
        # One scale for all runs, so that heights compare.
        low, high = _range([line for groups in lines.values() for line in groups.values()], 2)
        for panel, (label, groups) in enumerate(lines.items(), place * len(runs)):
            for group, line in groups.items():
                _line_with_band(figure, panel, line, kind, f"{label} {group}".strip(), GROUP_STYLE[group])
            figure.steps(panel, [row.step for line in groups.values() for row in line])
            figure.y(panel, "neurons, mean a language", tickformat=",", range=[low, high])
            figure.label_ends(panel, _ends(groups), low, high)
    return figure


def layer_heatmaps(rows: Sequence[Row], columns: int = 4) -> Panels:
    """Neurons of each kind by layer and step; every kind has a scale of its own."""
    layers = 1 + max((row.layer for row in rows if row.layer is not None), default=0)
    height = max(160, min(420, 9 * layers))
    figure = Panels([kind_title(kind) for kind in KINDS], columns, height, below=84)
    for panel, kind in enumerate(KINDS):
        cells = chosen(rows, kind, by_layer=True)
        steps = sorted({row.step or 0 for row in cells})
        at = {(row.layer, row.step or 0): row.value for row in cells}
        most = max(1, *(row.value for row in cells)) if cells else 1
        figure.add(
            "heatmap",
            panel,
            z=[[_whole(at.get((layer, step))) for step in steps] for layer in range(layers)],
            x=[f"{step:,}" for step in steps],
            y=list(range(layers)),
            coloraxis=figure.colour_scale(panel, "", scale(kind), 0, most),
            xgap=1,
            ygap=1 if layers <= 40 else 0,
            hovertemplate=f"{kind}<br>step %{{x}}, layer %{{y}}<br>%{{z:,}} neurons<extra></extra>",
        )
        figure.x(panel, STEP, type="category", showgrid=False, tickangle=0)
        figure.y(panel, "" if panel % figure.columns else "layer", showgrid=False, dtick=layer_ticks(layers))
    return figure


def layers_at_step(rows: Sequence[Row], step: int, columns: int = 2) -> Panels:
    """Neurons of each kind by layer at a step (bars, with intervals), and at the first step (outline)."""
    figure = Panels([kind_title(kind) for kind in KINDS], columns, 140)
    first = min((row.step or 0 for row in rows), default=0)
    for panel, kind in enumerate(KINDS):
        layers = chosen(rows, kind, by_layer=True)
        now = [row for row in layers if row.step == step]
        before = [row for row in layers if row.step == first]
        figure.add(
            "bar",
            panel,
            x=[row.layer for row in now],
            y=numbers(row.value for row in now),
            error_y=interval_errors(now),
            marker={"color": LIGHT[kind]},
            customdata=numbers(row.value for row in before),
            meta={"kind": kind, "at": "step"},
            hovertemplate=f"layer %{{x}}<br>%{{y:,}} neurons<br>%{{customdata:,}} at step {first:,}<extra></extra>",
        )
        # From the left edge of the first layer to the right edge of the last.
        edges = [(row.layer or 0) - 0.5 for row in before] + [(row.layer or 0) + 0.5 for row in before[-1:]]
        figure.add(
            "scatter",
            panel,
            x=edges,
            y=numbers(row.value for row in (*before, *before[-1:])),
            mode="lines",
            line={"shape": "hv", "color": LIGHT["text"], "width": 1.25},
            meta={"kind": kind, "at": "first"},
            hoverinfo="skip",
        )
        count = len(before)
        figure.x(panel, "layer", showgrid=False, dtick=layer_ticks(count), range=[-0.6, count - 0.4])
        figure.y(panel, "neurons", tickformat=",", rangemode="tozero", nticks=5)
    figure.layout |= {"bargap": 0.15}
    return figure


def languages_before_and_after(rows: Sequence[Row], languages: Sequence[PageLanguage], columns: int = 2) -> Panels:
    """Neurons that each language owns, at the first step (hollow) and at the last (filled)."""
    ordered = trained_first(languages)
    names = {language.code: language_label(language) for language in ordered}
    steps = sorted({row.step or 0 for row in rows if row.group == "language"})
    figure = Panels([kind_title(kind) for kind in LANGUAGE_KINDS], columns, 24 * len(ordered) + 24)
    for panel, kind in enumerate(LANGUAGE_KINDS):
        of_kind = chosen(rows, kind, "language")
        before = {row.language: row for row in of_kind if row.step == steps[0]}
        after = {row.language: row for row in of_kind if row.step == steps[-1]}
        both = [names[code] for code in names if code in before and code in after]
        ends = [(before[code].value, after[code].value) for code in names if code in before and code in after]
        figure.add(
            "scatter",
            panel,
            x=[value for pair in ends for value in (*numbers(pair), None)],
            y=[value for name in both for value in (name, name, None)],
            mode="lines",
            line={"color": LIGHT[kind], "width": 1.5},
            hoverinfo="skip",
        )
        for at, when, suffix in [(before, "first", "-open")] * (len(steps) > 1) + [(after, "last", "")]:
            found = [language for language in ordered if language.code in at]
            errors = interval_errors([at[language.code] for language in found]) if when == "last" else None
            figure.add(
                "scatter",
                panel,
                x=numbers(at[language.code].value for language in found),
                y=[names[language.code] for language in found],
                # A pale bar: a thin line would be taken for the way from the first step.
                error_x=errors and {**errors, "thickness": 7, "color": faded(LIGHT[kind], 0.25)},
                mode="markers",
                marker={
                    "symbol": [("circle" if language.trained else "diamond") + suffix for language in found],
                    "size": 9,
                    "color": LIGHT[kind],
                    "line": {"width": 1.5, "color": LIGHT[kind]},
                },
                hovertemplate=f"%{{y}}, {when} step<br>%{{x:,}} {kind}<extra></extra>",
            )
        most = max((value for row in of_kind for value in (row.value, row.high) if value is not None), default=0) or 1
        # A little below zero, where markers would be cut.
        figure.x(panel, "neurons owned", range=[-0.04 * most, 1.05 * most], tickformat=",d")
        figure.y(panel, **language_axis(list(names.values())))
        if figure.columns > 1 and panel:
            figure.y(panel, **language_axis(list(names.values())), showticklabels=False)
    return figure


def degree_histogram(rows: Sequence[Row], columns: int = 2) -> Panels:
    """Neurons by the number of languages in which they are above tau: first step (hollow) and last (filled).

    Degree 0 is left out: over all neurons it is nearly all of them, and would flatten the rest.
    """
    titles = {"selection": "<b>within the selection</b>", "all": "<b>all neurons</b>"}
    figure = Panels(list(titles.values()), columns, 190)
    by_degree = [row for row in rows if row.degree and not row.is_change]
    highest = max((row.degree for row in by_degree if row.degree), default=1)
    colours = [_degree_colour(degree, highest) for degree in range(1, highest + 1)]
    steps = sorted({row.step or 0 for row in by_degree})
    for panel, convention in enumerate(titles):
        of_convention = [row for row in by_degree if row.convention == convention]
        for step in steps[:1] + steps[1:][-1:]:
            found = sorted((row for row in of_convention if row.step == step), key=lambda row: row.degree or 0)
            hollow = len(steps) > 1 and step == steps[0]
            figure.add(
                "bar",
                panel,
                x=[row.degree for row in found],
                y=numbers(row.value for row in found),
                name=f"step {step:,}",
                error_y=interval_errors(found),
                marker={
                    "color": [faded(colour, 0.12) for colour in colours] if hollow else colours,
                    "line": {"color": colours, "width": 1.5},
                },
                hovertemplate=f"step {step:,}<br>above tau in %{{x}} languages<br>%{{y:,}} neurons<extra></extra>",
            )
        figure.x(panel, "degree: languages above tau", showgrid=False, **({"dtick": 1} if highest <= 12 else {}))
        figure.y(panel, "neurons", tickformat=",", rangemode="tozero")
    figure.layout |= {"barmode": "group", "bargap": 0.2, "bargroupgap": 0.05}
    return figure


def trained_first(languages: Sequence[PageLanguage]) -> list[PageLanguage]:
    return sorted(languages, key=lambda language: not language.trained)


def layer_ticks(layers: int) -> int:
    """Layers from tick to tick: about ten ticks, at whole layers."""
    return max(1, round(layers / 10))


def language_label(language: PageLanguage) -> str:
    return plain(f"{language.name} {language.code}")


def language_axis(names: list[str]) -> dict[str, Any]:
    """Properties of an axis with a language a line, the first at the top."""
    return {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": names[::-1],
        "range": [-0.6, len(names) - 0.4],
        "dtick": 1,
    }


def _degree_colour(degree: int, highest: int) -> str:
    """A degree's colour is that of its kind."""
    return LIGHT["specific" if degree == 1 else "general" if degree == highest else "related"]


def _line_with_band(
    figure: Panels, panel: int, rows: Sequence[Row], kind: str, name: str, style: Mapping[str, Any]
) -> None:
    """A line of counts over steps, and behind it the band of its intervals (empty where there are none).

    Where only some steps have an interval each has a bar of its own: a band would tell of the steps between.
    Always two traces: then figures of the same layout have the same traces, and the page stores what they share once.
    Bands of unseen languages are outlines: two tints of one colour could not be told apart where they overlap.
    """
    colour, places = LIGHT[kind], digits(rows[0].group) if rows else 0
    banded = [row for row in rows if has_interval(row)]
    filled = style["filled"] and len(banded) == len(rows)
    if len(banded) < len(rows):
        x = [step for row in banded for step in (row.step, row.step, None)]
        y = [end for row in banded for end in (drawn(row.low), drawn(row.high), None)]
        line = {"width": 6 if style["filled"] else 3, "color": faded(colour, 0.4), "dash": "solid"}
    else:
        gap = [] if filled else [None]  # an outline is two lines, not a ring
        x = [row.step for row in banded] + gap + [row.step for row in reversed(banded)]
        y = [drawn(row.high) for row in banded] + gap + [drawn(row.low) for row in reversed(banded)]
        line = {"width": 0} if filled else {"width": 1, "color": colour, "dash": "dot"}
    figure.add(
        "scatter",
        panel,
        x=x,
        y=y,
        fill="toself" if filled else "none",
        fillcolor=faded(colour, 0.16),
        line=line,
        mode="lines",
        hoverinfo="skip",
    )
    intervals = [
        f"<br>95 % interval {row.low:,.{places}f} to {row.high:,.{places}f}" if has_interval(row) else ""
        for row in rows
    ]
    figure.add(
        "scatter",
        panel,
        x=[row.step for row in rows],
        y=numbers(row.value for row in rows),
        customdata=intervals,
        name=plain(name),
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": style["dash"]},
        marker={"symbol": style["symbol"], "size": 8, "color": colour, "line": {"width": 1.5, "color": colour}},
        hovertemplate=f"{plain(name)}<br>step %{{x:,}}: %{{y:,.{places}f}} {kind}%{{customdata}}<extra></extra>",
    )


def _ends(lines: Mapping[str, Sequence[Row]]) -> list[tuple[str, float, float]]:
    """Label, step and count of the end of every line."""
    return [(label, float(line[-1].step or 0), line[-1].value) for label, line in lines.items() if line]


def _range(lines: Iterable[Sequence[Row]], least: float) -> tuple[float, float]:
    """Of an axis for all lines and bands; at least so many neurons, so that a change of one does not fill a panel."""
    found = [
        value for line in lines for row in line for value in (row.value, drawn(row.low), row.high) if value is not None
    ]
    low, high = min(found, default=0.0), max(found, default=0.0)
    more = max(0.07 * (high - low), (least - (high - low)) / 2)
    return round(low - more, 4), round(high + more, 4)


def _whole(value: float | None) -> float | int | None:
    return value if value is None else numbers([value])[0]
