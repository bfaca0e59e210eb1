"""Logits only where they are wanted.

A forward pre-hook on the output embeddings (`lm_head`) hands it chosen positions only. It is one mechanism for every
family, LoRA, ddp and sharding; soft-caps and logit scales stay the model's business. With no position it costs what a
forward without the head costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alignlab.errors import UnsupportedModelError

# Positions whose logits are held in float32 at once; on a processor as many as make 1.5 million numbers: 6 MB stay in
# its cache, and a softmax into fresh memory takes four times as long.
_POSITIONS, _NUMBERS = 2048, 1_500_000


@contextmanager
def only_rows(model: nn.Module, rows: Tensor) -> Iterator[None]:
    """Within the block, a forward of `model` gives logits of shape (1, M, vocabulary) for the M chosen positions.

    rows: (M,) int64 positions in the flattened (B * T) batch.
    """

    def choose(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden = inputs[0]
        return (hidden.reshape(-1, hidden.shape[-1]).index_select(0, rows).unsqueeze(0), *inputs[1:])

    with output_head(model).register_forward_pre_hook(choose):
        yield


def output_head(model: nn.Module) -> nn.Module:
    """The module that turns hidden states into logits."""
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if head is None:
        raise UnsupportedModelError.of(
            "model.source",
            f"{type(model).__name__} has no output embeddings",
            "a causal language model (AutoModelForCausalLM)",
        )
    return head  # type: ignore[no-any-return]


def predicting_rows(targets: Tensor) -> Tensor:
    """The positions whose logits predict the marked tokens.

    targets: (B, T) bool; a marked token at t is predicted from t - 1; one at t = 0 is not and is left out.
    Returns (M,) int64 positions in the flattened batch, in order.
    """
    shifted = torch.zeros_like(targets)
    shifted[:, :-1] = targets[:, 1:]
    return shifted.flatten().nonzero().squeeze(1)


def token_losses(logits: Tensor, input_ids: Tensor, rows: Tensor) -> Tensor:
    """Negative log-likelihood of the token after each row, in nats: (M,) float32, or float64 of float64 logits.

    logits: (1, M, vocabulary), as under `only_rows(model, rows)`.  input_ids: (B, T).  rows: (M,).
    """
    labels = input_ids.flatten().index_select(0, rows + 1)
    size = _POSITIONS if logits.device.type != "cpu" else max(1, _NUMBERS // logits.shape[-1])
    chunks = zip(logits.squeeze(0).split(size), labels.split(size), strict=True)
    exact = torch.promote_types(logits.dtype, torch.float32)
    losses = [F.cross_entropy(part.to(exact), label, reduction="none") for part, label in chunks]
    return torch.cat(losses) if losses else logits.new_zeros(0, dtype=torch.float32)
