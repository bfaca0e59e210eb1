"""Figures of what neurons have in common: overlaps between languages, moves between kinds, parts of the layers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from alignlab.analysis.languages import EXCESS, EXPECTED, Z
from alignlab.reporting.page.data import TRANSITION_KINDS
from alignlab.reporting.page.figures import layer_ticks
from alignlab.reporting.page.panels import Panels, interval_errors, listed, plain
from alignlab.reporting.page.theme import BEHIND_NUMBERS, LIGHT, faded, scale, two_sided_scale
from alignlab.reporting.wording import number

# What an overlap can be read as, with its name on the colour bar; and the measure in the table.
MEASURES = {"excess": "Jaccard beyond the margins", "jaccard": "Jaccard", "z": "z beyond the margins"}
_COLUMN = {"excess": EXCESS, "jaccard": "jaccard", "z": Z}

_MOST_WRITTEN = 14  # languages, up to which cells have numbers
_COMFORTABLE = 480  # pixels of a matrix with lines of 28 pixels, or narrower ones down to the next
_LEAST_LINE = 13  # pixels in which a label can be read
_WIDTH, _WIDTH_OF_PHONES = 660, 260  # pixels at least of all matrices side by side, and of one alone on a phone
_FLOW_PADDING = 14  # pixels between kinds
_FLOW_HEIGHT = 320
_SIDES = ("before", "after")


@dataclass
class Parts:
    """Into which parts the layers of a snapshot fall.

    starts: the first layer of each part with its label, "" where no signature holds.
    shares: by cut, the share of resamples with it within one layer.  curves: by kind, (layer, z) that were segmented.
    costs: squared errors of 1, 2 ... parts.
    """

    layers: int
    starts: list[tuple[int, str]] = field(default_factory=list)
    shares: dict[int, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    costs: list[float] = field(default_factory=list)

    @property
    def parts(self) -> list[Part]:
        """In order."""
        ends = [*(start - 1 for start, _ in self.starts[1:]), self.layers - 1]
        return [
            Part(place, start, end, label, self.shares.get(start))
            for place, ((start, label), end) in enumerate(zip(self.starts, ends, strict=True), start=1)
        ]


class Part(NamedTuple):
    """A part; `cut_share`: of resamples with the part's first cut within one layer, None where there is none."""

    part: int
    first_layer: int
    last_layer: int
    label: str
    cut_share: float | None


