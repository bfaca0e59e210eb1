"""The first picture of the README: what the model of a run can do, and its neurons by kind, over the same steps.

    python -m alignlab.train config=demo
    python scripts/studies/demo_picture.py runs/demo docs/images/demo.png

Needs what writes PNG files: `pip install 'alignlab[png]'` and a Chromium or Chrome.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

import alignlab
from alignlab.reporting.page.panels import GROUP_STYLE, Panels, interval_errors, kind_title
from alignlab.reporting.page.theme import LIGHT, faded, template
from alignlab.reporting.png import Figure, write_png

KINDS = ("specific", "related", "general", "unassigned")
NAMES = {"trained": "zh, de (trained)", "reference": "en", "unseen": "7 unseen languages"}


def main() -> None:
    folder, file = map(Path, sys.argv[1:])
    write_png(file.parent, {file.name: picture(alignlab.load_run(folder))})


def picture(run: alignlab.StoredRun) -> Figure:
    """Two panels side by side, in light colours."""
    figure = Panels(["<b>share of right answers</b>", "<b>neurons by kind</b>"], 2, 300, margin_right=130)
    right = run.evaluation.query("measure == 'right' and label.isna() and since.isna()")
    shares = {name: right[right["group"] == group].sort_values("step") for group, name in NAMES.items()}
    for (name, line), style in zip(shares.items(), map(GROUP_STYLE.get, NAMES), strict=True):
        draw(figure, 0, name, line, LIGHT["text"], style["dash"], style["symbol"])
    of_all = run.table.query("analysis == 'kinds' and thresholds == 'anchored' and group == 'all' and since.isna()")
    of_all = of_all[of_all.layer.isna() & of_all.since_before.isna()]
    counts = {kind: of_all[of_all.kind == kind].sort_values("step") for kind in KINDS}
    for kind, line in counts.items():
        draw(figure, 1, kind_title(kind), line, LIGHT[kind], "solid", "circle")
    figure.label_ends(0, shares, 0, 1)
    figure.label_ends(1, counts, 0, max(line.value.max() for line in counts.values()))
    figure.y(0, "", range=[0, 1.03])
    figure.y(1, "", rangemode="tozero")
    for panel in (0, 1):
        figure.steps(panel, right.step.unique().tolist())
    layout = {**figure.layout, "paper_bgcolor": LIGHT["page"], "template": template()}
    return {"data": figure.data, "layout": layout}


def draw(figure: Panels, panel: int, name: str, line: pd.DataFrame, colour: str, dash: str, symbol: str) -> None:
    figure.add(
        "scatter", panel, x=line.step, y=line.value, name=name, mode="lines+markers",
        error_y=interval_errors(line, thickness=5, color=faded(colour, 0.25)),
        line={"color": colour, "width": 2, "dash": dash}, marker={"symbol": symbol, "size": 8, "color": colour},
    )  # fmt: skip


if __name__ == "__main__":
    main()
