"""How much attention weights change when one column of the queries or keys is 0, of every column, in closed form.

The logit of query t and key s is ``scaling * q_t . k_s``, both behind their positions' rotation. A column d of a query,
before it is rotated, adds ``q_td (R_t e_d) . k_s``: R_t leaves d where it is, or turns it within a pair of columns. So
each removal changes the logits by a product of two or four numbers, and behind a root mean square norm it scales what
is left. From these logits the weights are made anew; nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Numbers of a temporary: three of these are held at a time, whatever the length of a text. On a processor small ones
# stay in its cache, a GPU wants enough for all its cores.
_NUMBERS = {"cpu": 1 << 19}
_NUMBERS_ELSEWHERE = 1 << 25


@dataclass(frozen=True)
class Rotation:
    """What a position does to columns: column d becomes ``keeps[t, d]`` of itself and ``turns[t, d]`` of its partner.

    keeps, turns: (T, D).  partner: (D,) int64, each other's; a column that stays alone is its own, and turns into 0.
    """

    keeps: Tensor
    turns: Tensor
    partner: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """The values, (..., T, D), rotated."""
        return self.keeps * values + (self.turns * values)[..., self.partner]

    def until(self, length: int) -> Rotation:
        """That of the first positions."""
        return Rotation(self.keeps[:length], self.turns[:length], self.partner)


@dataclass(frozen=True)
class Columns:
    """Queries or keys of a text, before and behind their rotation.

    given: (H, T, D), the columns that can be removed, before any norm.
    normed: (H, T, D), what is rotated; the same where there is no norm.
    rotated: (H, T, D), what logits are made of.
    epsilon: of the root mean square norm between `given` and `normed`; None where there is none.
    """

    given: Tensor
    normed: Tensor
    rotated: Tensor
    rotation: Rotation
    epsilon: float | None = None

    @cached_property
    def scales(self) -> Tensor | None:
        """By which factor a norm scales what is left without a column, (H, T, D); None without a norm."""
        if self.epsilon is None:
            return None
        squares = self.given.square()
        whole = squares.mean(dim=-1, keepdim=True) + self.epsilon
        left = (whole - squares / squares.shape[-1]).clamp(min=self.epsilon)
        return (whole / left).sqrt()


@dataclass(frozen=True)
class Attention:
    """What weights of a text are made of.

    queries, keys: of Hq and Hk heads; each key head serves Hq / Hk query heads that follow each other.
    values: (Hk, T, V).
    rows: (R,) int64, the queries that are looked at.
    scaling: of the logits.  softcap: what they are squashed to, None for nothing.
    mask: of the queries at these places, (r,), what is added to their logits, (r, T).
    """

    queries: Columns
    keys: Columns
    values: Tensor
    rows: Tensor
    scaling: float
    softcap: float | None
    mask: Callable[[Tensor], Tensor]

    @property
    def shared(self) -> int:
        """How many query heads a key head serves."""
        return len(self.queries.given) // len(self.keys.given)


@dataclass(frozen=True)
class _Block:
    """Weights of some query heads and rows: (h, r, T).  heads: their numbers.  rows: their places in the text.

    at: the rows among all that are looked at.  mask: (r, T).
    """

    heads: slice
    at: slice
    rows: Tensor
    mask: Tensor
    logits: Tensor
    weights: Tensor


def changes(attention: Attention, *, of_queries: bool, of_keys: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The squared change of all weights without each column, and what the heads give.

    Returns (Hq, D) of query columns and (Hk, D) of key columns, summed over rows, keys and, of a key column, over the
    heads that it serves (zeros where not asked for); and the heads' outputs, (Hq, R, V), by which one can tell whether
    these are the weights of the model.
    """
    queries, keys = attention.queries, attention.keys
    of_query, of_key = torch.zeros_like(queries.given[:, 0]), torch.zeros_like(keys.given[:, 0])
    given = queries.given.new_empty(len(queries.given), len(attention.rows), attention.values.shape[-1])
    for block in _blocks(attention):
        shared = torch.arange(block.heads.start, block.heads.stop, device=given.device) // attention.shared
        given[block.heads, block.at] = block.weights @ attention.values[shared]
        for columns in _columns(attention, block):
            if of_queries:
                of_query[block.heads, columns] += _without_query(attention, block, columns, shared)
            if of_keys:
                found = _without_key(attention, block, columns, shared)
                of_key[:, columns] += torch.zeros_like(of_key[:, columns]).index_add_(0, shared, found)
    return of_query, of_key, given


