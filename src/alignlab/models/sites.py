"""Where the neurons of a model are: found by structure, checked by one forward.

A neuron is one column of a decoder layer's MLP, read at the output of its activation module (`SiLU(gate_proj(x))` and
the like). Transformers names that module alike in some thirty dense families; what differs between them is where it
sits. So nothing here knows a family: in every decoder layer the one module of such a name is taken, and a dummy
forward shows whether it fires once, and whether a linear map of its width (the down projection) follows. From there the
other sites are found, in `traced_sites`; `access` reads and changes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from alignlab.errors import InputError, Problem, UnsupportedModelError, did_you_mean
from alignlab.models.modes import evaluating
from alignlab.models.options import SiteName
from alignlab.models.traced_sites import find_traced, trace

Side = Literal["input", "output"]
ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "gelu_impl")


@dataclass(frozen=True)
class Site:
    """The neurons of one layer: some columns of what a module reads or gives.

    layer: number of the decoder layer, from 0.
    name: name of the module in the model.
    width: number of neurons.
    at: which site it is, of `SiteName`.
    side: whether the neurons are columns of the module's input or of its output.
    first: the first of those columns, which is not 0 where one matrix holds several maps.
    """

    layer: int
    name: str
    module: nn.Module = field(repr=False, compare=False)
    width: int
    at: SiteName = "mlp.act"
    side: Side = "output"
    first: int = 0

    @property
    def columns(self) -> slice:
        """The neurons among the columns of what the module reads or gives."""
        return slice(self.first, self.first + self.width)


def find_sites(model: nn.Module, at: SiteName = "mlp.act") -> list[Site]:
    """One site of every decoder layer, in order, checked by a forward of three tokens.

    at: `mlp.act`, the output of the MLP's activation module; `mlp.product`, what the down projection reads; `mlp.up`,
        the output of the up projection; `mlp.out`, that of the down projection; `attention.q`, `k`, `v`, `o`, that of
        those projections; `residual`, what leaves the layer.

    Works on models on the meta device, in PEFT wrappers and in any precision. Raises `UnsupportedModelError` that
    says what was found where the neurons cannot be counted exactly, InputError for another site.
    """
    if at not in get_args(SiteName):
        expected = ", ".join(get_args(SiteName))
        raise InputError(Problem("site", f"{at!r}", expected, did_you_mean(at, get_args(SiteName))))
    prefix, layers = decoder_layers(model)
    activations = _activations(model, prefix, layers)
    if at == "mlp.act":
        return activations
    found = find_traced(at, layers, trace(model, layers, [site.module for site in activations]))
    return [
        Site(layer, f"{prefix}.{layer}.{one.name}".rstrip("."), one.module, one.width, at, one.side, one.first)
        for layer, one in enumerate(found)
    ]


def _activations(model: nn.Module, prefix: str, layers: nn.ModuleList) -> list[Site]:
    modules: list[tuple[str, nn.Module]] = []
    problems = []
    for index, layer in enumerate(layers):
        found = [
            name
            for name, _ in layer.named_modules()
            if name.rpartition(".")[2] in ACTIVATION_NAMES and "attn" not in name and "attention" not in name
        ]
        where, names = f"model.source, layer {index}", ", ".join(f"{prefix}.{index}.{name}" for name in found)
        if len(found) != 1:
            expected = f"one module named {', '.join(ACTIVATION_NAMES[:-1])} or {ACTIVATION_NAMES[-1]}"
            problems.append(Problem(where, f"activation modules found: {names or 'none'}", expected))
        elif _of_experts(layer.get_submodule(found[0].rpartition(".")[0])):
            problems.append(Problem(where, f"{names} serves a mixture of experts", "one dense MLP"))
        else:
            modules.append((names, layer.get_submodule(found[0])))
    if problems:
        raise UnsupportedModelError(*problems)
    fired = _fire(model, modules, layers)
    return [Site(layer, name, module, fired[layer]) for layer, (name, module) in enumerate(modules)]


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and list of the decoder layers: the one module list as long as the configuration has layers."""
    whole = getattr(model, "config", None)
    if not isinstance(whole, PreTrainedConfig):
        found = f"{type(model).__name__} has no configuration of transformers"
        raise UnsupportedModelError(Problem("model.source", found, "a causal language model (AutoModelForCausalLM)"))
    if whole.is_encoder_decoder:
        found = f"{type(model).__name__} is an encoder-decoder"
        raise UnsupportedModelError(Problem("model.source", found, "a decoder-only language model"))
    count = whole.get_text_config().num_hidden_layers
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    fitting = [(name, module) for name, module in lists if len(module) == count]
    # A list inside a layer, such as that of adapters or experts, can have the same length: the outermost is meant.
    fitting = [
        (name, module) for name, module in fitting if not any(name.startswith(f"{other}.") for other, _ in fitting)
    ]
    if len(fitting) != 1:
        sizes = ", ".join(f"{name} ({len(module)})" for name, module in lists) or "none"
        expected = f"one list of {count} decoder layers"
        raise UnsupportedModelError(Problem("model.source", f"module lists found: {sizes}", expected))
    return fitting[0]


