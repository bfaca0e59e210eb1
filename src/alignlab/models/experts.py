"""The routed experts of a mixture: which token and which expert every row of their activations belongs to.

In transformers the experts of a layer are one module with stacked weights, `experts(hidden, top_k_index,
top_k_weights)`, and one activation module inside it. What reaches that module is sorted by the experts implementation
(`eager` calls it once for each expert that was chosen, `grouped_mm` and `batched_mm` once), so that rows are told apart
by the routing alone. The orders are those of `_ORDERS`; `check_order` holds a module to its own by running it once for
each pair of a token and an expert alone, so that what is shown is what the model computes, and never computed again.

A neuron is (expert, column), in a layer of E experts with C columns each: number `expert * C + column` of E * C. On
a token that is not routed to its expert its activation is 0: it adds nothing there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from alignlab.errors import UnsupportedModelError

_TOKENS = 5  # that an order is checked on: more than experts of a token, most often


@dataclass(frozen=True)
class Experts:
    """The experts of a layer.

    module: what is given the routing.  activation: the module inside, which gives (rows, C).
    count, columns, chosen: E, C, and how many experts a token is routed to.
    """

    module: nn.Module = field(repr=False, compare=False)
    activation: nn.Module = field(repr=False, compare=False)
    count: int
    columns: int
    chosen: int


@dataclass(frozen=True)
class Routing:
    """Of rows of activations, (R, C), whose they are.

    tokens: (R,) int64, numbers of the forward's tokens, padding included, row of the batch after row.
    experts: (R,) int64.
    length: how many tokens there are.
    """

    tokens: Tensor
    experts: Tensor
    length: int

    def part(self, start: int, rows: int) -> Routing:
        """That of some rows that follow each other."""
        return Routing(self.tokens[start : start + rows], self.experts[start : start + rows], self.length)


@dataclass(frozen=True)
class Routed:
    """What the experts of a layer show in a forward: only the activations that were computed.

    activations: (R, C), R being tokens x chosen experts.
    """

    activations: Tensor
    routing: Routing

    def rows_of(self, tokens: Tensor) -> Tensor:
        """The rows of some tokens (M,), those of a token side by side: (M * chosen,) int64. Nothing waits for a GPU."""
        by_token = self.routing.tokens.argsort(stable=True).view(self.routing.length, -1)
        return by_token[tokens].flatten()


# Given the rows that an activation module shows at once, and whose they are: what takes their place, or None.
Look = Callable[[Tensor, Routing], Tensor | None]


def _eager(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Expert after expert, of each those tokens whose first choice it is, then those whose second, and so on."""
    experts, order = chosen.T.flatten().sort(stable=True)
    return order % len(chosen), experts


