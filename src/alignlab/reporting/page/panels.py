"""Figures as grids of small panels, the same in one column (phones) and in several.

They are plotly's own dictionaries, data and layout, which the page embeds as they are. plotly's Python objects check
every property: that takes seconds for a page, so only `Panels.plotly` makes them, for W&B and for the tests.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from alignlab.neurons.table import Row
from alignlab.reporting.page.theme import LIGHT, template

STEP = "optimiser step"
_TITLE_HEIGHT = 34  # pixels above a panel
_AXIS_HEIGHT = 52  # pixels below a panel, for ticks and title
_LABEL_HEIGHT = 14  # pixels between the labels of lines' ends
_GAP = 0.075  # between panels side by side, as a share of the width

# Trained and unseen languages are told apart by line and marker; colour is for kinds.
GROUP_STYLE: dict[str, dict[str, Any]] = {
    "trained": {"dash": "solid", "symbol": "circle", "filled": True},
    "unseen": {"dash": "dash", "symbol": "diamond-open", "filled": False},
}


class Panels:
    """A figure of panels, filled trace by trace.

    titles: of the panels, row by row; may hold plotly's markup. height, below: pixels of a panel and under it.
    margin_right: pixels to the right of every panel, for the labels of lines' ends.

    The axes of a panel bear the same names whatever the number of columns, so that traces fit all layouts.
    """

    def __init__(
        self, titles: Sequence[str], columns: int, height: int, below: int = _AXIS_HEIGHT, margin_right: int = 0
    ) -> None:
        self.columns = min(columns, len(titles))
        self.panel_height = height
        self.data: list[dict[str, Any]] = []
        rows = -(-len(titles) // self.columns)
        between = _TITLE_HEIGHT + below
        self.inner_height = rows * height + (rows - 1) * between
        gap = 0.0 if self.columns == 1 else min(_GAP, 0.22 / self.columns)
        width = (1 - gap * (self.columns - 1)) / self.columns
        self.layout: dict[str, Any] = {
            "height": self.inner_height + _TITLE_HEIGHT + below,
            "margin": {"l": 8, "r": max(16, margin_right), "t": _TITLE_HEIGHT, "b": below, "pad": 2},
            "showlegend": False,
            "annotations": [],
        }
        for panel, title in enumerate(titles):
            row, column = divmod(panel, self.columns)
            left, top = column * (width + gap), 1 - row * (height + between) / self.inner_height
            last = column == self.columns - 1
            right = left + width - (0 if last else margin_right / 1000)
            bottom = max(0.0, top - height / self.inner_height)
            self.layout[_name("xaxis", panel)] = {"domain": [_short(left), _short(right)], "anchor": _name("y", panel)}
            self.layout[_name("yaxis", panel)] = {"domain": [_short(bottom), _short(top)], "anchor": _name("x", panel)}
            self.annotate(
                text=title, x=_short(left), y=_short(top), xref="paper", yref="paper", xanchor="left",
                yanchor="bottom", yshift=6,
            )  # fmt: skip

    def add(self, kind: str, panel: int | None, **properties: Any) -> None:
        """A trace; properties that are None are left to plotly."""
        where = {} if panel is None else {"xaxis": _name("x", panel), "yaxis": _name("y", panel)}
        given = {name: value for name, value in properties.items() if value is not None}
        self.data.append({"type": kind, **where, **given})

    def annotate(self, **properties: Any) -> None:
        self.layout["annotations"].append({"showarrow": False, "font": {"size": 13}, **properties})

    def x(self, panel: int, title: str = "", **properties: Any) -> None:
        self._axis("xaxis", panel, title, properties)

    def y(self, panel: int, title: str = "", **properties: Any) -> None:
        self._axis("yaxis", panel, title, properties)

    def steps(self, panel: int, steps: Iterable[int | None], **properties: Any) -> None:
        """An x axis of optimiser steps. Its range is given: else plotly would widen it for the labels of lines."""
        found = [step or 0 for step in steps]
        low, high = min(found, default=0), max(found, default=1)
        more = 0.06 * (high - low) or 1
        self.x(panel, STEP, tickformat=",", range=[low - more, high + more], **properties)

    def name_steps(self, names: Mapping[int, str]) -> None:
        """Put names of snapshots in place of steps, on every axis of steps; nothing where there are no names."""
        axes = [axis for name, axis in self.layout.items() if name.startswith("xaxis")] if names else []
        for axis in axes:
            if axis.get("title", {}).get("text") == STEP:
                as_category = axis.get("type") == "category"
                axis["title"] = {"text": "snapshot"}
                axis["tickvals"] = [f"{step:,}" if as_category else step for step in names]
                axis["ticktext"] = [plain(name) for name in names.values()]

    def domain(self, axis: str, panel: int) -> tuple[float, float]:
        """Where a panel lies in the figure, as shares of its width (axis "x") or height ("y")."""
        low, high = self.layout[_name(f"{axis}axis", panel)]["domain"]
        return low, high

    def colour_scale(self, number: int, title: str, colorscale: Sequence[Any], low: float, high: float) -> str:
        """A scale of colours, with its bar under the panel of that number; gives what to name it in traces.

        It belongs to the layout: where its bar is depends on the columns.
        """
        (left, right), (bottom, _) = self.domain("x", number), self.domain("y", number)
        name = _name("coloraxis", number)
        self.layout[name] = {
            "colorscale": colorscale,
            "cmin": low,
            "cmax": high,
            "colorbar": {
                "orientation": "h",
                "title": {"text": title, "side": "top", "font": {"size": 12}},
                "x": left,
                "xanchor": "left",
                "len": _short(right - left),
                "y": bottom - (28 if title else 46) / self.inner_height,
                "yanchor": "top",
                "thickness": 8,
                "nticks": 4,
                "xpad": 0,
                "ypad": 0,
                "outlinewidth": 0,
                "tickfont": {"size": 11},
            },
        }
        return name

    def label_ends(self, panel: int, ends: Sequence[tuple[str, float, float]], low: float, high: float) -> None:
        """Name lines at their ends, so that no legend has to be looked up; labels do not lie on each other.

        ends: label, x and y of each. low, high: range of the panel's y axis.
        """
        pixels = self.panel_height / ((high - low) or 1)
        above = float("-inf")
        for text, x, y in sorted(ends, key=lambda end: end[2]):
            at = max(y * pixels, above + _LABEL_HEIGHT)
            above = at
            self.annotate(
                x=x, y=y, xref=_name("x", panel), yref=_name("y", panel), text=plain(text), xanchor="left", xshift=9,
                yshift=round(at - y * pixels), font={"size": 12},
            )  # fmt: skip

    def legend(self) -> None:
        """A legend above the panels."""
        self.layout |= {"showlegend": True, "legend": {"y": 1, "yref": "container", "yanchor": "top"}}
        self.layout["margin"]["t"] += 26
        self.layout["height"] += 26

    def plotly(self) -> go.Figure:
        """The figure as an object of plotly's, in light colours."""
        return go.Figure({"data": self.data, "layout": {**self.layout, "template": template()}})

    def _axis(self, axis: str, panel: int, title: str, properties: dict[str, Any]) -> None:
        titled = {"title": {"text": title}} if title else {}
        self.layout[_name(axis, panel)] |= {"nticks": 6, **titled, **properties}


