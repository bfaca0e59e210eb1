"""Figures of what neurons have in common: overlaps between languages, moves between kinds, parts of the layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from alignlab.analysis.layer_parts import FIRST_LAYER
from alignlab.neurons.table import Row
from alignlab.reporting.page.data import TRANSITION_KINDS, PageLanguage
from alignlab.reporting.page.figures import layer_ticks
from alignlab.reporting.page.panels import Panels, chosen, plain
from alignlab.reporting.page.theme import LIGHT, faded, scale, two_sided_scale

# What an overlap can be read as, with its name on the colour bar.
MEASURES = {"excess": "Jaccard − chance", "jaccard": "Jaccard", "z": "z against chance"}

_FLOW_PADDING = 14  # pixels between kinds
_FLOW_HEIGHT = 320


# By pair of languages and measure, what was found.
Overlaps = Mapping[tuple[str, str, str], Row]


def overlap_heatmaps(
    overlaps: Sequence[Overlaps],
    languages: Mapping[str, PageLanguage],
    titles: Sequence[str],
    measure: str = "excess",
    columns: int = 2,
) -> Panels:
    """The languages' overlaps, pair by pair, in one scale; languages in order of their families."""
    order = sorted(
        {code for a, b, _ in overlaps[0] for code in (a, b)}, key=lambda code: (_family(languages, code), code)
    )
    height = max(200, min(480, 26 * len(order)))
    figure = Panels([f"<b>{plain(title)}</b>" for title in titles], columns, height, below=84)
    grids = [_matrix(overlap, measure, order) for overlap in overlaps]
    most = max((abs(value) for cells in grids for line in cells for value in line if value is not None), default=1) or 1
    colours = scale("more") if measure == "jaccard" else two_sided_scale()
    figure.colour_scale(0, MEASURES[measure], colours, 0 if measure == "jaccard" else -most, most)
    axis: dict[str, Any] = {"type": "category", "showgrid": False, "dtick": 1}
    for panel, cells in enumerate(grids):
        figure.add(
            "heatmap",
            panel,
            z=cells,
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
    overlaps: Sequence[Overlaps], languages: Mapping[str, PageLanguage], titles: Sequence[str], columns: int = 2
) -> Panels:
    """Every pair of languages: what it shares against what chance would; pairs of one family stand out."""
    figure = Panels([f"<b>{plain(title)}</b>" for title in titles], columns, 220)
    found = [list(_pairs(overlap)) for overlap in overlaps]
    right = 1.1 * max((chance for pairs in found for _, chance, _ in pairs), default=1)
    top = 1.06 * max((max(chance, jaccard) for pairs in found for _, chance, jaccard in pairs), default=1)
    for panel, pairs in enumerate(found):
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
            shown = [pair for pair in pairs if _kin(languages, *pair[0]) is kin]
            figure.add(
                "scatter",
                panel,
                x=[chance for _, chance, _ in shown],
                y=[jaccard for _, _, jaccard in shown],
                text=[plain(f"{a} and {b}") for (a, b), _, _ in shown],
                name="same family" if kin else "different families",
                showlegend=panel == 0,
                mode="markers",
                marker={
                    "symbol": "circle" if kin else "circle-open",
                    "size": 8,
                    "color": LIGHT["more"] if kin else LIGHT["muted"],
                },
                hovertemplate="%{text}<br>Jaccard %{y:.3f}, by chance %{x:.3f}<extra></extra>",
            )
        figure.x(panel, "Jaccard expected by chance", range=[0, right], nticks=5)
        figure.y(panel, "Jaccard found", range=[0, top], nticks=5)
    figure.legend()
    return figure


def transition_flow(moves: Mapping[tuple[str, str], Row], before: str, after: str) -> Panels:
    """Neurons that have a kind at either end, from their kind before to their kind after; `moves` by both kinds.

    Those of no kind at both ends are left out: they are nearly all, and nothing happens to them.
    """
    shown = [kind for kind in TRANSITION_KINDS if kind != "none"] + ["none"]
    links = [
        (source, target, int(moves[source, target].value))
        for source in shown
        for target in shown
        if (source, target) != ("none", "none")
    ]
    links = [link for link in links if link[2]]
    nodes = _nodes(links, shown)
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
            "source": [number[source, "before"] for source, _, _ in links],
            "target": [number[target, "after"] for _, target, _ in links],
            "value": [count for *_, count in links],
            # 40 neurons that leave their kind matter more than 400 that stay: leavers are drawn stronger.
            "color": [
                faded(LIGHT["muted" if source == "none" else source], 0.18 if source == target else 0.5)
                for source, target, _ in links
            ],
            "customdata": [f"{source} → {target}" for source, target, _ in links],
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


