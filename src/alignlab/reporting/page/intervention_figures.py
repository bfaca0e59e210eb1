"""Figures of interventions: what changing the neurons of each set does to every language, and at every strength."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from alignlab.neurons.table import Row
from alignlab.reporting.effects_table import Matrix
from alignlab.reporting.page.panels import Panels, plain
from alignlab.reporting.page.theme import BEHIND_NUMBERS, LIGHT, faded, two_sided_scale
from alignlab.reporting.wording import number

_MOST_WRITTEN = 14  # languages, up to which cells have numbers
_COMFORTABLE, _LINE = 480, 28  # pixels of a matrix at most, while its lines can be read; of a line
_LEAST_LINE = 13  # pixels in which a label can be read
_WIDTH, _WIDTH_OF_PHONES = 900, 260  # pixels of the cells, about
_LONGEST = 24  # letters of the name of a set
_PALE = 0.45  # how much of the page's colour lies over what is not beyond control
_SMALL = 0.1  # effects most of which are smaller have a decimal more
_CORNER = 0.34  # how far from its middle a cell's dot is


class CellTexts(NamedTuple):
    """What cells say where they are pointed at: a template of plotly's, and the texts of every cell in it."""

    template: str
    texts: list[list[list[str]]]


class Curve(NamedTuple):
    """Of one language, at each strength its change with the ends of its interval, and that of its matched control."""

    name: str
    strengths: list[float]
    values: list[float | None]
    lows: list[float | None]
    highs: list[float | None]
    controls: list[float | None]


def effect_matrix(
    matrix: Matrix, cells: Mapping[tuple[str, str], Row], title: str, texts: CellTexts, columns: int
) -> Panels:
    """A heat map of sets by languages; what is beyond the matched control has a dot, and all else is pale.

    cells: of one scale.  title: of the scale.  columns: 2 for the wide layout, 1 for the narrow one.
    """
    sets, languages = matrix.sets, matrix.languages
    wide = columns > 1
    size = len(sets)
    height = max(120, min(_COMFORTABLE, _LINE * size), _LEAST_LINE * size)
    figure = Panels([f"<b>{plain(f'{matrix.measure}: {matrix.what}')}</b>"], 1, height, below=84)
    values = [[_value(cells.get((name, code))) for code in languages] for name in sets]
    beyond = [[_is_beyond(matrix.over.get((name, code))) for code in languages] for name in sets]
    written = max(len(languages), size) <= _MOST_WRITTEN
    found = [abs(value) for line in values for value in line if value is not None]
    most = max(found, default=0) or 1.0
    colours = two_sided_scale(BEHIND_NUMBERS if written else 1)
    figure.colour_scale(0, title, colours, -most, most)
    figure.add(
        "heatmap",
        0,
        z=values,
        coloraxis="coloraxis",
        xgap=1,
        ygap=1,
        customdata=texts.texts,
        hovertemplate=texts.template,
    )
    # Over all that is not beyond control lies a veil; without a verdict nowhere, all is as it is.
    told = any(row.p_adjusted is not None for row in matrix.over.values())
    veil = [[0 if there or not told else 1 for there in line] for line in beyond]
    over = faded(LIGHT["page"], _PALE)
    figure.add(
        "heatmap",
        0,
        z=veil,
        zmin=0,
        zmax=1,
        colorscale=[[0, faded(LIGHT["page"], 0)], [1, over]],
        showscale=False,
        hoverinfo="skip",
        text=_texts(matrix, cells, median(found or [0.0])) if written else None,
        texttemplate="%{text}" if written else None,
        textfont={"size": 11, "color": LIGHT["text"]} if written else None,
    )
    dots = [(x, y) for y, line in enumerate(beyond) for x, there in enumerate(line) if there]
    corner = _CORNER if written else 0  # beside the number, where there is one
    figure.add(
        "scatter",
        0,
        x=[round(x + corner, 2) for x, _ in dots],
        y=[round(y - corner, 2) for _, y in dots],
        mode="markers",
        marker={"size": 5 if written else 4, "color": LIGHT["text"]},
        hoverinfo="skip",
    )
    own = [(languages.index(row.other), sets.index(name)) for (name, _), row in matrix.changes.items()
           if row.language == row.other]  # fmt: skip
    corners = ((-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5), (-0.5, -0.5))
    figure.add(
        "scatter",
        0,
        x=[end for x, _ in own for end in (*(x + across for across, _ in corners), None)],
        y=[end for _, y in own for end in (*(y + down for _, down in corners), None)],
        mode="lines",
        line={"color": LIGHT["muted"], "width": 1},
        hoverinfo="skip",
    )
    every = math.ceil(_LEAST_LINE * len(languages) / (_WIDTH if wide else _WIDTH_OF_PHONES))
    figure.x(
        0,
        tickvals=list(range(0, len(languages), every)),
        ticktext=[plain(code) for code in languages[::every]],
        tickangle=0 if len(languages) <= _MOST_WRITTEN else -90,
        range=[-0.5, len(languages) - 0.5],
        showgrid=False,
    )
    small: dict[str, Any] = {"tickfont": {"size": 10}} if _LINE * size > _COMFORTABLE else {}
    names = [plain(_cut(name)) for name in sets]
    figure.y(0, tickvals=list(range(size)), ticktext=names, range=[size - 0.5, -0.5], showgrid=False, **small)
    return figure


