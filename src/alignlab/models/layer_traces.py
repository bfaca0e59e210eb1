"""What runs in the decoder layers of a model, seen in one forward of three tokens, whatever a family calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from alignlab.errors import UnsupportedModelError
from alignlab.models.experts import check_order, fault, refuse_double_precision
from alignlab.models.modes import evaluating
from alignlab.models.modules import outermost

TOKENS = 3
_LAYERS = ("decoder_layers", "num_decoder_layers", "num_hidden_layers")
# Whether the forward under way is made to look at the model: what others observe and change is not its business.
_tracing: ContextVar[bool] = ContextVar("tracing", default=False)


@dataclass(frozen=True, eq=False)
class Ran:
    """A module that ran in a layer's forward: a linear map, or the activation of the MLP.

    name: within the layer.  read, gave: its input and output.  routed: of experts, those of each token, (T, chosen).
    inputs: how many tensors it read.
    """

    name: str
    module: nn.Module
    read: Tensor
    gave: Any
    routed: Tensor | None = None
    inputs: int = 1

    @property
    def in_attention(self) -> bool:
        return is_in_attention(self.name)


@dataclass(frozen=True)
class Trace:
    """What ran in a decoder layer, in order.

    number: of the layer, from 0.  name: its name in the model.
    activation: name of the MLP's activation module within the layer.
    experts: name of the module that holds it, where it is that of routed experts.
    disorder: where it is, what is wrong with the order of their rows.
    """

    number: int
    name: str
    layer: nn.Module
    activation: str
    ran: list[Ran]
    experts: str = ""
    disorder: list[str] = field(default_factory=list)

    @property
    def activations(self) -> list[Ran]:
        """The activation, once for each time that it ran."""
        return [one for one in self.ran if one.name == self.activation]

    @property
    def maps(self) -> list[Ran]:
        """The linear maps."""
        return [one for one in self.ran if one.name not in (self.activation, self.experts)]

    @property
    def mixtures(self) -> list[Ran]:
        """The routed experts, as one module from hidden states to hidden states."""
        return [one for one in self.ran if self.experts and one.name == self.experts]

    @property
    def down(self) -> list[Ran]:
        """The map back from the neurons: the last one behind the activation that reads as many numbers as there are.

        The nearest to it: what lies in another module, such as a gate behind the MLP, may read as many.
        Of routed experts, all of them: what they give is hidden states again.
        """
        if self.experts:
            return self.mixtures
        (activation,) = self.activations
        after, width = self.ran[self.ran.index(activation) + 1 :], activation.gave.shape[-1]
        reading = [one for one in after if one.read.shape[-1] == width and not one.in_attention]
        parts = self.activation.split(".")
        around = [".".join([*parts[:depth], ""]) if depth else "" for depth in reversed(range(len(parts)))]
        near = (inside for block in around if (inside := [one for one in reading if one.name.startswith(block)]))
        return next(near, [])[-1:]


def is_in_attention(name: str) -> bool:
    """Whether a module of a layer lies in its attention, by the names of the modules around it."""
    return any("attn" in part or "attention" in part for part in name.lower().split(".")[:-1])


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and list of the decoder layers: the one module list as long as the configuration has layers."""
    whole = getattr(model, "config", None)
    if not isinstance(whole, PreTrainedConfig):
        raise UnsupportedModelError.of(
            "model.source",
            f"{type(model).__name__} has no configuration of transformers",
            "a causal language model (AutoModelForCausalLM)",
        )
    if whole.is_encoder_decoder:
        raise UnsupportedModelError.of(
            "model.source", f"{type(model).__name__} is an encoder-decoder", "a decoder-only language model"
        )
    text = whole.get_text_config(decoder=True)
    # Where a configuration is of an encoder and a decoder, `num_hidden_layers` counts the encoder's.
    count = next((size for name in _LAYERS if (size := getattr(text, name, None)) is not None), None)
    if count is None:
        found = f"the configuration of {type(model).__name__} has no number of layers"
        raise UnsupportedModelError.of("model.source", found, "one list of decoder layers, as num_hidden_layers counts")
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    # A list inside a layer, such as that of adapters or experts, can have the same length: the outermost is meant.
    fitting = outermost([(name, module) for name, module in lists if len(module) == count])
    if len(fitting) != 1:
        sizes = ", ".join(f"{name} ({len(module)})" for name, module in lists) or "none"
        raise UnsupportedModelError.of(
            "model.source", f"module lists found: {sizes}", f"one list of {count} decoder layers"
        )
    return fitting[0]


def is_traced() -> bool:
    """Whether the forward under way is one of `trace_layers`, which nobody else is to see or to change."""
    return _tracing.get()


