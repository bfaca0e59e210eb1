"""Floating-point operations: what a training step needs by its texts, and how many a device does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from alignlab.errors import UnsupportedModelError
from alignlab.models.output_rows import only_rows


@dataclass(frozen=True)
class TextFlops:
    """FLOPs of a text with T tokens of which A are learnt: `token * T + square * T^2 + answer * A`.

    A multiplication and an addition are two. Only matrix products count, those that the method needs: neither padding
    nor what is computed a second time to save memory. Attention counts in full, as if it were not causal (as in PaLM,
    Chowdhery et al. 2022, appendix B).

    token: of the linear maps.  square: of attention.  answer: of the output layer, which is read at the tokens that
    predict an answer.
    """

    token: int
    square: int
    answer: int

    def __add__(self, other: TextFlops) -> TextFlops:
        return TextFlops(self.token + other.token, self.square + other.square, self.answer + other.answer)

    def of(self, size: Sequence[int]) -> int:
        """Of all texts of a step. size: their tokens, the sum of the squares of their tokens, and tokens learnt."""
        tokens, squares, answers = size
        return self.token * tokens + self.square * squares + self.answer * answers


def text_flops(model: nn.Module, *, backward: bool) -> TextFlops:
    """What a text costs, from what torch counts in four short ones: nothing has to be known of the architecture.

    model: on the meta device, with eager attention (another may recompute in its backward).
    backward: count it too: the gradient of what trainable weights depend on, and of frozen weights none.

    Raises `UnsupportedModelError` for a model whose cost is another function of T and A, or cannot be counted there.
    """
    if any(weight.ndim > 2 for weight in model.parameters()):
        found = "weights of more than two dimensions, such as those of experts"
        raise UnsupportedModelError.of("model.source", found, "linear maps, whose operations can be counted")
    sizes = ((16, 1), (32, 1), (16, 2), (48, 5))
    try:
        short, long, more, other = (_counted(model, *size, backward=backward) for size in sizes)
    except RuntimeError as error:
        found = f"a forward that cannot be followed without weights ({error})"
        raise UnsupportedModelError.of("model.source", found, "one that looks at no values") from error
    answer = more - short
    square = (long - answer - 2 * (short - answer)) // 512  # of 32^2 - 2 * 16^2
    flops = TextFlops((short - answer - 256 * square) // 16, square, answer)
    if flops.of((48, 48**2, 5)) != other:
        found = "operations that do not grow with a text as those of linear maps and attention do"
        raise UnsupportedModelError.of("model.source", found, "a decoder of linear maps and attention, without DoRA")
    return flops


def _counted(model: nn.Module, tokens: int, answers: int, *, backward: bool) -> int:
    """FLOPs of one text, as torch counts them."""
    ids = torch.zeros(1, tokens, dtype=torch.int64, device="meta")
    mask, rows = torch.ones_like(ids), ids.new_zeros(answers)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    counter, grad = FlopCounterMode(display=False), torch.set_grad_enabled(backward)
    with torch.device("meta"), counter, grad, only_rows(model, rows):
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        if backward:
            torch.autograd.grad(logits.sum(), trained, allow_unused=True)
    return int(counter.get_total_flops())


def matrix_peak(
    device: torch.device,
    dtype: torch.dtype,
    *,
    size: int = 8192,
    rounds: int = 10,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """FLOPs a second of the fastest of some products of two square matrices: what this device does at best, now.

    size: rows and columns of each.  clock: seconds.
    """
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    seconds = []
    for _ in range(rounds + 1):
        _finish(device)
        start = clock()
        torch.mm(a, b)
        _finish(device)
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds[1:])  # the first one starts kernels


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
