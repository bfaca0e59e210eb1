"""Two real ranks against one: the same responses, the same of every statistic and document, as many forwards."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).with_name("one_of_two_ranks.py")


def script() -> Any:
    spec = importlib.util.spec_from_file_location("one_of_two_ranks", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("budget", [60, 10_000])  # some batches; one a language, so that a rank has none
def test_two_ranks_answer_and_count_as_one(budget: int, model_folder: Path, tmp_path: Path) -> None:
    names = {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}
    running = [
        subprocess.Popen([sys.executable, SCRIPT, str(rank), model_folder, tmp_path, str(budget)], env=environment)
        for rank in range(2)
    ]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    (tmp_path / "alone").mkdir()
    one = script().answer_and_count(model_folder, tmp_path / "alone", budget, main=True)
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
        assert two["fingerprint"] == one["fingerprint"]
        for name in ("tokens", "firings", "document_firings", "maximum"):
            assert torch.equal(two[name], one[name]), name
        for name in ("activation_sum", "activation_squares", "loss_sum"):
            assert torch.allclose(two[name], one[name], rtol=1e-6), name
    written, alone = (folder / "responses/step-000000.responses.jsonl" for folder in (tmp_path, tmp_path / "alone"))
    assert written.read_bytes() == alone.read_bytes()
