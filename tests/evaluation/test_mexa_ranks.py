"""MEXA over two real ranks is that of one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..recording.test_two_ranks_tally import run_two
from ..scripts_as_modules import script_as_module

SCRIPT = Path(__file__).with_name("mexa_of_one_of_two_ranks.py")


@pytest.mark.slow
def test_two_ranks_compare_as_one(model_folder: Path, tmp_path: Path) -> None:
    assert run_two(SCRIPT, model_folder, tmp_path) == [0, 0]
    one = script_as_module(SCRIPT).compared(model_folder)
    assert any(aligned.any() and not aligned.all() for aligned in one.values())
    for rank in range(2):
        two = torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True)
        assert two.keys() == one.keys()
        assert all(torch.equal(two[language], one[language]) for language in one)
