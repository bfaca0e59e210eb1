"""A model that runs with interventions: three lines around any call of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationMixin

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.interventions.intervention import Intervention
from alignlab.interventions.operations import Constant
from alignlab.models.edits import Arm, edited
from alignlab.models.mixtures import OF_EXPERTS
from alignlab.models.modules import find_model
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites


@contextmanager
def intervene(
    model: nn.Module,
    *interventions: Intervention,
    rows: Sequence[Sequence[Intervention]] | None = None,
    prompt: int | Tensor | None = None,
    sites: Mapping[SiteName, Sequence[Site]] | None = None,
) -> Iterator[None]:
    """Within the block, every forward of a model, and its `generate`, runs with the interventions.

    model: any decoder of transformers: plain, with adapters of PEFT, in 4 bits, in any precision, compiled; or a module
        that holds one, such as a LightningModule or what ddp wraps. What is compiled runs uncompiled within the block.
    interventions: done in this order, to all rows of a batch: each reads what those before it at its site have made.
    rows: instead, what is done to each row of the batch, in order; a row with none runs as the model is. Beams, and
        several answers to one prompt, are rows of their own and follow each other.
    prompt: number of tokens of the prompts, padding on the left included, of all rows or (B,) of each. Interventions of
        the scope `prompt` or `generated` need it outside of `generate`, which tells it by itself.
    sites: those of the model by name, where they have been found; all others are found by a forward of three tokens.

    The model is as it was afterwards, whatever happens; a copy of it that is made within the block stays changed. A
    constant that the site's function never gives is warned of.
    Raises InputError with all that does not fit the model; from the forward, InputError where a scope needs `prompt`,
    and ValueError for a batch of another number of rows.

        >>> import torch
        >>> from alignlab.interventions import Intervention, intervene
        >>> from alignlab.models.load import ModelConfig
        >>> demo = ModelConfig(source="builtin:demo")
        >>> model, tokenizer = demo.build(), demo.build_tokenizer()
        >>> neurons = torch.zeros(4, 640, dtype=torch.bool)  # layers, neurons
        >>> neurons[:, :320] = True
        >>> asked = tokenizer("Anna has 3 apples and buys 4 more.", return_tensors="pt")
        >>> with intervene(model, Intervention(neurons)):  # half of all neurons switched off
        ...     changed = model.generate(**asked, max_new_tokens=8)
        >>> torch.equal(changed, model.generate(**asked, max_new_tokens=8))
        False
    """
    whole = find_model(model, "the model itself")
    if rows is not None and interventions:
        expected = "either interventions for all rows, or rows=[...]"
        raise InputError.of("rows", "both interventions and rows", expected)
    refuse_any(strays("interventions", interventions) + ([] if rows is None else _stray_rows(rows)))
    arms, places = _arms([interventions] if rows is None else rows)
    chosen = list({id(one): one for arm in arms for one in arm}.values())
    found = {at: (sites or {}).get(at) or find_sites(whole, at) for at in dict.fromkeys(one.at for one in chosen)}
    refuse_any([problem for one in chosen for problem in misfits(one, len(found[one.at]), found[one.at][0].width)])
    for note in (note for one in chosen for note in notes(one, found[one.at])):
        warnings.warn(note, stacklevel=3)
    edits: list[Arm] = [tuple(one.edit for one in arm) for arm in arms]
    where = None if rows is None else torch.tensor(places, dtype=torch.int64)
    asks = prompt is None and any(one.scope != "all" for one in chosen)
    with (
        _prompt_of_generate(whole) if asks else nullcontext(prompt) as length,
        edited(whole, edits, where, prompt=length, sites=found),
    ):
        yield


def strays(where: str, given: Any) -> list[Problem]:
    """What is given in the place of interventions, and is none."""
    if isinstance(given, Intervention) or not isinstance(given, Sequence):
        return [Problem(where, f"{given!r:.100}", "a list of interventions")]
    expected = "an Intervention, such as Intervention.of(sets, 'zh - en')"
    return [Problem(where, f"{one!r:.100}", expected) for one in given if not isinstance(one, Intervention)]


def _stray_rows(rows: Sequence[Any]) -> list[Problem]:
    if not rows:
        return [Problem("rows", "none", "the interventions of every row of the batch")]
    return [problem for number, row in enumerate(rows) for problem in strays(f"rows[{number}]", row)]


def notes(intervention: Intervention, sites: Sequence[Site]) -> list[str]:
    """What a user should know of an intervention on a model with these sites: a value that its function never gives."""
    operation = intervention.operation
    of_activation = intervention.at in ("mlp.act", *OF_EXPERTS)
    if not isinstance(operation, Constant) or not of_activation or not intervention.neurons.any():
        return []
    low, high = _range_of(sites[0].module)
    if low <= operation.value <= high:
        return []
    kind = type(sites[0].module).__name__
    return [f"{operation.value:g} is no activation that {kind} gives, whose range is {low:.3g} to {high:.3g}"]


def _range_of(function: nn.Module) -> tuple[float, float]:
    """The lowest and the highest value of an activation function, by looking; infinite where it grows on."""
    parameter = next(function.parameters(), torch.empty(0))
    near, far = torch.linspace(-20, 20, 40_001), torch.tensor([-1e4, 1e4])
    with torch.no_grad():
        # Not by calling it: blocks around this one change what a call gives.
        values = function.forward(torch.cat([near, far]).to(parameter)).float()
    low, high = float(values.min()), float(values.max())
    return (low if low > -100 else -torch.inf), (high if high < 100 else torch.inf)


def _arms(rows: Sequence[Sequence[Intervention]]) -> tuple[list[tuple[Intervention, ...]], list[int]]:
    """The different arms, and the place of each row's among them."""
    arms = {tuple(id(one) for one in row): tuple(row) for row in rows}
    places = {key: place for place, key in enumerate(arms)}
    return list(arms.values()), [places[tuple(id(one) for one in row)] for row in rows]


