"""A model whose activations have gradients for a while, and whose weights have none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def differentiable(model: nn.Module) -> Iterator[None]:
    """Within the block gradients are on, by activations alone: the embeddings begin the graph.

    No weight has any, and so a linear map need not keep what it read. Afterwards each may have them that could before.
    """

    def begin(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        return output if output.requires_grad else output.requires_grad_(True)

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handle = model.get_input_embeddings().register_forward_hook(begin)  # type: ignore[operator]
    try:
        for parameter in trained:
            parameter.requires_grad_(False)
        with torch.enable_grad():
            yield
    finally:
        handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
