"""Sites: found in every dense family, the right numbers seen there, and all else refused."""

from __future__ import annotations

import copy
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LlamaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    PreTrainedModel,
    T5Config,
    T5ForConditionalGeneration,
)

from alignlab.errors import UnsupportedModelError
from alignlab.models.access import observe
from alignlab.models.sites import Site, decoder_layers, find_sites

from .conftest import DENSE_SITES

LAYERS = 3
# As published in the default configurations of transformers: layers and neurons of a layer.
DEFAULT_SHAPES = {
    "llama": (32, 11008),
    "mistral": (32, 14336),
    "qwen2": (32, 22016),
    "qwen3": (32, 22016),
    "gemma": (28, 24576),
    "gemma2": (26, 9216),
    "gemma3_text": (26, 9216),
    "phi": (24, 8192),
    "phi3": (32, 8192),
    "olmo2": (32, 11008),
    "cohere": (40, 22528),
    "cohere2": (40, 22528),
    "granite": (32, 11008),
    "stablelm": (32, 6912),
    "starcoder2": (30, 12288),
    "smollm3": (36, 11008),
    "glm": (40, 13696),
    "gpt2": (12, 3072),
    "gpt_neo": (24, 8192),
    "gpt_neox": (44, 24576),
    "gptj": (28, 16384),
    "bloom": (2, 256),
    "opt": (12, 3072),
    "falcon": (32, 18176),
    "mpt": (24, 8192),
    "xglm": (24, 4096),
}
LARGE = 20  # layers from which a default configuration takes a second or so


def ids(rows: int = 2, length: int = 7) -> Tensor:
    return torch.randint(3, 60, (rows, length), generator=torch.Generator().manual_seed(1))


def activations(model: nn.Module, sites: list[Site], input_ids: Tensor) -> dict[int, Tensor]:
    """What each site shows in one forward: layer -> (B * T, width)."""
    seen: dict[int, Tensor] = {}

    def see(layer: int, output: Tensor) -> None:
        assert layer not in seen
        seen[layer] = output.detach().reshape(-1, output.shape[-1])

    with torch.no_grad(), observe(sites, see):
        model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    return seen


def down_inputs(model: nn.Module, layers: nn.ModuleList, input_ids: Tensor, names: set[str]) -> dict[int, Tensor]:
    """What the last projection of each MLP reads: layer -> (B * T, width)."""
    seen: dict[int, Tensor] = {}
    handles = []
    for number, layer in enumerate(layers):
        (down,) = (module for name, module in layer.named_modules() if name.rpartition(".")[2] in names)

        def hook(_module: nn.Module, args: tuple[Any, ...], number: int = number) -> None:
            seen[number] = args[0].detach().reshape(-1, args[0].shape[-1])

        handles.append(down.register_forward_pre_hook(hook))
    with torch.no_grad():
        model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def refusals(model: nn.Module) -> list[str]:
    with pytest.raises(UnsupportedModelError) as refused:
        find_sites(model)
    return [str(problem) for problem in refused.value.problems]


# Every family


def test_every_family_has_a_site_a_layer(family: str, make: Any, widths: dict[str, int]) -> None:
    model = make(family)
    sites = find_sites(model)
    assert [site.layer for site in sites] == list(range(LAYERS))
    assert {site.width for site in sites} == {widths[family]}
    assert all(model.get_submodule(site.name) is site.module for site in sites)
    seen = activations(model, sites, ids())
    assert {layer: tuple(output.shape) for layer, output in seen.items()} == dict.fromkeys(
        range(LAYERS), (14, widths[family])
    )


GATED = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3", "olmo2", "cohere", "cohere2"}
GATED |= {"granite", "stablelm", "smollm3", "glm"}
DOWN = {"down_proj", "fc2", "c_proj", "fc_out", "dense_4h_to_h"}


def test_every_family_shows_what_its_down_projection_reads(family: str, make: Any) -> None:
    """The activations, for a gated MLP times something; in the other families they are the input itself."""
    model = make(family)
    seen = activations(model, find_sites(model), ids())
    _, layers = decoder_layers(model)
    mlps = nn.ModuleList(mlp_of(layer) for layer in layers)
    read = down_inputs(model, mlps, ids(), DOWN)
    for layer in range(LAYERS):
        assert seen[layer].std() > 0
        if family in GATED:
            up = output_of_up(model, mlps[layer])
            assert torch.allclose(seen[layer] * up, read[layer], atol=1e-5)
            assert not torch.allclose(seen[layer], read[layer], atol=1e-2)
        else:
            assert torch.equal(seen[layer], read[layer])