def strength_curves(curves: Sequence[Curve], title: str, operation: str, columns: int) -> Panels:
    """What the neurons of each language do to it at every strength, and what those of its matched control do."""
    panels = ["<b>own language</b>", "<b>matched control, own language</b>"]
    return _beside_controls(
        curves, panels, title, f"strength of {plain(operation)}", "strength %{x}: %{y:+.3f}", columns
    )


def fallback_curves(curves: Sequence[Curve], off: Sequence[str], columns: int) -> Panels:
    """The share of answers in each language at every step of a fallback, and under its matched control.

    off: the language that each step has switched off, empty at step 0.
    """
    panels = ["<b>languages off</b>", "<b>matched control</b>"]
    # Intervals of ten shares at one step would hide each other; the data beside the figure have them.
    bare = [curve._replace(lows=[None] * len(off), highs=[None] * len(off)) for curve in curves]
    figure = _beside_controls(bare, panels, "share of answers", "switched off", "step %{x}: %{y:.2f}", columns)
    every = math.ceil(len(off) / _MOST_WRITTEN)
    for panel in range(2):
        places = list(range(0, len(off), every))
        names = [plain(off[place]) or "none" for place in places]
        figure.x(panel, "switched off", tickvals=places, ticktext=names, showgrid=False)
    return figure


def _beside_controls(
    curves: Sequence[Curve], panels: Sequence[str], title: str, along: str, said: str, columns: int
) -> Panels:
    figure = Panels(panels, columns, 260, margin_right=56)
    ends = [end for curve in curves for end in (*curve.values, *curve.lows, *curve.highs, *curve.controls)]
    there = [end for end in ends if end is not None]
    low, high = min(there, default=0), max(there, default=1)
    more = 0.05 * (high - low) or 0.5
    named = len(curves) <= _MOST_WRITTEN
    for panel in range(2):
        for curve in curves:
            values = curve.controls if panel else curve.values
            errors = None if panel else _errors(curve)
            figure.add(
                "scatter",
                panel,
                x=curve.strengths,
                y=values,
                error_y=errors,
                name=plain(curve.name),
                mode="lines+markers",
                line={"color": LIGHT["muted" if panel else "more"], "width": 1.5, "dash": "dot" if panel else "solid"},
                marker={"size": 5},
                hovertemplate=f"{plain(curve.name)}<br>{said}<extra></extra>",
            )
        if named:
            _name_ends(figure, panel, curves, (high - low + 2 * more))
        figure.x(panel, along, showgrid=False)
        figure.y(panel, title, range=[low - more, high + more], zeroline=True, zerolinecolor=LIGHT["line"])
    return figure


def _name_ends(figure: Panels, panel: int, curves: Sequence[Curve], span: float) -> None:
    """Names at the last strength that do not lie on each other."""
    values = [(curve, (curve.controls if panel else curve.values)[-1]) for curve in curves]
    pixels, above = figure.panel_height / span, float("-inf")
    for curve, value in sorted(((one, at) for one, at in values if at is not None), key=lambda pair: pair[1]):
        above = max(value * pixels, above + 13)
        figure.annotate(
            x=curve.strengths[-1], y=value, xref="x2" if panel else "x", yref="y2" if panel else "y",
            text=plain(_cut(curve.name)), xanchor="left", xshift=9, yshift=round(above - value * pixels),
            font={"size": 11},
        )  # fmt: skip


def _errors(curve: Curve) -> dict[str, object] | None:
    pairs = list(zip(curve.values, curve.lows, curve.highs, strict=True))
    if all(low is None for _, low, _ in pairs):
        return None

    def apart(a: float | None, b: float | None) -> float:
        return 0.0 if a is None or b is None else round(a - b, 4)

    return {
        "type": "data",
        "symmetric": False,
        "array": [apart(high, value) for value, _, high in pairs],
        "arrayminus": [apart(value, low) for value, low, _ in pairs],
        "color": faded(LIGHT["text"], 0.25),
        "thickness": 3,
        "width": 0,
    }


def _value(row: Row | None) -> float | None:
    return None if row is None or not math.isfinite(row.value) else round(row.value, 4)


def _is_beyond(row: Row | None) -> bool:
    return row is not None and row.beyond_control is True


def _texts(matrix: Matrix, cells: Mapping[tuple[str, str], Row], middle: float) -> list[list[str]]:
    places = 3 if middle < _SMALL else 2

    def text(row: Row | None) -> str:
        if row is not None and row.status == "not defined":
            return "N/A"
        return "" if row is None else number(row.value, places, "+") + ("f" if row.status == "floor" else "")

    return [[text(cells.get((name, code))) for code in matrix.languages] for name in matrix.sets]


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