def _grouped(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Expert after expert, in the order that the same sort of the same numbers gives transformers."""
    experts, order = chosen.flatten().sort()
    return order // chosen.shape[1], experts


def _batched(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Token after token."""
    return torch.arange(chosen.numel(), device=chosen.device) // chosen.shape[1], chosen.flatten()


# Token and expert of each row, from (T, chosen), by transformers' `experts_implementation`.
_ORDERS = {None: _eager, "eager": _eager, "grouped_mm": _grouped, "batched_mm": _batched}


@contextmanager
def routed_rows(experts: nn.Module, activation: nn.Module, look: Look, done: Callable[[], None]) -> Iterator[None]:
    """Within the block, `look` is called with all that the activation module shows, `done` when all experts have run.

    Raises `UnsupportedModelError`, from the forward, where the rows are not those of the routing.
    """
    under_way: list[Routing] = []
    shown = 0

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal shown
        chosen = args[1] if len(args) > 1 else kwargs["top_k_index"]
        tokens, of = _ORDERS[implementation(module)](chosen)
        under_way[:], shown = [Routing(tokens, of, len(chosen))], 0

    def show(_module: nn.Module, _args: object, output: Tensor) -> Tensor | None:
        nonlocal shown
        rows = under_way[0].part(shown, len(output))
        shown += len(output)
        return look(output, rows) if len(rows.tokens) == len(output) else None

    def end(module: nn.Module, _args: object, _output: object) -> None:
        if shown != len(under_way[0].tokens):
            found = f"the experts computed {shown} rows of the {len(under_way[0].tokens)} that were routed to them"
            raise UnsupportedModelError.of("model.source", found, "each pair of a token and an expert once")
        done()

    with ExitStack() as hooks:
        hooks.enter_context(experts.register_forward_pre_hook(begin, with_kwargs=True))
        hooks.enter_context(activation.register_forward_hook(show))
        hooks.enter_context(experts.register_forward_hook(end))
        yield


@contextmanager
def observed(experts: Experts, see: Callable[[Routed], None]) -> Iterator[None]:
    """Within the block, `see` is called with what the experts of a layer show, once a forward."""
    parts: list[tuple[Tensor, Routing]] = []

    def look(activations: Tensor, routing: Routing) -> None:
        parts.append((activations, routing))

    def done() -> None:
        routing = Routing(
            torch.cat([one.tokens for _, one in parts]),
            torch.cat([one.experts for _, one in parts]),
            parts[0][1].length,
        )
        activations = parts[0][0] if len(parts) == 1 else torch.cat([one for one, _ in parts])
        parts.clear()
        see(Routed(activations, routing))

    with routed_rows(experts.module, experts.activation, look, done):
        yield


def implementation(module: nn.Module) -> str | None:
    """Transformers' name for how the experts of a module are run."""
    return getattr(getattr(module, "config", None), "_experts_implementation", None)


def expert_count(module: nn.Module) -> int:
    """E, of stacked weights."""
    return next(len(one) for one in module.parameters(recurse=False) if one.ndim > 2)


def fault(module: nn.Module) -> tuple[str, str, str] | None:
    """Why experts cannot be told apart: what was found, expected and to be done; None where they can."""
    name, stacked = type(module).__name__, [one for one in module.parameters(recurse=False) if one.ndim > 2]
    kinds = {one.dtype for one in stacked} - {torch.float16, torch.bfloat16, torch.float32, torch.float64}
    if kinds:
        found = f"the experts are quantised ({', '.join(sorted(str(one) for one in kinds))})"
        return found, "weights in floating point", "Load the model as it was before it was quantised."
    if not hasattr(module, "_is_expert_parallel"):  # what transformers' `use_experts_implementation` gives a class
        return f"{name} is not one of transformers' experts modules", "experts(hidden, top_k_index, top_k_weights)", ""
    if module._is_expert_parallel:
        return "the experts are dealt to several devices", "all experts of a layer in one place", "Load it without."
    if implementation(module) not in _ORDERS:
        ways = ", ".join(way for way in _ORDERS if way)
        fix = "Call model.set_experts_implementation('grouped_mm')."
        return f"the experts are run by {implementation(module)!r}", ways, fix
    return None


def refuse_gradients(at: str, experts: Experts | None) -> None:
    """Raise `UnsupportedModelError` where gradients are asked for at routed experts."""
    if experts is not None:
        found = f"gradients at {at}, where most tokens do not reach a neuron"
        raise UnsupportedModelError.of("probe.site", found, "a site that all tokens reach, such as residual")


def refuse_double_precision(model: nn.Module) -> None:
    """Raise `UnsupportedModelError` where experts in float64 are run by a way that takes none."""
    for module in model.modules():
        if implementation(module) != "grouped_mm" or not hasattr(module, "_is_expert_parallel"):
            continue
        if any(one.dtype == torch.float64 for one in module.parameters(recurse=False)):
            found = "experts in double precision are run by grouped_mm, which takes float32, float16 and bfloat16"
            fix = "In Python, call model.set_experts_implementation('eager') first."
            raise UnsupportedModelError.of("model.source", found, "another way, or another precision", fix)


def check_order(module: nn.Module, activation: nn.Module, hidden: Tensor, chosen: int) -> str:
    """Run some pairs of a token and an expert together, and each alone: what is wrong with their order, or "".

    hidden: (..., H), which gives size, type and device of the tokens; nothing can be checked on the meta device.
    """
    count = expert_count(module)
    if hidden.is_meta:
        return ""
    width = hidden.shape[-1]
    places = torch.arange(_TOKENS * width, device=hidden.device, dtype=torch.float64)
    tokens = (places.square() * 0.37).sin().view(_TOKENS, width).to(hidden.dtype)
    numbers = torch.arange(_TOKENS, device=hidden.device).unsqueeze(1)
    # Neighbours share experts, in other places among their choices.
    index = (numbers * 2 - torch.arange(chosen, device=hidden.device)) % count
    weights = torch.full(index.shape, 1 / chosen, device=hidden.device, dtype=hidden.dtype)
    together: list[tuple[Tensor, Routing]] = []
    alone: list[Tensor] = []
    with routed_rows(module, activation, lambda *shown: together.append(shown), lambda: None):
        module(tokens, index, weights)
    rows = torch.cat([one for one, _ in together])
    pairs = [(int(t), int(e)) for _, one in together for t, e in zip(one.tokens, one.experts, strict=True)]
    with activation.register_forward_hook(lambda _module, _args, output: alone.append(output)):
        for token, expert in pairs:
            one = torch.tensor([[expert]], device=hidden.device)
            module(tokens[token : token + 1], one, weights[:1, :1])
    single = torch.cat(alone)
    limit = 4 * torch.finfo(rows.dtype).eps ** 0.75 * single.abs().max()
    worst = (rows - single).abs().max()
    return "" if bool(worst <= limit) else f"rows of experts are in no order that is known (off by {float(worst):.2g})"
