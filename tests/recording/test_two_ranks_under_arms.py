"""Two real ranks against one: the same likelihoods and answers under arms, also where they were killed before."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..scripts_as_modules import script_as_module
from .test_two_ranks_tally import run_two

SCRIPT = Path(__file__).with_name("one_of_two_ranks_under_arms.py")


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [None, 3, 14])
def test_two_ranks_measure_as_one(killed_at: int | None, model_folder: Path, tmp_path: Path) -> None:
    alone = script_as_module(SCRIPT).measure(model_folder, tmp_path / "alone")
    parts = len(list((tmp_path / "alone/parts").iterdir()))
    assert parts > 15
    if killed_at is not None:
        assert any(run_two(SCRIPT, model_folder, tmp_path, str(killed_at)))
        assert len(list((tmp_path / "parts").glob("part-*.jsonl"))) == killed_at
    assert run_two(SCRIPT, model_folder, tmp_path, "0") == [0, 0]
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]
    for two in ranks:
        assert two["nats"].numpy().tobytes() == alone["nats"].numpy().tobytes()
        assert two["answers"] == alone["answers"]
        assert (two["cost"] < alone["cost"]) == (killed_at is not None)
    assert ranks[0]["forwards"] == ranks[1]["forwards"]  # those of a sharded model are collective
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == sorted(
        path.name for path in (tmp_path / "alone/parts").iterdir()
    )
    for path in (tmp_path / "parts").iterdir():
        assert path.read_bytes() == (tmp_path / "alone/parts" / path.name).read_bytes()


@pytest.mark.slow
def test_a_sharded_model_is_scored_as_a_whole_one(model_folder: Path, tmp_path: Path) -> None:
    """Its forwards are collective, and its layers are gathered by hooks beside those that share the lower ones."""
    script = script_as_module(SCRIPT)
    whole, _ = script.scored(script.load(model_folder), None)
    assert run_two(SCRIPT, model_folder, tmp_path, "sharded") == [0, 0]
    for rank in range(2):
        half = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        assert torch.allclose(half["nats"], whole["nats"], rtol=1e-6)
        assert half["cost"] == whole["cost"]
        assert half["forwards"] == -(-(whole["forwards"] - 1) // 2) + 1  # one finds the sites
