"""Chosen neurons are changed while a model runs: others in every row of a batch, if wanted.

Every operation on a neuron that alignlab knows (zero, constant, scale, add, replace) is an affine map of its
activation, `gain * a + offset`. So an edit holds two numbers for each of its neurons and no code, an arm is a few edits
one after another, and a batch whose rows have different arms costs one indexed multiplication a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from alignlab.errors import Problem, refuse_any
from alignlab.models.access import Change, Forward, Where, edit, generated_tokens, prompt_tokens
from alignlab.models.experts import Routing
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites

Scope = Literal["all", "prompt", "generated"]
# The number of tokens of the prompts, of all rows or (B,) of each; or what tells it at every forward.
PromptLength = int | Tensor | Callable[[], int | Tensor]


@dataclass(frozen=True, eq=False)
class NeuronEdit:
    """What becomes of the activations of some neurons of a site: gain * a + offset.

    layers, neurons: (K,) int64, where each neuron is; none is there twice.
    gain, offset: (K,) float32. Where the gain is 0 the activation is replaced by the offset, whatever it was.
    at: the site, as in `find_sites`.
    scope: which tokens: all, those of the prompt, or those behind it (see `models.access.prompt_tokens`).

    Raises InputError for shapes that differ, a neuron that is there twice, and numbers that are not finite.
    """

    layers: Tensor
    neurons: Tensor
    gain: Tensor
    offset: Tensor
    at: SiteName = "mlp.act"
    scope: Scope = "all"

    def __post_init__(self) -> None:
        refuse_any(_problems(self))

    def in_layer(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Of that layer: neurons (k,), gain (k,) and offset (k,)."""
        of = self.layers == layer
        return self.neurons[of], self.gain[of], self.offset[of]


# Edits one after another: a later one reads what an earlier one at the same site has made.
Arm = tuple[NeuronEdit, ...]


@contextmanager
def edited(
    model: nn.Module,
    arms: Sequence[Arm],
    rows: Tensor | None = None,
    *,
    prompt: PromptLength | None = None,
    sites: Mapping[SiteName, Sequence[Site]] | None = None,
    made: Made | None = None,
) -> Iterator[None]:
    """Within the block, every forward of `model` runs with the neurons of the arms changed.

    arms: what is done. A row whose arm is empty runs as the model is, to the bit.
    rows: (B,) int64, the arm of every row of the batch; None where there is one arm, for all rows.
    prompt: number of tokens of the prompts, padding on the left included, of all rows or (B,) of each, or what tells it
        at every forward; needed where an edit is of the prompt or of what follows it.
    sites: those of the model by name, where they have been found; all others are found by a forward of three tokens.
    made: empty at first, and handed over again with the same arms: what they do to each layer is then laid out once,
        and not again for every batch, whatever its rows and prompts are.

    It works with a cache and under `generate`, with adapters and with gradients, and leaves the model as it was,
    whatever happens. What is compiled runs uncompiled meanwhile: it would not see the change. Raises InputError for
    neurons that the model has not, and for a scope without `prompt`; ValueError, from the forward, for a batch of
    another number of rows than `rows` or `prompt` has.
    """
    names = list(dict.fromkeys(one.at for arm in arms for one in arm))
    found = {at: (sites or {}).get(at) or find_sites(model, at) for at in names}
    refuse_any(_misfits(arms, rows, prompt, found))
    made = {} if made is None else made
    # What has been compiled before passes over hooks that come later, without a word.
    with ExitStack() as stack, torch.compiler.set_stance("force_eager"):
        # Of each place in the order of the edits, what all arms do there: so the order is kept at every site.
        for place in range(max(map(len, arms), default=0)):
            there = [arm[place] if place < len(arm) else None for arm in arms]
            for at in names:
                for scope, where in _wheres(prompt):
                    chosen = [one if one and (one.at, one.scope) == (at, scope) else None for one in there]
                    if any(chosen):
                        tables = made.setdefault((place, at, scope), {})
                        if not tables:
                            tables |= _tables(chosen)
                        these = [found[at][layer] for layer in tables]
                        stack.enter_context(edit(model, these, _change(tables, rows), where))
        yield


@dataclass(frozen=True)
class _Table:
    """What the arms do in a layer.

    columns: (U,) neurons that any of them changes.  gain, offset, changed: (A, U).
    """

    columns: Tensor
    gain: Tensor
    offset: Tensor
    changed: Tensor

    def to(self, device: torch.device) -> _Table:
        return _Table(*(part.to(device) for part in vars(self).values()))


# By place among the edits, site and scope: by layer what the arms do there.
Made = dict[tuple[int, SiteName, Scope], dict[int, _Table]]


def _tables(chosen: Sequence[NeuronEdit | None]) -> dict[int, _Table]:
    """By layer, what each arm does to the neurons that any arm changes there."""
    layers = torch.cat([one.layers for one in chosen if one is not None]).unique().tolist()
    tables = {}
    for layer in layers:
        parts = [one.in_layer(layer) if one is not None else None for one in chosen]
        columns = torch.cat([part[0] for part in parts if part is not None]).unique()
        gain = torch.ones(len(chosen), len(columns), dtype=torch.float32)  # whatever a context makes the default
        offset = torch.zeros_like(gain)
        changed = torch.zeros_like(gain, dtype=torch.bool)
        for arm, part in enumerate(parts):
            if part is not None:
                at = torch.searchsorted(columns, part[0])
                gain[arm, at], offset[arm, at], changed[arm, at] = part[1], part[2], True
        tables[layer] = _Table(columns, gain, offset, changed)
    return tables


