"""Whether trained weights are still numbers."""

from __future__ import annotations

from torch import nn

from alignlab.errors import InputError, some_of


def check_finite(model: nn.Module, step: int) -> None:
    """Refuse to go on with trained weights that are NaN or infinite, which no later step can mend.

    step: optimiser steps taken.
    """
    trained = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    bad = [name for name, weight in trained if not bool(weight.detach().isfinite().all())]
    if bad:
        raise InputError.of(
            f"step {step}",
            f"{len(bad)} of {len(trained)} trained tensors hold NaN or infinite values: {some_of(bad)}",
            "finite weights",
            "The last checkpoint and snapshot before it are kept. Lower method.optimizer.lr, clip "
            "(trainer.gradient_clip_val), or use a wider precision.",
        )
