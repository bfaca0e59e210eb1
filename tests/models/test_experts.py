"""Sites of mixtures of experts: found by structure, refused by name, and changed as changed weights would."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from alignlab.errors import UnsupportedModelError
from alignlab.models import experts as experts_module
from alignlab.models.access import Forward, edit
from alignlab.models.edits import Arm, NeuronEdit, edited
from alignlab.models.sites import find_maps, find_sites

from .mixtures import CHOSEN, COLUMNS, EXPERTS, LAYERS, MIXTURES, WAYS, WITH_SHARED, build, experts_of

IDS = torch.tensor([[5, 17, 40, 8, 77, 31, 250], [99, 3, 12, 60, 41, 7, 5]])
# Layer and neuron: columns of several experts.
CHOICE = torch.tensor([[0, 3], [0, 14], [0, 15], [1, 0], [1, 25], [1, 47], [1, 46]]).T


def an_edit(gain: float = 0.0, offset: float = 0.0, scope: Any = "all", places: Tensor = CHOICE) -> NeuronEdit:
    full = torch.ones(places.shape[1])
    return NeuronEdit(places[0], places[1], full * gain, full * offset, "experts.act", scope)


def logits(model: Any, ids: Tensor = IDS) -> Tensor:
    with torch.no_grad():
        found: Tensor = model(input_ids=ids, use_cache=False).logits
    return found


def with_scaled_weights(model: Any, gain: float, places: Tensor = CHOICE) -> Any:
    """The same model with the down projections of some columns scaled: the weights themselves, by expert and column."""
    other = copy.deepcopy(model)
    for layer, neuron in places.T.tolist():
        expert, column = neuron // COLUMNS, neuron % COLUMNS
        experts_of(other)[layer].down_proj.data[expert, :, column] *= gain
    return other


@pytest.mark.parametrize("family", MIXTURES)
def test_sites_are_found_alike_on_any_device(family: str) -> None:
    model = build(family, dtype=torch.float32)
    with torch.device("meta"):
        outline = AutoModelForCausalLM.from_config(model.config)
    for at in ("experts.act", "residual", "attention.o", *(["experts.shared"] if family in WITH_SHARED else [])):
        sites = find_sites(model, at)  # type: ignore[arg-type]
        assert [site.layer for site in sites if site.at == at] == list(range(LAYERS))
        assert sites == find_sites(outline, at)  # type: ignore[arg-type]
    experts = find_sites(model, "experts.act")[1].experts
    assert experts is not None
    assert (experts.count, experts.columns, experts.chosen) == (EXPERTS, COLUMNS, CHOSEN)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", MIXTURES)
def test_zeroing_neurons_is_zeroing_columns_of_the_down_projections(family: str, way: str) -> None:
    if way == "eager":
        model, close = build(family), 1e-10
    else:
        model, close = build(family, dtype=torch.float32), 1e-4
        model.set_experts_implementation(way)
    plain = logits(model)
    with edited(model, [(an_edit(),)]):
        zeroed = logits(model)
    assert torch.allclose(zeroed, logits(with_scaled_weights(model, 0.0)), atol=close)
    assert (zeroed - plain).abs().max() > 100 * close
    assert torch.equal(logits(model), plain)  # nothing is left


@pytest.mark.parametrize("way", WAYS)
def test_every_row_of_a_batch_has_its_own_arm_and_one_without_is_as_it_was(way: str) -> None:
    model = build("qwen3_moe", dtype=torch.float32)
    model.set_experts_implementation(way)
    ids = IDS[:1].expand(3, -1)
    arms: list[Arm] = [(an_edit(0.5),), (), (an_edit(0.5), an_edit(-2.0, places=CHOICE[:, 2:]))]
    with edited(model, arms, torch.tensor([2, 1, 0])):
        found = logits(model, ids)
    assert torch.equal(found[1], logits(model, ids)[1])
    half = with_scaled_weights(model, 0.5)
    both = with_scaled_weights(half, -2.0, CHOICE[:, 2:])
    assert torch.allclose(found[2], logits(half, ids)[2], atol=1e-4)
    assert torch.allclose(found[0], logits(both, ids)[0], atol=1e-4)
    assert (found[0] - found[2]).abs().max() > 1e-3


def test_what_is_added_is_the_experts_own_sum_on_its_tokens() -> None:
    """a * 1 + 3: by hand, the experts' output grows by 3 x up x the column of the down projection x the weight."""
    model = build("mixtral", num_hidden_layers=1)
    (experts,) = experts_of(model)
    given: list[tuple[Tensor, ...]] = []
    gave: list[Tensor] = []
    experts.register_forward_pre_hook(lambda _m, args: given.append(args))
    experts.register_forward_hook(lambda _m, _a, out: gave.append(out))
    logits(model)
    with edited(model, [(an_edit(1.0, 3.0, places=torch.tensor([[0], [29]])),)]):
        logits(model)
    hidden, chosen, weights = given[0]
    expert, column = divmod(29, COLUMNS)
    up = hidden @ experts.gate_up_proj[expert, COLUMNS + column]
    weight = torch.where(chosen == expert, weights, 0).sum(dim=1)
    added = (3 * up * weight)[:, None] * experts.down_proj[expert, :, column]
    assert torch.allclose(gave[-1] - gave[0], added, atol=1e-10)
    assert 0 < int((weight == 0).sum()) < len(weight)


