"""What counting needs of the other ranks beside sums."""

from __future__ import annotations

from torch import Tensor, distributed

from alignlab.models.distributed import world_size


def max_over_ranks(tensor: Tensor) -> Tensor:
    """The maximum over all ranks, on every rank: a new tensor where there are several."""
    if world_size() == 1:
        return tensor
    highest = tensor.clone()
    distributed.all_reduce(highest, op=distributed.ReduceOp.MAX)
    return highest