def mlp_of(layer: nn.Module) -> nn.Module:
    """The MLP, or, in families that have none of its own (OPT, XGLM), the layer with its attention left out."""
    mlp = next((getattr(layer, name) for name in ("mlp", "ffn") if hasattr(layer, name)), None)
    return mlp if mlp is not None else nn.ModuleDict({"fc1": layer.fc1, "fc2": layer.fc2})


def output_of_up(model: nn.Module, mlp: nn.Module) -> Tensor:
    """The output of the up projection, or of its half of a fused one."""
    up = next(module for name, module in mlp.named_children() if name in {"up_proj", "gate_up_proj"})
    seen: list[Tensor] = []
    handle = up.register_forward_hook(lambda _m, _a, output: seen.append(output.detach()))
    with torch.no_grad():
        model(input_ids=ids(), attention_mask=torch.ones_like(ids()), use_cache=False)
    handle.remove()
    output = seen[0].reshape(-1, seen[0].shape[-1])
    return output[:, output.shape[1] // 2 :] if hasattr(mlp, "gate_up_proj") else output


@pytest.mark.parametrize(
    "family",
    [
        pytest.param(name, marks=pytest.mark.slow if layers >= LARGE else ())
        for name, (layers, _) in DEFAULT_SHAPES.items()
    ],
)
def test_default_configurations_on_the_meta_device(family: str) -> None:
    config = AutoConfig.for_model(family)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        sites = find_sites(model)
    assert (len(sites), sites[0].width) == DEFAULT_SHAPES[family]
    assert next(model.parameters()).is_meta


def test_families_on_the_meta_device_are_as_real_ones(family: str, make: Any) -> None:
    real = find_sites(make(family))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(make(family).config, attn_implementation="eager")
        assert find_sites(model) == real


def test_on_the_meta_device_attention_by_torch_is_no_hindrance(tiny_llama: LlamaForCausalLM) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(tiny_llama.config, attn_implementation="sdpa")
    for at in DENSE_SITES:
        assert find_sites(model, at) == find_sites(tiny_llama, at)
    assert model.config._attn_implementation == "sdpa"


def test_every_family_is_seen_with_lora_on_its_mlp(family: str, make: Any) -> None:
    model = make(family)
    before = find_sites(model)
    plain = activations(model, before, ids())
    _, layers = decoder_layers(model)
    first = {"gate_proj", "gate_up_proj", "fc1", "fc_in", "c_fc", "dense_h_to_4h", "up_proj"}
    targets = [
        f"{name}"
        for name, module in model.named_modules()
        if name.rpartition(".")[2] in first and any(module is inner for layer in layers for inner in layer.modules())
    ]
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        wrapped = peft.get_peft_model(model, config, autocast_adapter_dtype=False).eval()
    sites = find_sites(wrapped)
    assert [site.width for site in sites] == [site.width for site in before]
    assert all(site.name.startswith("base_model.model.") for site in sites)
    adapted = activations(wrapped, sites, ids())
    assert all(not torch.allclose(adapted[layer], plain[layer], atol=1e-4) for layer in range(LAYERS))
    with wrapped.disable_adapter():
        without = activations(wrapped, sites, ids())
    assert all(torch.equal(without[layer], plain[layer]) for layer in range(LAYERS))


# The right numbers


def test_llama_is_silu_of_the_gate(tiny_llama: LlamaForCausalLM) -> None:
    tokens = ids()
    inputs: dict[int, Tensor] = {}
    for number, layer in enumerate(tiny_llama.model.layers):
        layer.mlp.register_forward_pre_hook(lambda _m, args, n=number: inputs.update({n: args[0].detach()}))
    seen = activations(tiny_llama, find_sites(tiny_llama), tokens)
    for number, layer in enumerate(tiny_llama.model.layers):
        gate = (inputs[number].double() @ layer.mlp.gate_proj.weight.double().T).reshape(14, 48)
        expected = gate / (1 + torch.exp(-gate))
        assert torch.allclose(seen[number].double(), expected, atol=1e-6)


def test_llama_with_lora_is_silu_of_gate_and_adapter(tiny_llama: LlamaForCausalLM) -> None:
    config = peft.LoraConfig(r=3, lora_alpha=12, target_modules=["gate_proj"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(tiny_llama, config).eval()
    inputs: dict[int, Tensor] = {}
    for number, layer in enumerate(tiny_llama.model.layers):
        layer.mlp.register_forward_pre_hook(lambda _m, args, n=number: inputs.update({n: args[0].detach()}))
    seen = activations(model, find_sites(model), ids())
    for number, layer in enumerate(tiny_llama.model.layers):
        gate = layer.mlp.gate_proj
        down, up = gate.lora_A["default"].weight, gate.lora_B["default"].weight
        weight = gate.base_layer.weight.double() + (12 / 3) * up.double() @ down.double()
        expected = F.silu(inputs[number].double().reshape(14, 32) @ weight.T)
        assert torch.allclose(seen[number].double(), expected, atol=1e-5)


def test_gpt2_is_gelu_of_the_first_projection(make: Any) -> None:
    model = make("gpt2")
    inputs: dict[int, Tensor] = {}
    for number, layer in enumerate(model.transformer.h):
        layer.mlp.register_forward_pre_hook(lambda _m, args, n=number: inputs.update({n: args[0].detach()}))
    seen = activations(model, find_sites(model), ids())
    for number, layer in enumerate(model.transformer.h):
        first = inputs[number].double().reshape(14, 32) @ layer.mlp.c_fc.weight.double() + layer.mlp.c_fc.bias.double()
        expected = 0.5 * first * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (first + 0.044715 * first**3)))
        assert torch.allclose(seen[number].double(), expected, atol=1e-6)


def test_opt_is_relu_of_the_first_projection(make: Any) -> None:
    model = make("opt")
    inputs: dict[int, Tensor] = {}
    for number, layer in enumerate(model.model.decoder.layers):
        layer.fc1.register_forward_pre_hook(lambda _m, args, n=number: inputs.update({n: args[0].detach()}))
    seen = activations(model, find_sites(model), ids())
    for number, layer in enumerate(model.model.decoder.layers):
        first = inputs[number].reshape(14, 32) @ layer.fc1.weight.T + layer.fc1.bias
        assert torch.allclose(seen[number], first.clamp(min=0), atol=1e-6)


# What it leaves alone


@pytest.mark.parametrize("inside", [True, False])
def test_looking_changes_no_output(tiny_llama: LlamaForCausalLM, inside: bool) -> None:
    with torch.no_grad():
        before = tiny_llama(input_ids=ids()).logits
        sites = find_sites(tiny_llama)
        with observe(sites if inside else [], lambda _layer, output: output.mul(0)):
            assert torch.equal(tiny_llama(input_ids=ids()).logits, before)


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_hooks_are_gone_afterwards(tiny_llama: LlamaForCausalLM) -> None:
    sites = find_sites(tiny_llama)
    assert hooks(tiny_llama) == 0
    with observe(sites, lambda _layer, _output: None):
        assert hooks(tiny_llama) == 2
    assert hooks(tiny_llama) == 0
    with pytest.raises(IndexError), observe(sites, lambda _layer, _output: [][0]):
        tiny_llama(input_ids=ids())
    assert hooks(tiny_llama) == 0


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_modes_and_random_numbers_stay(make: Any, dropout: float) -> None:
    model = make("gpt2", resid_pdrop=dropout, embd_pdrop=dropout).train()
    model.transformer.h[1].eval()  # such as a part that is kept frozen
    modes = [module.training for module in model.modules()]
    state = torch.random.get_rng_state()
    find_sites(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_failing_forward_leaves_no_hook_and_no_mode(tiny_llama: LlamaForCausalLM) -> None:
    tiny_llama.train()
    handle = tiny_llama.model.norm.register_forward_pre_hook(lambda _m, _a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        find_sites(tiny_llama)
    handle.remove()
    assert hooks(tiny_llama) == 0
    assert all(module.training for module in tiny_llama.modules())


def test_half_precision_models_have_the_same_sites(tiny_llama: LlamaForCausalLM) -> None:
    assert find_sites(copy.deepcopy(tiny_llama).to(torch.bfloat16)) == find_sites(tiny_llama)


# Refusals


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("experts_per_token", "width"), [(2, 48), (1, 48), (1, 32)])
def test_mixtures_of_experts_are_refused(device: str, experts_per_token: int, width: int) -> None:
    """With one expert a token and as many neurons as hidden units only the stacked weights tell."""
    config = MixtralConfig(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        num_local_experts=4,
        num_experts_per_tok=experts_per_token,
    )
    with torch.device(device):
        messages = refusals(MixtralForCausalLM(config))
    assert messages == [
        f"model.source, layer {layer}: model.layers.{layer}.mlp.experts.act_fn serves a mixture of experts; "
        "expected one dense MLP, for mlp.act. Set probe.site to experts.act, its routed experts."
        for layer in range(2)
    ]


def test_an_activation_that_runs_twice_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    mlp = tiny_llama.model.layers[1].mlp
    forward = mlp.forward
    mlp.forward = lambda hidden: forward(hidden) + 0 * forward(hidden)
    (message,) = refusals(tiny_llama)
    assert message.startswith("model.source: model.layers.1.mlp.act_fn ran 2 times in a forward; expected once.")


def test_an_activation_that_never_runs_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    """What a fused kernel looks like from outside: the MLP computes the same without its activation module."""
    for layer in tiny_llama.model.layers:
        mlp = layer.mlp
        mlp.forward = lambda x, mlp=mlp: mlp.down_proj(F.silu(mlp.gate_proj(x)) * mlp.up_proj(x))
    messages = refusals(tiny_llama)
    assert [message.partition(";")[0] for message in messages] == [
        f"model.source: model.layers.{layer}.mlp.act_fn ran 0 times in a forward" for layer in range(2)
    ]
    assert "A fused kernel (such as liger)" in messages[0]


def test_an_activation_of_another_shape_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    mlp = tiny_llama.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x)[..., :40]).sum() * mlp.up_proj(x))
    (message,) = refusals(tiny_llama)
    assert "model.layers.0.mlp.act_fn gave a tensor of shape (1, 3, 40); expected 3 tokens x as many neurons" in message
    assert "(32, 48)" in message


