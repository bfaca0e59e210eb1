"""Whether every rank runs whole layers of one model, so that what they count adds up to what one process counts.

So it is where each has the whole model (one process, ddp), and where a layer is gathered before it runs (FSDP2). Not
where ranks have parts of a layer's neurons, or replicas that nobody keeps the same; and not where the weights are
gathered by a wrapper around the model, past which a counting pass goes.
"""

from __future__ import annotations

from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from alignlab.errors import UnsupportedModelError

_EXPECTED = "whole layers of one model on every rank: one process, ddp, or FSDP2 alone"
_FIX = (
    "Use ddp, or ModelParallelStrategy(data_parallel_size=RANKS, tensor_parallel_size=1) with fully_shard on each "
    "decoder layer and then on the Hugging Face model (alignlab.train: trainer.strategy=sharded)."
)


def check_strategy(strategy: Strategy) -> None:
    """Refuse a strategy of Lightning under which ranks do not run whole layers of one model; its ranks are connected.

    Raises `UnsupportedModelError`.
    """
    found = ""
    if isinstance(strategy, FSDPStrategy):
        found = "it shards by FSDP's first version, whose wrapper gathers the weights"
    elif isinstance(strategy, DeepSpeedStrategy) and strategy.zero_stage_3:
        found = "it shards by DeepSpeed ZeRO-3, whose engine gathers the weights"
    elif isinstance(strategy, ModelParallelStrategy):
        ranks = strategy.device_mesh["tensor_parallel"].size()
        if ranks > 1:
            found = f"its tensor_parallel_size is {ranks}: ranks have parts of a layer, or replicas of their own"
    if found:
        raise UnsupportedModelError.of(type(strategy).__name__, found, _EXPECTED, _FIX)


def check_weights(model: nn.Module) -> None:
    """Refuse weights of which ranks have parts that a forward of `model` does not gather layer by layer.

    Raises `UnsupportedModelError`.
    """
    found = ""
    gathered = [module for module in model.modules() if isinstance(module, FSDPModule)]
    within = {id(weight) for module in gathered for weight in module.parameters()}
    parts = [(name, weight) for name, weight in model.named_parameters() if isinstance(weight, DTensor)]
    astray = next((name for name, weight in parts if id(weight) not in within), None)
    cut = next((name for name, weight in parts if sum(not one.is_replicate() for one in weight.placements) > 1), None)
    if any(hasattr(weight, "ds_id") for weight in model.parameters()):
        found = "its weights are sharded by DeepSpeed ZeRO-3"
    elif any(hasattr(module, "_fsdp_wrapped_module") for module in model.modules()):
        found = "its weights are sharded by FSDP's first version"
    elif astray is not None:
        found = f"{astray} is shared out over ranks, and no module of the model gathers it (fully_shard)"
    elif cut is not None:
        found = f"{cut} is shared out over ranks twice, also by tensor parallelism"
    if found:
        raise UnsupportedModelError.of(type(model).__name__, found, _EXPECTED, _FIX)
