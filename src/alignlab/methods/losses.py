"""Losses, as pure functions of tensors."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def share_of_step(loss_sum: Tensor, step_weight: Tensor, *, ranks: int, accumulation: int) -> Tensor:
    """What a micro-batch gives to backward, so that its step has the gradient of the mean over all its units.

    Lightning divides the loss by the accumulated micro-batches, and ddp averages gradients over ranks; both presume
    micro-batches of one size. Multiplying by their number leaves `sum of losses / the step's weight`, however the
    step is split.

    loss_sum: () loss summed over the micro-batch's units, such as answer tokens or pairs.
    step_weight: () units of the whole step.
    """
    return loss_sum * (ranks * accumulation) / step_weight


def dpo_losses(chosen: Tensor, rejected: Tensor, *, beta: float, label_smoothing: float = 0.0) -> Tensor:
    """Direct preference optimisation (Rafailov et al. 2023), a loss a pair: (P,).

    chosen, rejected: (P,) log-probability of the answer, summed over its tokens, less that under the reference.
    label_smoothing: share of the pairs that are taken to be the wrong way round (conservative DPO, Mitchell 2023).
    """
    margin = beta * (chosen - rejected)
    return -(1 - label_smoothing) * F.logsigmoid(margin) - label_smoothing * F.logsigmoid(-margin)


def ipo_losses(chosen: Tensor, rejected: Tensor, *, beta: float) -> Tensor:
    """Identity preference optimisation (Azar et al. 2024, equation 17 with tau = beta), a loss a pair: (P,).

    chosen, rejected: (P,) as for DPO, but averaged over the tokens of the answer, lest long answers count for more.
    """
    return (chosen - rejected - 1 / (2 * beta)) ** 2


def dco_losses(
    leads: tuple[Tensor, Tensor], before: tuple[Tensor, Tensor], *, beta: float, gamma_1: float, gamma_2: float
) -> Tensor:
    """Direct consistency optimisation (Liu et al. 2026, 2603.04678v1, equation 10), a loss a question: (Q,).

    In each of two languages the model's lead of one answer over another is to gain on the reference what the other
    language's lead is there: beta * (lead_1 - before_1) = gamma_1 * before_2, and the other way round. The loss is the
    sum of both distances. Where it is 0 for all pairs of answers, the policy is the product of the two languages'
    references, the other one to the power of gamma / beta; with gamma_1 * gamma_2 = beta ** 2 both languages then
    prefer the same answers.

    leads, before: (Q,) for each language: log-probability of the one answer less that of the other, each summed over
        its tokens, under the model and under the reference.
    """
    first = beta * (leads[0] - before[0]) - gamma_1 * before[1]
    second = beta * (leads[1] - before[1]) - gamma_2 * before[0]
    return first.abs() + second.abs()
