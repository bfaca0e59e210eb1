"""The activation modules of a decoder layer that may be its MLP's, told from those of what mixes tokens."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.conv import _ConvNd
from transformers.activations import ACT2CLS, ACT2FN, LinearActivation

ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "gelu_impl")


def mlp_activations(layer: nn.Module) -> list[str]:
    """Names within the layer: one where it is clear, and all that could be meant where it is not.

    They are known by the names that most families give them, else by the classes that configurations choose from.
    Those of attention and of a block with a convolution (Mamba, a gated recurrence) are not meant, and of those left
    one that the layer calls itself gives way to those in a module of their own.
    """
    inside = {name: module for name, module in layer.named_modules() if name and not _mixes_tokens(layer, name)}
    found = [name for name in inside if name.rpartition(".")[2] in ACTIVATION_NAMES]
    if not found:
        found = [name for name, module in inside.items() if isinstance(module, _CLASSES)]
    return [name for name in found if "." in name] or found


def stacked_experts(layer: nn.Module) -> list[str]:
    """Names of the modules of a layer that hold weights of several experts in one tensor."""
    return [
        name
        for name, module in layer.named_modules()
        if any(weight.ndim > 2 for weight in module.parameters(recurse=False))
        and not isinstance(module, _ConvNd)
        and not _mixes_tokens(layer, f"{name}.")
    ]


def _mixes_tokens(layer: nn.Module, name: str) -> bool:
    """Whether what has this name is in attention, as its name says, or in a block with a convolution."""
    if "attn" in name or "attention" in name:
        return True
    parts = name.split(".")[:-1]
    blocks = [layer.get_submodule(".".join(parts[: depth + 1])) for depth in range(len(parts))]
    return any(isinstance(part, _ConvNd) for block in blocks for part in block.children())


# `linear` gives what it reads: it tells no active neuron from a silent one.
_CLASSES = tuple({type(ACT2FN[name]) for name in ACT2CLS} - {LinearActivation})
