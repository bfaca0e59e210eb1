"""What the plan of a study says of its costs."""

from __future__ import annotations

from dataclasses import replace

from alignlab.studying.cost import Cost, Group
from alignlab.studying.grid import Cell
from alignlab.studying.studies import cost_rows


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
