"""Training the weights of some neurons only: rows and columns of linear maps as parameters of their own.

A map keeps its weight, frozen, in which the trained rows (or columns) stand as they are now. Beside it they are a
small parameter, which is written into the weight before it is read. So a forward is the map's own and the
gradient is computed for the trained part alone; the optimiser, the gradient's norm, weight decay and ddp see nothing
else, and a saved model is a plain one with the trained weights in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers.pytorch_utils import Conv1D

from alignlab.errors import Problem, UnsupportedModelError, refuse_any
from alignlab.models.sites import Side, Site

_NAME = "neurons"  # of the trained part, as a child of its map


class NeuronWeights(nn.Module):
    """The trained part of a linear map: of k neurons that are columns of what it gives ("output") or reads ("input").

    weight: (k, width of the other side), a row a neuron, float32 at least: what an update adds to half-precision
        weights is often too small for them.
    bias: (k,) of a map that has one and gives the neurons; else None.
    index: (k,) int64, their columns.
    """

    index: Tensor

    def __init__(self, linear: nn.Linear | Conv1D, index: Tensor, side: Side) -> None:
        super().__init__()
        self.side = side
        # The dimension of the map's weight along which the neurons lie; Conv1D has it transposed.
        self.dim = int((side == "input") != isinstance(linear, Conv1D))
        self.register_buffer("index", index.to(linear.weight.device), persistent=False)
        self.weight = nn.Parameter(_precise(self._oriented(linear.weight.detach().index_select(self.dim, self.index))))
        has_bias = side == "output" and linear.bias is not None
        self.bias = nn.Parameter(_precise(linear.bias.detach().index_select(0, self.index))) if has_bias else None

    def write(self, linear: nn.Linear | Conv1D) -> None:
        """Bring the map's weight up to date, in place.

        Always, since fused optimisers leave no sign of a change; and through `data`, since the graph of a forward
        before stays right where nothing has changed.
        """
        weight, bias = linear.weight.data, linear.bias
        weight.index_copy_(self.dim, self.index, self._oriented(self.weight.detach()).to(weight.dtype))
        if self.bias is not None:
            bias.data.index_copy_(0, self.index, self.bias.detach().to(bias.dtype))

    def _oriented(self, rows: Tensor) -> Tensor:
        return rows.t() if self.dim else rows


class _WithGradient(torch.autograd.Function):
    """Gives what a map gives, and sends its trained part the gradient that those rows or columns have."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, read: Tensor, index: Tensor, side: Side, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """`given` (..., out), of `read` (..., in); `weight` (k, other side) and `bias` (k,) are only named."""
        ctx.save_for_backward(index, read if side == "output" else read.index_select(-1, index))
        ctx.side, ctx.types = side, (weight.dtype, None if bias is None else bias.dtype)
        return given.detach()  # no view, which some families could not add to in place

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Of `given` unchanged (the map itself sends it on to what it read), of `weight` and `bias` their own."""
        index, read = ctx.saved_tensors
        of_weight, of_bias = ctx.types
        neurons, others = gradient, read
        if ctx.side == "output":
            neurons = gradient.index_select(-1, index)
        else:
            neurons, others = read, gradient
        # Under autocast the map has read, and given, in the type of the gradient.
        rows = neurons.flatten(0, -2).to(gradient.dtype).t() @ others.flatten(0, -2).to(gradient.dtype)
        bias = None if of_bias is None else neurons.flatten(0, -2).sum(0).to(of_bias)
        return gradient, None, None, None, rows.to(of_weight), bias


def train_neurons(model: transformers.PreTrainedModel, maps: Sequence[Sequence[Site]], mask: Tensor) -> None:
    """Make the weights of some neurons all that `model` trains, and everything else frozen.

    maps: of each layer, where its neurons are in linear maps (`models.sites.find_maps`).
    mask: (L, N) bool, the neurons.

    Works on the meta device. Raises `UnsupportedModelError` for maps whose weights are no plain matrices of floats.
    """
    model.requires_grad_(False)
    names = {module: name for name, module in model.named_modules()}
    placed: dict[tuple[Any, Side], list[Tensor]] = {}  # of a map that holds two of them, such as gate and up, together
    for layer, chosen in zip(maps, mask, strict=True):
        neurons = chosen.nonzero().flatten()
        for site in layer if len(neurons) else ():
            placed.setdefault((site.module, site.side), []).append(neurons + site.first)
    refuse_any([problem for linear, _ in placed if (problem := _problem(linear, names[linear]))], UnsupportedModelError)
    for (linear, side), places in placed.items():
        part = NeuronWeights(linear, torch.cat(places), side)
        linear.add_module(_NAME, part)
        linear.register_forward_pre_hook(_before_forward)
        linear.register_forward_hook(_after_forward)
        linear.register_state_dict_pre_hook(_before_saving)
        # save_pretrained leaves them out: the weights have them.
        ignored = {f"{names[linear]}.{_NAME}.{name}" for name, _ in part.named_parameters()}
        model._keys_to_ignore_on_save = {*(model._keys_to_ignore_on_save or ()), *ignored}


def _problem(linear: nn.Module, name: str) -> Problem | None:
    weight = getattr(linear, "weight", None)
    if isinstance(linear, nn.Linear | Conv1D) and isinstance(weight, Tensor) and weight.is_floating_point():
        return None
    expected = "a linear map with a weight of floats, neither quantised nor in an adapter"
    return Problem("method.trainable", f"neurons, and {name} is a {type(linear).__name__}", expected)


def _before_forward(linear: Any, _args: Any) -> None:
    linear.neurons.write(linear)


def _before_saving(linear: Any, _prefix: str, _keep_vars: bool) -> None:
    linear.neurons.write(linear)


def _after_forward(linear: Any, args: tuple[Tensor, ...], given: Tensor) -> Tensor | None:
    part = linear.neurons
    if not (torch.is_grad_enabled() and part.weight.requires_grad):
        return None
    result: Tensor = _WithGradient.apply(given, args[0], part.index, part.side, part.weight, part.bias)
    return result


def _precise(part: Tensor) -> Tensor:
    """A copy in float32, or wider."""
    return part.to(torch.promote_types(part.dtype, torch.float32), copy=True).contiguous()
