"""The axes of what goes to Weights & Biases, and which charts are seen at once."""

from __future__ import annotations

from typing import Any

STEP, SNAPSHOT_STEP = "trainer/global_step", "neurons/step"
AXES = {"train/": STEP, "speed/": STEP, "neurons/": SNAPSHOT_STEP, "capability/": "capability/step"}
# The charts of W&B's default view: everything else that is logged is hidden there.
CHARTS = (
    "train/loss",
    *(f"neurons/{kind}" for kind in ("specific", "related", "general", "unassigned")),
    *(f"neurons/{group}/{kind}" for kind in ("specific", "related") for group in ("trained", "unseen")),
    *(f"neurons/{group}/loss" for group in ("trained", "unseen")),
)
# Beside them, where the model answers problems while it trains.
CAPABILITY_CHARTS = tuple(f"capability/{group}/right" for group in ("trained", "reference", "unseen"))


def define_charts(run: Any, prefix: str) -> None:
    """Give the keys that begin so, one of `AXES`, their x-axis, and hide all but `CHARTS` in the default view.

    Each would be a chart: a hundred of them would hide the ten that are looked at.
    """
    axis = AXES[prefix]
    run.define_metric(axis, hidden=True)
    run.define_metric(f"{prefix}*", step_metric=axis, hidden=True)
    for key in (*CHARTS, *CAPABILITY_CHARTS):
        if key.startswith(prefix):
            run.define_metric(key, step_metric=axis)
