"""Editing sites, against the same model with other weights and against forwards written by hand; and what it leaves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import LlamaForCausalLM
from transformers.pytorch_utils import Conv1D

from alignlab.errors import UnsupportedModelError
from alignlab.models.access import Forward, edit, generated_tokens, observe, prompt_tokens
from alignlab.models.sites import Site, find_sites

from .conftest import DENSE_SITES, FAMILIES

IDS = torch.randint(3, 60, (2, 7), generator=torch.Generator().manual_seed(1))
CHOSEN = [1, 4, 5]
# Of these the activation is multiplied with nothing, and none of the projections of attention stands alone.
ADAPTED = ["up_proj", "down_proj", "fc1", "fc2", "q_proj", "k_proj", "v_proj", "o_proj", "out_proj"]


def zero(columns: list[int] = CHOSEN) -> Callable[[int, Tensor, Forward], Tensor]:
    def change(_layer: int, activations: Tensor, _forward: Forward) -> Tensor:
        changed = activations.clone()
        changed[..., columns] = 0
        return changed

    return change


def logits_of(model: nn.Module, input_ids: Tensor = IDS, **options: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), **options).logits
    return logits


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def silence(linear: nn.Module, columns: list[int], side: str) -> None:
    """Zero what a map makes of some inputs, or some of its outputs, in its weights alone."""
    base = getattr(linear, "base_layer", linear)
    weight = base.weight.data.T if isinstance(base, Conv1D) else base.weight.data  # (outputs, inputs)
    if side == "input":
        weight[:, columns] = 0
    else:
        weight[columns] = 0
        if base.bias is not None:
            base.bias.data[columns] = 0
    if base is not linear:
        if side == "input":
            linear.lora_A["default"].weight.data[:, columns] = 0
        else:
            linear.lora_B["default"].weight.data[columns] = 0


def down_of(model: nn.Module, layer: int) -> nn.Module:
    return find_sites(model, "mlp.out")[layer].module


def silenced(model: nn.Module, sites: list[Site]) -> nn.Module:
    """A copy of the model in which the chosen neurons of all layers are zero by their weights, or by its layers."""
    other = copy.deepcopy(model)
    for site in sites:
        module = other.get_submodule(site.name)
        columns = [site.first + column for column in CHOSEN]
        if site.at == "mlp.act":
            silence(down_of(other, site.layer), CHOSEN, "input")
        elif site.at == "residual":
            zeroed_layer(module)
        else:
            silence(module, columns, "input" if site.at == "mlp.product" else "output")
    return other


def zeroed_layer(layer: nn.Module) -> None:
    """The layer gives the chosen columns as zeros: by hand, since they are a sum of all that came before."""
    forward = layer.forward

    def zeroed(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[..., CHOSEN] = 0
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    layer.forward = zeroed  # type: ignore[method-assign]


@pytest.fixture(params=[*FAMILIES, "llama lora", "qwen2 lora", "opt lora"])
def model(request: pytest.FixtureRequest, make: Any) -> nn.Module:
    family, _, adapted = request.param.partition(" ")
    plain: nn.Module = make(family)
    if not adapted:
        return plain
    config = peft.LoraConfig(r=2, lora_alpha=5, target_modules=ADAPTED, init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return peft.get_peft_model(plain, config).eval()


# What an edit is


def test_zeroing_at_every_site_is_zeroing_in_the_weights(model: nn.Module) -> None:
    before, tried = logits_of(model), []
    for at in DENSE_SITES:
        try:
            sites = find_sites(model, at)
        except UnsupportedModelError:  # one matrix, or no such part: `test_traced_sites` says where
            continue
        tried.append(at)
        with edit(model, sites, zero()):
            edited = logits_of(model)
        # Of all sites the products with zero are zero on both sides, so that nothing is left to round.
        assert torch.equal(edited, logits_of(silenced(model, sites))), at
        assert not torch.allclose(edited, before, atol=1e-3), at
        assert torch.equal(logits_of(model), before), at
    assert {"mlp.act", "mlp.product", "mlp.out", "residual", "attention.o"} - set(tried) <= {"attention.o"}
    assert hooks(model) == 0


def test_all_nine_sites_are_there_in_a_llama(make: Any) -> None:
    assert [find_sites(make("llama"), at)[0].at for at in DENSE_SITES] == DENSE_SITES


def test_an_edited_residual_is_that_of_a_forward_written_by_hand(tiny_llama: LlamaForCausalLM) -> None:
    model, config = tiny_llama.double(), tiny_llama.config
    head = config.hidden_size // config.num_attention_heads
    hidden = model.model.embed_tokens.weight[IDS]

    def norm(x: Tensor, weight: Tensor) -> Tensor:
        return weight * x / torch.sqrt((x * x).mean(dim=-1, keepdim=True) + config.rms_norm_eps)

    base = config.rope_parameters["rope_theta"]
    angles = torch.outer(torch.arange(7.0).double(), base ** -(torch.arange(0, head, 2).double() / head)).repeat(1, 2)

    def turned(x: Tensor) -> Tensor:
        return x * angles.cos() + torch.cat([-x[..., head // 2 :], x[..., : head // 2]], dim=-1) * angles.sin()

    def heads(x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, head)).transpose(1, 2)

    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        x = norm(hidden, layer.input_layernorm.weight)
        q, k, v = (heads(x @ getattr(attention, f"{name}_proj").weight.T) for name in "qkv")
        k, v = (one.repeat_interleave(q.shape[1] // one.shape[1], dim=1) for one in (k, v))
        scores = turned(q) @ turned(k).transpose(2, 3) / head**0.5
        scores = scores.masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
        mixed = (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
        hidden = hidden + mixed @ attention.o_proj.weight.T
        x = norm(hidden, layer.post_attention_layernorm.weight)
        hidden = hidden + (F.silu(x @ mlp.gate_proj.weight.T) * (x @ mlp.up_proj.weight.T)) @ mlp.down_proj.weight.T
        hidden = hidden * 2  # what the edit does, to the first row only
        hidden[1] /= 2
    expected = norm(hidden, model.model.norm.weight) @ model.lm_head.weight.T

    def change(_layer: int, activations: Tensor, _forward: Forward) -> Tensor:
        return activations * torch.tensor([2.0, 1.0])[:, None, None]

    with edit(model, find_sites(model, "residual"), change):
        # Its norms and angles are in single precision whatever the model.
        assert torch.allclose(logits_of(model), expected.detach(), rtol=1e-5, atol=1e-5)


def test_edits_see_a_batch_of_rows_in_every_family(model: nn.Module) -> None:
    """Also where the model hands over tokens without a batch, as OPT does: each row is changed in its own way."""

    def only_second(_layer: int, activations: Tensor, forward: Forward) -> Tensor:
        assert activations.shape[:2] == (forward.rows, forward.length) == (2, 7)
        return activations * torch.tensor([1.0, 0.0])[:, None, None]

    sites, before = find_sites(model), logits_of(model)
    with edit(model, sites, lambda _l, activations, _f: activations * 0):
        without = logits_of(model)
    with edit(model, sites, only_second):
        edited = logits_of(model)
    assert torch.allclose(edited[0], before[0], atol=1e-5)
    assert torch.allclose(edited[1], without[1], atol=1e-5)
    assert not torch.allclose(edited[1], before[1], atol=1e-3)


# Order and nesting


def test_edits_compose_outside_in_and_observers_see_what_is_around_them(tiny_llama: LlamaForCausalLM) -> None:
    sites = find_sites(tiny_llama, "mlp.product")
    seen: dict[str, Tensor] = {}

    def see(name: str) -> Callable[[int, Tensor], None]:
        return lambda layer, activations: seen.update({name: activations.clone()}) if layer == 0 else None

    def double(_l: int, a: Tensor, _f: Forward) -> Tensor:
        return a * 2

    def plus_one(_l: int, a: Tensor, _f: Forward) -> Tensor:
        return a + 1

    with observe(sites, see("plain")), edit(tiny_llama, sites, double), observe(sites, see("doubled")):
        with edit(tiny_llama, sites, plus_one), observe(sites, see("both")):
            both = logits_of(tiny_llama)
        doubled = logits_of(tiny_llama)
    assert torch.equal(seen["doubled"], seen["plain"] * 2)
    assert torch.equal(seen["both"], seen["plain"] * 2 + 1)
    with edit(tiny_llama, sites, double):
        assert torch.equal(logits_of(tiny_llama), doubled)
    with edit(tiny_llama, sites, lambda _l, a, _f: a * 2 + 1):
        assert torch.equal(logits_of(tiny_llama), both)
    with edit(tiny_llama, sites, plus_one), edit(tiny_llama, sites, double):
        assert not torch.allclose(logits_of(tiny_llama), both, atol=1e-4)


def test_an_edited_layer_is_seen_by_the_later_ones(tiny_llama: LlamaForCausalLM) -> None:
    sites, seen = find_sites(tiny_llama), []
    with observe(sites[1:], lambda _l, activations: seen.append(activations.clone())):
        logits_of(tiny_llama)
        with edit(tiny_llama, sites[:1], zero()):
            logits_of(tiny_llama)
    assert not torch.allclose(seen[0], seen[1], atol=1e-4)


# What it leaves alone


@pytest.mark.parametrize("at", ["mlp.act", "mlp.product", "residual"])
def test_an_error_inside_leaves_no_hook_and_the_same_model(tiny_llama: LlamaForCausalLM, at: Any) -> None:
    sites, before = find_sites(tiny_llama, at), logits_of(tiny_llama)

    def fail(layer: int, activations: Tensor, _forward: Forward) -> Tensor:
        return activations * 0 if layer == 0 else activations / (1 // 0)

    with pytest.raises(ZeroDivisionError), edit(tiny_llama, sites, zero()), edit(tiny_llama, sites, fail):
        logits_of(tiny_llama)
    assert hooks(tiny_llama) == 0
    with pytest.raises(KeyError), edit(tiny_llama, sites, zero()):
        raise KeyError
    assert hooks(tiny_llama) == 0
    assert torch.equal(logits_of(tiny_llama), before)


def test_another_shape_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    with (
        pytest.raises(ValueError, match=r"mlp.act of layer 0 is \(2, 7, 48\), not \(2, 7, 47\)"),
        edit(tiny_llama, find_sites(tiny_llama), lambda _l, a, _f: a[..., 1:]),
    ):
        logits_of(tiny_llama)


def test_the_type_of_the_activations_stays(tiny_llama: LlamaForCausalLM) -> None:
    model, seen = tiny_llama.to(torch.bfloat16), []
    sites = find_sites(model)
    ones = torch.ones(48, dtype=torch.float64)
    with edit(model, sites, lambda _l, a, _f: a + ones), observe(sites, lambda _l, a: seen.append(a.dtype)):
        logits_of(model)
    assert seen == [torch.bfloat16] * 2


def test_gradients_flow_through_edits(make: Any) -> None:
    """The derivative by a scale of the neurons is that of finite differences."""
    model = make("llama").double()
    sites = find_sites(model)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)

    def loss(factor: Tensor) -> Tensor:
        with edit(model, sites, lambda _l, activations, _f: activations * factor):
            return model(input_ids=IDS).logits.square().mean()  # type: ignore[no-any-return]

    (slope,) = torch.autograd.grad(loss(scale), scale)
    with torch.no_grad():
        difference = (loss(scale + 1e-3) - loss(scale - 1e-3)) / 2e-3
    assert float(slope) == pytest.approx(float(difference), rel=1e-3)  # norms are in single precision
    assert abs(float(slope)) > 1e-4


@pytest.mark.parametrize(("family", "at"), [("llama", "mlp.act"), ("phi3", "mlp.up"), ("gpt2", "residual")])
def test_what_is_shown_can_be_differentiated_by(make: Any, family: str, at: Any) -> None:
    model = make(family).double()
    sites, held = find_sites(model, at), {}
    with observe(sites, held.__setitem__, for_gradients=True):
        loss = model(input_ids=IDS).logits.square().mean()
    slopes = torch.autograd.grad(loss, [held[layer] for layer in range(3)])

    def moved(layer: int, by: float) -> float:
        def change(number: int, activations: Tensor, _forward: Forward) -> Tensor:
            step = torch.zeros_like(activations)
            step[1, :, 5] = by if number == layer else 0
            return activations + step

        with torch.no_grad(), edit(model, sites, change):
            return float(model(input_ids=IDS).logits.square().mean())

    for layer, slope in enumerate(slopes):
        assert slope.shape == (2, 7, sites[layer].width)
        difference = (moved(layer, 1e-2) - moved(layer, -1e-2)) / 2e-2
        # Norms are in single precision.
        assert float(slope[1, :, 5].sum()) == pytest.approx(difference, rel=2e-2, abs=1e-6)
        assert abs(difference) > 1e-5


# Which tokens


def written(model: Any, ids: Tensor, mask: Tensor, cache: bool) -> Tensor:
    """What the model generates, greedily, and the logits of every step."""
    output = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=5, do_sample=False, use_cache=cache, pad_token_id=0,
        eos_token_id=None, return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    return torch.stack(output.logits, dim=1)


def by_hand(model: Any, ids: Tensor, edited: Callable[[int], list[int]], steps: int = 5) -> Tensor:
    """The same for one row, whole texts at a time: position t is zeroed at the activations where `edited` says so.

    edited: of the length of the text so far, its positions to be zeroed.
    """
    logits, text = [], ids.clone()
    for _ in range(steps):
        hook = zeroing(edited(text.shape[1]))
        activations = [site.module for site in find_sites(model)]
        handles = [module.register_forward_hook(hook) for module in activations]
        logits.append(logits_of(model, text)[0, -1])
        for handle in handles:
            handle.remove()
        text = torch.cat([text, logits[-1].argmax().reshape(1, 1)], dim=1)
    return torch.stack(logits)


def zeroing(positions: list[int]) -> Callable[[Any, Any, Tensor], Tensor]:
    def hook(_module: Any, _inputs: Any, output: Tensor) -> Tensor:
        changed = output.clone().flatten(0, -2)  # of one row
        changed[positions] = 0
        return changed.reshape(output.shape)

    return hook


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("family", ["llama", "opt"])
@pytest.mark.parametrize("tokens", ["all", "prompt", "generated"])
def test_tokens_of_a_generation(make: Any, family: str, cache: bool, tokens: str, wrapped: bool) -> None:
    model = make(family).double()
    if wrapped:
        config = peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        torch.manual_seed(0)
        model = peft.get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    ids = IDS[:1, :4]
    where = {"all": None, "prompt": prompt_tokens(4), "generated": generated_tokens(torch.tensor([4]))}[tokens]
    with edit(model, find_sites(model), lambda _l, a, _f: a * 0, where):
        seen = written(model, ids, torch.ones_like(ids), cache)[0]
    positions = {"all": range(20), "prompt": range(4), "generated": range(4, 20)}[tokens]
    expected = by_hand(model, ids, lambda length: [p for p in positions if p < length])
    # `generate` keeps its logits in single precision.
    assert torch.allclose(seen, expected.float(), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(seen, written(model, ids, torch.ones_like(ids), cache)[0], atol=1e-4)
    assert hooks(model) == 0


def test_prompts_of_different_length_in_one_batch(tiny_llama: LlamaForCausalLM) -> None:
    """Texts side by side, padded on the right, as in a pass: each has its own boundary."""
    model, lengths = tiny_llama.double(), torch.tensor([3, 5])
    sites = find_sites(model)
    with edit(model, sites, zero(), generated_tokens(lengths)):
        together = logits_of(model)
    for row, length in enumerate(lengths.tolist()):
        with edit(model, sites, zero(), generated_tokens(length)):
            alone = logits_of(model, IDS[row : row + 1])
        assert torch.allclose(together[row], alone[0], rtol=1e-9, atol=1e-9)
        # Before the boundary a causal model is untouched.
        plain = logits_of(model, IDS[row : row + 1])[0]
        assert torch.allclose(alone[0, :length], plain[:length], rtol=1e-9, atol=1e-9)
        assert not torch.allclose(alone[0, length:], plain[length:], atol=1e-4)


def test_a_part_of_a_fused_map_is_all_that_changes(make: Any) -> None:
    model = make("phi3")
    sites, before, after = find_sites(model, "mlp.up"), [], []
    assert {(site.side, site.first, site.width) for site in sites} == {("output", 40, 40)}
    module = sites[0].module
    with torch.no_grad():
        module.register_forward_hook(lambda _m, _i, output: before.append(output.clone()))
        with edit(model, sites[:1], zero()):
            module.register_forward_hook(lambda _m, _i, output: after.append(output.clone()))
            logits_of(model)
    assert torch.equal(before[0][..., :40], after[0][..., :40])
    changed = (before[0] != after[0]).any(dim=1).any(dim=0).nonzero().flatten().tolist()
    assert changed == [40 + column for column in CHOSEN]
