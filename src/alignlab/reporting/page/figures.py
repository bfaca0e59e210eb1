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
from alignlab.reporting.page.data import MOVEMENT_VERDICTS, VERDICTS, PageLanguage
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
from alignlab.reporting.wording import digits, interval, number, signed

KINDS = tuple(kind.label for kind in COUNTED_KINDS)
LANGUAGE_KINDS = tuple(kind.label for kind in KINDS_OF_A_LANGUAGE)
_MOST_LAYERS_WRITTEN, _MOST_STEPS_WRITTEN = 16, 8
_RUN_SYMBOLS = ("circle", "square", "triangle-up", "x")
_SYMBOLS = {"trained": "circle", "reference": "square", "unseen": "diamond"}
_GROUP_ORDER = tuple(_SYMBOLS)
_APART = 0.17  # of the dots of the first and the last step, as a share of a line

Runs = Mapping[str, pd.DataFrame]


def answer(moves: pd.DataFrame, columns: int = 2) -> Panels:
    """Of every kind the change, with its interval, over the range that reassigned movement brings: of all neurons, and
    of the mean a language. Filled where it is beyond noise and told from movement.

    moves: columns group, kind, value (the change, or the count of a single snapshot), low, high, movement_low,
        movement_high, verdict, movement_verdict.
    """
    is_all = moves["group"] == "all"
    parts = {"all neurons": moves[is_all], "mean a language": moves[~is_all]}
    shown = {title: rows for title, rows in parts.items() if len(rows)}
    height = 24 * max(map(len, shown.values())) + 20
    figure = Panels([f"<b>{title}</b>" for title in shown], columns, height, gap=0.22)
    is_change = bool(len(moves)) and "change" in set(moves.what)
    for panel, rows in enumerate(shown.values()):
        _forest(figure, panel, rows, is_change)
    return figure


def _forest(figure: Panels, panel: int, rows: pd.DataFrame, is_change: bool) -> None:
    places = range(len(rows))
    moved = rows[["movement_low", "movement_high"]].round(4)
    figure.add(
        "scatter",
        panel,
        x=[end for low, high in moved.itertuples(index=False) for end in (_end(low), _end(high), None)],
        y=[place for place in places for _ in range(3)],
        mode="lines",
        line={"width": 13, "color": faded(LIGHT["muted"], 0.3)},
        hoverinfo="skip",
    )
    colours = [LIGHT[kind] for kind in rows.kind]
    bars = interval_errors(rows.assign(low=rows.low, high=rows.high), floor=None if is_change else 0)
    firm = (rows.verdict == VERDICTS[True]) & (rows.movement_verdict != MOVEMENT_VERDICTS[False])
    texts = [
        signed(row.value, digits(row.group)) if is_change else number(row.value, digits(row.group))
        for row in rows.itertuples()
    ]
    figure.add(
        "scatter",
        panel,
        x=rows.value,
        y=list(places),
        error_x=bars and {**bars, "thickness": 1.5},
        mode="markers+text",
        text=texts,
        textposition="top center",
        textfont={"size": 11},
        cliponaxis=False,
        marker={
            "symbol": ["circle" if one and is_change else "circle-open" for one in firm],
            "size": 9,
            "color": colours,
            "line": {"width": 1.5, "color": colours},
        },
        customdata=[_about(row) for row in rows.itertuples()],
        hovertemplate="%{customdata}<extra></extra>",
    )
    names = [
        f'<span style="color:{LIGHT[row.kind]}">■</span> '
        + plain(row.kind if row.group == "all" else f"{row.group} {row.kind}")
        for row in rows.itertuples()
    ]
    figure.y(
        panel,
        tickvals=list(places),
        ticktext=names,
        range=[len(rows) - 0.4, -0.8],
        showgrid=False,
        tickfont={"size": 12},
    )
    ends = rows[["value", "low", "high", "movement_low", "movement_high"]].astype(float)
    span = np.nanmax([0, ends.max(axis=None)]) - np.nanmin([0, ends.min(axis=None)])
    ticks = whole_ticks(span) if "all" in set(rows["group"]) else {}  # means over languages have fractions
    title, form = ("change, neurons", "+,") if is_change else ("neurons", ",")
    zero = {"zeroline": True, "zerolinecolor": LIGHT["muted"], "zerolinewidth": 1}
    figure.x(panel, title, tickformat=form, **zero, **ticks)