def misfits(one: Intervention, layers: int, neurons: int) -> list[Problem]:
    """What of an intervention does not fit a model of so many layers and neurons at its site."""
    if tuple(one.neurons.shape) == (layers, neurons):
        return []
    name = f"neurons of {one.name!r}" if one.name else "neurons"
    expected = f"({layers}, {neurons}), the layers and neurons of the model at {one.at}"
    return [Problem(name, f"a mask of {tuple(one.neurons.shape)}", expected, "It may be of another model or site.")]


@contextmanager
def _prompt_of_generate(model: nn.Module) -> Iterator[Callable[[], int]]:
    """Within the block, what tells the number of tokens that the running `generate` has been given."""
    running: list[int] = []
    generator = next((module for module in model.modules() if isinstance(module, GenerationMixin)), None)

    def length() -> int:
        if not running:
            found = "a forward outside of `generate`, and an intervention of the scope prompt or generated"
            raise InputError.of("prompt", found, "the number of tokens of the prompts: intervene(..., prompt=N)")
        return running[-1]

    if generator is None:
        yield length
        return
    before = vars(generator).get("generate")
    given: Any = generator.generate
    own = isinstance(given, MethodType) and given.__self__ is generator

    def told(itself: Any, *args: Any, **kwargs: Any) -> Any:
        running.append(_given(args, kwargs))
        try:
            return given.__func__(itself, *args, **kwargs) if own else given(*args, **kwargs)
        finally:
            running.pop()

    # On the object, not its class: other models of the family are not concerned. A method of it, so that a copy of the
    # model that is made within the block answers with its own weights.
    vars(generator)["generate"] = MethodType(told, generator)
    try:
        yield length
    finally:
        if before is None:
            del vars(generator)["generate"]
        else:
            vars(generator)["generate"] = before


def _given(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """How many tokens a call of `generate` is given, those in its cache included."""
    inputs = args[0] if args else kwargs.get("inputs")
    shapes = [one.shape[1] for one in (inputs, kwargs.get("input_ids"), kwargs.get("inputs_embeds")) if one is not None]
    mask = kwargs.get("attention_mask")
    cache = kwargs.get("past_key_values")
    cached = int(cache.get_seq_length()) if cache is not None else 0
    # With a cache, the tokens in it may be among the inputs or not; the mask has them all.
    if cached and mask is None:
        found = "generate with a cache that is not empty, and without attention_mask"
        raise InputError.of("prompt", found, "attention_mask, or intervene(..., prompt=N)")
    masked = [mask.shape[1]] if mask is not None else []
    return max([1, *map(int, [*shapes, *masked])])
