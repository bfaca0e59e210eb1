"""Figures of losses: of every language's counted tokens at the snapshots, and of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignlab.neurons.table import Row
from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.page.figures import language_axis, language_label, trained_first
from alignlab.reporting.page.panels import GROUP_STYLE, STEP, Panels, plain
from alignlab.reporting.page.theme import LIGHT

_UNIT = "nats a token"
_MOST_POINTS = 500


def loss_by_language(losses: Sequence[Row], languages: Sequence[PageLanguage], columns: int = 2) -> Panels:
    """Each language's loss at the first step (hollow) and the last (filled); and the groups' means over the steps."""
    ordered = trained_first(languages)
    names = {language.code: language_label(language) for language in ordered}
    at = {(row.step or 0, row.language): row.value for row in losses if row.language}
    steps = sorted({row.step or 0 for row in losses})
    titles = ["<b>first and last step</b>", "<b>mean over languages</b>"]
    figure = Panels(titles, columns, max(200, 24 * len(ordered) + 24), margin_right=56)
    ends = (steps[0], steps[-1])
    shown = [language for language in ordered if all((step, language.code) in at for step in ends)]
    figure.add(
        "scatter",
        0,
        x=[value for language in shown for value in (*(at[step, language.code] for step in ends), None)],
        y=[value for language in shown for value in (names[language.code], names[language.code], None)],
        mode="lines",
        line={"color": LIGHT["muted"], "width": 1.5},
        hoverinfo="skip",
    )
    for step, suffix in [(steps[0], "-open")] * (len(steps) > 1) + [(steps[-1], "")]:
        figure.add(
            "scatter",
            0,
            x=[at[step, language.code] for language in shown],
            y=[names[language.code] for language in shown],
            mode="markers",
            marker={
                "symbol": [("circle" if language.trained else "diamond") + suffix for language in shown],
                "size": 9,
                "color": LIGHT["text"],
                "line": {"width": 1.5, "color": LIGHT["text"]},
            },
            hovertemplate=f"%{{y}}, step {step:,}<br>%{{x:.3f}} {_UNIT}<extra></extra>",
        )
    lines: dict[str, list[tuple[int, float]]] = {}
    for group, style in GROUP_STYLE.items():
        lines[group] = sorted((row.step or 0, row.value) for row in losses if row.group == group)
        figure.add(
            "scatter",
            1,
            x=[step for step, _ in lines[group]],
            y=[mean for _, mean in lines[group]],
            name=group,
            mode="lines+markers",
            line={"color": LIGHT["text"], "width": 2, "dash": style["dash"]},
            marker={"symbol": style["symbol"], "size": 8, "color": LIGHT["text"]},
            hovertemplate=f"{group}<br>step %{{x:,}}: %{{y:.3f}} {_UNIT}<extra></extra>",
        )
    values = [mean for line in lines.values() for _, mean in line]
    last = [(group, float(line[-1][0]), line[-1][1]) for group, line in lines.items() if line]
    figure.label_ends(1, last, min(values, default=0), max(values, default=1))
    figure.x(0, f"loss, {_UNIT}")
    figure.y(0, **language_axis(list(names.values())))
    figure.steps(1, steps)
    figure.y(1, f"loss, {_UNIT}")
    return figure


def training_loss(curves: Mapping[str, Sequence[tuple[int, float]]], columns: int = 1) -> Panels:
    """The loss of training over its steps, the runs (by label) laid over each other."""
    figure = Panels([""], columns, 180)
    for (label, curve), dash in zip(curves.items(), ("solid", "dash", "dot", "dashdot"), strict=False):
        stride = max(1, -(-len(curve) // _MOST_POINTS))  # more points than pixels show nothing more
        points = list(curve)[::stride]
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