def _about(row: Any) -> str:
    places = digits(row.group)
    ends = interval(row.low, row.high, 1)
    moved = interval(row.movement_low, row.movement_high, 1)
    said = [f"{row.group}: {row.kind}", f"{number(row.value, places)} neurons"]
    said += [f"95 % interval {ends}"] if ends else []
    said += [f"reassigned movement {moved}"] if moved else []
    return "<br>".join(map(plain, [*said, *([row.verdict] if row.what == "change" else [])]))


def _end(value: float) -> float | None:
    return None if value != value else value


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


def languages_before_and_after(rows: pd.DataFrame, languages: Sequence[PageLanguage], columns: int = 2) -> Panels:
    """Neurons that each language owns, at the first step (hollow) and at the last (filled)."""
    figure = Panels([kind_title(kind) for kind in LANGUAGE_KINDS], columns, 24 * len(languages) + 24)
    for panel, kind in enumerate(LANGUAGE_KINDS):
        of_kind = chosen(rows, kind, "language")
        said = [f"%{{customdata}}, {which} step<br>%{{x:,}} {kind}" for which in ("first", "last")]
        dots_of_languages(figure, panel, of_kind, languages, (LIGHT[kind], LIGHT[kind]), said)
        most = of_kind[["value", "high"]].max(axis=None) or 1
        # A little below zero, where markers would be cut.
        figure.x(panel, "neurons owned", range=[-0.04 * most, 1.05 * most], tickformat=",", **whole_ticks(1.05 * most))
        if figure.columns > 1 and panel:
            figure.y(panel, showticklabels=False)
    return figure


def dots_of_languages(
    figure: Panels,
    panel: int,
    rows: pd.DataFrame,
    languages: Sequence[PageLanguage],
    colours: tuple[str, str],
    said: Sequence[str],
) -> None:
    """A line of dots a language that has both: the number at the first step (hollow, above) and at the last (filled).

    colours: of the dots, and of the lines between them.  said: what a dot says of the first step, and of the last.
    """
    colour, between = colours
    steps = sorted(set(rows.step))
    at = {step: rows[rows.step == step].set_index("language") for step in (steps[0], steps[-1])}
    ordered = sorted(languages, key=lambda language: _GROUP_ORDER.index(language.group))
    shown = [
        (place, language)
        for place, language in enumerate(ordered)
        if all(language.code in found.index for found in at.values())
    ]
    codes = [language.code for _, language in shown]
    # A little apart, so that the intervals of both can be seen.
    lines = {step: [place + shift for place, _ in shown] for step, shift in zip(at, (-_APART, _APART), strict=False)}
    ends = [at[step].value[codes] for step in (steps[0], steps[-1])]
    figure.add(
        "scatter",
        panel,
        x=pd.Series(np.column_stack([*ends, np.full(len(codes), np.nan)]).ravel()),
        y=[end for both in zip(*(lines[step] for step in (steps[0], steps[-1])), strict=True) for end in (*both, None)],
        mode="lines",
        line={"color": between, "width": 1.5},
        hoverinfo="skip",
    )
    for step, found in at.items():
        is_last = step != steps[0]
        figure.add(
            "scatter",
            panel,
            x=found.value[codes],
            y=lines[step],
            customdata=[language_label(language) for _, language in shown],
            # A pale bar: a thin line would be taken for the way from the first step.
            error_x=interval_errors(found.loc[codes], thickness=5, color=faded(colour, 0.25)),
            mode="markers",
            marker={
                "symbol": [_SYMBOLS[language.group] + ("" if is_last else "-open") for _, language in shown],
                "size": 8,
                "color": colour,
                "line": {"width": 1.5, "color": colour},
            },
            hovertemplate=f"{said[is_last]}<extra></extra>",
        )
    # A language a line, the first at the top.
    figure.y(
        panel,
        tickvals=list(range(len(ordered))),
        ticktext=[language_label(language) for language in ordered],
        range=[len(ordered) - 0.4, -0.6],
    )


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


def language_label(language: PageLanguage) -> str:
    return plain(f"{language.name} {language.code}")


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
