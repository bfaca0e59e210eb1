"""Whether trained weights are still numbers."""

from __future__ import annotations

import torch
from torch import nn

from alignlab.errors import InputError, some_of
from alignlab.models.distributed import over_ranks
from alignlab.models.sharding import is_sharded, local_part


def check_finite(model: nn.Module, step: int) -> None:
    """Refuse to go on with trained weights that are NaN or infinite, which no later step can mend.

    step: optimiser steps taken.

    Collective for a sharded model, and refused on every rank alike.
    """
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    finite = torch.tensor([bool(local_part(weight.detach()).isfinite().all()) for _, weight in trained])
    if is_sharded(model):  # each rank has seen its rows alone
        finite = over_ranks(finite.to(trained[0][1].device, torch.int32), "min").bool()
    bad = [name for (name, _), good in zip(trained, finite.tolist(), strict=True) if not good]
    if bad:
        raise InputError.of(
            f"step {step}",
            f"{len(bad)} of {len(trained)} trained tensors hold NaN or infinite values: {some_of(bad)}",
            "finite weights",
            "The last checkpoint and snapshot before it are kept. Lower method.optimizer.lr, clip "
            "(trainer.gradient_clip_val), or use a wider precision.",
        )
