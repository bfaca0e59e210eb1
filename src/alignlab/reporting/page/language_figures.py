"""Figures of one number of every language, such as a loss, a share or its neurons: first and last, and the course."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.page.figures import LANGUAGE_KINDS
from alignlab.reporting.page.panels import (
    GROUP_STYLE,
    Panels,
    chosen,
    interval_errors,
    kind_title,
    plain,
    whole_ticks,
)
from alignlab.reporting.page.theme import LIGHT, faded

_SYMBOLS = {"trained": "circle", "reference": "square", "unseen": "diamond"}
_GROUP_ORDER = tuple(_SYMBOLS)
_APART = 0.17  # of the dots of the first and the last step, as a share of a line


def ends_and_course(
    rows: pd.DataFrame,
    languages: Sequence[PageLanguage],
    columns: int,
    *,
    groups: str,
    title: str,
    unit: str,
    span: tuple[float, float] | None = None,
) -> Panels:
    """Left each language's number at the first step (hollow) and the last (filled); right the groups' over the steps.

    rows: of one number, columns step, group, language, value, low, high; those with a language are of languages.
    groups: title of the right panel.  title: of the number's axes.  unit: behind a number, which has three decimals.
    span: range of the number's axes; None fits them to what is shown.
    """
    titles = ["<b>first and last step</b>", f"<b>{groups}</b>"]
    figure = Panels(titles, columns, max(200, 24 * len(languages) + 24), margin_right=56)
    said = [f"%{{customdata}}, step {step:,}<br>%{{x:.3f}} {unit}" for step in (rows.step.min(), rows.step.max())]
    _dots(figure, 0, rows[rows.language != ""], languages, (LIGHT["text"], LIGHT["muted"]), said)
    lines = {group: rows[rows["group"] == group].sort_values("step") for group in GROUP_STYLE}
    lines = {group: line for group, line in lines.items() if len(line)}
    for group, line in lines.items():
        style = GROUP_STYLE[group]
        figure.add(
            "scatter",
            1,
            x=line.step,
            y=line.value,
            error_y=interval_errors(line, thickness=5, color=faded(LIGHT["text"], 0.25)),
            name=group,
            mode="lines+markers",
            line={"color": LIGHT["text"], "width": 2, "dash": style["dash"]},
            marker={"symbol": style["symbol"], "size": 8, "color": LIGHT["text"]},
            hovertemplate=f"{group}<br>step %{{x:,}}: %{{y:.3f}} {unit}<extra></extra>",
        )
    values = [value for line in lines.values() for value in line.value]
    low, high = span or (min(values, default=0), max(values, default=1))
    figure.label_ends(1, lines, low, high)
    figure.steps(1, sorted(set(rows.step)))
    around = {} if span is None else {"range": [low - 0.02 * (high - low), high + 0.02 * (high - low)]}
    figure.x(0, title, **around)
    figure.y(1, title, **around)
    return figure


def languages_before_and_after(rows: pd.DataFrame, languages: Sequence[PageLanguage], columns: int = 2) -> Panels:
    """Neurons that each language owns, at the first step (hollow) and at the last (filled)."""
    figure = Panels([kind_title(kind) for kind in LANGUAGE_KINDS], columns, 24 * len(languages) + 24)
    for panel, kind in enumerate(LANGUAGE_KINDS):
        of_kind = chosen(rows, kind, "language")
        said = [f"%{{customdata}}, {which} step<br>%{{x:,}} {kind}" for which in ("first", "last")]
        _dots(figure, panel, of_kind, languages, (LIGHT[kind], LIGHT[kind]), said)
        most = of_kind[["value", "high"]].max(axis=None) or 1
        # A little below zero, where markers would be cut.
        figure.x(panel, "neurons owned", range=[-0.04 * most, 1.05 * most], tickformat=",", **whole_ticks(1.05 * most))
        if figure.columns > 1 and panel:
            figure.y(panel, showticklabels=False)
    return figure


def _dots(
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
            customdata=[_label(language) for _, language in shown],
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
        ticktext=[_label(language) for language in ordered],
        range=[len(ordered) - 0.4, -0.6],
    )


def _label(language: PageLanguage) -> str:
    return plain(f"{language.name} {language.code}")
