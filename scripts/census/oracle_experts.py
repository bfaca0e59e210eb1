"""The neurons of routed experts found by arithmetic, and their activations from the weights in double precision.

Nothing of alignlab is used. A hook notes what each module of stacked weights is given: hidden states, the router's
choice and its weights. Which of its weights are the gates, and by which form, is found as `oracle` finds it for linear
maps: where `sum_k w_k D_e (f(G_e x) * (U_e x))`, expert after expert in float64, is what the module gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import torch
from oracle import FORMS, close
from torch import Tensor, nn

# Which rows of a map that gives both are the gate's, and which the other's.
HALVES: dict[str, Callable[[int], tuple[slice, slice]]] = {
    "first half": lambda width: (slice(0, width), slice(width, None)),
    "second half": lambda width: (slice(width, None), slice(0, width)),
    "even": lambda _: (slice(0, None, 2), slice(1, None, 2)),
    "odd": lambda _: (slice(1, None, 2), slice(0, None, 2)),
}


@dataclass(eq=False)
class Called:
    """A module of stacked weights in a forward: (T, H) what it read and gave, (T, chosen) the router's choice."""

    name: str
    module: nn.Module
    read: Tensor
    chosen: Tensor
    weights: Tensor
    gave: Tensor


@dataclass(frozen=True)
class Reading:
    """How the neurons of experts are computed: names of the weights, the rows of the gate, and the form."""

    first: str
    last: str
    half: str
    form: str

    def before(self, called: Called) -> tuple[Tensor, Tensor, Tensor]:
        """What the gates of all experts give, what stands beside them, and where a token is sent: (T, E, C) each."""
        first = _stacked(called, self.first, 2, called.read.shape[1])
        gate, other = HALVES[self.half](first.shape[1] // 2)
        x, sent = called.read, torch.zeros(len(called.read), len(first), dtype=torch.bool)
        sent.scatter_(1, called.chosen, value=True)
        gates, others = (
            torch.stack([x @ first[expert, rows].T for expert in range(len(first))], dim=1) for rows in (gate, other)
        )
        return gates, others, sent[..., None].expand_as(gates)

    def given(self, called: Called) -> Tensor:
        """What the module gives by this reading, (T, H)."""
        gates, others, _ = self.before(called)
        product = FORMS[self.form](gates) * others
        last = _stacked(called, self.last, 1, called.read.shape[1])
        given = torch.zeros_like(called.read)
        for token, experts in enumerate(called.chosen.tolist()):
            for expert, weight in zip(experts, called.weights[token], strict=True):
                given[token] += weight * (last[expert] @ product[token, expert])
        return given

    def activations(self, called: Called) -> tuple[Tensor, Tensor, Tensor]:
        """Of all experts, expert after expert, 0 where a token is not sent: (T, E * C); what the gates give there, and
        how far from 0 that is, endless where a token is not sent."""
        gates, _, sent = self.before(called)
        shown = torch.where(sent, FORMS[self.form](gates), 0).flatten(1)
        return shown, torch.where(sent, gates, 0).flatten(1), torch.where(sent, gates, torch.inf).flatten(1)


def _stacked(called: Called, name: str, axis: int, size: int) -> Tensor:
    """Weights as (E, outputs, inputs) float64, whose given axis is as long as the hidden states."""
    weight: Tensor = called.module.get_parameter(name).detach().double()
    return weight if weight.shape[axis] == size else weight.transpose(1, 2)


def routed(called: Called, experts: int) -> Tensor:
    """Which tokens are sent to each expert: (T, E), 0 or 1."""
    return torch.zeros(len(called.chosen), experts, dtype=torch.int64).scatter_(1, called.chosen, 1)


@contextmanager
def called(model: nn.Module) -> Iterator[list[Called]]:
    """Within the block, the modules of stacked weights that run, in order."""
    ran: list[Called] = []

    def note(name: str) -> Callable[..., None]:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
            hidden, chosen, weights = [*args, *kwargs.values()][:3]
            read, gave = hidden.detach().double().flatten(0, -2), output.detach().double().flatten(0, -2)
            ran.append(Called(name, module, read, chosen.detach(), weights.detach().double(), gave))

        return see

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if len(_names(module)) == 2:
                hooks.enter_context(module.register_forward_hook(note(name), with_kwargs=True))
        yield ran


def _names(module: nn.Module) -> list[str]:
    return [name for name, weight in module.named_parameters(recurse=False) if weight.ndim == 3]


def find_reading(one: Called) -> Reading:
    """The one reading by which the weights of experts give what they gave. Raises ValueError where it is not one."""
    width = one.read.shape[1]
    readings = [
        Reading(first, last, half, form)
        for first, last in permutations(_names(one.module))
        if _stacked(one, first, 2, width).shape[1] == 2 * _stacked(one, last, 1, width).shape[2]
        for half in HALVES
        for form in FORMS
    ]
    fits = [reading for reading in readings if close(one.gave, reading.given(one))]
    if len(fits) != 1:
        raise ValueError(f"{len(fits)} readings fit what the experts {one.name} give: {fits}")
    return fits[0]
