"""Where the neurons of a model are: found by structure, checked by one forward.

A neuron is one column of a decoder layer's MLP, read at the output of its activation module (`SiLU(gate_proj(x))` and
the like). What differs between families is where that module sits and what it is called; `docs/models.md` has all.
So nothing here knows a family: in every decoder layer the one such module is taken (`activations`), and a forward
(`layer_traces`) shows whether it runs once, and whether a linear map of its width (the down projection) follows. The
other sites are found by what runs around it; `access` reads and changes them all. In a mixture of experts the routed
ones share an activation module inside the module that holds their stacked weights (`experts`), and a shared one has its
own beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from torch import nn

from alignlab.errors import InputError, Problem, UnsupportedModelError, did_you_mean, refuse_any
from alignlab.models.experts import Experts, expert_count
from alignlab.models.layer_traces import TOKENS, Ran, Trace, decoder_layers, trace_layers
from alignlab.models.mixtures import OF_EXPERTS, activation_names
from alignlab.models.options import SiteName

Side = Literal["input", "output"]
# Where the neurons of the MLP are seen, which are the same ones at all of them.
NEURONS_OF_MLP = ("mlp.act", "mlp.product", "mlp.up")
# Of projections in attention, by what they give. Where several are one matrix, none has neurons of its own.
ATTENTION = {
    "attention.q": ("q_proj",),
    "attention.k": ("k_proj",),
    "attention.v": ("v_proj",),
    "attention.o": ("o_proj", "out_proj", "dense", "c_proj"),
}


@dataclass(frozen=True)
class Site:
    """The neurons of one layer: some columns of what a module reads or gives.

    layer: number of the decoder layer, from 0.
    name: name of the module in the model.
    width: number of neurons.
    at: which site it is, of `SiteName`.
    side: whether the neurons are columns of the module's input or of its output.
    first: the first of those columns, which is not 0 where one matrix holds several maps.
    experts: the routed experts whose neurons these are, width = experts x columns; None where every token meets each.
    """

    layer: int
    name: str
    module: nn.Module = field(repr=False, compare=False)
    width: int
    at: SiteName = "mlp.act"
    side: Side = "output"
    first: int = 0
    experts: Experts | None = None

    @property
    def columns(self) -> slice:
        """The neurons among the columns of what the module reads or gives."""
        return slice(self.first, self.first + self.width)


def find_sites(model: nn.Module, at: SiteName = "mlp.act") -> list[Site]:
    """One site of every decoder layer, in order, checked by a forward of three tokens.

    at: `mlp.act`, the output of the MLP's activation module; `mlp.product`, what the down projection reads; `mlp.up`,
        the output of the up projection; `mlp.out`, that of the down projection; `attention.q`, `k`, `v`, `o`, that of
        those projections; `residual`, what leaves the layer; of a mixture `experts.act`, the activations of all routed
        experts, expert after expert, and `experts.shared`, those of the shared one.

    Works on models on the meta device, in PEFT wrappers and in any precision. Raises `UnsupportedModelError` that
    says what was found where the neurons cannot be counted exactly, InputError for another site.
    """
    if at not in get_args(SiteName):
        names = get_args(SiteName)
        raise InputError.of("site", f"{at!r}", ", ".join(names), did_you_mean(at, names))
    traces = _checked_traces(model, at)
    if any(trace.experts for trace in traces):
        return _one_a_layer(at, traces)
    activations = _one_a_layer("mlp.act", traces)  # first of all: the other sites are found around them
    return activations if at == "mlp.act" else _one_a_layer(at, traces)


def find_maps(model: nn.Module, at: SiteName) -> list[list[Site]]:
    """The linear maps that hold the weights of a site's neurons: for every decoder layer, where they are in each map.

    Neurons of `mlp.act`, `mlp.product` and `mlp.up` are the same ones: rows of the gate and up projections (what these
    give) and columns of the down projection (what it reads). Those of `mlp.out` and of attention are rows of the
    projection that gives them.

    Raises `UnsupportedModelError` where they are not found, and for `residual`, which no one map gives.
    """
    if at == "residual":
        expected = "a site with a projection of its own"
        raise UnsupportedModelError.of("neurons", "residual is the sum of what all layers give", expected)
    if at in OF_EXPERTS:
        found, expected = f"{at}, of a mixture whose experts are stacked in one tensor", "neurons of linear maps"
        raise UnsupportedModelError.of("neurons", found, expected, "Zero them while the model runs; or take attention.")
    if at not in NEURONS_OF_MLP:
        return [[site] for site in find_sites(model, at)]
    traces = _checked_traces(model, at)
    down = _one_a_layer("mlp.product", traces)
    maps = [[*_gates(trace), *_candidates("mlp.up", trace), site] for trace, site in zip(traces, down, strict=True)]
    refuse_any(
        [
            Problem(
                f"model.source, layer {trace.number}",
                f"the activation reads none of the maps {', '.join(one.name for one in trace.maps)}",
                "one map whose output is what the activation reads, and at most one beside it",
            )
            for trace, found in zip(traces, maps, strict=True)
            if len(_gates(trace)) != 1 or len(found) > 3
        ],
        UnsupportedModelError,
    )
    return maps


def _checked_traces(model: nn.Module, at: SiteName) -> list[Trace]:
    """What runs in every layer around the activation module of a site, which is as it should be."""
    prefix, layers = decoder_layers(model)
    traces = trace_layers(model, prefix, layers, activation_names(prefix, layers, at))
    refuse_any([problem for trace in traces for problem in _problems(trace, at)], UnsupportedModelError)
    return traces


def _problems(trace: Trace, at: SiteName) -> list[Problem]:
    """What is wrong with a layer's activation: it runs once, and gives what a linear map of the layer reads."""
    name, ran = f"{trace.name}.{trace.activation}", trace.activations
    most = max((one.inputs for one in ran), default=1)
    if most > 1 and (at == "experts.act" or not trace.experts):  # it multiplies them: > 0 is not active
        return [Problem("model.source", f"{name} reads {most} tensors", "one, the gate, so that it gives activations")]
    if trace.experts:
        return _problems_of_experts(trace, at)
    if len(ran) != 1:
        fix = "A fused kernel (such as liger) or another use of the module hides the neurons; load it without."
        return [Problem("model.source", f"{name} ran {len(ran)} times in a forward", "once", fix)]
    shape = tuple(getattr(ran[0].gave, "shape", ()))
    widths = {one.read.shape[-1] for one in trace.maps}
    # With one text of three tokens, (3, 1) is a model that lays tokens before texts, which others would misread.
    if shape[:-1] in ((1, TOKENS), (TOKENS,)) and shape[-1] in widths:
        return []
    expected = f"{TOKENS} tokens x as many neurons as a following projection reads ({_numbers(widths)})"
    return [Problem("model.source", f"{name} gave a tensor of shape {shape}", expected)]


