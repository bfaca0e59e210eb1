"""The figure of the answer: the change of every kind over the range that reassigned movement brings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from alignlab.reporting.page.data import MOVEMENT_VERDICTS, VERDICTS
from alignlab.reporting.page.panels import Panels, interval_errors, plain, whole_ticks
from alignlab.reporting.page.theme import LIGHT, faded
from alignlab.reporting.wording import digits, interval, number, signed


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
