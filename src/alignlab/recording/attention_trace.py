"""What attention is made of, seen while a model runs: queries and keys before and behind positions, and its outputs.

No family is known here. Transformers' models call their attention through one interface, where queries, keys, values,
mask and scaling are seen as they are used. What positions do to a column is asked of the module itself: it is run once
more, on few tokens or a few rows, with unit columns in the place of its queries and keys. What is found is compared
with what the model has computed, at every text, and refused by name where it differs.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from alignlab.errors import UnsupportedModelError
from alignlab.models.sites import Site
from alignlab.recording.attention_weights import Attention, Columns, Rotation
from alignlab.recording.closeness import require_close

_PLAIN = "attention through transformers' interface, each head's columns side by side"
# Tokens on which columns are told that turn within pairs: positions differ on the second already.
_FEW = 4
_ROTATED = ("attention.q", "attention.k")


@dataclass(eq=False)
class Seen:
    """What one layer's attention showed in a forward of B rows and T tokens.

    given, normed: by `attention.q` and `attention.k`, (B, H, T, D): what the projection gives, and behind its norm.
    rotated: (B, H, T, D), as logits are made of them.  epsilon: of the norms; None where there are none.
    values: (B, Hk, T, V).
    gave: (B, T, Hq, V), what the heads give.  read, projected: input and output of the output projection.
    """

    layer: int
    given: dict[str, Tensor] = field(default_factory=dict)
    normed: dict[str, Tensor] = field(default_factory=dict)
    epsilon: dict[str, float | None] = field(default_factory=dict)
    rotated: dict[str, Tensor] = field(default_factory=dict)
    rotations: dict[str, Rotation] = field(default_factory=dict)
    projected_values: Tensor = field(default_factory=lambda: torch.empty(0))
    values: Tensor = field(default_factory=lambda: torch.empty(0))
    gave: Tensor = field(default_factory=lambda: torch.empty(0))
    read: Tensor = field(default_factory=lambda: torch.empty(0))
    projected: Tensor = field(default_factory=lambda: torch.empty(0))
    mask: Tensor | None = None
    scaling: float = 1.0
    softcap: float | None = None

    def require_plain_output(self) -> None:
        """Refuse attention in which something stands between a head's values and the output projection."""
        tokens = self.gave.shape[:2]
        what = f"the values of layer {self.layer}, which are changed before they are weighed"
        require_close(
            self.values.transpose(1, 2).reshape(*tokens, -1), self.projected_values.reshape(*tokens, -1), what
        )
        what = f"the output of layer {self.layer}'s heads, which is changed before it is projected"
        require_close(self.gave.reshape(*tokens, -1), self.read.reshape(*tokens, -1), what)

    def of_text(self, row: int, length: int, counted: Tensor, kind: torch.dtype) -> Attention:
        """A row's text of so many tokens, with the queries of those that are counted."""

        def columns(at: str) -> Columns:
            return Columns(
                self.given[at][row, :, :length].to(kind),
                self.normed[at][row, :, :length].to(kind),
                self.rotated[at][row, :, :length].to(kind),
                self.rotations[at].until(length),
                self.epsilon[at],
            )

        return Attention(
            columns("attention.q"),
            columns("attention.k"),
            self.values[row, :, :length].to(kind),
            counted,
            self.scaling,
            self.softcap,
            partial(self._mask, row, length, kind),
        )

    def _mask(self, row: int, length: int, kind: torch.dtype, rows: Tensor) -> Tensor:
        """What is added to the logits of queries at these places, (r, T)."""
        if self.mask is None:
            seen = torch.arange(length, device=rows.device) <= rows.unsqueeze(1)
        else:
            if self.mask.ndim != 4 or self.mask.shape[1] != 1:
                found = f"attention of layer {self.layer} has a mask of shape {tuple(self.mask.shape)}"
                fix = "Set model.attention=sdpa or model.attention=eager."
                raise UnsupportedModelError.of("model.source", found, "one mask of queries and keys", fix)
            whole = self.mask[min(row, len(self.mask) - 1), 0, :, :length][rows]
            if whole.dtype != torch.bool:
                return whole.to(kind)
            seen = whole
        return torch.zeros(seen.shape, dtype=kind, device=seen.device).masked_fill_(~seen, torch.finfo(kind).min)


