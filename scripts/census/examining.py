"""One type of decoder is examined: its neurons are counted exactly, or it is refused by name; all else is a fault."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import peft
import torch
from oracle import TOLERANCE, Neurons, Ran, close, find_neurons, is_map, noted
from oracle_experts import Called, Reading, called, find_reading, routed
from tiny import tiny_config, tiny_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from alignlab.data.encoding import Document
from alignlab.errors import UnsupportedModelError
from alignlab.models.access import observe
from alignlab.models.edits import NeuronEdit, edited
from alignlab.models.options import SiteName
from alignlab.models.sites import Site, find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe

SHARDS, SITE = 2, "mlp.act"
EXPERTS: Any = "experts.act"
WAYS = ("eager", "grouped_mm")  # of running experts: the plain one, and transformers' own choice
_LONGEST = 200  # characters of a reason
OTHERS = tuple(name for name in get_args(SiteName) if name != SITE)
# Of a document's tokens, logits; and by layer activations, what is before them, and how far from silent that is.
Told = Callable[[Tensor], tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]]
IDS = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Result:
    """What became of a type.

    outcome: exact, exact at experts.act, refused, not built, or fault.
    why: of what is not exact.
    neurons: of what is exact, how they are computed.
    sites: those beside `mlp.act` or `experts.act` that are exact too; of a type that is refused, those that are found.
    """

    model_type: str
    outcome: str
    why: str = ""
    neurons: str = ""
    sites: tuple[str, ...] = ()


class DifferenceError(Exception):
    """Where alignlab and the arithmetic differ."""


def examine(model_type: str) -> Result:
    """Build a type's tiny model and count its neurons."""
    try:
        model: Any = tiny_model(model_type)
    except Exception as error:  # noqa: BLE001 - whatever transformers has against it is what is told
        return Result(model_type, "not built", _line(f"{type(error).__name__}: {error}"))
    try:
        sites = find_sites(model)
    except UnsupportedModelError as refused:
        found = tuple(at for at in OTHERS if _is_found(model, at))
        if EXPERTS in found:
            return _examine_mixture(model_type, model, found)
        return Result(model_type, "refused", _line(refused.problems[0].found), sites=found)
    try:
        neurons = _examine(model)
        if refused := _check_meta(model_type, sites, SITE):
            return Result(model_type, "refused", _line(f"in the plan of a run, which has no weights: {refused}"))
        adapted = _adapted(model, neurons)
        if close(_shown(adapted), _shown(model)):
            raise DifferenceError("the adapter on the first maps changes no activation")
        _examine(adapted)
        _check_removal(model, neurons)
        works = tuple(at for at in OTHERS if _works(model, neurons, at))
    except DifferenceError as fault:
        return Result(model_type, "fault", str(fault))
    return Result(model_type, "exact", neurons=_formula(neurons), sites=works)


def _examine_mixture(model_type: str, model: Any, found: Sequence[str]) -> Result:
    """Count the neurons of routed experts, by each way that they are run; and look at the sites found beside them."""
    try:
        readings = []
        for way in WAYS:
            model.set_experts_implementation(way)
            readings += _check_experts(model)
        if refused := _check_meta(model_type, find_sites(model, EXPERTS), EXPERTS):
            return Result(model_type, "refused", _line(f"in the plan of a run, which has no weights: {refused}"))
        works = []
        for at in found:
            if at == "experts.shared":
                _examine(model, at)
            elif at != EXPERTS:
                _works(model, [None] * len(find_sites(model, at)), at)
            works += [at] if at != EXPERTS else []
    except (DifferenceError, ValueError) as fault:
        return Result(model_type, "fault", _line(str(fault)))
    told = dict.fromkeys(f"{one.form}({one.first}[{one.half}]) * [other half]" for one in readings)
    return Result(model_type, "exact at experts.act", neurons=", ".join(told), sites=tuple(works))