def overlap_heatmaps(
    overlaps: Sequence[tuple[str, pd.DataFrame]],
    families: Mapping[str, str],
    measure: str = "excess",
    changes: tuple[str, pd.DataFrame] | None = None,
    columns: int = 3,
) -> Panels:
    """The languages' overlaps, pair by pair, in one scale, and their change in another; languages family by family.

    overlaps: with their titles, each a row a pair of languages and a column a measure.
    changes: the same of the change, with a column `beyond_noise`.
    """
    first = overlaps[0][1].index
    order = sorted({code for pair in first for code in pair}, key=lambda code: (families.get(code, ""), code))
    written = len(order) <= _MOST_WRITTEN
    crowded = 28 * len(order) > _COMFORTABLE
    height = max(200, min(_COMFORTABLE, 28 * len(order)), _LEAST_LINE * len(order))
    if changes and _COLUMN[measure] not in changes[1]:
        changes = None
    shown = [*overlaps, *([changes] if changes else [])]
    figure = Panels([f"<b>{plain(title)}</b>" for title, _ in shown], columns, height, below=84)
    grids = [_grid(pairs[_COLUMN[measure]], order) for _, pairs in shown]
    most = max([_most(grid) for grid in grids[: len(overlaps)]])
    strength = BEHIND_NUMBERS if written else 1
    one_sided = measure == "jaccard"
    colours = scale("more", strength) if one_sided else two_sided_scale(strength)
    figure.colour_scale(0, MEASURES[measure], colours, 0 if one_sided else -most, most)
    if changes:
        most = _most(grids[-1])
        title = f"change of {MEASURES[measure]}"
        figure.colour_scale(len(overlaps), title, two_sided_scale(strength), -most, most)
    names, of = _family_names(order, families), [families.get(code, "") for code in order]
    for panel, (grid, (_, pairs)) in enumerate(zip(grids, shown, strict=True)):
        is_change = panel >= len(overlaps)
        marked = _grid(pairs.beyond_noise.astype(float) if is_change else pairs.jaccard * 0, order) == 1
        figure.add(
            "heatmap",
            panel,
            z=[listed(grid.loc[code]) for code in order],
            x=[plain(code) for code in order],
            y=[plain(code) for code in order],
            coloraxis=f"coloraxis{panel + 1}" if is_change else "coloraxis",
            xgap=1,
            ygap=1,
            text=_texts(grid, marked, measure, signed=is_change) if written else None,
            texttemplate="%{text}" if written else None,
            textfont={"size": 10, "color": LIGHT["text"]} if written else None,
            hovertemplate=f"%{{y}} and %{{x}}<br>{MEASURES[measure]} %{{z:.3f}}<extra></extra>",
        )
        # Every row has its label. A column stands for the language of its row: where columns are narrow, some have one.
        narrow = _LEAST_LINE * len(order) * figure.columns / (_WIDTH if figure.columns > 1 else _WIDTH_OF_PHONES)
        every = math.ceil(narrow)
        small: dict[str, Any] = {"tickfont": {"size": 10}} if crowded else {}
        angle = 0 if len(order) <= _MOST_WRITTEN else -90
        figure.x(panel, type="category", showgrid=False, dtick=every, tickangle=angle, **small)
        figure.y(panel, type="category", showgrid=False, dtick=1, autorange="reversed", **small)
        if panel % figure.columns == 0:
            figure.y(panel, tickvals=list(range(len(order))), ticktext=names)
        figure.separate(panel, [place for place in range(1, len(order)) if of[place] != of[place - 1]])
    return figure


def _grid(values: pd.Series, order: Sequence[str]) -> pd.DataFrame:
    """Values by pair as a symmetric table."""
    half = values.unstack().reindex(index=order, columns=order)
    return half.combine_first(half.T).astype(float).round(4)


def _most(grid: pd.DataFrame) -> float:
    return float(np.nanmax([0, grid.abs().max(axis=None)])) or 1.0


def _texts(grid: pd.DataFrame, marked: pd.DataFrame, measure: str, *, signed: bool) -> list[list[str]]:
    places, sign = 1 if measure == "z" else 2, "+" if signed else ""

    def text(value: float, star: bool) -> str:
        return number(value, places, sign) + ("*" if star else "")

    pairs = zip(grid.to_numpy(), marked.to_numpy(), strict=True)
    return [[text(*cell) for cell in zip(line, stars, strict=True)] for line, stars in pairs]


def _family_names(order: Sequence[str], families: Mapping[str, str]) -> list[str]:
    """The codes, the first of each family behind the family's name."""
    names, last = [], None
    for code in order:
        family = families.get(code, "")
        names.append(plain(f"{family} {code}" if family and family != last else code))
        last = family
    return names


def overlap_against_chance(
    overlaps: Sequence[tuple[str, pd.DataFrame]], families: Mapping[str, str], columns: int = 2
) -> Panels:
    """Every pair of languages: what it shares against what the margins give; pairs of one family stand out.

    overlaps: as `overlap_heatmaps` takes them.
    """
    figure = Panels([f"<b>{plain(title)}</b>" for title, _ in overlaps], columns, 220)
    found = [_with_ends(pairs).dropna(subset=[EXPECTED, "jaccard"]).round(4) for _, pairs in overlaps]
    most = pd.concat(found)[[EXPECTED, "jaccard", "high"]].max().fillna(0)
    right, top = 1.1 * most[EXPECTED] or 1, 1.06 * most.max() or 1
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
                error_y=interval_errors(shown.assign(value=shown.jaccard), color=LIGHT["line"], thickness=1.5),
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


