"""Figures of losses: of every language's counted tokens at the snapshots, and of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.page.figures import dots_of_languages
from alignlab.reporting.page.panels import GROUP_STYLE, STEP, Panels, interval_errors, plain
from alignlab.reporting.page.theme import LIGHT, faded

_UNIT = "nats a token"
_MOST_POINTS = 500


def loss_by_language(losses: pd.DataFrame, languages: Sequence[PageLanguage], columns: int = 2) -> Panels:
    """Each language's loss at the first step (hollow) and the last (filled); and the groups' means over the steps."""
    titles = ["<b>first and last step</b>", "<b>mean over languages</b>"]
    figure = Panels(titles, columns, max(200, 24 * len(languages) + 24), margin_right=56)
    said = [f"%{{customdata}}, step {step:,}<br>%{{x:.3f}} {_UNIT}" for step in (losses.step.min(), losses.step.max())]
    of_languages = losses[losses.language != ""]
    dots_of_languages(figure, 0, of_languages, languages, (LIGHT["text"], LIGHT["muted"]), said)
    lines = {group: losses[losses["group"] == group].sort_values("step") for group in GROUP_STYLE}
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
            hovertemplate=f"{group}<br>step %{{x:,}}: %{{y:.3f}} {_UNIT}<extra></extra>",
        )
    means = [value for line in lines.values() for value in line.value]
    figure.label_ends(1, lines, min(means, default=0), max(means, default=1))
    figure.x(0, f"loss, {_UNIT}")
    figure.steps(1, losses.step)
    figure.y(1, f"loss, {_UNIT}")
    return figure


def training_loss(curves: Mapping[str, Sequence[tuple[int, float]]], columns: int = 1) -> Panels:
    """The loss of training over its steps, the runs (by label) laid over each other."""
    figure = Panels([""], columns, 180)
    for (label, curve), dash in zip(curves.items(), ("solid", "dash", "dot", "dashdot"), strict=False):
        points = curve[:: max(1, -(-len(curve) // _MOST_POINTS))]  # more points than pixels show nothing more
        figure.add(
            "scatter",
            0,
            x=[step for step, _ in points],
            y=[round(loss, 5) for _, loss in points],
            name=plain(label),
            mode="lines",
            line={"color": LIGHT["text"], "width": 1.5, "dash": dash},
            hovertemplate=f"{plain(label)}<br>step %{{x:,}}: %{{y:.3f}} {_UNIT}<extra></extra>",
        )
    figure.x(0, STEP, nticks=8, tickformat=",")
    figure.y(0, f"loss, {_UNIT}")
    if len(curves) > 1:
        figure.legend()
    return figure