def test_an_activation_of_other_tokens_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    mlp = tiny_llama.model.layers[0].mlp
    mlp.forward = lambda x: mlp.down_proj(mlp.act_fn(mlp.gate_proj(x[:, :2])).sum() * mlp.up_proj(x))
    (message,) = refusals(tiny_llama)
    assert "gave a tensor of shape (1, 2, 48); expected 3 tokens" in message


def test_layers_of_different_width_are_refused(tiny_llama: LlamaForCausalLM) -> None:
    mlp = tiny_llama.model.layers[1].mlp
    mlp.gate_proj, mlp.up_proj, mlp.down_proj = nn.Linear(32, 20), nn.Linear(32, 20), nn.Linear(20, 32)
    assert refusals(tiny_llama) == [
        "model.source: layers of 20, 48 neurons at mlp.act; expected the same number of neurons in every layer."
    ]


def test_several_or_no_activation_modules_are_refused(tiny_llama: LlamaForCausalLM) -> None:
    del tiny_llama.model.layers[0].mlp.act_fn
    tiny_llama.model.layers[1].mlp.add_module("act", nn.SiLU())
    first, second = refusals(tiny_llama)
    expected = "expected one module named act_fn, activation_fn, act or gelu_impl."
    found = "none in LlamaDecoderLayer (LlamaAttention, LlamaMLP, LlamaRMSNorm, LlamaRMSNorm)"
    assert first == f"model.source, layer 0: activation modules found: {found}; {expected}"
    names = "model.layers.1.mlp.act_fn, model.layers.1.mlp.act"
    assert second == f"model.source, layer 1: activation modules found: {names}; {expected}"


