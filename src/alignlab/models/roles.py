"""Linear maps of a model by their role in the decoder layers: in attention, or in the MLP."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn
from transformers.pytorch_utils import Conv1D

from alignlab.errors import UnsupportedModelError
from alignlab.models.layer_traces import decoder_layers, is_in_attention

Role = Literal["attention", "mlp", "all"]
ROLES: tuple[str, ...] = get_args(Role)


def maps_of_role(model: nn.Module, role: Role) -> list[str]:
    """Names of the linear maps of every decoder layer that are in attention, in the MLP (all others), or either.

    No forward is made: it works on any device, meta included, and on quantised weights.
    Raises `UnsupportedModelError` for a role without a map, and for experts whose weights are stacked in one tensor.
    """
    prefix, layers = decoder_layers(model)
    if role != "attention" and any(weight.ndim > 2 for weight in layers.parameters()):
        found = "the experts of a layer are one tensor, and no linear maps"
        fix = "Take attention, or name modules."
        raise UnsupportedModelError.of("method.lora.targets", f"{role}: {found}", "an MLP of linear maps", fix)
    names = [
        f"{prefix}.{name}"
        for name, module in layers.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and role in ("all", "attention" if is_in_attention(name) else "mlp")
    ]
    if not names:
        found = f"the decoder layers have no linear map of the role {role}"
        raise UnsupportedModelError.of("method.lora.targets", found, "one or more", "Name modules instead.")
    return names