@contextmanager
def traced_attention(
    model: nn.Module, projections: Mapping[str, Sequence[Site]], see: Callable[[Seen], None]
) -> Iterator[None]:
    """Within the block, `see` is called with what every layer's attention has shown, one layer after another.

    projections: the sites `attention.q`, `k`, `v` and `o` of every layer.
    Raises UnsupportedModelError, from the forward, for attention of another kind.
    """
    with ExitStack() as stack:
        layers = zip(*(projections[at] for at in (*_ROTATED, "attention.v", "attention.o")), strict=True)
        known: list[dict[str, Rotation]] = []
        traced = [_Layer(model, {site.at: site for site in sites}, known, see) for sites in layers]
        for one in traced:
            one.hook(stack)
        config: Any = getattr(traced[0].module, "config", None) or model.config
        stack.enter_context(_interface(config._attn_implementation, {one.module: one for one in traced}))
        yield


@contextmanager
def _interface(name: str, layers: Mapping[nn.Module, _Layer]) -> Iterator[None]:
    """Within the block, the layers are shown what their attention is called with."""
    usual = ALL_ATTENTION_FUNCTIONS.get(name)

    def attend(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, *args: Any, **kwargs: Any
    ) -> Any:
        # Eager attention is each family's own.
        run = usual or sys.modules[type(module).__module__].eager_attention_forward
        layer = layers.get(module)
        if layer is None:
            return run(module, query, key, value, mask, *args, **kwargs)
        if layer.asked is not None:
            layer.asked["attention.q"], layer.asked["attention.k"] = query, key
            return query.new_zeros(len(query), query.shape[2], query.shape[1], value.shape[-1]), None
        output, weights = run(module, query, key, value, mask, *args, **kwargs)
        layer.attended(query, key, value, mask, output, kwargs)
        return output, weights

    ALL_ATTENTION_FUNCTIONS[name] = attend
    try:
        yield
    finally:
        del ALL_ATTENTION_FUNCTIONS[name]