def _check_experts(model: Any) -> list[Reading]:
    """Compare counts, routed tokens and removal with the oracle, in the way that experts are run now."""
    sites = find_sites(model, EXPERTS)
    with called(model) as ran, torch.no_grad():
        model(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False)
    readings = [find_reading(one) for one in ran]
    if [one.name for one in ran] != [site.name.rpartition(".")[0] for site in sites]:
        raise DifferenceError(f"{len(sites)} sites, and these are experts: {[one.name for one in ran]}")
    count = sites[0].experts.count  # type: ignore[union-attr]
    sent: list[Tensor] = []

    def told(ids: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        with called(model) as ran, torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        sent.append(torch.stack([routed(one, count)[1:].sum(dim=0) for one in ran]))
        return logits, [reading.activations(one) for reading, one in zip(readings, ran, strict=True)]

    counts = _check_counts(model, sites, told)
    documents = len(sent) // 2
    by_language = torch.stack(sent).unflatten(0, (2, documents))
    expected = torch.stack([by_language[:, shard::SHARDS].sum(dim=1) for shard in range(SHARDS)], dim=1)
    if counts.routed is None or not torch.equal(counts.routed.long(), expected):
        raise DifferenceError("the tokens sent to experts are miscounted")
    _check_removal_of_experts(model, readings, ran, sites[0].width)
    return readings


def _check_removal_of_experts(model: Any, readings: list[Reading], ran: list[Called], width: int) -> None:
    """Neurons of experts that are zero while the model runs, beside a model whose down projections have none."""
    chosen = torch.arange(1, width, 3)
    layers = torch.arange(len(ran)).repeat_interleave(len(chosen))
    zero = torch.zeros(len(layers))
    without = copy.deepcopy(model)
    for one, reading in zip(ran, readings, strict=True):
        last = without.get_submodule(one.name).get_parameter(reading.last).data
        last = last if last.shape[1] == one.read.shape[1] else last.transpose(1, 2)  # (E, H, C)
        columns = last.shape[2]
        last[chosen // columns, :, chosen % columns] = 0
    _compare_removal(model, without, NeuronEdit(layers, chosen.repeat(len(ran)), zero, zero, EXPERTS))


def _line(text: str) -> str:
    """A text as a cell of a table."""
    words = " ".join(text.split()).replace("|", "/")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


def _is_found(model: Any, at: Any) -> bool:
    try:
        return bool(find_sites(model, at))
    except UnsupportedModelError:
        return False


def _examine(model: Any, at: Any = SITE) -> list[Neurons]:
    """Compare what is shown and counted with the oracle; the neurons of the oracle."""
    experts = [name for name, _ in model.named_parameters() if "expert" in name]
    if experts and at == SITE:
        raise DifferenceError(f"experts are passed over: {experts[0]}")
    neurons = _neurons_of(model)
    sites = find_sites(model, at)
    with noted(model) as ran, torch.no_grad(), _showing(sites) as seen:
        model(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False)
    if [_layer_of(one) for one in neurons] != [site.layer for site in sites]:
        found = [f"{one.first} ... {one.last}" for one in neurons]
        raise DifferenceError(f"{len(sites)} sites, and these have neurons: {found}")
    by_name = _by_name(ran)
    for one, site in zip(neurons, sites, strict=True):
        if not close(seen[site.layer], one.activations(by_name)):
            raise DifferenceError(f"{site.name} does not show the activations of {one.first}")

    def told(ids: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor, Tensor]]]:
        with noted(model) as ran, torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        by_name = _by_name(ran)
        return logits, [(one.activations(by_name), one.before(by_name), one.edge(by_name)) for one in neurons]

    _check_counts(model, sites, told)
    return neurons


def _neurons_of(model: Any) -> list[Neurons]:
    """Of the layers: what is before or behind them, such as an LM head of two maps, has no number in its name."""
    with noted(model) as ran, torch.no_grad():
        model(input_ids=IDS[:1], attention_mask=torch.ones_like(IDS[:1]), use_cache=False)
    return [one for one in find_neurons(model, ran) if re.search(r"\.\d+\.", one.last)]


def _layer_of(one: Neurons) -> int:
    return int(re.search(r"\.(\d+)\.", one.last)[1])  # type: ignore[index]


def _by_name(ran: list[Ran]) -> dict[str, Ran]:
    return {one.name: one for one in ran}


