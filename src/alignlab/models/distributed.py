"""What a rank has to know of the others; one process is rank 0 of 1.

Two kinds of launch differ in when the ranks exist. Under torchrun and SLURM all of them run from the first line, and
`join` lets them speak before Lightning does. Lightning's own launcher starts the others from rank zero's `fit`, as
copies that repeat the command; what rank zero has decided by then they get by `left_by_launcher`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, TypeVar, cast

import torch
from lightning.fabric.plugins.environments import SLURMEnvironment, TorchElasticEnvironment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from torch import Tensor, distributed

from alignlab.errors import InputError, Problem

T = TypeVar("T")

_DECIDED = "ALIGNLAB_DECIDED"

# How long a rank waits for the others before it ends.
_PARTING_TIME = timedelta(seconds=30)
# What gloo says; NCCL's watchdog ends the process itself.
_RANK_IS_GONE = re.compile(r"Connection (closed|reset) by peer|Broken pipe|failed to pass monitoredBarrier")
# The ranks that `join` has connected, for `leave`: on GPUs the default group's barrier would be NCCL's, without limit.
_joined: list[distributed.ProcessGroup] = []


def world_size() -> int:
    """Number of processes that can speak to each other."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """This process's number, from 0."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def is_first() -> bool:
    """Whether this is rank zero, also before the ranks are connected."""
    return (rank_zero_only.rank or 0) == 0


def local_rank() -> int:
    """This process's number on its machine, from 0, as launchers tell it."""
    return int(os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")))


def is_loss_of_a_rank(error: RuntimeError) -> bool:
    """Whether what a collective has raised says no more than that another rank is gone, for a reason of its own."""
    return world_size() > 1 and _RANK_IS_GONE.search(str(error)) is not None


def wait_for_all() -> None:
    """Go on when every connected rank is here."""
    if world_size() > 1:
        distributed.barrier()


def over_ranks(tensor: Tensor, how: Literal["sum", "max", "min"] = "sum") -> Tensor:
    """The sum, maximum or minimum over all ranks, on every rank, exact for integers: a new tensor where there are
    several.

    Not Lightning's `strategy.reduce`, which averages by default, floors integers and works in place.
    """
    if world_size() == 1:
        return tensor
    whole = tensor.clone()
    distributed.all_reduce(whole, op=getattr(distributed.ReduceOp, how.upper()))
    return whole


def join() -> None:
    """Under torchrun or SLURM, connect the ranks now; Lightning finds them connected later. Else nothing."""
    for kind in (TorchElasticEnvironment, SLURMEnvironment):
        if kind.detect():
            environment = kind()
            if environment.world_size() > 1 and not distributed.is_initialized():
                distributed.init_process_group(
                    "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                    init_method=f"tcp://{environment.main_address}:{environment.main_port}"
                    if kind is SLURMEnvironment
                    else "env://",
                    rank=environment.global_rank(),
                    world_size=environment.world_size(),
                )
                _joined.append(distributed.new_group(backend="gloo"))
            return


def leave(*, wait: bool = True) -> None:
    """Part from the ranks that `join` connected, before the process ends; else nothing.

    A process that ends while connected may be aborted by its own threads. And torchrun ends all ranks with the first:
    so they wait for each other, lest rank zero, who says why, is cut short by one who does not. One that has been
    stopped has said so, and does not wait for ranks that may be waiting for it.
    """
    if not _joined or not distributed.is_initialized():
        return
    together = _joined.pop()
    if wait:
        # A rank that does not come has ended in its own way, with its own message.
        with suppress(RuntimeError):
            distributed.monitored_barrier(together, timeout=_PARTING_TIME)
    distributed.destroy_process_group()


def broadcast(value: Any) -> Any:
    """Rank zero's value (of plain containers), on every rank."""
    if world_size() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, src=0, device=torch.device("cpu"))
    return values[0]


def from_first(ask: Callable[[], T]) -> T:
    """What rank zero finds, on every rank; a refusal of its is every rank's. The value is of plain containers."""
    value: T | None = None
    refusal: list[Problem] = []
    if is_first():
        try:
            value = ask()
        except InputError as error:
            refusal = list(error.problems)
    value, refusal = broadcast((value, refusal))
    if refusal:
        raise InputError(*refusal)
    return cast("T", value)


def leave_to_launched(value: Any) -> None:
    """Leave a value of plain containers to the copies of this process that Lightning may launch."""
    os.environ[_DECIDED] = json.dumps(value)


def left_by_launcher() -> Any:
    """What rank zero left to this copy of it; None in a process that Lightning did not launch."""
    if int(os.environ.get("LOCAL_RANK", "0")) == 0 or TorchElasticEnvironment.detect():
        return None
    return json.loads(os.environ[_DECIDED]) if _DECIDED in os.environ else None