def _fire(model: nn.Module, modules: list[tuple[str, nn.Module]], layers: nn.ModuleList) -> list[int]:
    """Pass three tokens through the model; the width of each site, which must fire once and feed a map of its width."""
    tokens = 3
    shapes: list[list[tuple[int, ...]]] = [[] for _ in modules]
    inputs: list[set[int]] = [set() for _ in modules]
    handles = [
        module.register_forward_hook(lambda _m, _i, output, at=at: shapes[at].append(_shape(output)))
        for at, (_, module) in enumerate(modules)
    ]
    for at, layer in enumerate(layers):
        for module in layer.modules():
            if getattr(module, "weight", None) is not None and module.weight.ndim == 2:
                hook: Callable[..., None] = lambda _m, args, at=at: inputs[at].update(_width(args))  # noqa: E731
                handles.append(module.register_forward_pre_hook(hook))
    parameter = next(model.parameters())
    try:
        with evaluating(model), torch.no_grad():
            ids = torch.zeros((1, tokens), dtype=torch.int64, device=parameter.device)
            model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    _check_fired([name for name, _ in modules], shapes, inputs, tokens)
    return [seen[0][-1] for seen in shapes]


def _check_fired(names: list[str], shapes: list[list[tuple[int, ...]]], inputs: list[set[int]], tokens: int) -> None:
    """Refuse sites that did not fire once, or not with a width that a linear map of their layer reads."""
    problems = []
    for name, seen, widths in zip(names, shapes, inputs, strict=True):
        if len(seen) != 1:
            found = f"{name} ran {len(seen)} times in a forward"
            fix = "A fused kernel (such as liger) or another use of the module hides the neurons; load it without."
            problems.append(Problem("model.source", found, "once", fix))
        elif _rows(seen[0]) != tokens or seen[0][-1] not in widths:
            found = f"{name} gave a tensor of shape {seen[0]}"
            expected = f"{tokens} tokens x as many neurons as a following projection reads ({_numbers(widths)})"
            problems.append(Problem("model.source", found, expected))
    widths_seen = {seen[0][-1] for seen in shapes if len(seen) == 1}
    if not problems and len(widths_seen) > 1:
        found = f"layers of {_numbers(widths_seen)} neurons"
        problems.append(Problem("model.source", found, "the same number of neurons in every layer"))
    if problems:
        raise UnsupportedModelError(*problems)


def _of_experts(mlp: nn.Module) -> bool:
    """Whether a module holds the weights of several experts, stacked: its activation sees tokens in another order."""
    return any(weight.ndim > 2 for weight in mlp.parameters(recurse=False))


def _shape(output: Any) -> tuple[int, ...]:
    return tuple(output.shape) if isinstance(output, Tensor) else ()


def _rows(shape: tuple[int, ...]) -> int:
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows


def _width(args: tuple[Any, ...]) -> set[int]:
    return {args[0].shape[-1]} if args and isinstance(args[0], Tensor) and args[0].is_floating_point() else set()


def _numbers(values: set[int]) -> str:
    return ", ".join(str(value) for value in sorted(values)) or "none"