def _problems_of_experts(trace: Trace, at: SiteName) -> list[Problem]:
    """What is wrong with the activation of a layer's experts: it gives a row for each pair of a token and an expert."""
    if at != "experts.act" and len(trace.mixtures) == 1:
        return []
    name, shapes = f"{trace.name}.{trace.activation}", [tuple(one.gave.shape) for one in trace.activations]
    if len(trace.mixtures) != 1 or trace.mixtures[0].routed is None:
        found = f"{trace.name}.{trace.experts} ran {len(trace.mixtures)} times, or without the experts of each token"
        return [Problem("model.source", found, "once, with hidden states, experts of each token and their weights")]
    chosen = trace.mixtures[0].routed
    if not chosen.is_meta and any(len(set(row)) < len(row) for row in chosen.tolist()):
        found = f"{trace.name}.{trace.experts} is given a token for the same expert twice"
        return [Problem("model.source", found, "other experts of each token, as the tables of a trained router have")]
    pairs = chosen.numel()
    if sum(shape[0] for shape in shapes) != pairs or {len(shape) for shape in shapes} != {2}:
        found = f"{name} gave tensors of shapes {', '.join(map(str, shapes)) or 'none'}"
        fix = "A fused kernel (such as megablocks) hides the neurons; load it without." if not shapes else ""
        return [Problem("model.source", found, f"{pairs} rows: {TOKENS} tokens x experts of each", fix)]
    return [Problem("model.source", wrong, "an order of transformers' own") for wrong in trace.disorder]


