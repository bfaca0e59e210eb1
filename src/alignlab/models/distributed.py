"""What a rank has to know of the others; one process is rank 0 of 1."""

from __future__ import annotations

from torch import Tensor, distributed


def world_size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum over all ranks, on every rank, exact for integers: a new tensor where there are several.

    Not Lightning's `strategy.reduce`, which averages by default, floors integers and works in place.
    """
    if world_size() == 1:
        return tensor
    total = tensor.clone()
    distributed.all_reduce(total, op=distributed.ReduceOp.SUM)
    return total