def plain(text: str) -> str:
    """Text as plotly shows it: it takes some tags and entities for markup."""
    return html.escape(text, quote=False)


def kind_title(kind: str) -> str:
    """The kind beside a square of its colour."""
    return f'<span style="color:{LIGHT[kind]}">■</span> <b>{kind}</b>'


def chosen(rows: Iterable[Row], kind: str, group: str = "all", *, by_layer: bool = False) -> list[Row]:
    """The rows of a kind in a group, over all layers or by layer, in order of steps and layers."""
    found = [
        row
        for row in rows
        if row.kind == kind and row.group == group and (row.layer is not None) == by_layer and not row.is_change
    ]
    return sorted(found, key=lambda row: (row.step or 0, row.layer or 0, row.language))


def digits(group: str) -> int:
    """Decimals of a count: none, but one for means over languages."""
    return 1 if group in ("trained", "unseen") else 0


def numbers(values: Iterable[float]) -> list[float | int]:
    """Whole numbers without a fraction: shorter, and shown as what they are."""
    return [int(value) if value == int(value) else value for value in values]


def interval_errors(rows: Sequence[Row]) -> dict[str, Any] | None:
    """Error bars from the rows' intervals; None where there are none."""
    if not any(has_interval(row) for row in rows):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [_length(row.high, row.value) for row in rows],
        "arrayminus": [_length(row.value, drawn(row.low)) for row in rows],
        "color": LIGHT["text"],
        "thickness": 1,
        "width": 0,
    }


def drawn(end: float | None) -> float | None:
    """An end of an interval as it is drawn: it can lie below zero, where there are no counts."""
    return end if end is None else round(max(0.0, end), 4)


def has_interval(row: Row) -> bool:
    return row.low is not None and row.high is not None


def _name(axis: str, panel: int) -> str:
    """What plotly calls an axis of a panel, from 0: xaxis, xaxis2; and x, x2 in traces."""
    return axis if panel == 0 else f"{axis}{panel + 1}"


def _length(high: float | None, low: float | None) -> float:
    return 0.0 if high is None or low is None else round(high - low, 4)


def _short(value: float) -> float:
    return round(value, 4)