class _Layer:
    """The attention of one layer: what it has shown so far in the forward under way."""

    def __init__(
        self,
        model: nn.Module,
        sites: Mapping[str, Site],
        known: list[dict[str, Rotation]],
        see: Callable[[Seen], None],
    ) -> None:
        first = next(iter(sites.values()))
        self.sites, self.known, self.number = sites, known, first.layer
        self.module = model.get_submodule(first.name.rpartition(".")[0])
        self.see = see
        self.seen = Seen(self.number)
        self.called: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
        # While the module is run once more: what its queries and keys are replaced by, and what they became.
        self.patterns: Tensor | None = None
        self.asked: dict[str, Tensor] | None = None
        self.norms: dict[str, nn.Module] = {}

    def hook(self, stack: ExitStack) -> None:
        own = {site.module for site in self.sites.values()}
        stack.enter_context(self.module.register_forward_pre_hook(self._called, with_kwargs=True))
        for name, site in self.sites.items():
            stack.enter_context(site.module.register_forward_hook(self._projected(name)))
        for module in self.module.modules():
            inside = any(module is inner for one in own for inner in one.modules())
            if not inside and module is not self.module and not list(module.children()):
                stack.enter_context(module.register_forward_hook(self._normed))
        stack.enter_context(self.module.register_forward_hook(self._ran))

    def attended(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, output: Tensor, options: Mapping[str, Any]
    ) -> None:
        seen = self.seen
        seen.rotated = {"attention.q": query, "attention.k": key}
        seen.values, seen.gave, seen.mask = value, output, mask
        scaling = options.get("scaling")
        seen.scaling = float(query.shape[-1] ** -0.5 if scaling is None else scaling)
        seen.softcap = options.get("softcap")

    def _called(self, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.asked is None:
            self.seen, self.called = Seen(self.number), (args, kwargs)
            self.norms = {}

    def _projected(self, name: str) -> Callable[..., Tensor | None]:
        def look(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            if self.asked is not None:
                return self._replaced(output) if name in _ROTATED and name not in self.norms else None
            if name == "attention.o":
                self.seen.read, self.seen.projected = args[0], output
            elif name == "attention.v":
                self.seen.projected_values = output
            else:
                self.seen.given[name] = output
            return None

        return look

    def _normed(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        """A module that reads just what the queries' or keys' projection gave is their norm."""
        if self.asked is not None:
            return self._replaced(output) if any(module is norm for norm in self.norms.values()) else None
        if not args or not isinstance(args[0], Tensor) or not isinstance(output, Tensor):
            return None
        for name in _ROTATED:
            given = self.seen.given.get(name)
            if given is not None and given.numel() and args[0].data_ptr() == given.data_ptr():
                if args[0].numel() != given.numel() or name in self.norms:
                    raise self._unknown(f"a part of its {name[-1]} through {type(module).__name__}")
                self.norms[name] = module
                self.seen.normed[name] = output
        return None

    def _ran(self, _module: nn.Module, _args: object, _output: object) -> None:
        if self.asked is not None:
            return
        seen = self.seen
        if not seen.rotated or not seen.given.keys() >= {*_ROTATED}:
            raise self._unknown("which is computed by code of its own")
        for name in _ROTATED:
            self._take_apart(name)
        self._rotations()
        with torch.autocast(seen.gave.device.type, enabled=False):
            self.see(seen)
        self.seen = Seen(self.number)

    def _take_apart(self, name: str) -> None:
        """Heads apart, (B, H, T, D), before and behind the norm."""
        seen, of = self.seen, self.seen.rotated[name]
        rows, heads, tokens, width = of.shape
        given = seen.given[name]
        if given.numel() != of.numel():
            raise self._unknown(f"whose {name[-1]} is {given.shape[-1]} columns wide, not {heads} x {width}")
        seen.given[name] = given.reshape(rows, tokens, heads, width).transpose(1, 2)
        seen.epsilon[name] = None
        if name not in self.norms:
            seen.normed[name] = seen.given[name]
            return
        norm, output = self.norms[name], seen.normed[name]
        if output.shape[-1] != width:
            raise self._unknown(f"whose {name[-1]} is normed over all heads together, by {type(norm).__name__}")
        by_token = output.shape[1] == tokens and output.shape[2:] == (heads, width)
        seen.normed[name] = output.transpose(1, 2) if by_token else output.reshape(rows, heads, tokens, width)
        epsilon = next(
            (getattr(norm, key) for key in ("variance_epsilon", "eps", "epsilon") if hasattr(norm, key)), None
        )
        seen.epsilon[name] = float(epsilon) if epsilon is not None else None
        self._check_norm(name, norm, seen.epsilon[name])

    def _check_norm(self, name: str, norm: nn.Module, epsilon: float | None) -> None:
        """Whether a norm without a column is the norm, scaled: true of a root mean square, of no other."""
        given, normed = (one[name][:, :, :_FEW] for one in (self.seen.given, self.seen.normed))
        if epsilon is None:
            raise self._unknown(f"whose {name[-1]} goes through {type(norm).__name__}")
        wide = torch.promote_types(given.dtype, torch.float32)
        scales = Columns(given.to(wide), given, given, Rotation(given, given, given), epsilon).scales
        assert scales is not None
        for column in (0, given.shape[-1] - 1):
            without, expected = given.clone(), normed.to(wide) * scales[..., column : column + 1]
            without[..., column] = 0
            expected[..., column] = 0
            what = f"attention of layer {self.number}, whose {name[-1]} goes through {type(norm).__name__}"
            require_close(expected, norm.forward(without), what)

    def _rotations(self) -> None:
        """What positions do to the columns of queries and keys: as in a layer before, or asked of the module."""
        seen = self.seen
        for rotations in self.known:
            if all(self._fits(name, rotations[name]) for name in _ROTATED):
                break
        else:
            rotations = self._asked()
            self.known.insert(0, rotations)
        for name in _ROTATED:
            rotation = rotations[name].until(seen.rotated[name].shape[2])
            seen.rotations[name] = rotation
            what = f"positions in layer {self.number}, which do more to its {name[-1]} than turn pairs of columns"
            require_close(rotation(seen.normed[name].to(rotation.keeps.dtype)), seen.rotated[name], what)

    def _fits(self, name: str, rotation: Rotation) -> bool:
        seen = self.seen.rotated[name]
        if len(rotation.keeps) < seen.shape[2] or rotation.keeps.shape[1] != seen.shape[3]:
            return False
        try:
            turned = rotation.until(seen.shape[2])(self.seen.normed[name].to(rotation.keeps.dtype))
            require_close(turned, seen, "")
        except UnsupportedModelError:
            return False
        return True

    def _asked(self) -> dict[str, Rotation]:
        """Run the module with unit columns: on a few tokens to see which turn together, then on all to see how far."""
        width, length = self.seen.rotated["attention.q"].shape[-1], self.seen.rotated["attention.q"].shape[2]
        unit = torch.eye(width, device=self.seen.gave.device)
        pairs = {name: self._partners(name, of) for name, of in self._run_with(unit, min(length, _FEW)).items()}
        rotations = {}
        for name, partner in pairs.items():
            first = torch.arange(width, device=partner.device) <= partner  # one of each pair, and what stays alone
            kept = self._run_with(torch.stack([first, ~first]).to(unit.dtype), length)[name]  # (2, T, D)
            keeps = torch.where(first, kept[0], kept[1])
            turns = torch.where(first, kept[0][:, partner], kept[1][:, partner]).masked_fill(
                partner == torch.arange(width, device=partner.device), 0
            )
            rotations[name] = Rotation(keeps, turns, partner)
        return rotations

    def _partners(self, name: str, became: Tensor) -> Tensor:
        """With which column each turns, (D,); itself where it stays alone. became: (D, T, D)."""
        width = became.shape[-1]
        reached = (became != 0).any(dim=1).fill_diagonal_(False)
        if (reached.sum(dim=1) > 1).any() or not torch.equal(reached, reached.T):
            raise self._unknown(f"where positions mix more than two columns of its {name[-1]}")
        own = torch.arange(width, device=became.device)
        return torch.where(reached.any(dim=1), reached.to(torch.int8).argmax(dim=1), own)

    def _run_with(self, patterns: Tensor, length: int) -> dict[str, Tensor]:
        """What columns become, (P, T, D) float32 or wider of the first head, where every token has these, (P, D)."""
        args, kwargs = self.called
        given = dict(zip(inspect.signature(self.module.forward).parameters, args, strict=False)) | kwargs
        whole, rows = self.seen.gave.shape[1], len(patterns)

        def shortened(value: Any) -> Any:
            if isinstance(value, tuple):
                return tuple(shortened(one) for one in value)
            if not isinstance(value, Tensor):
                return value
            return value[:1, :length] if value.ndim > 1 else value[:length] if len(value) == whole else value

        empty = given["hidden_states"].new_zeros(rows, length, given["hidden_states"].shape[-1])
        options = {key: shortened(value) for key, value in given.items()}
        self.patterns, self.asked = patterns, {}
        try:
            self.module(**{**options, "hidden_states": empty, "attention_mask": None})
            asked = self.asked
        finally:
            self.patterns, self.asked = None, None
        if asked.keys() != {*_ROTATED}:
            raise self._unknown("which is computed by code of its own")
        wide = torch.promote_types(empty.dtype, torch.float32)
        return {name: became[:, 0].to(wide) for name, became in asked.items()}

    def _replaced(self, output: Tensor) -> Tensor:
        """The patterns in the place of what a projection or a norm gives, for every token and head."""
        assert self.patterns is not None
        rows, width = self.patterns.shape
        of_heads = self.patterns.to(output.dtype).repeat(1, output.shape[-1] // width)
        return of_heads.view(rows, *(1,) * (output.ndim - 2), -1).expand(output.shape).clone()

    def _unknown(self, what: str) -> UnsupportedModelError:
        found = f"removal is not known of attention in layer {self.number}, {what}"
        fix = "Leave its sites out: identifier.sites=[mlp.act]."
        return UnsupportedModelError.of("model.source", found, _PLAIN, fix)