@contextmanager
def _showing(sites: list[Site]) -> Iterator[dict[int, Tensor]]:
    """Within the block, by layer what sites show, (tokens, neurons) float64."""
    seen: dict[int, Tensor] = {}
    with observe(sites, lambda layer, out: seen.update({layer: out.flatten(0, -2).double()})):
        yield seen


def _shown(model: Any) -> Tensor:
    with torch.no_grad(), _showing(find_sites(model)) as seen:
        model(input_ids=IDS, attention_mask=torch.ones_like(IDS), use_cache=False)
    return torch.stack([seen[layer] for layer in sorted(seen)])


def _probe() -> Probe:
    """Random tokens in documents of 3 to 12 tokens, the first of each a special one, which is not counted."""
    rng = np.random.default_rng(0)

    def document(number: int, language: str) -> Document:
        length = int(rng.integers(3, 13))
        tokens = rng.integers(3, 60, size=length).astype(np.int32)
        return Document(str(number), language, tokens, np.zeros(length, dtype=bool), np.arange(length) == 0)

    documents = {language: [document(number, language) for number in range(5)] for language in ("en", "sw")}
    return Probe(documents, "all", SHARDS, max_tokens_per_batch=30)


def _check_counts(model: Any, sites: list[Site], told_of: Told) -> ActivationCounts:
    """Compare counts and losses of padded batches with those of one document after another."""
    probe = _probe()
    counts = count_firings(model, sites, probe, origin=Origin())
    firings = counts.firings.long()
    expected, unsure, losses = torch.zeros_like(firings), torch.zeros_like(firings), torch.zeros(2, SHARDS).double()
    for at, language in enumerate(probe.languages):
        for number, document in enumerate(probe.documents[language]):
            ids = torch.from_numpy(document.tokens).long()[None]
            logits, layers = told_of(ids)
            shard = number % SHARDS
            for layer, (activations, before, edge) in enumerate(layers):
                expected[at, shard, layer] += (activations[1:] > 0).sum(dim=0)
                # Next to 0 float32 may get the sign wrong; a form that cuts has its edge elsewhere.
                unsure[at, shard, layer] += (edge[1:].abs() < TOLERANCE * before[1:].abs().max()).sum(dim=0)
            told = torch.log_softmax(logits[0, :-1].double(), dim=-1).gather(1, ids[0, 1:, None])
            losses[at, shard] -= told.sum()
    total = firings[0, 0].numel() * int(sum(probe.tokens(language).sum() for language in probe.languages))
    share = int(expected.sum()) / total
    if not 0.05 < share < 0.95 or int(unsure.sum()) > 2e-3 * total:
        raise DifferenceError(
            f"nothing can be told: {share:.3f} of all activations are positive, {int(unsure.sum())} next to 0"
        )
    if bool(((firings - expected).abs() > unsure).any()):
        raise DifferenceError(
            f"{int((firings - expected).abs().sum())} of {int(expected.sum())} firings are miscounted"
        )
    if counts.loss_sum is None or not torch.allclose(counts.loss_sum.double(), losses, rtol=1e-4):
        raise DifferenceError("the loss is not that of the logits")
    return counts


def _check_meta(model_type: str, sites: list[Site], at: Any) -> str:
    """The plan of a run is made of a model without weights, and has the same sites; else why it is refused."""
    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(tiny_config(model_type), attn_implementation="eager")
    try:
        if find_sites(outline, at) != sites:
            raise DifferenceError("without weights other sites are found")
    except UnsupportedModelError as refused:
        return refused.problems[0].found
    return ""


