"""What sites show is read and changed while a model runs, and the model is as it was afterwards.

Reading and changing are hooks of one kind, and the order of the blocks is the order of the hooks: at one site the outer
block comes first. So edits compose outside in, and `observe` sees what the edits *around* it have made, and not what
those inside of it make:

    with edit(model, sites, first), observe(sites, see), edit(model, sites, second): ...

`see` gets `first(a)`, the model goes on with `second(first(a))`. At another site, such as a later layer, everything is
seen that follows from both. Blocks may be left in any order, by an exception too; each takes its own hooks away.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from alignlab.errors import UnsupportedModelError
from alignlab.models.experts import Routed, Routing, observed, routed_rows
from alignlab.models.layer_traces import decoder_layers, is_traced
from alignlab.models.sites import Site


@dataclass(frozen=True)
class Forward:
    """The tokens that pass through a model in one forward.

    rows, length: B and T, padding included.
    past: how many tokens of each row are in the cache, and so stand before these. 0 without a cache.
    device: where the activations are.
    routing: at routed experts, the token and the expert of each row that is shown; else None.
    """

    rows: int
    length: int
    past: int
    device: torch.device
    routing: Routing | None = None

    @property
    def positions(self) -> Tensor:
        """Of these tokens in their rows, from 0, padding on the left counted: (T,) int64."""
        return torch.arange(self.past, self.past + self.length, device=self.device)


_TOKENS = ("input_ids", "inputs_embeds")
# (layer, activations (B, T, width), the forward) -> the activations to go on with, (B, T, width). Of routed experts
# (R, columns) either way, and maybe several times a forward: rows are told apart by `forward.routing`.
Change = Callable[[int, Tensor, Forward], Tensor]
# The tokens of a forward that are changed, (B, T) bool.
Where = Callable[[Forward], Tensor]


@contextmanager
def observe(sites: Sequence[Site], see: Callable[[int, Any], None], *, for_gradients: bool = False) -> Iterator[None]:
    """Within the block, `see(layer, activations)` is called with what a site shows at every forward.

    The activations come as the model has them, (..., width), with its tokens in front: (B, T, width), or
    (B * T, width) in some families; of routed experts as `experts.Routed`. They must not be changed in place.

    for_gradients: the model goes on with the very tensor that is shown, so that a loss can be differentiated by it,
        also where it is a part of what a module gives.
    """

    def look(site: Site, activations: Tensor) -> Tensor | None:
        see(site.layer, activations)
        return activations if for_gradients else None

    def show(layer: int) -> Callable[[Routed], None]:
        return lambda shown: None if is_traced() else see(layer, shown)

    with ExitStack() as stack:
        for site in sites:
            if site.experts is not None:
                stack.enter_context(observed(site.experts, show(site.layer)))
        with _hooked([site for site in sites if site.experts is None], look):
            yield


@contextmanager
def edit(model: nn.Module, sites: Sequence[Site], change: Change, where: Where | None = None) -> Iterator[None]:
    """Within the block, a forward of `model` goes on with what `change` makes of what the sites show.

    change: called once a site and forward with (B, T, width), whatever the family (of routed experts see `Change`); it
        returns as much, and does not change what it is given in place. Each row of the batch can be changed in its own
        way. What it returns is cast to the type of the activations.
    where: the tokens that are changed, such as `prompt_tokens(4)`; by default all, padding too, which nobody reads.

    It works with a cache and under `generate`, with adapters, and with gradients, which flow through `change`.
    Raises ValueError, from the forward, where what is returned has another shape, and `UnsupportedModelError` where
    the model has no one list of decoder layers.
    """
    running: list[Forward] = []

    def change_one(site: Site, activations: Tensor) -> Tensor:
        now = running[-1]
        given = activations.reshape(now.rows, now.length, site.width)
        changed = change(site.layer, given, now)
        if changed.shape != given.shape:
            raise ValueError(f"{site.at} of layer {site.layer} is {tuple(given.shape)}, not {tuple(changed.shape)}")
        changed = changed.to(given.dtype)
        if where is not None:
            changed = torch.where(where(now).unsqueeze(-1), changed, given)
        return changed.reshape(activations.shape)

    def change_rows(site: Site, activations: Tensor, routing: Routing) -> Tensor | None:
        if is_traced():
            return None
        now = replace(running[-1], routing=routing)
        if routing.length != now.rows * now.length:
            raise ValueError(f"experts of layer {site.layer} read {routing.length} tokens, of {now.rows * now.length}")
        changed = change(site.layer, activations, now)
        if changed.shape != activations.shape:
            shapes = tuple(activations.shape), tuple(changed.shape)
            raise ValueError(f"{site.at} of layer {site.layer} is {shapes[0]}, not {shapes[1]}")
        changed = changed.to(activations.dtype)
        if where is not None:
            there = where(now).expand(now.rows, now.length).flatten()[routing.tokens]
            changed = torch.where(there.unsqueeze(-1), changed, activations)
        return changed

    with _told(model, running), ExitStack() as stack:
        for site in sites:
            if site.experts is not None:
                rows = partial(change_rows, site)
                stack.enter_context(routed_rows(site.experts.module, site.experts.activation, rows, lambda: None))
        with _hooked([site for site in sites if site.experts is None], change_one):
            yield


def prompt_tokens(lengths: int | Tensor) -> Where:
    """The tokens of the prompts, for `edit`: those before `lengths`, of all rows or (B,) of each.

    A token counts as what it is as an input: the last token of a prompt is the prompt's, though what the model makes
    of it is the first token of its answer. Padding on the left belongs to a length: in `generate` it is the batch's.
    """
    return lambda forward: _before(lengths, forward)


def generated_tokens(lengths: int | Tensor) -> Where:
    """All tokens but those of `prompt_tokens(lengths)`."""
    return lambda forward: ~_before(lengths, forward)


def _before(lengths: int | Tensor, forward: Forward) -> Tensor:
    ends = torch.as_tensor(lengths, device=forward.device)
    if ends.ndim and len(ends) != forward.rows:
        raise ValueError(f"a batch of {forward.rows} rows, and lengths of {len(ends)} prompts")
    return forward.positions < ends.expand(forward.rows).unsqueeze(1)


@contextmanager
def _hooked(sites: Sequence[Site], look: Callable[[Site, Tensor], Tensor | None]) -> Iterator[None]:
    """Within the block, `look(site, activations)` is called by every site; what it returns takes their place."""
    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(_hook(site, look))
        yield


def _hook(site: Site, look: Callable[[Site, Tensor], Tensor | None]) -> RemovableHandle:
    def replaced(shown: Any) -> Any:
        """What the module is to read or give instead; None where it stays."""
        if is_traced():  # sites are found within a block, of the model as it is
            return None
        whole = shown[0] if isinstance(shown, tuple) else shown
        part = site.width < whole.shape[-1]
        new = look(site, whole[..., site.columns] if part else whole)
        if new is None:
            return None
        if part:
            before, after = whole[..., : site.columns.start], whole[..., site.columns.stop :]
            new = torch.cat([before, new, after], dim=-1)
        return (new, *shown[1:]) if isinstance(shown, tuple) else new

    # A hook that returns anything but None replaces what the module reads or gives.
    if site.side == "input":
        return site.module.register_forward_pre_hook(lambda _module, inputs: replaced(inputs))
    return site.module.register_forward_hook(lambda _module, _inputs, output: replaced(output))


@contextmanager
def _told(model: nn.Module, running: list[Forward]) -> Iterator[None]:
    """Within the block, `running` holds the forward that is under way.

    It is seen where the decoder layers are run, by the innermost module around them that is given tokens: the one place
    that every forward goes through, be it called by an adapter's wrapper, by `generate`, or by the model.
    """
    stack = _given_tokens(model)
    signature = inspect.signature(stack.forward)

    def see(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = signature.bind_partial(*args, **kwargs).arguments
        tokens = next((given[name] for name in _TOKENS if given.get(name) is not None), None)
        if tokens is None:
            found = f"{type(stack).__name__} runs the layers, and is given no input_ids or inputs_embeds"
            raise UnsupportedModelError.of("model.source", found, "one of them")
        cache = given.get("past_key_values")
        past = int(cache.get_seq_length()) if cache is not None else 0
        running[:] = [Forward(tokens.shape[0], tokens.shape[1], past, tokens.device)]

    with stack.register_forward_pre_hook(see, with_kwargs=True):
        yield


def _given_tokens(model: nn.Module) -> nn.Module:
    """The innermost module around the decoder layers whose forward takes tokens; the one right around them, if none."""
    prefix, _ = decoder_layers(model)
    parts = prefix.split(".")[:-1]
    around = [model.get_submodule(".".join(parts[:depth])) for depth in range(len(parts), -1, -1)]
    takes = (module for module in around if not {*_TOKENS}.isdisjoint(inspect.signature(module.forward).parameters))
    return next(takes, around[0])