@pytest.mark.parametrize("way", ["eager", "batched_mm"])
def test_scopes_and_caches_know_the_tokens(way: str) -> None:
    """Neurons are zeroed behind the prompt: with a cache or without, the prompt's tokens are as they were."""
    model = build("qwen3_moe")
    model.set_experts_implementation(way)
    with edited(model, [(an_edit(scope="generated"),)], prompt=4):
        whole = logits(model)
        with torch.no_grad():
            first = model(input_ids=IDS[:, :5], use_cache=True)
            second = model(input_ids=IDS[:, 5:], past_key_values=first.past_key_values).logits
    assert torch.allclose(torch.cat([first.logits, second], dim=1), whole, atol=1e-10)
    assert torch.equal(whole[:, :4], logits(model)[:, :4])
    assert (whole[:, 4:] - logits(model)[:, 4:]).abs().max() > 1e-3


def test_a_change_is_told_token_and_expert_of_every_row() -> None:
    model = build("mixtral", num_hidden_layers=1)
    chosen: list[Tensor] = []
    experts_of(model)[0].register_forward_pre_hook(lambda _m, args: chosen.append(args[1]))
    pairs: list[tuple[int, int]] = []

    def change(_layer: int, activations: Tensor, forward: Forward) -> Tensor:
        assert forward.routing is not None
        assert activations.shape == (len(forward.routing.tokens), COLUMNS)
        pairs.extend(zip(forward.routing.tokens.tolist(), forward.routing.experts.tolist(), strict=True))
        return activations

    with edit(model, find_sites(model, "experts.act"), change):
        logits(model)
    assert sorted(pairs) == sorted((t, e) for t, row in enumerate(chosen[-1].tolist()) for e in row)


def test_a_change_of_another_shape_is_refused() -> None:
    model = build("mixtral")
    sites = find_sites(model, "experts.act")
    with (
        edit(model, sites, lambda _l, a, _f: a[:1, :3]),
        pytest.raises(ValueError, match=r"experts\.act of layer 0 is"),
    ):
        logits(model)