@contextmanager
def _traced() -> Iterator[None]:
    token = _tracing.set(True)
    try:
        yield
    finally:
        _tracing.reset(token)


def trace_layers(
    model: nn.Module, prefix: str, layers: nn.ModuleList, activations: Sequence[tuple[str, str]]
) -> list[Trace]:
    """Pass three tokens through the model and note what runs in each layer.

    activations: of each layer, the name of the MLP's activation module within it, and that of the experts module whose
        it is, or "".
    """
    traces = [
        Trace(number, f"{prefix}.{number}", layer, activation, [], experts)
        for number, (layer, (activation, experts)) in enumerate(zip(layers, activations, strict=True))
    ]
    with ExitStack() as hooks, evaluating(model), torch.no_grad(), _traced():
        for trace in traces:
            activation = (trace.activation, trace.layer.get_submodule(trace.activation))
            for name, module in (*_linear_maps(trace.layer), activation):
                hooks.enter_context(module.register_forward_hook(_note(name, trace.ran)))
            if trace.experts:
                experts = trace.layer.get_submodule(trace.experts)
                hooks.enter_context(experts.register_forward_hook(_note_experts(trace)))
        ids = torch.zeros((1, TOKENS), dtype=torch.int64, device=next(model.parameters()).device)
        masks = [torch.ones_like(ids)]
        if ids.is_meta:
            hooks.enter_context(_eager(model))
            # Recurrent layers and encoders look for padding in a mask, but not in one of each token for each.
            masks.append(torch.zeros((1, 1, TOKENS, TOKENS), device=ids.device))
        _read(model, ids, masks, traces)
    return traces


def _read(model: nn.Module, ids: Tensor, masks: Sequence[Tensor], traces: Sequence[Trace]) -> None:
    """One forward, with the first of the masks that the model takes."""
    failed: list[Exception] = []
    for mask in masks:
        for trace in traces:
            trace.ran.clear()
            trace.disorder.clear()
        try:
            model(input_ids=ids, attention_mask=mask, use_cache=False)
            return
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            failed.append(error)
    refuse_double_precision(model)
    first = str(failed[0]).strip().partition("\n")[0]
    found = f"{type(model).__name__} cannot read {TOKENS} tokens ({first})"
    raise UnsupportedModelError.of("model.source", found, "sizes in its config.json that fit") from failed[0]


@contextmanager
def _eager(model: nn.Module) -> Iterator[None]:
    """Within the block attention is written out and experts are multiplied side by side.

    Other ways look into the mask, or into what is routed where, and on meta there is nothing in it.
    """
    configs = {id(config): config for module in model.modules()
               if isinstance(config := getattr(module, "config", None), PreTrainedConfig)}  # fmt: skip
    ways = [(config, config._attn_implementation, config._experts_implementation) for config in configs.values()]
    try:
        for config, _, _ in ways:
            config._attn_implementation, config._experts_implementation = "eager", "batched_mm"
        yield
    finally:
        for config, attention, experts in ways:
            config._attn_implementation, config._experts_implementation = attention, experts


def _linear_maps(layer: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear maps of a layer; of an adapter and the map inside, the whole."""
    weights = [(name, module, getattr(module, "weight", None)) for name, module in layer.named_modules()]
    return outermost([(name, module) for name, module, weight in weights if getattr(weight, "ndim", 0) == 2])


def _note(name: str, ran: list[Ran]) -> Callable[[nn.Module, Any, Any], None]:
    """A hook that notes what a module reads and gives."""

    def note(module: nn.Module, args: Any, output: Any) -> None:
        if args and isinstance(args[0], Tensor) and args[0].is_floating_point():  # no embedding
            ran.append(Ran(name, module, args[0], output, inputs=sum(isinstance(one, Tensor) for one in args)))

    return note


def _note_experts(trace: Trace) -> Callable[[nn.Module, Any, Any], None]:
    """A hook that notes what the experts of a layer read and give, and tries the order of their rows.

    Within the forward: the weights of a sharded model are whole there, and only there.
    """

    trying = False

    def note(module: nn.Module, args: Any, output: Any) -> None:
        nonlocal trying
        if trying:
            return
        seen = [*trace.ran]
        routed = len(args) > 1 and isinstance(args[1], Tensor) and not args[1].is_floating_point() and args[1].ndim == 2
        if routed and trace.activations and fault(module) is None:  # else there is no order; `sites` says what is there
            activation, trying = trace.layer.get_submodule(trace.activation), True
            try:
                wrong = check_order(module, activation, args[0], args[1].shape[1])
            finally:
                trying = False
            trace.disorder.extend([wrong] if wrong else [])
        trace.ran[:] = [*seen, Ran(trace.experts, module, args[0], output, args[1] if routed else None)]

    return note
