"""Figures of what neurons have in common: overlaps between languages, moves between kinds, parts of the layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from alignlab.analysis.languages import EXCESS, EXPECTED, Z
from alignlab.reporting.page.data import TRANSITION_KINDS
from alignlab.reporting.page.figures import layer_ticks
from alignlab.reporting.page.panels import Panels, listed, plain
from alignlab.reporting.page.theme import LIGHT, faded, scale, two_sided_scale

# What an overlap can be read as, with its name on the colour bar; and the measure in the table.
MEASURES = {"excess": "Jaccard beyond the margins", "jaccard": "Jaccard", "z": "z beyond the margins"}
_COLUMN = {"excess": EXCESS, "jaccard": "jaccard", "z": Z}

_FLOW_PADDING = 14  # pixels between kinds
_FLOW_HEIGHT = 320
_SIDES = ("before", "after")


def overlap_heatmaps(
    overlaps: Sequence[tuple[str, pd.DataFrame]], families: Mapping[str, str], measure: str = "excess", columns: int = 2
) -> Panels:
    """The languages' overlaps, pair by pair, in one scale; languages in order of their families.

    overlaps: with their titles, each a row a pair of languages and a column a measure.
    """
    first = overlaps[0][1].index
    order = sorted({code for pair in first for code in pair}, key=lambda code: (families.get(code, ""), code))
    height = max(200, min(480, 26 * len(order)))
    figure = Panels([f"<b>{plain(title)}</b>" for title, _ in overlaps], columns, height, below=84)
    halves = [pairs[_COLUMN[measure]].unstack().reindex(index=order, columns=order) for _, pairs in overlaps]
    grids = [half.combine_first(half.T).round(4) for half in halves]
    most = np.nanmax([0, *(grid.abs().max(axis=None) for grid in grids)]).item() or 1
    colours = scale("more") if measure == "jaccard" else two_sided_scale()
    figure.colour_scale(0, MEASURES[measure], colours, 0 if measure == "jaccard" else -most, most)
    axis: dict[str, Any] = {"type": "category", "showgrid": False, "dtick": 1}
    for panel, grid in enumerate(grids):
        figure.add(
            "heatmap",
            panel,
            z=[listed(grid.loc[code]) for code in order],
            x=[plain(code) for code in order],
            y=[plain(code) for code in order],
            coloraxis="coloraxis",
            xgap=1,
            ygap=1,
            hovertemplate=f"%{{y}} and %{{x}}<br>{MEASURES[measure]} %{{z:.3f}}<extra></extra>",
        )
        figure.x(panel, **axis, tickangle=0 if len(order) <= 14 else -90)
        figure.y(panel, **axis, autorange="reversed")
    return figure


def overlap_against_chance(
    overlaps: Sequence[tuple[str, pd.DataFrame]], families: Mapping[str, str], columns: int = 2
) -> Panels:
    """Every pair of languages: what it shares against what the margins give; pairs of one family stand out.

    overlaps: as `overlap_heatmaps` takes them.
    """
    figure = Panels([f"<b>{plain(title)}</b>" for title, _ in overlaps], columns, 220)
    found = [pairs[[EXPECTED, "jaccard"]].dropna().round(4) for _, pairs in overlaps]
    most = pd.concat(found).max().fillna(1)
    right, top = 1.1 * most[EXPECTED], 1.06 * most.max()
    for panel, pairs in enumerate(found):
        are_kin = np.array([bool(families.get(a)) and families.get(a) == families.get(b) for a, b in pairs.index], bool)
        figure.add(
            "scatter",
            panel,
            x=[0, max(right, top)],
            y=[0, max(right, top)],
            mode="lines",
            line={"color": LIGHT["muted"], "width": 1, "dash": "dot"},
            hoverinfo="skip",
            showlegend=False,
        )
        for kin in (False, True):
            shown = pairs[are_kin == kin]
            figure.add(
                "scatter",
                panel,
                x=shown[EXPECTED],
                y=shown.jaccard,
                text=[plain(f"{a} and {b}") for a, b in shown.index],
                name="same family" if kin else "different families",
                showlegend=panel == 0,
                mode="markers",
                marker={
                    "symbol": "circle" if kin else "circle-open",
                    "size": 8,
                    "color": LIGHT["more"] if kin else LIGHT["muted"],
                },
                hovertemplate="%{text}<br>Jaccard %{y:.3f}, expected %{x:.3f}<extra></extra>",
            )
        figure.x(panel, "Jaccard expected from the margins", range=[0, right], nticks=5)
        figure.y(panel, "Jaccard found", range=[0, top], nticks=5)
    figure.legend()
    return figure


def transition_flow(moves: Mapping[tuple[str, str], Any], before: str, after: str) -> Panels:
    """Neurons that have a kind at either end, from their kind before to their kind after; `moves` by both kinds.

    Those of no kind at both ends are left out: they are nearly all, and nothing happens to them.
    """
    pairs = [
        pair for pair in product(TRANSITION_KINDS, TRANSITION_KINDS) if pair != ("none", "none") and moves[pair].value
    ]
    links = {pair: int(moves[pair].value) for pair in pairs}
    nodes = [node for side in _SIDES for node in _nodes(links, side)]
    number = {(kind, side): index for index, (kind, side, _, _) in enumerate(nodes)}
    words = {"before": plain(before), "after": plain(after)}
    figure = Panels([""], 1, _FLOW_HEIGHT, below=12)
    figure.layout = {"height": _FLOW_HEIGHT + 46, "margin": {"l": 8, "r": 8, "t": 34, "b": 12}, "annotations": []}
    figure.add(
        "sankey",
        None,
        arrangement="fixed",  # in the order of kinds on both sides, not in that of fewest crossings
        node={
            "label": [f"{kind} {count:,}" for kind, _, count, _ in nodes],
            "color": [LIGHT[kind] for kind, *_ in nodes],
            "customdata": [words[side] for _, side, _, _ in nodes],
            "hovertemplate": "%{label}, %{customdata}<extra></extra>",
            "x": [0.001 if side == "before" else 0.999 for _, side, _, _ in nodes],
            "y": [place for *_, place in nodes],
            "pad": _FLOW_PADDING,
            "thickness": 12,
            "line": {"width": 0},
        },
        link={
            "source": [number[old, "before"] for old, _ in links],
            "target": [number[new, "after"] for _, new in links],
            "value": list(links.values()),
            # 40 neurons that leave their kind matter more than 400 that stay: leavers are drawn stronger.
            "color": [
                faded(LIGHT["muted" if old == "none" else old], 0.18 if old == new else 0.5) for old, new in links
            ],
            "customdata": [f"{old} → {new}" for old, new in links],
            "hovertemplate": "%{customdata}: %{value:,} neurons<extra></extra>",
        },
        textfont={"size": 13},
    )
    for text, x, anchor in ((before, 0, "left"), (after, 1, "right")):
        figure.annotate(
            text=f"<b>{plain(text)}</b>", x=x, y=1, xref="paper", yref="paper", xanchor=anchor, yanchor="bottom",
            yshift=8,
        )  # fmt: skip
    return figure


def layer_parts(curves: pd.DataFrame, parts: pd.DataFrame, costs: pd.DataFrame, columns: int = 2) -> Panels:
    """The curves that were segmented with the cuts, and the cost of other numbers of parts.

    curves: log(1 + count) of each kind, z-scored over the layers, at the step. parts: as the table of parts has them.
    costs: of 1, 2 ... parts.
    """
    figure = Panels([f"<b>{len(parts)} parts</b>", "<b>cost by number of parts</b>"], columns, 220)
    highest = int(max(curves.layer, default=0))
    for kind, symbol in (("specific", "circle"), ("related", "square"), ("general", "triangle-up")):
        curve = curves[curves.kind == kind]
        figure.add(
            "scatter",
            0,
            x=curve.layer,
            y=curve.value.round(4),
            name=kind,
            mode="lines+markers",
            line={"color": LIGHT[kind], "width": 2},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=f"{kind}<br>layer %{{x}}: z %{{y:.2f}}<extra></extra>",
        )
    for part in parts.itertuples():
        figure.annotate(
            text=str(part.part), x=(part.first_layer + part.last_layer) / 2, y=1, xref="x", yref="y domain",
            yanchor="bottom",
            font={"size": 12, "color": LIGHT["muted"]},
        )  # fmt: skip
    figure.layout["annotations"][0]["yshift"] = 22
    figure.layout["shapes"] = [
        {
            "type": "line", "x0": cut - 0.5, "x1": cut - 0.5, "y0": 0, "y1": 1, "xref": "x", "yref": "y domain",
            "line": {"color": LIGHT["text"], "width": 1, "dash": "dot"},
        }
        for cut in parts.first_layer[1:]
    ]  # fmt: skip
    numbers = range(1, len(costs) + 1)
    figure.add(
        "scatter",
        1,
        x=list(numbers),
        y=costs.value,
        mode="lines+markers",
        showlegend=False,
        line={"color": LIGHT["muted"], "width": 1.5},
        marker={
            "size": [10 if number == len(parts) else 7 for number in numbers],
            "color": [LIGHT["text" if number == len(parts) else "muted"] for number in numbers],
        },
        hovertemplate="%{x} parts: cost %{y:.3f}<extra></extra>",
    )
    figure.x(0, "layer", range=[-0.5, highest + 0.5], dtick=layer_ticks(highest + 1), showgrid=False)
    figure.y(0, "log(1 + count), z-score over the layers")
    figure.x(1, "number of parts", dtick=1, showgrid=False)
    figure.y(1, "squared error", rangemode="tozero")
    figure.legend()
    figure.layout["margin"]["t"] += 16
    figure.layout["height"] += 16
    return figure


def _nodes(links: Mapping[tuple[str, str], int], side: str) -> list[tuple[str, str, int, float]]:
    """Kind, side, neurons and place (the middle, from 0 at the top to 1) of every end of a flow on one side."""
    end = _SIDES.index(side)
    sums = {kind: sum(count for pair, count in links.items() if pair[end] == kind) for kind in TRANSITION_KINDS}
    counts = {kind: count for kind, count in sums.items() if count}
    padding = _FLOW_PADDING / _FLOW_HEIGHT
    heights = np.array([*counts.values()]) / max(1, sum(counts.values())) * (1 - padding * (len(counts) - 1))
    middles = np.cumsum(heights) - heights / 2 + padding * np.arange(len(counts))
    places = np.clip(middles, 0.001, 0.999).round(4).tolist()
    return [(kind, side, count, place) for (kind, count), place in zip(counts.items(), places, strict=True)]
