"""Figures of counts, from tidy rows. Pure: the page embeds them, and `Panels.plotly` gives them to W&B.

Rows are a `frame` of those at one choice of thresholds ("anchored" or "reestimated"); rows that a figure does not show
are passed over, so that a snapshot's or a run's rows can be given whole. `columns` lays the panels out: 1 or 2 for
phones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from alignlab.neurons.summary import COUNTED_KINDS, KINDS_OF_A_LANGUAGE
from alignlab.reporting.page.panels import (
    GROUP_STYLE,
    STEP,
    Panels,
    chosen,
    interval_errors,
    kind_title,
    listed,
    plain,
    whole_ticks,
    with_interval,
)
from alignlab.reporting.page.theme import BEHIND_NUMBERS, LIGHT, faded, scale
from alignlab.reporting.wording import digits, interval

KINDS = tuple(kind.label for kind in COUNTED_KINDS)
LANGUAGE_KINDS = tuple(kind.label for kind in KINDS_OF_A_LANGUAGE)
_MOST_LAYERS_WRITTEN, _MOST_STEPS_WRITTEN = 16, 8
_RUN_SYMBOLS = ("circle", "square", "triangle-up", "x")

Runs = Mapping[str, pd.DataFrame]


def kinds_over_steps(runs: Runs, columns: int = 2) -> Panels:
    """Neurons of each kind over the steps: a panel a kind, the runs (by label) laid over each other."""
    several = len(runs) > 1
    figure = Panels([kind_title(kind) for kind in KINDS], columns, 170, margin_right=24 if several else 0)
    for panel, kind in enumerate(KINDS):
        lines = {label: chosen(rows, kind) for label, rows in runs.items()}
        for (label, line), symbol in zip(lines.items(), _RUN_SYMBOLS, strict=False):
            _line_with_band(figure, panel, line, kind, label, {"dash": "solid", "symbol": symbol, "filled": True})
        low, high = _range([*lines.values()], 6)
        figure.steps(panel, [step for line in lines.values() for step in line.step])
        ticks = whole_ticks(high - max(low, 0))
        figure.y(panel, _first(figure, panel, "neurons"), tickformat=",", range=[low, high], **ticks)
        if several:
            figure.label_ends(panel, lines, low, high)
    return figure


def trained_and_unseen(runs: Runs, columns: int | None = None) -> Panels:
    """Neurons that a language of a group owns, on average, over the steps; a panel a kind and run."""
    several = len(runs) > 1
    titles = [kind_title(kind) + (f" · {plain(label)}" if several else "") for kind in LANGUAGE_KINDS for label in runs]
    figure = Panels(titles, columns or max(2, len(runs)), 200, margin_right=56)
    for place, kind in enumerate(LANGUAGE_KINDS):
        lines = {
            label: {group: line for group in GROUP_STYLE if len(line := chosen(rows, kind, group))}
            for label, rows in runs.items()
        }
        # One scale for all runs, so that heights compare.
        low, high = _range([line for groups in lines.values() for line in groups.values()], 2)
        for panel, (label, groups) in enumerate(lines.items(), place * len(runs)):
            for group, line in groups.items():
                _line_with_band(figure, panel, line, kind, f"{label} {group}".strip(), GROUP_STYLE[group])
            figure.steps(panel, [step for line in groups.values() for step in line.step])
            figure.y(panel, _first(figure, panel, "neurons, mean a language"), tickformat=",", range=[low, high])
            figure.label_ends(panel, groups, low, high)
    return figure


def layer_heatmaps(rows: pd.DataFrame, columns: int = 4) -> Panels:
    """Neurons of each kind by layer and step; every kind has a scale of its own."""
    layers = range(int(rows.layer.max()) + 1 if rows.layer.notna().any() else 1)
    height = max(160, min(420, 9 * len(layers)))
    figure = Panels([kind_title(kind) for kind in KINDS], columns, height, below=84)
    for panel, kind in enumerate(KINDS):
        grid = chosen(rows, kind, by_layer=True).pivot(index="layer", columns="step", values="value").reindex(layers)
        most = float(max(1, grid.max(axis=None)))
        # As numbers too, where there is room for them.
        written = len(layers) <= _MOST_LAYERS_WRITTEN and len(grid.columns) <= _MOST_STEPS_WRITTEN
        figure.add(
            "heatmap",
            panel,
            z=[listed(grid.loc[layer]) for layer in layers],
            x=[f"{step:,}" for step in grid],
            y=list(layers),
            coloraxis=figure.colour_scale(
                panel, "", scale(kind, BEHIND_NUMBERS if written else 1), 0, most, **whole_ticks(most, 4)
            ),
            texttemplate="%{z:,}" if written else None,
            textfont={"size": 11, "color": LIGHT["text"]} if written else None,
            xgap=1,
            ygap=1 if len(layers) <= 40 else 0,
            hovertemplate=f"{kind}<br>step %{{x}}, layer %{{y}}<br>%{{z:,}} neurons<extra></extra>",
        )
        figure.x(panel, STEP, type="category", showgrid=False, tickangle=0)
        figure.y(panel, _first(figure, panel, "layer"), showgrid=False, dtick=layer_ticks(len(layers)))
    return figure


def layers_at_step(rows: pd.DataFrame, step: int, columns: int = 2) -> Panels:
    """Neurons of each kind by layer at a step (bars, with intervals), and at the first step (outline)."""
    figure = Panels([kind_title(kind) for kind in KINDS], columns, 140)
    first = int(rows.step.min())
    for panel, kind in enumerate(KINDS):
        layers = chosen(rows, kind, by_layer=True)
        now, before = layers[layers.step == step], layers[layers.step == first]
        figure.add(
            "bar",
            panel,
            x=now.layer,
            y=now.value,
            error_y=interval_errors(now),
            marker={"color": LIGHT[kind]},
            customdata=before.value,
            meta={"kind": kind, "at": "step"},
            hovertemplate=f"layer %{{x}}<br>%{{y:,}} neurons<br>%{{customdata:,}} at step {first:,}<extra></extra>",
        )
        # From the left edge of the first layer to the right edge of the last.
        figure.add(
            "scatter",
            panel,
            x=[*listed(before.layer - 0.5), *listed(before.layer[-1:] + 0.5)],
            y=pd.concat([before.value, before.value[-1:]]),
            mode="lines",
            line={"shape": "hv", "color": LIGHT["text"], "width": 1.25},
            meta={"kind": kind, "at": "first"},
            hoverinfo="skip",
        )
        figure.add(
            "scatter",
            panel,
            x=before.layer - 0.3,
            y=before.value,
            mode="markers",
            marker={"size": 1, "color": LIGHT["muted"]},
            error_y=interval_errors(before, color=LIGHT["muted"]),
            meta={"kind": kind, "at": "first"},
            hoverinfo="skip",
        )
        count = len(before)
        figure.x(panel, "layer", showgrid=False, dtick=layer_ticks(count), range=[-0.6, count - 0.4])
        # The slider shows any step, so that the axis has to have room for all.
        most = np.nanmax([0, layers[["value", "high"]].max(axis=None)])
        axis = {"tickformat": ",", "rangemode": "tozero", "nticks": 5, **whole_ticks(most, 5)}
        figure.y(panel, _first(figure, panel, "neurons"), **axis)
    figure.layout |= {"bargap": 0.15}
    return figure


def degree_histogram(rows: pd.DataFrame, columns: int = 2) -> Panels:
    """Neurons by the number of languages in which they are above tau: first step (hollow) and last (filled).

    Degree 0 is left out: over all neurons it is nearly all of them, and would flatten the rest.
    """
    titles = {"selection": "<b>within the selection</b>", "all": "<b>all neurons</b>"}
    figure = Panels(list(titles.values()), columns, 190)
    by_degree = rows[(rows.degree > 0) & ~rows.is_change].sort_values("degree")
    highest = int(max(by_degree.degree, default=1))
    kinds = ["specific", *["related"] * (highest - 2), "general"][:highest]  # a degree's colour is that of its kind
    steps = sorted(set(by_degree.step))
    for panel, convention in enumerate(titles):
        for step in steps[:1] + steps[1:][-1:]:
            found = by_degree[(by_degree.convention == convention) & (by_degree.step == step)]
            is_last = step != steps[0]
            fill = [LIGHT[kind] if is_last else faded(LIGHT[kind], 0.12) for kind in kinds]
            figure.add(
                "bar",
                panel,
                x=found.degree,
                y=found.value,
                name=f"step {step:,}",
                error_y=interval_errors(found),
                marker={"color": fill, "line": {"color": [LIGHT[kind] for kind in kinds], "width": 1.5}},
                hovertemplate=f"step {step:,}<br>above tau in %{{x}} languages<br>%{{y:,}} neurons<extra></extra>",
            )
        figure.x(panel, "degree: languages above tau", showgrid=False, **({"dtick": 1} if highest <= 12 else {}))
        most = np.nanmax([0, by_degree[by_degree.convention == convention][["value", "high"]].max(axis=None)])
        figure.y(panel, "neurons", tickformat=",", rangemode="tozero", **whole_ticks(most))
    figure.layout |= {"barmode": "group", "bargap": 0.2, "bargroupgap": 0.05}
    return figure


def layer_ticks(layers: int) -> int:
    """Layers from tick to tick: about ten ticks, at whole layers."""
    return max(1, round(layers / 10))


def _first(figure: Panels, panel: int, title: str) -> str:
    """The title of a y axis, for the panels at the left only: those beside them have the same."""
    return "" if panel % figure.columns else title


def _line_with_band(
    figure: Panels, panel: int, rows: pd.DataFrame, kind: str, name: str, style: Mapping[str, Any]
) -> None:
    """A line of counts over steps, and behind it the band of its intervals (empty where there are none).

    Where only some steps have an interval each has a bar of its own: a band would tell of the steps between.
    Always two traces: then figures of the same layout have the same traces, and the page stores what they share once.
    Bands of unseen languages are outlines: two tints of one colour could not be told apart where they overlap.
    """
    colour, places = LIGHT[kind], digits("".join(rows["group"][:1]))
    banded = with_interval(rows)
    filled = style["filled"] and len(banded) == len(rows)
    steps, low, high = (listed(banded[name]) for name in ("step", "low", "high"))
    if len(banded) < len(rows):
        x = [step for one in steps for step in (one, one, None)]
        y = [end for both in zip(low, high, strict=True) for end in (*both, None)]
        line = {"width": 6 if style["filled"] else 3, "color": faded(colour, 0.4), "dash": "solid"}
    else:
        gap = [] if filled else [None]  # an outline is two lines, not a ring
        x, y = [*steps, *gap, *steps[::-1]], [*high, *gap, *low[::-1]]
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
    figure.add(
        "scatter",
        panel,
        x=rows.step,
        y=rows.value,
        customdata=[
            f"<br>95 % interval {ends}" if (ends := interval(low, high, places)) else ""
            for low, high in zip(rows.low, rows.high, strict=True)
        ],
        name=plain(name),
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": style["dash"]},
        marker={"symbol": style["symbol"], "size": 8, "color": colour, "line": {"width": 1.5, "color": colour}},
        hovertemplate=f"{plain(name)}<br>step %{{x:,}}: %{{y:,.{places}f}} {kind}%{{customdata}}<extra></extra>",
    )


def _range(lines: Sequence[pd.DataFrame], least: float) -> tuple[float, float]:
    """Of an axis for all lines and bands; at least so many neurons, so that a change of one does not fill a panel."""
    ends = pd.concat([line.assign(low=line.low.clip(lower=0).round(4)) for line in lines])[["value", "low", "high"]]
    low, high = np.nan_to_num([ends.min(axis=None), ends.max(axis=None)]).tolist()
    more = max(0.07 * (high - low), (least - (high - low)) / 2)
    low, high = low - more, high + more
    if low < 0:  # there are no such counts; a little below zero, where markers would be cut
        high = max(high, least)
        low = -0.04 * high
    return round(low, 4), round(high, 4)