def test_gradients_flow_through_edits_and_checkpointing() -> None:
    """The gradient of the edited model is that of the model with scaled weights, checkpointed or not."""
    model = build("mixtral").train()
    weights: list[Tensor] = []
    for one in (with_scaled_weights(model, 0.5).train(), model):
        with edited(one, [(an_edit(0.5),)] if one is model else [()]):
            one(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        weights.append(one.model.layers[0].self_attn.q_proj.weight.grad.clone())
    model.zero_grad()
    model.gradient_checkpointing_enable()
    with edited(model, [(an_edit(0.5),)]):
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
    weights.append(model.model.layers[0].self_attn.q_proj.weight.grad)
    assert weights[0].abs().max() > 0
    for other in weights[1:]:
        assert torch.allclose(weights[0], other, atol=1e-10)


# Refusals


def broken(way: Callable[[Tensor], tuple[Tensor, Tensor]]) -> dict[str | None, Any]:
    return {**experts_module._ORDERS, "eager": way}


def test_another_order_of_rows_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the rows not in the order that is thought, each of them would be the wrong token's or expert's."""
    model = build("mixtral")
    for way in (experts_module._batched, lambda chosen: tuple(one.flip(0) for one in experts_module._eager(chosen))):
        monkeypatch.setattr(experts_module, "_ORDERS", broken(way))
        with pytest.raises(UnsupportedModelError, match=r"rows of experts are in no order that is known \(off by"):
            find_sites(model, "experts.act")


def quantised(model: Any) -> None:
    for experts in experts_of(model):
        weight = experts.gate_up_proj.data.to(torch.float8_e4m3fn)
        experts.gate_up_proj = torch.nn.Parameter(weight, requires_grad=False)


def dealt(model: Any) -> None:
    for experts in experts_of(model):
        experts._is_expert_parallel = True


def by_kernel(model: Any) -> None:
    model.config._experts_implementation = "sonicmoe"


def fused(model: Any) -> None:
    for experts in experts_of(model):
        experts._apply_gate = lambda both: torch.nn.functional.silu(both.chunk(2, dim=-1)[0]) * both.chunk(2, dim=-1)[1]
        model.config._experts_implementation = "batched_mm"


def twice(model: Any) -> None:
    for experts in experts_of(model):
        experts.register_forward_pre_hook(lambda _, args: (args[0], args[1][:, :1].expand_as(args[1]), *args[2:]))


def unnamed(model: Any) -> None:
    for experts in experts_of(model):
        del experts._is_expert_parallel


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (quantised, r"layer 0: the experts are quantised \(torch\.float8_e4m3fn\); .* before it was quantised"),
        (dealt, "the experts are dealt to several devices"),
        (by_kernel, r"the experts are run by 'sonicmoe'; expected eager, grouped_mm, batched_mm. Call"),
        (fused, r"gave tensors of shapes none; expected 6 rows.* A fused kernel"),
        (twice, "layers.0.mlp.experts is given a token for the same expert twice"),
        (unnamed, "MixtralExperts is not one of transformers' experts modules"),
    ],
    ids=["quantised", "dealt", "by a kernel", "fused", "twice", "of another kind"],
)
def test_experts_that_cannot_be_told_apart_are_refused(spoil: Callable[[Any], None], message: str) -> None:
    model = build("mixtral")
    spoil(model)
    with pytest.raises(UnsupportedModelError, match=message):
        find_sites(model, "experts.act")


@pytest.mark.parametrize(
    ("family", "at", "message"),
    [
        ("mixtral", "mlp.act", r"layers\.0\.mlp\.experts\.act_fn serves a mixture .* Set probe\.site to experts\.act,"),
        ("qwen2_moe", "mlp.act", r"experts\.act, its routed experts, or experts\.shared"),
        ("mixtral", "mlp.product", "expected one dense MLP, for mlp.product"),
        ("mixtral", "mlp.up", "expected one dense MLP, for mlp.up"),
        ("mixtral", "mlp.out", "expected one dense MLP, for mlp.out"),
        ("mixtral", "experts.shared", "activation modules beside the routed experts: none"),
        ("mistral", "experts.act", "activation modules of routed experts found: none; .* A dense MLP is at mlp.act"),
        ("jetmoe", "experts.act", r"mlp\.output_linear have no activation inside; outside is mlp\.activation;"),
        ("jetmoe", "residual", "so that none can be taken"),
        ("nemotron_h", "residual", r"activation modules found: none in \w+Block \(\w+RMSNorm, \w+Mamba2Mixer\)"),
        (
            "nemotron_h",
            "experts.act",
            r"dense MLPs in [\d, -]+, experts in [\d, -]+, neither in [\d, -]+; expected one kind",
        ),
        ("inkling2_text", "experts.act", r"act_fn reads 2 tensors; expected one, the gate"),
        ("jamba", "mlp.act", r"layers of both kinds: .* Set probe\.site to residual"),
        ("jamba", "experts.shared", r"layers of both kinds"),
        ("mistral", "experts.shared", "activation modules of routed experts found: none"),
        ("gpt_oss", "experts.act", "the experts of mlp.experts have no activation module: their gate is computed in"),
        ("gpt_oss", "mlp.act", "the experts of mlp.experts have no activation module"),
        ("llama4_text", "experts.act", "Llama4TextExperts is not one of transformers' experts modules"),
    ],
)
def test_sites_that_a_model_has_not_are_refused_by_name(family: str, at: Any, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        find_sites(build(family, dtype=torch.float32), at)


@pytest.mark.parametrize("at", ["experts.act", "residual"])
def test_a_way_that_takes_no_double_precision_is_named(at: Any) -> None:
    model = build("mixtral")
    model.set_experts_implementation("grouped_mm")
    with pytest.raises(UnsupportedModelError, match=r"run by grouped_mm, .*set_experts_implementation\('eager'\)"):
        find_sites(model, at)


@pytest.mark.parametrize("at", ["experts.act", "mlp.act"])
def test_layers_of_both_kinds_are_refused_and_not_filled_up(at: Any) -> None:
    """qwen3_moe with a dense first layer: its layers have other numbers of neurons."""
    model = build("qwen3_moe", mlp_only_layers=[0])
    with pytest.raises(UnsupportedModelError) as refused:
        find_sites(model, at)
    (problem,) = refused.value.problems
    assert problem.found == "layers of both kinds: dense MLPs in 0, experts in 1"
    assert "experts.act" not in problem.fix  # which is refused as well
    assert len(find_sites(model, "residual")) == LAYERS  # which both have


@pytest.mark.parametrize("at", ["experts.act", "experts.shared"])
def test_weights_of_experts_are_no_linear_maps(at: Any) -> None:
    with pytest.raises(UnsupportedModelError, match=f"neurons: {at}, of a mixture whose experts are stacked"):
        find_maps(build("qwen2_moe"), at)
