"""The CSV of everything logged, over an interruption."""

from __future__ import annotations

import csv
from pathlib import Path

from alignlab.reporting.metrics_csv import MetricsCsv


def rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_values_come_back_exactly(tmp_path: Path) -> None:
    logger = MetricsCsv(tmp_path / "metrics.csv", 0)
    logger.log_metrics({"train/loss": 0.1 + 0.2, "epoch": 3}, step=1)
    logger.log_metrics({"train/loss": 1e-300}, step=2)
    header, *found = rows(tmp_path / "metrics.csv")
    assert header == ["step", "key", "value"]
    assert [(int(step), key, float(value)) for step, key, value in found] == [
        (1, "train/loss", 0.1 + 0.2),
        (2, "train/loss", 1e-300),
    ]


def test_steps_that_are_done_again_are_dropped_and_a_torn_line_too(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    first = MetricsCsv(path, 0)
    for step in range(1, 6):
        first.log_metrics({"x": step}, step=step)
    with path.open("a") as file:
        file.write("6,x")  # killed while it was writing
    again = MetricsCsv(path, 3)
    again.log_metrics({"x": 40}, step=4)
    assert rows(path)[1:] == [["1", "x", "1.0"], ["2", "x", "2.0"], ["3", "x", "3.0"], ["4", "x", "40.0"]]
