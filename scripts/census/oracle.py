"""The neurons of a model found by arithmetic, and their activations from the weights in double precision.

Nothing of alignlab is used and no name is gone by. In a forward it is noted what every linear map reads and gives. A
map is a down projection where what it reads is `f(W x + b)` or `f(W x + b) * (V x + c)`, all of it worked out here in
float64 from the weights of other maps and the one `x` that they read, with `f` one of the closed forms below; then the
activations are `f(W x + b)`. Weights are random, so that nothing fits by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

TOLERANCE = 2e-5  # float32 against float64, as a share of the largest number
Form = Callable[[Tensor], Tensor]


def _gelu_tanh(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


FORMS: dict[str, Form] = {
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": lambda x: x / (1 + torch.exp(-1.702 * x)),
    "relu": lambda x: x.clamp(min=0),
    "relu2": lambda x: x.clamp(min=0) ** 2,
}


def xielu(module: nn.Module) -> Form:
    """The activation of 2411.13010, with the parameters of a module."""
    raw = [getattr(module, name).detach().double() for name in ("alpha_p", "alpha_n", "beta", "eps")]
    positive, negative, beta, eps = torch.log1p(raw[0].exp()), raw[2] + torch.log1p(raw[1].exp()), raw[2], raw[3]

    def form(x: Tensor) -> Tensor:
        below = negative * (torch.exp(torch.minimum(x, eps)) - 1 - x)
        return torch.where(x > 0, positive * x**2, below) + beta * x

    return form


@dataclass(frozen=True)
class Cut:
    """What is below the quantile of a normal distribution, with the mean and deviation of a token's numbers, is cut."""

    form: Form
    share: float

    def threshold(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=-1, keepdim=True)
        deviation = ((x - mean) ** 2).mean(dim=-1, keepdim=True).sqrt()
        return mean + deviation * NormalDist().inv_cdf(self.share)

    def __call__(self, x: Tensor) -> Tensor:
        return self.form((x - self.threshold(x)).clamp(min=0))


@dataclass(eq=False)
class Ran:
    """A module in a forward: what it read and gave, as the model has it."""

    name: str
    module: nn.Module
    read: Tensor
    gave: Tensor
    _exact: Tensor | None = field(default=None, repr=False)

    @property
    def exact(self) -> Tensor:
        """What it gives, from its weights and what it read: (tokens, outputs) float64."""
        if self._exact is None:
            inputs = self.read.detach().double().flatten(0, -2)
            bias = getattr(self.module, "base_layer", self.module).bias
            self._exact = inputs @ weight_of(self.module).T
            if bias is not None:
                self._exact = self._exact + bias.detach().double()
        return self._exact


def weight_of(linear: nn.Module) -> Tensor:
    """(outputs, inputs) float64, with what LoRA adds to it."""
    base: Any = getattr(linear, "base_layer", linear)
    weight = base.weight.detach().double()
    weight = weight.T if isinstance(base, Conv1D) else weight
    if base is linear:
        return weight
    adapter: Any = linear
    low, high = (part["default"].weight.detach().double() for part in (adapter.lora_A, adapter.lora_B))
    return weight + adapter.lora_alpha["default"] / adapter.r["default"] * high @ low


def is_map(module: nn.Module) -> bool:
    """Whether a module is a linear map, or one with an adapter around it."""
    return isinstance(getattr(module, "base_layer", module), nn.Linear | Conv1D)


