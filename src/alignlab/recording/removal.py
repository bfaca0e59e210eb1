"""How much a block's output changes without a neuron (PLND: Zhao et al. 2024, arXiv 2402.18815).

Of a neuron of the MLP and of attention's values and output, it is the Frobenius norm, over the counted tokens, of the
change of what the MLP or the attention gives when the neuron's activation is 0; of queries and keys, that of the change
of the attention weights, over counted tokens, keys and heads (the public code leaves the scaling of the logits out).
All of it in closed form, in the one forward of a text. Columns are removed where the projection gives them, before
norms and rotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.models.flops import text_flops
from alignlab.models.options import SiteName
from alignlab.models.output_rows import only_rows
from alignlab.models.sites import ATTENTION, NEURONS_OF_MLP, Site, find_sites
from alignlab.neurons.importance import Wanted
from alignlab.recording.attention_trace import Seen, traced_attention
from alignlab.recording.attention_weights import changes
from alignlab.recording.closeness import require_close
from alignlab.recording.pieces import ProbeBatch

SITES = ("mlp.act", "mlp.product", "mlp.up", *ATTENTION)
# Columns of a map that are asked for together.
_TOGETHER = 256
# Operations on each number of a softmax that is made anew: the logits, the softmax, the change and its square.
_OPERATIONS = 14


class Removal:
    """The measure `removal`, at sites of the MLP and of attention. Options: none.

    Raises InputError for other sites and for options; UnsupportedModelError, by name, for a model without the sites,
    and, at the first text, for attention whose weights or outputs do not follow as described.
    """

    def __init__(self, model: nn.Module, wanted: Wanted) -> None:
        refuse_any(
            [
                Problem("sites", f"{at!r}", f"some of {', '.join(SITES)}, each once")
                for at in wanted.sites
                if at not in SITES or wanted.sites.count(at) > 1
            ]
            + [Problem("sites", "none", f"one or more of {', '.join(SITES)}")] * (not wanted.sites)
            + [Problem(f"options.{name}", "set", "no options: removal has none") for name in wanted.options]
        )
        self.model = model
        self.of_mlp = [at for at in wanted.sites if at in NEURONS_OF_MLP]
        inside = any(at in ATTENTION and at != "attention.o" for at in wanted.sites)
        needed = [*wanted.sites, *(["mlp.product"] if self.of_mlp else []), *(ATTENTION if inside else [])]
        found = {at: find_sites(model, cast("SiteName", at)) for at in dict.fromkeys(needed)}
        self.sites = {at: found[at] for at in wanted.sites}
        self.shapes = {at: (len(sites), sites[0].width) for at, sites in self.sites.items()}
        self.down = found["mlp.product"] if self.of_mlp else []
        self.projections = {at: found[at] for at in ATTENTION} if inside else {}
        self._lengths: dict[int, Tensor] = {}  # of the columns of each layer's down projection
        self._products: dict[int, Tensor] = {}  # of the columns of each layer's output projection

    def of(self, batch: ProbeBatch, context: Callable[[], AbstractContextManager[object]]) -> Mapping[str, Tensor]:
        """By site, (D, L, N); see `alignlab.recording.importance.Measure`."""
        parameter = next(self.model.parameters())
        kind = torch.promote_types(parameter.dtype, torch.float32)
        found = {
            at: torch.zeros((len(batch.numbers), *shape), dtype=kind, device=parameter.device)
            for at, shape in self.shapes.items()
        }
        nothing = torch.zeros(0, dtype=torch.int64, device=batch.input_ids.device)
        with ExitStack() as hooks:
            for site in self.down:
                hooks.enter_context(site.module.register_forward_hook(partial(self._see_mlp, site, batch, found)))
            for site in self.sites.get("attention.o", ()) if not self.projections else ():
                hooks.enter_context(site.module.register_forward_hook(partial(_see_output, site, batch, found)))
            if self.projections:
                hooks.enter_context(
                    traced_attention(self.model, self.projections, partial(self._see_attention, batch, found))
                )
            with only_rows(self.model, nothing), context():
                self.model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
        return found

    def flops(self, sizes: Sequence[tuple[int, int]]) -> int:
        """Operations for documents of so many tokens, of which so many are counted; the model is on the meta device.

        A product and a sum are two, as is usual; each step of a softmax is one.
        """
        forward = text_flops(self.model, backward=False)
        needed = sum(forward.of((tokens, tokens**2, 0)) for tokens, _ in sizes)
        layers = sum(len(self.sites[at]) for at in ("attention.q", "attention.k") if at in self.sites)
        width = self.projections["attention.q"][0].width if layers else 0
        # Of every column of every query head; a key's column is removed in each of the heads that it serves.
        needed += sum(_OPERATIONS * layers * width * tokens * counted for tokens, counted in sizes)
        maps = [(self.down, 1)] + ([(self.projections["attention.o"], 1)] if "attention.v" in self.sites else [])
        return needed + sum(2 * _read_width(site) ** 2 * _given_width(site) for sites, _ in maps for site in sites)

    def _see_mlp(
        self,
        site: Site,
        batch: ProbeBatch,
        found: dict[str, Tensor],
        module: nn.Module,
        args: tuple[Tensor],
        gave: Tensor,
    ) -> None:
        with _exact(args[0]):
            if site.layer not in self._lengths:
                columns = _columns(module, site, args[0], gave)
                self._lengths[site.layer] = torch.cat([of.norm(dim=0) for of in columns])
            read = args[0].reshape(*batch.input_ids.shape, -1)
            lengths = self._lengths[site.layer]
            for row, counted in enumerate(_counted(batch)):
                kept = read[row, counted]
                norms = torch.linalg.vector_norm(kept, dim=0, dtype=lengths.dtype) * lengths
                for at in self.of_mlp:
                    found[at][row, site.layer] = norms

    def _see_attention(self, batch: ProbeBatch, found: dict[str, Tensor], seen: Seen) -> None:
        kind = next(iter(found.values())).dtype
        if "attention.o" in found:
            _take_output(seen.layer, batch, found, seen.projected)
        if "attention.v" in found:
            seen.require_plain_output()
            shared = seen.gave.shape[2] // seen.values.shape[1]
            if seen.layer not in self._products:
                self._products[seen.layer] = self._product(seen, shared, kind)
        for row, counted in enumerate(_counted(batch)):
            if not len(counted):
                continue
            if "attention.v" in found:
                outputs = seen.gave[row, counted].to(kind).unflatten(1, (-1, shared))  # (R, Hk, shared, V)
                together = torch.einsum("rgav,rgbv->gvab", outputs, outputs)
                squares = (together * self._products[seen.layer]).sum(dim=(-2, -1))
                found["attention.v"][row, seen.layer] = squares.clamp(min=0).sqrt().flatten()
            if "attention.q" in found or "attention.k" in found:
                attention = seen.of_text(row, int(batch.attention_mask[row].sum()), counted, kind)
                of_query, of_key, given = changes(
                    attention, of_queries="attention.q" in found, of_keys="attention.k" in found
                )
                what = f"attention of layer {seen.layer}, whose outputs are other than softmax(q k) v"
                require_close(given.transpose(0, 1), seen.gave[row, counted], what)
                for at, squares in (("attention.q", of_query), ("attention.k", of_key)):
                    if at in found:
                        found[at][row, seen.layer] = squares.sqrt().flatten()

    def _product(self, seen: Seen, shared: int, kind: torch.dtype) -> Tensor:
        """Of the output projection, the products of those columns that one value serves: (Hk, V, shared, shared)."""
        site = self.projections["attention.o"][seen.layer]
        whole = torch.cat(list(_columns(site.module, site, seen.read, seen.projected)), dim=1).to(kind)  # (W, Hq * V)
        columns = whole.view(len(whole), -1, shared, seen.values.shape[-1])
        return torch.einsum("wgav,wgbv->gvab", columns, columns)


def _see_output(
    site: Site, batch: ProbeBatch, found: dict[str, Tensor], _module: nn.Module, _args: object, gave: Tensor
) -> None:
    _take_output(site.layer, batch, found, gave)


def _take_output(layer: int, batch: ProbeBatch, found: dict[str, Tensor], gave: Tensor) -> None:
    values, given = found["attention.o"], gave.reshape(*batch.input_ids.shape, -1)
    for row, counted in enumerate(_counted(batch)):
        values[row, layer] = torch.linalg.vector_norm(given[row, counted], dim=0, dtype=values.dtype)


def _counted(batch: ProbeBatch) -> list[Tensor]:
    """Of each document its counted tokens, by place."""
    rows = batch.counted.to(batch.input_ids.device)[: len(batch.numbers)]
    return [row.nonzero().squeeze(1) for row in rows]


def _columns(module: nn.Module, site: Site, read: Tensor, gave: Tensor) -> list[Tensor]:
    """The weights of a map, in pieces of columns, (W, c) each of them: with adapters, however they are stored.

    They are what the map gives to unit vectors. Raises UnsupportedModelError for a map that is not linear.
    """
    width = read.shape[-1]
    # Without an autocast: weights as they are. Those of four bits are no floating numbers.
    kind = next((one.dtype for one in module.parameters() if one.is_floating_point() and one.ndim == 2), read.dtype)
    wide = torch.promote_types(kind, torch.float32)
    forward = module.forward
    zero = forward(read.new_zeros(1, width, dtype=kind)).to(wide)
    pieces = []
    for start in range(0, width, _TOGETHER):
        some = torch.zeros(min(_TOGETHER, width - start), width, dtype=kind, device=read.device)
        some[:, start:].fill_diagonal_(1)
        pieces.append((forward(some).to(wide) - zero).T)
    tokens = read.reshape(-1, width)[-8:].to(wide)
    whole = zero + sum(tokens[:, start : start + _TOGETHER] @ of.T for start, of in
                       zip(range(0, width, _TOGETHER), pieces, strict=True))  # fmt: skip
    require_close(whole, gave.reshape(-1, gave.shape[-1])[-8:], f"{site.name}, which is no linear map")
    return pieces


def _exact(values: Tensor) -> AbstractContextManager[object]:
    """Within the block an autocast rounds nothing."""
    return torch.autocast(values.device.type, enabled=False)


def _read_width(site: Site) -> int:
    return int(_weight(site).shape[-1])


def _given_width(site: Site) -> int:
    return int(_weight(site).shape[0])


def _weight(site: Site) -> Tensor:
    weight = next((one for one in site.module.parameters() if one.ndim == 2), None)
    if weight is None:
        raise InputError.of("model.source", f"{site.name} has no weight", "a linear map")
    return weight