def layer_parts(rows: Sequence[Row], parts: Sequence[Row], columns: int = 2) -> Panels:
    """The curves that were segmented (z-scores of the counts by layer) with the cuts, and the cost of other numbers.

    rows: counts by layer at the step. parts: rows of the analysis `layer_parts` there.
    """
    starts = [int(row.value) for row in parts if row.measure == FIRST_LAYER]
    count = len(starts)
    figure = Panels([f"<b>{count} parts</b>", "<b>cost by number of parts</b>"], columns, 220)
    layers = [row.layer or 0 for row in chosen(rows, "specific", by_layer=True)]
    highest = max(layers, default=0)
    for kind, symbol in (("specific", "circle"), ("related", "square"), ("general", "triangle-up")):
        figure.add(
            "scatter",
            0,
            x=layers,
            y=_z_scores([row.value for row in chosen(rows, kind, by_layer=True)]),
            name=kind,
            mode="lines+markers",
            line={"color": LIGHT[kind], "width": 2},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=f"{kind}<br>layer %{{x}}: z %{{y:.2f}}<extra></extra>",
        )
    bounds = [*starts, highest + 1]
    for number, (start, end) in enumerate(pairwise(bounds)):
        figure.annotate(
            text=str(number + 1), x=(start + end - 1) / 2, y=1, xref="x", yref="y domain", yanchor="bottom",
            font={"size": 12, "color": LIGHT["muted"]},
        )  # fmt: skip
    figure.layout["annotations"][0]["yshift"] = 22
    figure.layout["shapes"] = [
        {
            "type": "line", "x0": cut - 0.5, "x1": cut - 0.5, "y0": 0, "y1": 1, "xref": "x", "yref": "y domain",
            "line": {"color": LIGHT["text"], "width": 1, "dash": "dot"},
        }
        for cut in starts[1:]
    ]  # fmt: skip
    costs = list(enumerate((row.value for row in parts if row.unit == "error"), start=1))
    figure.add(
        "scatter",
        1,
        x=[number for number, _ in costs],
        y=[cost for _, cost in costs],
        mode="lines+markers",
        showlegend=False,
        line={"color": LIGHT["muted"], "width": 1.5},
        marker={
            "size": [10 if number == count else 7 for number, _ in costs],
            "color": [LIGHT["text" if number == count else "muted"] for number, _ in costs],
        },
        hovertemplate="%{x} parts: cost %{y:.3f}<extra></extra>",
    )
    figure.x(0, "layer", range=[-0.5, highest + 0.5], dtick=layer_ticks(highest + 1), showgrid=False)
    figure.y(0, "z-score over the layers")
    figure.x(1, "number of parts", dtick=1, showgrid=False)
    figure.y(1, "squared error", rangemode="tozero")
    figure.legend()
    figure.layout["margin"]["t"] += 16
    figure.layout["height"] += 16
    return figure


def measure_of(overlaps: Overlaps, measure: str, a: str, b: str) -> float | None:
    """A cell of the overlaps, None where it is not defined."""
    called = {"excess": "beyond chance"}.get(measure, measure)
    row = overlaps.get((a, b, called)) or overlaps.get((b, a, called))
    return None if row is None else _defined(row.value)


def _nodes(links: Sequence[tuple[str, str, int]], kinds: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """Kind, side, neurons and place (the middle, from 0 at the top to 1) of every end of a flow."""
    nodes = []
    for side, end in (("before", 0), ("after", 1)):
        counts = [(kind, sum(link[2] for link in links if link[end] == kind)) for kind in kinds]
        counts = [(kind, count) for kind, count in counts if count]
        neurons = sum(count for _, count in counts)
        padding = _FLOW_PADDING / _FLOW_HEIGHT
        free = 1 - padding * (len(counts) - 1)
        top = 0.0
        for kind, count in counts:
            height = free * count / neurons
            nodes.append((kind, side, count, round(min(0.999, max(0.001, top + height / 2)), 4)))
            top += height + padding
    return nodes


def _matrix(overlaps: Overlaps, measure: str, order: Sequence[str]) -> list[list[float | None]]:
    """A language with itself says nothing, and would set the scale."""
    return [[None if a == b else _rounded(measure_of(overlaps, measure, a, b)) for b in order] for a in order]


def _pairs(overlaps: Overlaps) -> Iterator[tuple[tuple[str, str], float, float]]:
    """The languages, chance and Jaccard of every pair for which both are defined."""
    for a, b in dict.fromkeys((a, b) for a, b, _ in overlaps):
        jaccard, chance = measure_of(overlaps, "jaccard", a, b), measure_of(overlaps, "chance", a, b)
        if jaccard is not None and chance is not None:
            yield (a, b), round(chance, 4), round(jaccard, 4)


def _family(languages: Mapping[str, PageLanguage], code: str) -> str:
    return languages[code].family if code in languages else ""


def _kin(languages: Mapping[str, PageLanguage], a: str, b: str) -> bool:
    return bool(_family(languages, a)) and _family(languages, a) == _family(languages, b)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else float(value)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _z_scores(values: Sequence[float]) -> list[float]:
    """A curve without spread is flat at 0."""
    if not values:
        return []
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((value - mean) ** 2 for value in values) / len(values))
    return [round((value - mean) / spread, 4) if spread else 0.0 for value in values]
