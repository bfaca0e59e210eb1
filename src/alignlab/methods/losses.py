"""Losses, as pure functions of tensors."""

from __future__ import annotations

from torch import Tensor


def share_of_step(loss_sum: Tensor, step_tokens: Tensor, *, ranks: int, accumulation: int) -> Tensor:
    """What a micro-batch gives to backward, so that its step has the gradient of the mean over all its answer tokens.

    Lightning divides the loss by the accumulated micro-batches, and ddp averages gradients over ranks; both presume
    micro-batches of one size. Multiplying by their number leaves `sum of losses / the step's tokens`, however the
    step is split.

    loss_sum: () negative log-likelihood summed over the micro-batch's answer tokens.
    step_tokens: () answer tokens of the whole step.
    """
    return loss_sum * (ranks * accumulation) / step_tokens
