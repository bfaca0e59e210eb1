"""The figure of the loss of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignlab.reporting.page.panels import STEP, Panels, plain
from alignlab.reporting.page.theme import LIGHT
from alignlab.reporting.wording import joined

_MOST_POINTS = 500


def training_loss(curves: Mapping[str, Sequence[tuple[int, float]]], units: Sequence[str], columns: int = 1) -> Panels:
    """The loss of training over its steps, the runs (by label) laid over each other.

    units: what losses are means over.
    """
    per = joined(units)
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
            hovertemplate=f"{plain(label)}<br>step %{{x:,}}: %{{y:.3f}}, mean over {per}<extra></extra>",
        )
    figure.x(0, STEP, nticks=8, tickformat=",")
    figure.y(0, f"loss, mean over {per}")
    if len(curves) > 1:
        figure.legend()
    return figure
