"""A run that is killed at any moment and given the same command again ends as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.neurons import ActivationCounts

STEPS = (0, 2, 4, 6)


def same(one: Any, other: Any) -> bool:
    """Whether two nested containers hold equal tensors and values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_result(tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    runner = Path(__file__).with_name("killed_run.py")
    subprocess.run([sys.executable, runner, tmp_path], check=True, env=environment)
    results = json.loads((tmp_path / "results.json").read_text())
    assert len(results) >= 25
    assert {result["what"] for result in results} >= {"sync", "rename", "micro-batch", "language"}
    whole = tmp_path / "whole" / "run"
    state = torch.load(whole / "checkpoints/step-000006/trainer.ckpt", weights_only=True)
    for result in results:
        about = f"killed at moment {result['moment']} ({result['what']})"
        assert os.WIFSIGNALED(result["killed"]), about
        assert os.WTERMSIG(result["killed"]) == signal.SIGKILL, about
        run = Path(result["folder"]) / "run"
        assert result["again"] == 0, f"{about}: {(run.parent / 'log.txt').read_text()[-3000:]}"
        for name in (
            "checkpoints/step-000006/adapter_model.safetensors",
            "metrics.csv",
            "neurons.csv",
            "finished.json",
        ):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), f"{about}: {name}"
        other = torch.load(run / "checkpoints/step-000006/trainer.ckpt", weights_only=True)
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            assert same(other[key], state[key]), f"{about}: {key}"
        assert sorted(path.name for path in (run / "neurons").glob("*.safetensors")) == [
            f"step-{step:06d}.safetensors" for step in STEPS
        ], about
        for step in STEPS:
            name = f"neurons/step-{step:06d}.safetensors"
            one, two = ActivationCounts.load(run / name), ActivationCounts.load(whole / name)
            assert torch.equal(one.firings.long(), two.firings.long()), f"{about}: {name}"
        assert not list(run.rglob("*.partial")), about
