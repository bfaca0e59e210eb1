"""Figures as grids of small panels, the same in one column (phones) and in several.

They are plotly's own dictionaries, data and layout, which the page embeds as they are. plotly's Python objects check
every property: that takes seconds for a page, so only `Panels.plotly` makes them, for W&B and for the tests.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from alignlab.reporting.page.theme import LIGHT, template

STEP = "optimiser step"
_TITLE_HEIGHT = 34  # pixels above a panel
_AXIS_HEIGHT = 52  # pixels below a panel, for ticks and title
_LABEL_HEIGHT = 14  # pixels between the labels of lines' ends
_GAP = 0.075  # between panels side by side, as a share of the width
_SIDE_WIDTH = 600  # pixels of the narrowest figure whose panels stand side by side

# Groups of languages are told apart by line and marker; colour is for kinds.
GROUP_STYLE: dict[str, dict[str, Any]] = {
    "trained": {"dash": "solid", "symbol": "circle", "filled": True},
    "reference": {"dash": "dot", "symbol": "square-open", "filled": False},
    "unseen": {"dash": "dash", "symbol": "diamond-open", "filled": False},
}


class Panels:
    """A figure of panels, filled trace by trace.

    titles: of the panels, row by row; may hold plotly's markup. height, below: pixels of a panel and under it.
    margin_right: pixels to the right of every panel, for the labels of lines' ends.  gap: between panels side by side,
        as a share of the width, for the names on their y axes.

    The axes of a panel bear the same names whatever the number of columns, so that traces fit all layouts.
    """

    def __init__(
        self,
        titles: Sequence[str],
        columns: int,
        height: int,
        below: int = _AXIS_HEIGHT,
        margin_right: int = 0,
        gap: float | None = None,
    ) -> None:
        self.columns = min(columns, len(titles))
        self.panel_height = height
        self.data: list[dict[str, Any]] = []
        rows = -(-len(titles) // self.columns)
        between = _TITLE_HEIGHT + below
        self.inner_height = rows * height + (rows - 1) * between
        gap = _gap(self.columns, gap)
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
            right = left + width - (0 if last else margin_right / _SIDE_WIDTH)
            bottom = max(0.0, top - height / self.inner_height)
            self.layout[_name("xaxis", panel)] = {"domain": [_short(left), _short(right)], "anchor": _name("y", panel)}
            self.layout[_name("yaxis", panel)] = {"domain": [_short(bottom), _short(top)], "anchor": _name("x", panel)}
            self.annotate(
                text=title, x=_short(left), y=_short(top), xref="paper", yref="paper", xanchor="left",
                yanchor="bottom", yshift=6,
            )  # fmt: skip

    def add(self, kind: str, panel: int | None, **properties: Any) -> None:
        """A trace; columns of a table are listed, and properties that are None are left to plotly."""
        where = {} if panel is None else {"xaxis": _name("x", panel), "yaxis": _name("y", panel)}
        given = {
            name: listed(value) if isinstance(value, pd.Series) else value
            for name, value in properties.items()
            if value is not None
        }
        self.data.append({"type": kind, **where, **given})

    def annotate(self, **properties: Any) -> None:
        self.layout["annotations"].append({"showarrow": False, "font": {"size": 13}, **properties})

    def x(self, panel: int, title: str = "", **properties: Any) -> None:
        self._axis("xaxis", panel, title, properties)

    def y(self, panel: int, title: str = "", **properties: Any) -> None:
        self._axis("yaxis", panel, title, properties)

    def steps(self, panel: int, steps: Sequence[int]) -> None:
        """An x axis of optimiser steps. Its range is given: else plotly would widen it for the labels of lines."""
        low, high = min(steps, default=0), max(steps, default=1)
        more = 0.06 * (high - low) or 1
        ticks = {"tickvals": [low]} if low == high else whole_ticks(high - low)
        self.x(panel, STEP, tickformat=",", range=[low - more, high + more], **ticks)

    def name_steps(self, names: Mapping[int, str]) -> None:
        """Put names of snapshots in place of steps, on every axis of steps; nothing where there are no names."""
        axes = [axis for name, axis in self.layout.items() if name.startswith("xaxis")] if names else []
        for axis in axes:
            if axis.get("title", {}).get("text") == STEP:
                as_category = axis.get("type") == "category"
                axis["title"] = {"text": "snapshot"}
                axis["tickvals"] = [f"{step:,}" if as_category else step for step in names]
                axis["ticktext"] = [plain(name) for name in names.values()]

    def mark_ends(self, ends: Mapping[str, int]) -> None:
        """A line with the name of each stage of a training at its last step, in every panel over steps."""
        over_steps = [
            axis.removeprefix("xaxis")
            for axis, at in self.layout.items()
            if axis.startswith("xaxis") and at.get("title", {}).get("text") == STEP and at.get("type") != "category"
        ]
        for number in over_steps:
            axes = {"xref": f"x{number}", "yref": f"y{number} domain"}
            for name, step in ends.items():
                line = {"color": LIGHT["muted"], "width": 1, "dash": "dot"}
                shape = {"type": "line", **axes, "x0": step, "x1": step, "y0": 0, "y1": 1, "line": line}
                self.layout.setdefault("shapes", []).append(shape)
                self.annotate(
                    text=plain(name), x=step, y=1, **axes, xanchor="right", yanchor="top", xshift=-2,
                    font={"size": 11, "color": LIGHT["muted"]},
                )  # fmt: skip

    def colour_scale(
        self, number: int, title: str, colorscale: Sequence[Any], low: float, high: float, **ticks: int
    ) -> str:
        """A scale of colours, with its bar under the panel of that number; gives what to name it in traces.

        It belongs to the layout: where its bar is depends on the columns.
        """
        (left, right), (bottom, _) = (self.layout[_name(axis, number)]["domain"] for axis in ("xaxis", "yaxis"))
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
                **ticks,
                "xpad": 0,
                "ypad": 0,
                "outlinewidth": 0,
                "tickfont": {"size": 11},
            },
        }
        return name

    def label_ends(self, panel: int, lines: Mapping[str, pd.DataFrame], low: float, high: float) -> None:
        """Name lines, of counts or losses, at their ends, so that no legend has to be looked up; labels do not lie on
        each other. low, high: range of the panel's y axis.
        """
        ends = [(label, int(line.step.iloc[-1]), line.value.iloc[-1]) for label, line in lines.items() if len(line)]
        pixels = self.panel_height / ((high - low) or 1)
        above = float("-inf")
        for text, x, y in sorted(ends, key=lambda end: end[2]):
            at = max(y * pixels, above + _LABEL_HEIGHT)
            above = at
            self.annotate(
                x=x, y=y, xref=_name("x", panel), yref=_name("y", panel), text=plain(text), xanchor="left", xshift=9,
                yshift=round(at - y * pixels), font={"size": 12},
            )  # fmt: skip

    def separate(self, panel: int, places: Sequence[int]) -> None:
        """Lines across a heat map of categories, before these places, on both axes."""
        for place in places:
            for along, across in (("x", "y"), ("y", "x")):
                ends = {f"{along}0": place - 0.5, f"{along}1": place - 0.5, f"{across}0": 0, f"{across}1": 1}
                axes = {f"{along}ref": _name(along, panel), f"{across}ref": f"{_name(across, panel)} domain"}
                line = {"color": LIGHT["muted"], "width": 1}
                self.layout.setdefault("shapes", []).append({"type": "line", **axes, **ends, "line": line})

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


def whole_ticks(most: float, ticks: int = 6) -> dict[str, int]:
    """For an axis of counts from 0 to `most`, with about so many ticks: plotly puts ticks at halves where these fit."""
    return {"dtick": 1} if most <= ticks else {}


def _gap(columns: int, gap: float | None) -> float:
    if columns == 1:
        return 0.0
    return min(_GAP, 0.22 / columns) if gap is None else gap


def plain(text: str) -> str:
    """Text as plotly shows it: it takes some tags and entities for markup."""
    return html.escape(text, quote=False)


def kind_title(kind: str) -> str:
    """The kind beside a square of its colour."""
    return f'<span style="color:{LIGHT[kind]}">■</span> <b>{kind}</b>'


def chosen(rows: pd.DataFrame, kind: str, group: str = "all", *, by_layer: bool = False) -> pd.DataFrame:
    """The rows of a kind in a group, over all layers or by layer, in order of steps and layers."""
    counts = (rows.analysis == "kinds") & ~rows.is_change
    found = rows[(rows.kind == kind) & (rows["group"] == group) & (rows.layer.notna() == by_layer) & counts]
    return found.sort_values(["step", "layer", "language"])


def listed(values: pd.Series) -> list[Any]:
    """Plain values for JSON: whole numbers without a fraction, None where there is none."""
    return [_plain_value(value) for value in values.tolist()]


def with_interval(rows: pd.DataFrame, floor: float | None = 0) -> pd.DataFrame:
    """Those that have an interval, its ends as they are drawn: not under the floor, where there are no counts."""
    found = rows.dropna(subset=["low", "high"])
    return found.assign(low=found.low.clip(lower=floor).round(4), high=found.high.clip(lower=floor).round(4))


def interval_errors(rows: pd.DataFrame, floor: float | None = 0, **style: Any) -> dict[str, Any] | None:
    """Error bars from the rows' intervals, not under the floor; None where there are none."""
    found = with_interval(rows, floor).reindex(rows.index)
    if found.value.isna().all():
        return None
    ends = {"array": found.high - rows.value, "arrayminus": rows.value - found.low}
    bars = {name: listed(length.fillna(0).round(4)) for name, length in ends.items()}
    look = {"color": LIGHT["text"], "thickness": 1, "width": 0, **style}
    return {"type": "data", "symmetric": False, **bars, **look}


def _name(axis: str, panel: int) -> str:
    """What plotly calls an axis of a panel, from 0: xaxis, xaxis2; and x, x2 in traces."""
    return axis if panel == 0 else f"{axis}{panel + 1}"


def _plain_value(value: Any) -> Any:
    if value is pd.NA or value != value:
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(value: float) -> float:
    return round(value, 4)