def _one_a_layer(at: SiteName, traces: Sequence[Trace]) -> list[Site]:
    """The site of every layer.

    Raises `UnsupportedModelError` where a layer has none: its projections are one matrix, or it has no such part.
    """
    found = [(trace, _candidates(at, trace)) for trace in traces]
    problems = [
        Problem(
            f"probe.site, layer {trace.number}",
            f"{at} is not one of the maps {', '.join(one.name for one in trace.maps)}",
            "one",
            "Projections that are one matrix have no neurons of their own to read." if sites else "",
        )
        for trace, sites in found
        if len(sites) != 1
    ]
    refuse_any(problems, UnsupportedModelError)
    sites = [site for _, (site,) in found]
    widths = {site.width for site in sites}
    if len(widths) > 1:
        where = "model.source" if at in ("mlp.act", *OF_EXPERTS) else "probe.site"
        sizes = f"layers of {_numbers(widths)} neurons at {at}"
        raise UnsupportedModelError.of(where, sizes, "the same number of neurons in every layer")
    return sites


def _candidates(at: SiteName, trace: Trace) -> list[Site]:
    """What in a layer could be the site; one where it is clear."""

    def site(one: Ran, width: int, side: Side = "output", first: int = 0) -> Site:
        return Site(trace.number, f"{trace.name}.{one.name}".rstrip("."), one.module, width, at, side, first)

    def given(some: Sequence[Ran]) -> list[Site]:
        return [site(one, one.gave.shape[-1]) for one in some]

    if at == "experts.act":
        return [_of_all_experts(trace)]
    if at in ("mlp.act", "experts.shared"):
        return given(trace.activations)
    if at == "mlp.product":
        return [site(one, one.read.shape[-1], "input") for one in trace.down]
    if at == "mlp.out":
        return given(trace.down)
    if at == "residual":
        return given([replace(one, name="", module=trace.layer) for one in trace.down])
    if at in ATTENTION:
        return given([one for one in trace.maps if one.in_attention and one.name.rpartition(".")[2] in ATTENTION[at]])
    # mlp.up, with whose output that of the activation is multiplied: as wide, and not what the activation reads. Where
    # the activation reads one half of a map's output, which begins at column 0 or `width`, it is the other half.
    (activation,) = trace.activations
    width, ends = activation.gave.shape[-1], [one.module for one in trace.down]
    others = [one for one in trace.maps if not one.in_attention and one.module not in ends]
    apart = [one for one in others if one.gave.shape[-1] == width and one.gave is not activation.read]
    halves = [one for one in others if one.gave.shape[-1] == 2 * width and one.gave is activation.read._base]
    start = 0 if activation.read.storage_offset() else width
    return given(apart) + [site(one, width, first=start) for one in halves]


def _of_all_experts(trace: Trace) -> Site:
    """The neurons of the routed experts of a layer."""
    (mixture,) = trace.mixtures
    activation, count = trace.activations[0], expert_count(mixture.module)
    columns, chosen = activation.gave.shape[-1], mixture.routed.shape[-1]  # type: ignore[union-attr]  # was checked
    experts = Experts(mixture.module, activation.module, count, columns, chosen)
    name = f"{trace.name}.{trace.activation}"
    return Site(trace.number, name, activation.module, count * columns, "experts.act", experts=experts)


def _gates(trace: Trace) -> list[Site]:
    """Where the activation's input comes from: a map's output, or one half of it."""
    (activation,) = trace.activations
    read, width = activation.read, activation.gave.shape[-1]
    given = [one for one in trace.maps if not one.in_attention and (one.gave is read or one.gave is read._base)]
    first = width if read.storage_offset() else 0
    return [
        Site(trace.number, f"{trace.name}.{one.name}", one.module, width, "mlp.act", "output", first) for one in given
    ]


def _numbers(values: set[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "none"
