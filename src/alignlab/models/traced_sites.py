"""Sites beside the activation of the MLP: found by what runs around it in one forward, whatever a family calls it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from alignlab.errors import Problem, UnsupportedModelError
from alignlab.models.modes import evaluating

# Of projections in attention, by what they give. Where several are one matrix, none has neurons of its own.
ATTENTION = {
    "attention.q": ("q_proj",),
    "attention.k": ("k_proj",),
    "attention.v": ("v_proj",),
    "attention.o": ("o_proj", "out_proj", "dense", "c_proj"),
}


@dataclass(frozen=True)
class Ran:
    """A linear map that ran in a layer's forward.

    name: within the layer.  read, gave: its input and output.
    """

    name: str
    module: nn.Module
    read: Tensor
    gave: Tensor

    @property
    def in_attention(self) -> bool:
        return any("attn" in part or "attention" in part for part in self.name.lower().split(".")[:-1])


@dataclass(frozen=True)
class Trace:
    """What ran in a layer, in order: linear maps before and after the activation.

    read, gave: of the activation.
    """

    before: list[Ran]
    after: list[Ran]
    read: Tensor
    gave: Tensor


def trace(model: nn.Module, layers: nn.ModuleList, activations: Sequence[nn.Module]) -> list[Trace]:
    """Pass three tokens through the model; each layer's activation ran once (see `sites.find_sites`)."""
    ran: list[list[Ran]] = [[] for _ in layers]
    acted: dict[int, tuple[int, Tensor, Tensor]] = {}
    handles = []
    for at, (layer, activation) in enumerate(zip(layers, activations, strict=True)):

        def see_map(module: nn.Module, args: Any, output: Any, at: int, name: str) -> None:
            ran[at].append(Ran(name, module, args[0], output))

        def see_activation(_module: nn.Module, args: Any, output: Any, at: int) -> None:
            acted[at] = (len(ran[at]), args[0], output)

        for name, module in _outermost_maps(layer):
            handles.append(module.register_forward_hook(_bound(see_map, at=at, name=name)))
        handles.append(activation.register_forward_hook(_bound(see_activation, at=at)))
    parameter = next(model.parameters())
    try:
        with evaluating(model), torch.no_grad():
            ids = torch.zeros((1, 3), dtype=torch.int64, device=parameter.device)
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [
        Trace(found[:place], found[place:], read, gave)
        for found, (place, read, gave) in ((ran[at], acted[at]) for at in range(len(layers)))
    ]


@dataclass(frozen=True)
class Found:
    """Where the neurons of a layer are: `width` columns from `first` on of what a module reads or gives.

    name: of the module within the layer; empty for the layer itself.
    """

    name: str
    module: nn.Module
    width: int
    side: Literal["input", "output"] = "output"
    first: int = 0


def find_traced(at: str, layers: nn.ModuleList, traces: Sequence[Trace]) -> list[Found]:
    """The site of every layer.

    Raises `UnsupportedModelError` where a layer has none: its projections are one matrix, or it has no such part.
    """
    finders: dict[str, Callable[[nn.Module, Trace], list[Found]]] = {
        "mlp.product": lambda _, found: [_site(one, one.read, "input") for one in _down(found)],
        "mlp.out": lambda _, found: [_site(one, one.gave) for one in _down(found)],
        "mlp.up": lambda _, found: _up(found),
        "residual": lambda layer, found: [Found("", layer, one.gave.shape[-1]) for one in _down(found)],
    }
    finder = finders.get(at, lambda _, found: _attention(at, found))
    sites, problems = [], []
    for number, (layer, found) in enumerate(zip(layers, traces, strict=True)):
        those = finder(layer, found)
        if len(those) == 1:
            sites += those
            continue
        names = ", ".join(one.name for one in (*found.before, *found.after))
        fix = "" if those else "Projections that are one matrix have no neurons of their own to read."
        problems.append(Problem(f"probe.site, layer {number}", f"{at} is not one of the maps {names}", "one", fix))
    widths = sorted({site.width for site in sites})
    if not problems and len(widths) > 1:
        found_widths = f"layers of {', '.join(map(str, widths))} at {at}"
        problems.append(Problem("probe.site", found_widths, "the same number in every layer"))
    if problems:
        raise UnsupportedModelError(*problems)
    return sites


def _down(found: Trace) -> list[Ran]:
    """The map back from the neurons: the last one behind the activation that reads as many numbers as there are."""
    width = found.gave.shape[-1]
    return [one for one in found.after if one.read.shape[-1] == width and not one.in_attention][-1:]


def _up(found: Trace) -> list[Found]:
    """The map whose output the activation's is multiplied with: as wide, and not what the activation reads.

    Where the activation reads one half of a map's output, it is the other half.
    """
    width, down = found.gave.shape[-1], _down(found)
    others = [
        one
        for one in (*found.before, *found.after)
        if not one.in_attention and all(one.module is not other.module for other in down)
    ]
    halves = [one for one in others if found.read._base is one.gave and one.gave.shape[-1] == 2 * width]
    apart = [one for one in others if one.gave.shape[-1] == width and one.gave is not found.read]
    # A half begins at column 0 or at column `width`.
    starts = [0 if found.read.storage_offset() else width for _ in halves]
    return [_site(one, one.gave) for one in apart] + [
        Found(one.name, one.module, width, first=start) for one, start in zip(halves, starts, strict=True)
    ]


def _attention(at: str, found: Trace) -> list[Found]:
    return [
        _site(one, one.gave)
        for one in (*found.before, *found.after)
        if one.in_attention and one.name.rpartition(".")[2] in ATTENTION[at]
    ]


def _site(one: Ran, shown: Tensor, side: Literal["input", "output"] = "output") -> Found:
    return Found(one.name, one.module, shown.shape[-1], side)


def _outermost_maps(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear maps of a layer; of an adapter and the map inside, the whole."""
    maps = [
        (name, module)
        for name, module in layer.named_modules()
        if isinstance(weight := getattr(module, "weight", None), Tensor) and weight.ndim == 2
    ]
    return [(name, module) for name, module in maps if not any(name.startswith(f"{other}.") for other, _ in maps)]


def _bound(see: Callable[..., None], **given: Any) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, output: see(module, args, output, **given)