def _change(tables: dict[int, _Table], rows: Tensor | None) -> Change:
    there: dict[torch.device, Tensor] = {}  # the rows, on every device

    def change(layer: int, activations: Tensor, forward: Forward) -> Tensor:
        table = tables[layer]
        if table.gain.device != activations.device:  # once: the layers of a large model may be on several devices
            table = tables[layer] = table.to(activations.device)
        if rows is not None and len(rows) != forward.rows:
            raise ValueError(f"a batch of {forward.rows} rows, and arms for {len(rows)}")
        of: Tensor | slice = slice(None)
        if rows is not None:
            if activations.device not in there:
                there[activations.device] = rows.to(activations.device)
            of = there[activations.device]
        if forward.routing is not None:
            return _change_routed(table, of, activations, forward.routing, forward.length)
        gain, offset, changed = (one[of].unsqueeze(1) for one in (table.gain, table.offset, table.changed))
        before = activations.index_select(-1, table.columns)
        # In the precision of the table: bfloat16 would round the gain too. A gain of 0 replaces infinities as well.
        new = torch.where(gain == 0, offset, before * gain + offset).to(before.dtype)
        return activations.index_copy(-1, table.columns, torch.where(changed, new, before))

    return change


def _change_routed(table: _Table, of: Tensor | slice, activations: Tensor, routing: Routing, length: int) -> Tensor:
    """The rows of routed experts, (R, C), with the neurons of the table changed as the arm of each says.

    of: (B,) the arms of the batch.  length: T.
    """
    columns, device = activations.shape[1], activations.device
    # Where in the table each column of a row would be; what is not there stays.
    neurons = routing.experts.unsqueeze(1) * columns + torch.arange(columns, device=device)
    places = torch.searchsorted(table.columns, neurons).clamp(max=len(table.columns) - 1)
    arms = torch.zeros_like(routing.tokens) if isinstance(of, slice) else of[routing.tokens // length]
    at = (arms.unsqueeze(1), places)
    changed = table.changed[at] & (table.columns[places] == neurons)
    new = torch.where(table.gain[at] == 0, table.offset[at], activations * table.gain[at] + table.offset[at])
    return torch.where(changed, new.to(activations.dtype), activations)


def _wheres(prompt: PromptLength | None) -> list[tuple[Scope, Where | None]]:
    """The scopes, and which tokens they mean; without prompts there is but one."""
    if prompt is None:
        return [("all", None)]
    length = prompt if callable(prompt) else lambda: prompt
    return [
        ("all", None),
        ("prompt", lambda forward: prompt_tokens(length())(forward)),
        ("generated", lambda forward: generated_tokens(length())(forward)),
    ]


def _problems(one: NeuronEdit) -> list[Problem]:
    sizes = {name: tuple(getattr(one, name).shape) for name in ("layers", "neurons", "gain", "offset")}
    if len(set(sizes.values())) > 1 or one.layers.ndim != 1:
        return [Problem("edit", f"shapes {sizes}", "one shape (K,)")]
    problems = [
        Problem(f"{name} of an edit", f"{float(values[~values.isfinite()][0])}", "finite numbers")
        for name in ("gain", "offset")
        if not (values := getattr(one, name)).isfinite().all()
    ]
    places = torch.stack([one.layers, one.neurons])
    if places.unique(dim=1).shape[1] != places.shape[1]:
        problems.append(Problem("neurons of an edit", "a neuron twice", "each once"))
    return problems


def _prompt_problems(prompt: PromptLength | None) -> list[Problem]:
    """What of lengths of prompts is none."""
    if prompt is None or callable(prompt):
        return []
    try:
        lengths = torch.as_tensor(prompt)
    except (TypeError, ValueError, RuntimeError):
        lengths = torch.empty(0)
    whole = lengths.dtype != torch.bool and not lengths.is_floating_point() and not lengths.is_complex()
    if whole and lengths.ndim <= 1 and len(lengths.flatten()) and int(lengths.min()) >= 0:
        return []
    return [Problem("prompt", f"{prompt!r:.100}", "the number of tokens of the prompts, of all rows or (B,) of each")]


def _misfits(
    arms: Sequence[Arm], rows: Tensor | None, prompt: PromptLength | None, sites: Mapping[SiteName, Sequence[Site]]
) -> list[Problem]:
    """What of the arms does not fit the model or the batch."""
    problems = _prompt_problems(prompt)
    if rows is None and len(arms) != 1:
        problems.append(Problem("rows", f"none, for {len(arms)} arms", "the arm of every row"))
    if rows is not None and len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(arms):
        problems.append(Problem("rows", f"{int(rows.min())} to {int(rows.max())}", f"places of {len(arms)} arms"))
    for one in (one for arm in arms for one in arm):
        shape = len(sites[one.at]), sites[one.at][0].width
        top = (int(one.layers.max()), int(one.neurons.max())) if len(one.layers) else (0, 0)
        low = int(torch.cat([one.layers, one.neurons, torch.zeros(1, dtype=torch.int64)]).min())
        if low < 0 or top[0] >= shape[0] or top[1] >= shape[1]:
            found = f"layer {top[0]} and neuron {top[1]}" if low >= 0 else f"{low}"
            expected = f"layers 0 to {shape[0] - 1} and neurons 0 to {shape[1] - 1} of {one.at}"
            problems.append(Problem("neurons of an edit", found, expected))
        if one.scope != "all" and prompt is None:
            found = f"scope {one.scope} without the lengths of the prompts"
            problems.append(Problem("prompt", found, "the number of tokens of the prompts"))
    return problems