@pytest.mark.parametrize("decoder_layers", [2, 3])
def test_encoder_decoders_are_refused(decoder_layers: int) -> None:
    config = T5Config(
        vocab_size=60, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=decoder_layers, num_heads=4
    )
    assert refusals(T5ForConditionalGeneration(config)) == [
        "model.source: T5ForConditionalGeneration is an encoder-decoder; expected a decoder-only language model."
    ]


def test_a_module_of_another_library_is_refused() -> None:
    assert refusals(nn.Linear(2, 2)) == [
        "model.source: Linear has no configuration of transformers; "
        "expected a causal language model (AutoModelForCausalLM)."
    ]


def test_a_model_without_one_list_of_layers_is_refused(tiny_llama: PreTrainedModel) -> None:
    tiny_llama.add_module("extra", nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]))
    assert refusals(tiny_llama) == [
        "model.source: module lists found: model.layers (2), extra (2); expected one list of 2 decoder layers."
    ]
    tiny_llama.config.num_hidden_layers = 5
    assert "expected one list of 5 decoder layers." in refusals(tiny_llama)[0]


def test_lists_inside_layers_do_not_confuse(tiny_llama: LlamaForCausalLM) -> None:
    for layer in tiny_llama.model.layers:
        layer.add_module("adapters", nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]))
    name, layers = decoder_layers(tiny_llama)
    assert name == "model.layers"
    assert layers is tiny_llama.model.layers
    assert len(find_sites(tiny_llama)) == 2
