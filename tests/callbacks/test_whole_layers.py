"""Strategies, and ways of sharing out weights, under which neurons cannot be counted exactly are refused by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy, SingleDeviceStrategy
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

from alignlab.callbacks.whole_layers import check_strategy, check_weights
from alignlab.errors import UnsupportedModelError
from alignlab.models.sharding import shard

SCRIPT = Path(__file__).with_name("one_of_two_replicas.py")


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """A process group of one rank."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_strategies_with_the_whole_model_on_every_rank_are_fine() -> None:
    check_strategy(SingleDeviceStrategy())
    check_strategy(DDPStrategy())


def test_the_first_fsdp_is_refused() -> None:
    with pytest.raises(UnsupportedModelError, match=r"FSDPStrategy: it shards by FSDP's first version.*Use ddp, or"):
        check_strategy(FSDPStrategy())


@pytest.mark.usefixtures("alone")
def test_layers_that_are_gathered_are_fine(tiny_llama: Any) -> None:
    check_weights(tiny_llama)
    shard(tiny_llama, init_device_mesh("cpu", (1,)))
    check_weights(tiny_llama)


@pytest.mark.usefixtures("alone")
def test_weights_that_only_a_module_around_the_model_gathers_are_refused(tiny_llama: Any) -> None:
    around = nn.Sequential(tiny_llama)
    fully_shard(around, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(
        UnsupportedModelError, match=r"model.embed_tokens.weight is shared out .* no module of the model"
    ):
        check_weights(tiny_llama)


@pytest.mark.usefixtures("alone")
def test_tensor_parallelism_is_refused_alone_and_below_fsdp(tiny_llama: Any) -> None:
    mesh = init_device_mesh("cpu", (1, 1), mesh_dim_names=("data_parallel", "tensor_parallel"))
    layer = tiny_llama.model.layers[0]
    parallelize_module(layer, mesh["tensor_parallel"], {"mlp.gate_proj": ColwiseParallel()})
    with pytest.raises(UnsupportedModelError, match=r"layers.0.mlp.gate_proj.weight is shared out .* no module"):
        check_weights(tiny_llama)
    shard(tiny_llama, mesh["data_parallel"])
    with pytest.raises(UnsupportedModelError, match=r"gate_proj.weight is shared out over ranks twice"):
        check_weights(tiny_llama)


@pytest.mark.slow
def test_lightnings_default_of_replicas_is_refused_before_a_step(model_folder: Path, tmp_path: Path) -> None:
    names = {"RANK", "LOCAL_RANK", "WORLD_SIZE"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", SCRIPT]
    done = subprocess.run([*command, model_folder, tmp_path], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in range(2):
        said = (tmp_path / f"rank-{rank}.txt").read_text()
        assert "steps 0; ModelParallelStrategy: its tensor_parallel_size is 2: ranks have parts of a layer" in said