def _without_query(attention: Attention, block: _Block, columns: slice, shared: Tensor) -> Tensor:
    """Squared change without each of some query columns, (h, c)."""
    queries, rotation = attention.queries, attention.queries.rotation
    normed = queries.normed[block.heads][:, block.rows, columns] * attention.scaling
    keys = attention.keys.rotated[shared].transpose(-1, -2)  # (h, D, T)
    lost = (normed * rotation.keeps[block.rows, columns]).unsqueeze(-1) * keys[:, None, columns]
    turned = (normed * rotation.turns[block.rows, columns]).unsqueeze(-1)
    lost.addcmul_(turned, keys[:, None, rotation.partner[columns]])
    scales = queries.scales
    left = None if scales is None else scales[block.heads][:, block.rows, columns].unsqueeze(-1)
    return _changed(attention, block, lost, left)


def _without_key(attention: Attention, block: _Block, columns: slice, shared: Tensor) -> Tensor:
    """Squared change without each of some key columns, of each query head, (h, c)."""
    keys, rotation = attention.keys, attention.keys.rotation
    normed = (keys.normed[shared][..., columns] * attention.scaling).transpose(-1, -2)  # (h, c, T)
    queries = attention.queries.rotated[block.heads][:, block.rows]
    lost = queries[..., columns].unsqueeze(-1) * (normed * rotation.keeps[:, columns].T).unsqueeze(1)
    turned = (normed * rotation.turns[:, columns].T).unsqueeze(1)
    lost.addcmul_(queries[..., rotation.partner[columns]].unsqueeze(-1), turned)
    scales = keys.scales
    left = None if scales is None else scales[shared][..., columns].transpose(-1, -2).unsqueeze(1)
    return _changed(attention, block, lost, left)


def _changed(attention: Attention, block: _Block, lost: Tensor, scales: Tensor | None) -> Tensor:
    """Squared change of the weights, (h, c), where logits lose `lost`, (h, r, c, T), and are scaled then."""
    logits = torch.sub(block.logits.unsqueeze(2), lost, out=lost)
    if scales is not None:
        logits.mul_(scales)
    weights = _weights(logits, attention, block.mask.unsqueeze(1))
    return weights.sub_(block.weights.unsqueeze(2)).square_().sum(dim=(1, 3))


def _weights(logits: Tensor, attention: Attention, mask: Tensor) -> Tensor:
    """Weights of logits, which are overwritten."""
    if attention.softcap is not None:
        logits.div_(attention.softcap).tanh_().mul_(attention.softcap)
    return logits.add_(mask).softmax(dim=-1)


def _most(values: Tensor) -> int:
    return _NUMBERS.get(values.device.type, _NUMBERS_ELSEWHERE)


def _blocks(attention: Attention) -> Iterator[_Block]:
    """The weights of so many heads and rows at a time as leave room for the columns."""
    queries, keys = attention.queries.rotated, attention.keys.rotated
    heads, length, width = queries.shape
    some = max(1, _most(queries) // (length * min(width, max(1, _most(queries) // length))))
    rows = min(len(attention.rows), some)
    together = max(1, some // max(rows, 1))
    for first in range(0, heads, together):
        of = slice(first, min(first + together, heads))
        shared = torch.arange(of.start, of.stop, device=queries.device) // attention.shared
        for start in range(0, len(attention.rows), rows):
            at = slice(start, min(start + rows, len(attention.rows)))
            places = attention.rows[at]
            logits = queries[of][:, places] @ keys[shared].transpose(-1, -2) * attention.scaling
            mask = attention.mask(places)
            yield _Block(of, at, places, mask, logits, _weights(logits.clone(), attention, mask))


def _columns(attention: Attention, block: _Block) -> Iterator[slice]:
    width = attention.queries.given.shape[-1]
    some = max(1, _most(block.logits) // max(block.logits.numel(), 1))
    for start in range(0, width, some):
        yield slice(start, min(start + some, width))