def _with_ends(pairs: pd.DataFrame) -> pd.DataFrame:
    """The pairs with the ends of the interval of what they share beyond chance, put where the Jaccard index is."""
    ends = {end: pairs[end] + pairs[EXPECTED] if end in pairs else np.nan for end in ("low", "high")}
    return pairs[[EXPECTED, "jaccard"]].assign(**ends)


def transition_flow(moves: Mapping[tuple[str, str], Any], before: str, after: str) -> Panels:
    """Neurons that have a kind at either end, from their kind before to their kind after; `moves` by both kinds.

    Those of no kind at both ends are left out: they are nearly all, and nothing happens to them.
    """
    pairs = [
        pair for pair in product(TRANSITION_KINDS, TRANSITION_KINDS) if pair != ("none", "none") and moves[pair].value
    ]
    links = {pair: int(moves[pair].value) for pair in pairs}
    nodes = [node for side in _SIDES for node in _nodes(links, side)]
    place = {(kind, side): index for index, (kind, side, _, _) in enumerate(nodes)}
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
            "source": [place[old, "before"] for old, _ in links],
            "target": [place[new, "after"] for _, new in links],
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


def layer_parts(at: Parts, columns: int = 2) -> Panels:
    """The curves that were segmented (z-scores over the layers) with the cuts, and the cost of other numbers."""
    parts = at.parts
    figure = Panels([f"<b>{len(parts)} parts</b>", "<b>cost by number of parts</b>"], columns, 220)
    for kind, symbol in (("specific", "circle"), ("related", "square"), ("general", "triangle-up")):
        curve = sorted(at.curves.get(kind, ()))
        figure.add(
            "scatter",
            0,
            x=[layer for layer, _ in curve],
            y=[round(z, 3) for _, z in curve],
            name=kind,
            mode="lines+markers",
            line={"color": LIGHT[kind], "width": 2},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=f"{kind}<br>layer %{{x}}: z %{{y:.2f}}<extra></extra>",
        )
    numbers = range(1, len(at.costs) + 1)
    figure.add(
        "scatter",
        1,
        x=list(numbers),
        y=at.costs,
        mode="lines+markers",
        showlegend=False,
        line={"color": LIGHT["muted"], "width": 1.5},
        marker={
            "size": [10 if count == len(parts) else 7 for count in numbers],
            "color": [LIGHT["text" if count == len(parts) else "muted"] for count in numbers],
        },
        hovertemplate="%{x} parts: cost %{y:.3f}<extra></extra>",
    )
    # Traces, not parts of the layout: what layouts share is stored once, and there can be hundreds of steps.
    heights = [z for curve in at.curves.values() for _, z in curve] or [0, 1]
    cuts = [part.first_layer - 0.5 for part in parts[1:]]
    figure.add(
        "scatter",
        0,
        x=[end for cut in cuts for end in (cut, cut, None)],
        y=[end for _ in cuts for end in (min(heights), max(heights), None)],
        mode="lines",
        showlegend=False,
        line={"color": LIGHT["text"], "width": 1, "dash": "dot"},
        hoverinfo="skip",
    )
    figure.add(
        "scatter",
        0,
        x=[(part.first_layer + part.last_layer) / 2 for part in parts],
        y=[max(heights)] * len(parts),
        text=[str(part.part) for part in parts],
        mode="text",
        textposition="top center",
        textfont={"size": 12, "color": LIGHT["muted"]},
        cliponaxis=False,
        showlegend=False,
        hoverinfo="skip",
    )
    figure.x(0, "layer", range=[-0.5, at.layers - 0.5], dtick=layer_ticks(at.layers), showgrid=False)
    figure.y(0, "log(1 + count), z-score over the layers")
    figure.x(1, "number of parts", dtick=1, showgrid=False)
    figure.y(1, "squared error", rangemode="tozero")
    figure.legend()
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
