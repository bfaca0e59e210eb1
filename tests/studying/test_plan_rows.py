"""What the plan of a study says of its costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from alignlab.study import main
from alignlab.studying.cost import Cost, Group
from alignlab.studying.grid import Cell
from alignlab.studying.studies import cost_rows

from . import small


def test_models_and_methods_that_cost_the_same_are_one_line() -> None:
    cheap = Cost(10, 1000.0, 2e9, 4_000_000, 100_000_000)
    low, high, full = (
        tuple(Cell(f"{level}+seed{seed}", (level,), seed) for seed in (0, 1)) for level in ("low", "high", "full")
    )
    dear = replace(cheap, memory=900_000_000)
    rows = cost_rows([Group(low[0], low, cheap), Group(high[0], high, replace(cheap)), Group(full[0], full, dear)])
    each = [text for name, text in rows if name == "each"]
    assert [text.partition("(")[2] for text in each] == ["4 cells like low+seed0)", "2 cells like full+seed0)"]
    assert dict(rows)["in all"].startswith("60 steps, about 6,000 tokens")


@pytest.mark.slow
def test_a_baseline_that_is_skipped_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small.small(Path("builtin:demo"), baseline={"aligned": "zh"}, seeds=[0])
    small.write(tmp_path, config)
    monkeypatch.chdir(tmp_path)
    for more, said in (
        ([], "others are compared"),
        (["skip=[{aligned: zh}]"], "skipped, so nothing is compared with it"),
    ):
        assert main(["config=small.yaml", "dry_run=true", *more]) == 0
        assert f"aligned zh; {said}" in " ".join(capsys.readouterr().out.split())