@contextmanager
def noted(model: nn.Module) -> Iterator[list[Ran]]:
    """Within the block, the maps and norms of the model that run, in order."""
    ran: list[Ran] = []

    def note(name: str) -> Callable[..., None]:
        def see(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if args and isinstance(args[0], Tensor) and isinstance(output, Tensor) and args[0].is_floating_point():
                ran.append(Ran(name, module, args[0], output))

        return see

    inside = {f"{name}.{part}" for name, module in model.named_modules() if hasattr(module, "base_layer")
              for part, _ in module.named_modules() if part}  # fmt: skip
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name not in inside and (is_map(module) or "Norm" in type(module).__name__):
                hooks.enter_context(module.register_forward_hook(note(name)))
        yield ran


@dataclass(frozen=True)
class Neurons:
    """Those of an MLP, by the names of its maps.

    half: which of `width` columns of the first map (and of the second, where that is the same) are meant.
    form: of the activation.  normed: whether the product is normed before the last map reads it.
    """

    first: str
    second: str | None
    last: str
    half: int
    width: int
    form: str
    f: Form = field(compare=False, repr=False)
    normed: bool = False

    def before(self, ran: dict[str, Ran]) -> Tensor:
        """What the activation reads in a forward: (tokens, width) float64."""
        return _half(ran[self.first].exact, self.half, self.width)

    def activations(self, ran: dict[str, Ran]) -> Tensor:
        return self.f(self.before(ran))

    def edge(self, ran: dict[str, Ran]) -> Tensor:
        """How far from being silent: what the activation reads, less what a form cuts off."""
        before = self.before(ran)
        return before - self.f.threshold(before) if isinstance(self.f, Cut) else before

    def beside(self, ran: dict[str, Ran]) -> Tensor | None:
        """What the activation is multiplied by."""
        if self.second is None:
            return None
        return _half(ran[self.second].exact, 1 - self.half, self.width)


def _half(outputs: Tensor, half: int, width: int) -> Tensor:
    return outputs if outputs.shape[1] == width else outputs[:, half * width : (half + 1) * width]


def find_neurons(model: nn.Module, ran: list[Ran]) -> list[Neurons]:
    """Of every MLP that ran, in order. Raises ValueError where two readings of a map fit."""
    norms = {id(one.gave): one for one in ran if not is_map(one.module)}
    maps = [one for one in ran if is_map(one.module)]
    found = []
    for number, last in enumerate(maps):
        norm = norms.get(id(last.read))
        targets = [(last.read, False), *([(norm.read, True)] if norm is not None else [])]
        fits = [fit for target, normed in targets for fit in _fits(model, maps[:number], last, target, normed)]
        if len(fits) > 1:
            raise ValueError(f"{last.name} reads what {fits} give")
        found += fits
    return found


def _fits(model: nn.Module, before: list[Ran], last: Ran, target: Tensor, normed: bool) -> list[Neurons]:
    expected = target.detach().double().flatten(0, -2)
    width = expected.shape[1]
    fits = []
    for number, first in enumerate(before):
        if first.exact.shape[0] != expected.shape[0] or first.exact.shape[1] not in (width, 2 * width):
            continue
        both = first.exact.shape[1] == 2 * width
        others = [first] if both else [None, *(one for at, one in enumerate(before) if at != number
                                               and one.read is first.read and one.exact.shape[1] == width)]  # fmt: skip
        for name, form in {**FORMS, **_of_model(model, first.name)}.items():
            for half in (0, 1) if both else (0,):
                activations = form(_half(first.exact, half, width))
                for other in others:
                    product = activations * _half(other.exact, 1 - half, width) if other is not None else activations
                    if close(product, expected):
                        second = other.name if other is not None else None
                        fits.append(Neurons(first.name, second, last.name, half, width, name, form, normed))
    return fits


def _of_model(model: nn.Module, first: str) -> dict[str, Form]:
    """Forms with numbers of their own: in a module beside the map, or in the configuration."""
    beside = model.get_submodule(first.rpartition(".")[0])
    forms: dict[str, Form] = {}
    for module in beside.children():
        if hasattr(module, "alpha_p"):
            forms["xielu"] = xielu(module)
    shares = getattr(getattr(model, "config", None), "activation_sparsity_pattern", None) or ()
    for share in {share for share in shares if share > 0}:
        forms |= {f"top {1 - share:.0%} of {name}": Cut(FORMS[name], share) for name in ("gelu", "gelu_tanh")}
    for scale in (getattr(getattr(model, "config", None), "mlp_multipliers", None) or ())[:1]:
        forms |= {f"{scale} in {name}": _scaled(form, scale) for name, form in FORMS.items() if scale != 1}
    return forms


def _scaled(form: Form, scale: float) -> Form:
    return lambda x: form(scale * x)


def close(seen: Tensor, expected: Tensor) -> bool:
    limit = TOLERANCE * float(expected.abs().max().clamp(min=1e-3))
    return seen.shape == expected.shape and bool(((seen - expected).abs() <= limit + TOLERANCE * expected.abs()).all())
