"""A figure of one number of every language, such as a loss or a share: its ends by language, its course by group."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.page.figures import dots_of_languages
from alignlab.reporting.page.panels import GROUP_STYLE, Panels, interval_errors
from alignlab.reporting.page.theme import LIGHT, faded


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
    dots_of_languages(figure, 0, rows[rows.language != ""], languages, (LIGHT["text"], LIGHT["muted"]), said)
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