def _adapted(model: Any, neurons: list[Neurons]) -> Any:
    """The model with LoRA on the first map of every MLP."""
    first = model.get_submodule(neurons[0].first)
    config = peft.LoraConfig(
        r=2,
        lora_alpha=5,
        target_modules=[one.first for one in neurons],
        fan_in_fan_out=isinstance(first, Conv1D),
        init_lora_weights=False,
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return peft.get_peft_model(copy.deepcopy(model), config).eval()


def _check_removal(model: Any, neurons: list[Neurons]) -> None:
    """Neurons that are zero while the model runs, beside a model whose weights are zero where they enter or leave."""
    chosen = torch.arange(1, neurons[0].width, 3)
    layers = torch.arange(len(neurons)).repeat_interleave(len(chosen))
    zero = torch.zeros(len(layers))
    edit = NeuronEdit(layers, chosen.repeat(len(neurons)), zero, zero)
    without = copy.deepcopy(model)
    for one in neurons:
        if one.normed:  # what the last map reads depends on all neurons: nothing enters those chosen
            _clear(without.get_submodule(one.first), rows=chosen + one.half * one.width)
        else:
            _clear(without.get_submodule(one.last), columns=chosen)
    _compare_removal(model, without, edit)


def _compare_removal(model: Any, without: Any, edit: NeuronEdit) -> None:
    ids = IDS[:1]
    with torch.no_grad():
        plain, removed = (one(input_ids=ids, use_cache=False).logits.double() for one in (model, without))
        with edited(model, [(edit,)]):
            found = model(input_ids=ids, use_cache=False).logits.double()
    if close(plain, removed):
        raise DifferenceError("zeroing weights changes nothing")
    if (found - removed).abs().max() > 1e-3 * (plain - removed).abs().max():
        raise DifferenceError("zeroing neurons is not zeroing their weights")


def _clear(linear: Any, rows: Tensor | None = None, columns: Tensor | None = None) -> None:
    weight = linear.weight.data.T if isinstance(linear, Conv1D) else linear.weight.data
    if rows is not None:
        weight[rows] = 0
        if linear.bias is not None:
            linear.bias.data[rows] = 0
    if columns is not None:
        weight[:, columns] = 0


def _works(model: Any, neurons: Sequence[Any], at: Any) -> bool:
    """Whether there is a site, which then shows what the weights give."""
    if not _is_found(model, at):
        return False
    sites = find_sites(model, at)
    given = {"input_ids": IDS, "attention_mask": torch.ones_like(IDS), "use_cache": False}
    with noted(model) as ran, torch.no_grad(), _showing(sites) as seen:
        states = model(**given, output_hidden_states=at == "residual").get("hidden_states")
    by_module: dict[nn.Module, Ran] = {one.module: one for one in ran if is_map(one.module)}
    by_name = _by_name(ran)
    for one, site in zip(neurons, sites, strict=True):
        if at == "residual":
            if states is None or len(states) != len(sites) + 1:
                raise DifferenceError("residual is compared with nothing: the model gives no hidden states")
            if site.layer == len(sites) - 1:
                continue  # what is given of the last has been normed
            expected = states[site.layer + 1].flatten(0, -2).double()
        elif at == "mlp.up":
            beside = one.beside(by_name)
            if beside is None:
                raise DifferenceError(f"{site.name} is said to be multiplied with the activation, which nothing is")
            expected = beside
        elif at == "mlp.product":
            expected = by_name[one.last].read.flatten(0, -2).double()
            beside = one.beside(by_name)
            product = one.activations(by_name) * (1 if beside is None else beside)
            if not one.normed and not close(expected, product):
                raise DifferenceError(f"what {one.last} reads is no product")
        else:
            expected = by_module[site.module].exact[:, site.columns]
            if at == "mlp.out" and by_module[site.module].name != one.last:
                raise DifferenceError(f"{site.name} is not {one.last}")
        if not close(seen[site.layer], expected):
            raise DifferenceError(f"{at} of layer {site.layer} does not show what its weights give")
    return True


def _formula(neurons: list[Neurons]) -> str:
    """How the neurons of a model are computed, by the names of the maps in the MLP."""

    def short(name: str) -> str:
        return ".".join(name.split(".")[-2 if name[-1].isdigit() else -1 :])

    def told(one: Neurons) -> str:
        half = ("[first half]", "[second half]")[one.half] if one.second == one.first else ""
        act = f"{one.form}({short(one.first)}{half})"
        if one.second is None:
            return act
        other = "[other half]" if one.second == one.first else ""
        return f"{act} * {short(one.second)}{other}"

    return ", ".join(dict.fromkeys(told(one) for one in neurons))
