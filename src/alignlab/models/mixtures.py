"""Which activation module of a decoder layer serves the neurons of a site, in dense layers and in mixtures of experts.

A dense layer has one MLP with one activation module. A layer of a mixture has one inside the module that holds the
stacked weights of its routed experts, and maybe another one beside it, that of a shared expert.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from alignlab.errors import Problem, UnsupportedModelError, refuse_any
from alignlab.models.activations import ACTIVATION_NAMES, mlp_activations, stacked_experts
from alignlab.models.experts import fault
from alignlab.models.options import SiteName

OF_EXPERTS = ("experts.act", "experts.shared")
# Those that layers of both kinds have alike.
OF_LAYERS = ("residual", "attention.q", "attention.k", "attention.v", "attention.o")
# Of an activation module: its name in the layer, and that of the experts module whose it is, or "".
Place = tuple[str, str]
# What was found, what was expected, and what to do.
Fault = tuple[str, str, str]


def activation_names(prefix: str, layers: nn.ModuleList, at: SiteName) -> list[Place]:
    """The activation module of each layer around which a site is.

    Raises `UnsupportedModelError` that says what was found where a layer has not one.
    """
    activations, problems = [], []
    if at not in OF_LAYERS:
        _refuse_both_kinds(layers, at)
    for number, layer in enumerate(layers):
        where = f"model.source, layer {number}"
        names = mlp_activations(layer)
        mixtures = _mixtures(layer, names)
        if mixtures or at in OF_EXPERTS:
            chosen, problem = _in_mixture(layer, f"{prefix}.{number}", names, mixtures, at)
            problems += [Problem(where, *problem)] if problem else []
            activations.append(chosen)
            continue
        if stacked := stacked_experts(layer):
            problems.append(Problem(where, *_no_activation(stacked, names)))
            continue
        if len(names) != 1:
            expected = f"one module named {', '.join(ACTIVATION_NAMES[:-1])} or {ACTIVATION_NAMES[-1]}"
            parts = ", ".join(type(part).__name__ for part in layer.children())
            named = _named(f"{prefix}.{number}", names) if names else f"none in {type(layer).__name__} ({parts})"
            problems.append(Problem(where, f"activation modules found: {named}", expected))
        activations += [(name, "") for name in names]
    refuse_any(problems, UnsupportedModelError)
    return activations


def _refuse_both_kinds(layers: nn.ModuleList, at: SiteName) -> None:
    """Raise `UnsupportedModelError` where some layers have a dense MLP and others experts: their widths differ."""
    mixed = [bool(_mixtures(layer, mlp_activations(layer)) or stacked_experts(layer)) for layer in layers]
    dense = [not experts and bool(mlp_activations(layer)) for layer, experts in zip(layers, mixed, strict=True)]
    if not any(mixed) or not any(dense):
        return
    neither = [not (one or other) for one, other in zip(dense, mixed, strict=True)]
    found = f"layers of both kinds: dense MLPs in {_ranges(dense)}, experts in {_ranges(mixed)}"
    fix = "Set probe.site to residual, which every layer has, or to one of attention."
    if any(neither):  # no site is found there
        found, fix = f"{found}, neither in {_ranges(neither)}", ""
    raise UnsupportedModelError.of(
        "model.source", found, f"one kind, with as many neurons in every layer, for {at}", fix
    )


def _ranges(chosen: Sequence[bool]) -> str:
    """Numbers of what is chosen: "0, 3-60"."""
    numbers = [number for number, is_it in enumerate(chosen) if is_it]
    starts = [number for number in numbers if number - 1 not in numbers]
    ends = [number for number in numbers if number + 1 not in numbers]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _mixtures(layer: nn.Module, names: Sequence[str]) -> list[str]:
    """Of the activation modules of a layer, those of routed experts."""
    return [name for name in names if _of_experts(_around(layer, name))]


def _in_mixture(
    layer: nn.Module, within: str, names: Sequence[str], mixtures: Sequence[str], at: SiteName
) -> tuple[Place, Fault | None]:
    """The activation module of a site in a layer of a mixture, or what is wrong."""
    nothing: Place = ("", "")
    if not mixtures and (stacked := stacked_experts(layer)):
        return nothing, _no_activation(stacked, names)
    if len(mixtures) != 1:
        found = f"activation modules of routed experts found: {_named(within, mixtures)}"
        fix = "A dense MLP is at mlp.act." if not mixtures else ""
        return nothing, (found, "one module of experts, with one, in every layer", fix)
    (mixture,) = mixtures
    experts = mixture.rpartition(".")[0]
    shared = _beside(experts, [name for name in names if name != mixture])
    if at.startswith("mlp."):
        fix = "Set probe.site to experts.act, its routed experts" + (", or experts.shared." if shared else ".")
        return nothing, (f"{within}.{mixture} serves a mixture of experts", f"one dense MLP, for {at}", fix)
    if at != "experts.shared":
        return (mixture, experts), fault(layer.get_submodule(experts)) if at == "experts.act" else None
    if len(shared) != 1:
        found = f"activation modules beside the routed experts: {_named(within, shared)}"
        return nothing, (found, "one, of a shared expert", "")
    return (shared[0], ""), None


def _named(within: str, names: Sequence[str]) -> str:
    return ", ".join(f"{within}.{name}" for name in names) or "none"


def _beside(experts: str, names: Sequence[str]) -> list[str]:
    """Of some modules of a layer, those in the block that holds the experts."""
    block = experts.rpartition(".")[0]
    return [name for name in names if not block or name.startswith(f"{block}.")]


def _no_activation(stacked: Sequence[str], names: Sequence[str]) -> Fault:
    outside = f"inside; outside is {', '.join(names)}" if names else "module: their gate is computed in one step"
    found = f"the experts of {', '.join(stacked)} have no activation {outside}"
    expected = f"a module named {', '.join(ACTIVATION_NAMES)} beside their weights, whose output > 0 means active"
    return found, expected, "All sites of a layer are found around it, so that none can be taken."


def _around(layer: nn.Module, name: str) -> nn.Module:
    """The module that holds another one."""
    return layer.get_submodule(name.rpartition(".")[0])


def _of_experts(mlp: nn.Module) -> bool:
    """Whether a module holds the weights of several experts, stacked: its activation sees tokens in another order."""
    return any(weight.ndim > 2 for weight in mlp.parameters(recurse=False))
