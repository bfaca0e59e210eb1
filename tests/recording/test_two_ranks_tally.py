"""Two real ranks against one: the same responses, the same of every statistic and document, as many forwards."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from alignlab.neurons.fields import FIELDS

from ..scripts_as_modules import script_as_module

SCRIPT = Path(__file__).with_name("one_of_two_ranks.py")
SHARDED = Path(__file__).with_name("one_of_two_sharded_ranks.py")


def run_two(path: Path, *arguments: Path | str) -> list[int]:
    names = {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen([sys.executable, path, str(rank), *arguments], env=environment) for rank in range(2)]
    return [process.wait(timeout=300) for process in running]


@pytest.mark.slow
@pytest.mark.parametrize("budget", [60, 10_000])  # some batches; one a language, so that a rank has none
def test_two_ranks_answer_and_count_as_one(budget: int, model_folder: Path, tmp_path: Path) -> None:
    assert run_two(SCRIPT, model_folder, tmp_path, str(budget)) == [0, 0]
    (tmp_path / "alone").mkdir()
    one = script_as_module(SCRIPT).answer_and_count(model_folder, tmp_path / "alone", budget, main=True)
    assert one["firings"].sum() > 0
    ranks = [torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in range(2)]
    # Of an odd number of batches a rank has one fewer: it runs a forward that nobody counts, as sharded ones need.
    assert ranks[0]["forwards"] == ranks[1]["forwards"] >= one["forwards"] / 2
    assert sum(rank["forwards"] for rank in ranks) > one["forwards"]
    for two in ranks:
        for language in ("en", "de"):
            assert torch.allclose(two["nats"][language], one["nats"][language], rtol=1e-6)
            assert torch.equal(two["loss_tokens"][language], one["loss_tokens"][language])
            for layer in range(2):
                assert torch.allclose(two["means"][language][layer], one["means"][language][layer], rtol=1e-9)
                assert torch.allclose(two["recorded"][language][layer], one["recorded"][language][layer], rtol=1e-9)
            assert torch.equal(one["recorded"][language][1], one["means"][language][1])
            mine, alone = two["highest"][language], one["highest"][language]
            assert torch.equal(mine["documents"], alone["documents"])
            assert torch.equal(mine["positions"], alone["positions"])
            # The batches are the same, whoever reads them: not even a rounding differs.
            assert torch.equal(mine["activations"], alone["activations"])
        assert two["fingerprint"] == one["fingerprint"]
        for name in FIELDS.keys() - {"loss_tokens", "routed"}:  # there by document, and not of a dense model
            same = torch.allclose if FIELDS[name].numbers == "sum" else torch.equal
            assert same(two[name], one[name], **({"rtol": 1e-6} if same is torch.allclose else {})), name
    written, alone = (folder / "responses/step-000000.responses.jsonl" for folder in (tmp_path, tmp_path / "alone"))
    assert written.read_bytes() == alone.read_bytes()


@pytest.mark.slow
def test_a_sharded_model_is_counted_and_edited_as_a_whole_one(model_folder: Path, tmp_path: Path) -> None:
    """Its forwards are collective: of three batches a language the second rank, which has one, would wait for ever."""
    assert run_two(SHARDED, model_folder, tmp_path) == [0, 0]
    whole = script_as_module(SHARDED).count(script_as_module(SHARDED).load(model_folder), model_folder)
    assert whole["forwards"] == 6
    assert whole["firings"][0].sum() > whole["firings"][1].sum() > 0
    for rank in range(2):
        half = torch.load(tmp_path / f"sharded-{rank}.pt", weights_only=True)
        assert half["forwards"] == 4
        for name in ("tokens", "firings", "document_firings"):
            assert torch.equal(half[name], whole[name]), name
        for name in ("activation_sum", "loss_sum"):
            assert torch.allclose(half[name], whole[name], rtol=1e-6), name
