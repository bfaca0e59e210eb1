"""A model whose weights do what interventions do: an ordinary folder, for whatever runs models of transformers.

What a map reads is scaled by scaling the columns of its weight, what it gives by scaling rows, and a number is added in
its bias. So an intervention can be in the weights where its site is read or given by a map, on all tokens; and one that
adds, where that map has a bias.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from alignlab.atomic import whole_folder
from alignlab.errors import InputError, Problem, refuse_any
from alignlab.interventions.intervention import Intervention
from alignlab.interventions.running import intervene, misfits, strays
from alignlab.models.edits import NeuronEdit
from alignlab.models.modes import evaluating
from alignlab.models.modules import find_model
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_maps, find_sites
from alignlab.redaction import hide

KIND = "model with interventions"
# Sites that the down projection reads, in the order in which they come before it.
_READ: tuple[SiteName, ...] = ("mlp.act", "mlp.product")
_TOKENS = 8  # that are passed through the model, to see that its weights do what the interventions do


def export_model(
    model: nn.Module, interventions: Sequence[Intervention], folder: Path | str, tokenizer: Any = None
) -> Path:
    """Write a model with interventions in its weights, as `from_pretrained` loads it; the model itself stays as it is.

    interventions: in their order, of the scope `all`. Zero and scale at any site but the residual stream; what adds a
        number where the map that gives or reads the site has a bias (`mlp.act` of a gated MLP is multiplied before a
        map reads it, so nothing can be added there).
    folder: it appears whole or not at all, and replaces one that was written by this function.
    tokenizer: saved beside the weights, if given.

    Its logits are those of the model under `intervene`: exactly for zeros, else but for rounding, which is checked on a
    few tokens before anything is written. `interventions.json` in the folder says what was done.

    Raises InputError for what cannot be in the weights, all at once; for adapters, which are to be merged first, and
    quantised weights; and where the folder holds something else or cannot be written.

        >>> import torch
        >>> from alignlab import Intervention
        >>> from alignlab.interventions import export_model
        >>> from alignlab.models.load import ModelConfig
        >>> demo = ModelConfig(source="builtin:demo")
        >>> neurons = torch.zeros(4, 640, dtype=torch.bool)
        >>> neurons[1, :20] = True
        >>> folder = export_model(demo.build(), [Intervention(neurons)], "ablated", demo.build_tokenizer())
        >>> ablated = ModelConfig(source="ablated").build()
        >>> ablated.model.layers[1].mlp.down_proj.weight[:, :21].abs().sum(0).count_nonzero()
        tensor(1)
    """
    refuse_any(strays("interventions", interventions))
    whole: Any = find_model(model, "the model itself")
    folder = Path(folder)
    refuse_any([problem for one in interventions for problem in _scope_problems(one)] + _model_problems(whole))
    changes = _changes(whole, interventions)
    try:
        with whole_folder(folder, KIND) as partial, torch.no_grad():
            expected, plain = _logits(whole, interventions), _logits(whole, ())
            with _in_weights(changes):
                _check_same(_logits(whole, ()), expected, plain, next(whole.parameters()).dtype)
                whole.save_pretrained(partial)
                if tokenizer is not None:
                    tokenizer.save_pretrained(partial)
            text = json.dumps([_said(one) for one in interventions], indent=2, ensure_ascii=False)
            (partial / "interventions.json").write_text(f"{text}\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        found = f"the model could not be written ({error})"
        raise InputError.of(str(folder), found, "space and permission to write") from error
    return folder


@dataclass(frozen=True)
class _Change:
    """What becomes of what a map reads or gives.

    site: where it is.  gain, offset: (N,) float64.
    """

    site: Site
    gain: Tensor
    offset: Tensor

    @property
    def weight(self) -> Tensor:
        """(N, others), what the map multiplies each of the neurons with, or makes each of; a view of its weight."""
        module: Any = self.site.module
        by_output: Tensor = module.weight.T if isinstance(module, Conv1D) else module.weight
        return (by_output.T if self.site.side == "input" else by_output)[self.site.columns]

    @property
    def bias(self) -> Tensor | None:
        bias: Tensor | None = getattr(self.site.module, "bias", None)
        return bias


def _changes(model: nn.Module, interventions: Sequence[Intervention]) -> list[_Change]:
    """What is to be done to which map. Raises InputError for what none can do."""
    tables: dict[SiteName, list[Intervention]] = {}
    for one in interventions:
        tables.setdefault(one.at, []).append(one)
    changes, problems = [], []
    read = [one for at in _READ for one in tables.pop(at, [])]
    if read:
        maps = find_maps(model, read[0].at)
        refuse_any([problem for one in read for problem in misfits(one, len(maps), maps[0][-1].width)])
        gated = len(maps[0]) > 2
        for one in read:
            if one.at == "mlp.act" and gated and bool(one.edit.offset.any()):
                found = f"{one.operation.described} at mlp.act, which is multiplied by the up projection's output"
                problems.append(_refusal(one, found, "zero or scale there, or another site"))
        changes += _of_site([layer[-1] for layer in maps], [one.edit for one in read])
    for at, group in tables.items():
        sites = find_sites(model, at)
        refuse_any([problem for one in group for problem in misfits(one, len(sites), sites[0].width)])
        changes += _of_site(sites, [one.edit for one in group])
    for change in changes:
        if bool(change.offset.any()) and change.bias is None:
            found = f"a number is added at {change.site.at}, and {change.site.name} has no bias"
            problems.append(Problem("interventions", found, "zero or scale there"))
    refuse_any(problems)
    return changes


def _of_site(sites: Sequence[Site], edits: Sequence[NeuronEdit]) -> list[_Change]:
    """The edits of a site one after another, as one change of each layer that they concern."""
    gain = torch.ones(len(sites), sites[0].width, dtype=torch.float64)
    offset = torch.zeros_like(gain)
    for one in edits:
        at = (one.layers, one.neurons)
        gain[at], offset[at] = gain[at] * one.gain, offset[at] * one.gain + one.offset
    touched = ((gain != 1) | (offset != 0)).any(dim=1).nonzero().flatten().tolist()
    return [_Change(sites[layer], gain[layer], offset[layer]) for layer in touched]


@contextmanager
def _in_weights(changes: Sequence[_Change]) -> Iterator[None]:
    """Within the block, the weights do what is to be done; afterwards they are what they were, to the bit."""
    with ExitStack() as stack:
        for change in changes:
            weight, bias = change.weight, change.bias
            rows = ((change.gain != 1) | (change.offset != 0)).nonzero().flatten().to(weight.device)
            before = weight[rows].clone()
            stack.callback(weight.index_copy_, 0, rows, before)
            gain, offset = (values.to(weight.device)[rows].unsqueeze(1) for values in (change.gain, change.offset))
            if bias is not None:
                stack.callback(bias.copy_, bias.clone())
                _add_to(bias, change, rows, before, gain, offset)
            # A gain of 0 gives 0 of weights that are infinite too.
            scaled = torch.where(gain == 0, 0.0, before.double() * gain)
            weight.index_copy_(0, rows, scaled.to(weight.dtype))
        yield


def _add_to(bias: Tensor, change: _Change, rows: Tensor, before: Tensor, gain: Tensor, offset: Tensor) -> None:
    """What of a change is in the bias."""
    if change.site.side == "input":
        bias += (before.double() * offset).sum(dim=0).to(bias.dtype)
        return
    places = rows + change.site.first
    new = bias[places].double() * gain.squeeze(1) + offset.squeeze(1)
    bias.index_copy_(0, places, torch.where(gain.squeeze(1) == 0, offset.squeeze(1), new).to(bias.dtype))


def _logits(model: Any, interventions: Sequence[Intervention]) -> Tensor:
    ids = torch.arange(_TOKENS, device=next(model.parameters()).device).unsqueeze(0)
    ids = ids % model.config.get_text_config().vocab_size
    with evaluating(model), intervene(model, *interventions):
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
    return logits.double()


def _check_same(found: Tensor, expected: Tensor, plain: Tensor, dtype: torch.dtype) -> None:
    """Refuse weights that do something else than the interventions: what is left may be rounding, and no more."""
    rounding = 4 * torch.finfo(dtype).eps * plain.norm()
    if not (found - expected).norm() <= 0.1 * (expected - plain).norm() + rounding:  # so that NaN is refused too
        between = "the weights do not do what the interventions do: the model computes something between site and map"
        raise InputError.of("interventions", between, "another site, or the model under `intervene`")


def _model_problems(model: Any) -> list[Problem]:
    problems = []
    if any(isinstance(module, BaseTunerLayer) for module in model.modules()):
        fix = "Merge it first: export_model(model.merge_and_unload(), ...)."
        problems.append(Problem("model", "it has an adapter", "a model without, or with the adapter merged", fix))
    if getattr(model, "is_quantized", False):
        fix = "Load it unquantised, and export that."
        problems.append(Problem("model", "its weights are quantised", "weights as numbers", fix))
    return problems


def _scope_problems(one: Intervention) -> list[Problem]:
    problems = []
    if one.scope != "all":
        problems.append(_refusal(one, f"the scope {one.scope}", "all: weights do not know which tokens are which"))
    if one.at == "residual":
        found = "the residual stream, which no map gives: it is the sum of what all layers give"
        problems.append(_refusal(one, found, "a site of a map, such as mlp.act or mlp.out"))
    return problems


def _refusal(one: Intervention, found: str, expected: str) -> Problem:
    where = f"intervention {one.name!r}" if one.name else "interventions"
    return Problem(where, found, expected, "Or run the model under `intervene`.")


def _said(one: Intervention) -> Mapping[str, Any]:
    """What was done, for those who find the folder."""
    return {
        "name": hide(one.name),
        "operation": one.operation.described,
        "language": one.language,
        "site": one.at,
        "neurons": {str(layer): int(number) for layer, number in enumerate(one.neurons.sum(dim=1)) if number},
    }
