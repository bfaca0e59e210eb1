"""Removal against really removing: rows and columns of real weights set to 0, real modules run again, one by one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import peft
import pytest
import torch
import transformers
from torch import Tensor, nn

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.models.sites import find_sites
from alignlab.neurons.importance import Wanted
from alignlab.recording import attention_weights
from alignlab.recording.importance import Measure
from alignlab.recording.pieces import make_batch
from alignlab.recording.probes import Probe
from alignlab.recording.removal import SITES, Removal

from .test_tallies import make_probe

SMALL: dict[str, Any] = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 20, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "initializer_range": 0.3, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# By family, what is particular to it.
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"head_dim": 12, "rope_parameters": {"rope_type": "yarn", "rope_theta": 100.0, "factor": 4.0,
                                  "original_max_position_embeddings": 16}},  # scales what it turns
    "mistral": {"sliding_window": 4},
    "qwen2": {},  # biases of q, k and v
    "qwen3": {},  # a norm on each head's q and k
    "gemma2": {"attn_logit_softcapping": 2.0, "query_pre_attn_scalar": 8, "sliding_window": 4},
    "gemma3_text": {"sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"],
                    "query_pre_attn_scalar": 8},  # norms, and other positions in either layer
    "stablelm": {"use_qkv_bias": True, "partial_rotary_factor": 0.5},
    "cohere": {},  # positions turn neighbours
    "smollm3": {"no_rope_layers": [1, 0], "no_rope_layer_interval": 2},  # a layer without positions
    "phi": {"partial_rotary_factor": 0.5},
}  # fmt: skip


def build(family: str, **changed: Any) -> Any:
    config = transformers.AutoConfig.for_model(family, **{**SMALL, **FAMILIES.get(family, {}), **changed})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
        for name, weight in model.named_parameters():  # norms and biases begin as ones and zeros
            if weight.ndim == 1:
                weight.data += 0.3 * torch.randn_like(weight)
            assert weight.isfinite().all(), name
    return model


@contextmanager
def without(map_: Any, index: int, *, column: bool = False) -> Iterator[None]:
    """A row of a linear map, with its bias, or a column is 0."""
    kept = {name: one.data.clone() for name, one in map_.named_parameters()}
    if column:
        map_.weight.data[:, index] = 0
    else:
        map_.weight.data[index] = 0
        if map_.bias is not None:
            map_.bias.data[index] = 0
    yield
    for name, one in map_.named_parameters():
        one.data.copy_(kept[name])


def slow(model: Any, probe: Probe, language: str, number: int, sites: dict[str, list[Any]]) -> dict[str, Tensor]:
    """By site, (L, N): modules of the model run again on what they have read, without one neuron after the other."""
    document = probe.documents[language][number]
    model.set_attn_implementation("eager")  # which shows its weights
    counted = torch.from_numpy(probe.counted(document))
    found = {}
    for at, layers in sites.items():
        rows = []
        for site in layers:
            down = find_sites(model, "mlp.product")[site.layer]
            block = down if at.startswith("mlp") else find_sites(model, "attention.o")[site.layer]
            module = model.get_submodule(block.name.rpartition(".")[0])
            run = again(model, module, document.tokens)
            of_weights = at in ("attention.q", "attention.k")

            def shown(run: Callable[[], Any] = run, of_weights: bool = of_weights) -> Tensor:
                out = run()
                value = out[1][0].transpose(0, 1) if of_weights else (out[0] if isinstance(out, tuple) else out)[0]
                return value[counted]

            whole, norms = shown(), []
            for neuron in range(site.width):
                with without(down.module if down is block else site.module, neuron, column=down is block):
                    norms.append(float((shown() - whole).norm()))
            rows.append(norms)
        found[at] = torch.tensor(rows, dtype=torch.float64)
    return found


def again(model: Any, module: nn.Module, tokens: Any) -> Callable[[], Any]:
    """What calls a module once more with what it is called with in a forward of a text."""
    calls: list[Any] = []
    handle = module.register_forward_pre_hook(lambda _m, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    with torch.no_grad():
        model(input_ids=torch.from_numpy(tokens).long()[None], use_cache=False)
    handle.remove()
    ((args, kwargs),) = calls

    def run() -> Any:
        with torch.no_grad():
            return module(*args, **kwargs)

    return run


def measured(measure: Measure, probe: Probe, language: str, numbers: list[int]) -> dict[str, Tensor]:
    with torch.no_grad():
        return dict(measure.of(make_batch(probe, language, numbers, torch.device("cpu")), nullcontext))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_neuron_is_really_removed(family: str) -> None:
    model, probe = build(family), make_probe(300, "all")
    if family == "gemma2":
        model.set_attn_implementation("eager")
    wanted = Wanted("removal", ("mlp.product", "attention.q", "attention.k", "attention.v", "attention.o"))
    measure, numbers = Removal(model, wanted), [0, 3]
    assert len({len(probe.documents["en"][number]) for number in numbers}) == 2
    together = [numbers] if family != "gemma2" else [[0], [3]]  # whose padding is NaN in double precision
    parts = [measured(measure, probe, "en", some) for some in together]
    found = {at: torch.cat([part[at] for part in parts]) for at in measure.shapes}
    for place, number in enumerate(numbers):
        twin = copy.deepcopy(model)
        sites = {at: find_sites(twin, at) for at in wanted.sites}  # type: ignore[arg-type]
        for at, expected in slow(twin, probe, "en", number, sites).items():
            assert found[at][place].shape == expected.shape == measure.shapes[at]
            assert expected.max() > 1e-3
            assert torch.allclose(found[at][place], expected, rtol=1e-5, atol=1e-6), (at, number)


def test_chunks_change_nothing_and_answers_alone_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    model, probe = build("qwen3"), make_probe(300)
    wanted = Wanted("removal", ("attention.q", "attention.k"))
    whole = measured(Removal(model, wanted), probe, "en", [0, 1, 2, 3])
    for most in (1, 7, 40, 300, 2000):
        monkeypatch.setattr(attention_weights, "_NUMBERS", {"cpu": most})
        pieces = measured(Removal(model, wanted), probe, "en", [0, 1, 2, 3])
        for at in wanted.sites:
            assert torch.allclose(pieces[at], whole[at], rtol=1e-9, atol=1e-12)
    twin = copy.deepcopy(model)
    some = {"attention.k": find_sites(twin, "attention.k")}
    assert 0 < probe.counted(probe.documents["en"][1]).sum() < len(probe.documents["en"][1])
    assert torch.allclose(whole["attention.k"][1], slow(twin, probe, "en", 1, some)["attention.k"], rtol=1e-6)


def test_adapters_belong_to_the_weights() -> None:
    """LoRA on all maps is as the model that it is merged into."""
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    adapted = peft.get_peft_model(build("qwen2"), peft.LoraConfig(r=2, target_modules=targets))
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            weight.data = 0.3 * torch.randn_like(weight)
    adapted.eval()
    probe, wanted = make_probe(300, "all"), Wanted("removal", ("mlp.act", *[f"attention.{x}" for x in "qkvo"]))
    found = measured(Removal(adapted, wanted), probe, "sw", [1, 2])
    merged = copy.deepcopy(adapted).merge_and_unload()
    of_merged = measured(Removal(merged, wanted), probe, "sw", [1, 2])
    plain = measured(Removal(build("qwen2"), wanted), probe, "sw", [1, 2])
    for at in wanted.sites:
        assert torch.allclose(found[at], of_merged[at], rtol=1e-8)
        assert not torch.allclose(found[at], plain[at], rtol=0.1)


def test_the_model_is_as_it_was() -> None:
    model, probe = build("llama"), make_probe(300)
    ids = torch.arange(3, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        measured(Removal(model, Wanted("removal", SITES)), probe, "en", [0, 1])
        assert torch.equal(model(input_ids=ids).logits, before)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert set(transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS._local_mapping) == set()


@pytest.mark.parametrize("width", ["bfloat16", "float16"])
def test_half_precision_is_near(width: str) -> None:
    model, probe = build("llama"), make_probe(300, "all")
    wanted = Wanted("removal", ("mlp.act", *[f"attention.{x}" for x in "qkvo"]))
    exact = measured(Removal(model, wanted), probe, "en", [0, 1])
    half = measured(Removal(model.to(getattr(torch, width)), wanted), probe, "en", [0, 1])
    for at, values in half.items():
        assert values.dtype == torch.float32
        assert float((values.double() - exact[at]).norm() / exact[at].norm()) < 0.1, at
    mixed = Removal(build("llama").float(), wanted)
    batch = make_batch(probe, "en", [0, 1], torch.device("cpu"))
    with torch.no_grad():
        rounded = mixed.of(batch, lambda: torch.autocast("cpu", dtype=getattr(torch, width)))
    for at, values in rounded.items():
        difference = float((values.double() - exact[at]).norm() / exact[at].norm())
        assert 1e-5 < difference < 0.1, at


@pytest.mark.parametrize(
    ("family", "changed", "message"),
    [
        ("gpt_neox", {}, "attention.q is not one of the maps"),
        ("phi3", {}, "attention.q is not one of the maps"),
        ("olmo2", {}, "normed over all heads together, by Olmo2RMSNorm"),
        ("stablelm", {"qk_layernorm": True}, "layer 0"),
        ("cohere", {"use_qk_norm": True}, "q goes through CohereLayerNorm|CohereLayerNorm"),
        ("gptj", {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}, "code of its own"),
        ("diffllama", {}, "changed before it is projected|code of its own|layer 0"),
    ],
)
def test_other_attention_is_refused_by_name(family: str, changed: dict[str, Any], message: str) -> None:
    model, probe = build(family, **changed), make_probe(300, "all")
    with pytest.raises(UnsupportedModelError, match=message) as refusal:
        measured(Removal(model, Wanted("removal", ("attention.q", "attention.k", "attention.v"))), probe, "en", [0, 1])
    assert all(problem.expected for problem in refusal.value.problems)
    assert model(input_ids=torch.arange(3, 9)[None]).logits.isfinite().all()
    # Its MLP is another matter.
    assert measured(Removal(model, Wanted("removal", ("mlp.product",))), probe, "en", [0])["mlp.product"].sum() > 0


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("removal", ()), "none; expected one or more"),
        (Wanted("removal", ("mlp.out",)), "'mlp.out'"),
        (Wanted("removal", ("residual", "attention.q")), "'residual'"),
        (Wanted("removal", ("attention.q", "attention.q")), "each once"),
        (Wanted("removal", ("mlp.act",), {"norm": 2}), "removal has none"),
    ],
)
def test_what_removal_has_not_is_refused(wanted: Wanted, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Removal(build("llama"), wanted)
