"""Gradients of a step of preference: as one rank or several leave them, and whether two are the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..scripts_as_modules import script_as_module

RANK = Path(__file__).with_name("one_preference_rank.py")
SCRIPT = script_as_module(RANK)


def gradients_of(model: nn.Module) -> dict[str, Tensor]:
    """Of all weights that have one."""
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same_gradients(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Of the same weights, within what rounding in float32 makes of sums in another order."""
    assert found.keys() == expected.keys()
    assert found
    for name, gradient in expected.items():
        limit = 1e-5 * float(gradient.abs().max())
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=limit), name


def run_rank(folder: Path, model_folder: Path, loss: str, ranks: int, accumulation: int) -> dict[str, Any]:
    """What `one_preference_rank.py` leaves, run as so many real processes."""
    folder.mkdir()
    names = {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"] if ranks > 1 else []
    arguments = [str(RANK), str(model_folder), str(folder), loss, str(ranks), str(accumulation)]
    done = subprocess.run(
        [sys.executable, *launch, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return torch.load(folder / "gradients.pt", weights_only=True)  # type: ignore[no-any-return]
