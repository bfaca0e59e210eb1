"""Interventions around a model's calls: against a forward written by hand, the model's own weights, and themselves."""

from __future__ import annotations

import copy
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import peft
import pytest
import torch
from torch import Tensor, distributed, nn
from transformers import LlamaForCausalLM

from alignlab.errors import InputError, UnsupportedModelError
from alignlab.interventions import (
    Add,
    Constant,
    DiffMean,
    Intervention,
    Replace,
    Scale,
    Zero,
    intervene,
    notes,
    residual_diff_mean,
)
from alignlab.models import load
from alignlab.models.access import observe
from alignlab.models.load import ModelConfig
from alignlab.models.options import SiteName
from alignlab.models.sites import find_sites
from alignlab.recording.means import ActivationMeans

from ..models.conftest import DENSE_SITES, Make
from .conftest import MeansOf
from .forward_by_hand import logits_by_hand

IDS = torch.randint(3, 60, (3, 8), generator=torch.Generator().manual_seed(1))
PROMPT = 5
OPERATIONS = (
    Zero(),
    Constant(value=0.3),
    Scale(strength=-2),
    Add(strength=1.5),
    Replace(),
    Replace(by="maximum"),
    Replace(by="median"),
    Replace(by="percentile", percentile=30),
    DiffMean(strength=4),
)


def expected_of(operation: Any, means: ActivationMeans, layer: int) -> Callable[[Tensor], Tensor]:
    """What an operation makes of an activation in sw, as METHODS 4 says it."""
    one = means.layer(layer, "sw")[means.tokens["sw"] > 0].double()
    tokens = means.tokens["sw"][means.tokens["sw"] > 0].double()
    mu = (one * tokens[:, None]).sum(0) / tokens.sum()
    other = means.layer(layer, "en")[means.tokens["en"] > 0].double()
    tokens = means.tokens["en"][means.tokens["en"] > 0].double()
    rest = (other * tokens[:, None]).sum(0) / tokens.sum()
    rank = one.sort(dim=0).values
    last = len(rank) - 1
    table = {
        "zero": lambda a: a * 0,
        "constant 0.3": lambda a: a * 0 + 0.3,
        "scale by -2": lambda a: -2 * a,
        "add 1.5 times the mean": lambda a: a + 1.5 * mu,
        "replace by mean": lambda a: a * 0 + mu,
        "replace by maximum": lambda a: a * 0 + rank[last],
        "replace by median": lambda a: a * 0 + rank[last // 2],
        "replace by percentile 30": lambda a: a * 0 + rank[int(last * 0.3)],
        "diff_mean, 4 times": lambda a: a + 4 * (mu - rest),
    }
    return table[operation.described]  # type: ignore[no-any-return]


def chosen(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """A third of all neurons."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < 0.3


def logits_of(model: Any, ids: Tensor = IDS) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return logits


def cached_logits(model: Any, ids: Tensor = IDS) -> Tensor:
    """The same by way of a cache: the prompt at once, the rest token by token."""
    found, cache = [], None
    with torch.no_grad():
        for start, end in ((0, PROMPT), *((at, at + 1) for at in range(PROMPT, ids.shape[1]))):
            given = model(input_ids=ids[:, start:end], past_key_values=cache, use_cache=True)
            found.append(given.logits)
            cache = given.past_key_values
    return torch.cat(found, dim=1)


def answers(model: Any, ids: Tensor = IDS, **settings: Any) -> Any:
    return model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None,
        pad_token_id=0, **settings,
    )  # fmt: skip


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


# What the operations do


@pytest.mark.parametrize("at", DENSE_SITES)
def test_every_operation_at_every_site_is_a_forward_written_by_hand(
    tiny_llama: LlamaForCausalLM, means_of: MeansOf, at: SiteName
) -> None:
    model = tiny_llama.double()
    means = means_of(model, at)
    mask = chosen(means.shape)
    plain = logits_by_hand(model, IDS, lambda _at, _layer, shown: shown)
    assert torch.allclose(logits_of(model), plain, rtol=1e-5, atol=1e-5)
    scopes = {"all": torch.ones(8).bool(), "prompt": torch.arange(8) < PROMPT, "generated": torch.arange(8) >= PROMPT}
    for number, operation in enumerate(OPERATIONS):
        scope = list(scopes)[number % 3]

        def done(site: str, layer: int, shown: Tensor, operation: Any = operation, scope: str = scope) -> Tensor:
            if site != at:
                return shown
            changed = expected_of(operation, means, layer)(shown)
            return torch.where(mask[layer] & scopes[scope][:, None], changed, shown)

        expected = logits_by_hand(model, IDS, done)
        assert not torch.allclose(expected, plain, atol=1e-3)
        one = Intervention(mask, operation, at=at, scope=scope, statistics=means, language="sw")  # type: ignore[arg-type]
        with intervene(model, one, prompt=PROMPT):
            assert torch.allclose(logits_of(model), expected, rtol=1e-4, atol=1e-4), operation
            assert torch.allclose(cached_logits(model), expected, rtol=1e-4, atol=1e-4), operation
    assert torch.allclose(logits_of(model), plain, rtol=1e-5, atol=1e-5)


# Of a family: its layers, and in each the module of a site and which side of it; a gated one, one with two norms, one
# whose gate and up are one matrix, three that are not gated, of which one hands over tokens without a batch.
PLACES = {
    "qwen2": ("model.layers", {"mlp.act": "mlp.act_fn", "mlp.out": "mlp.down_proj", "attention.v": "self_attn.v_proj"}),
    "gemma2": (
        "model.layers",
        {"mlp.act": "mlp.act_fn", "mlp.out": "mlp.down_proj", "attention.k": "self_attn.k_proj"},
    ),
    "phi3": ("model.layers", {"mlp.act": "mlp.activation_fn", "mlp.out": "mlp.down_proj", "residual": ""}),
    "gpt2": ("transformer.h", {"mlp.act": "mlp.act", "mlp.out": "mlp.c_proj", "residual": ""}),
    "gpt_neox": ("gpt_neox.layers", {"mlp.act": "mlp.act", "mlp.out": "mlp.dense_4h_to_h", "residual": ""}),
    "opt": ("model.decoder.layers", {"mlp.act": "activation_fn", "mlp.out": "fc2", "attention.q": "self_attn.q_proj"}),
}


@pytest.mark.parametrize("family", PLACES)
def test_operations_in_other_families_are_those_of_modules_that_do_it_themselves(
    make: Make, means_of: MeansOf, family: str
) -> None:
    model: Any = make(family)
    prefix, places = PLACES[family]
    plain = logits_of(model)
    for at, name in places.items():
        means = means_of(model, at)  # type: ignore[arg-type]
        mask = chosen(means.shape, seed=2)
        for operation in OPERATIONS:
            other = copy.deepcopy(model)
            for number, layer in enumerate(other.get_submodule(prefix)):
                module = layer.get_submodule(name) if name else layer
                module.forward = altered(module.forward, mask[number], expected_of(operation, means, number))
            expected = logits_of(other)
            one = Intervention(mask, operation, at=at, statistics=means, language="sw")  # type: ignore[arg-type]
            with intervene(model, one):
                assert torch.allclose(logits_of(model), expected, rtol=1e-3, atol=1e-3), (at, operation)
                assert torch.allclose(cached_logits(model), expected, rtol=1e-3, atol=1e-3), (at, operation)
            assert not torch.allclose(expected, plain, atol=1e-2)
    assert torch.equal(logits_of(model), plain)


def altered(forward: Any, mask: Tensor, expected: Callable[[Tensor], Tensor]) -> Any:
    """The forward of a module that gives something else for the chosen columns."""

    def run(*args: Any, **kwargs: Any) -> Any:
        output = forward(*args, **kwargs)
        whole = output[0] if isinstance(output, tuple) else output
        new = torch.where(mask, expected(whole.double()), whole.double()).to(whole.dtype)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    return run


def test_the_baseline_of_the_residual_stream(tiny_llama: LlamaForCausalLM, means_of: MeansOf) -> None:
    model = tiny_llama.double()
    means = means_of(model, "residual")
    difference = means.mean("sw")[1] - means.mean("en")[1]

    def done(site: str, layer: int, shown: Tensor) -> Tensor:
        return shown + 2 * difference if (site, layer) == ("residual", 1) else shown

    one = residual_diff_mean(means, "sw", [1], strength=2)
    with intervene(model, one):
        assert torch.allclose(logits_of(model), logits_by_hand(model, IDS, done), rtol=1e-5, atol=1e-5)
    assert int(one.neurons.sum()) == 32
    with pytest.raises(InputError, match="of the residual stream"):
        residual_diff_mean(means_of(model, "mlp.act"), "sw", "1")


# Order, rows, scopes


def test_interventions_are_done_in_the_order_that_is_given(tiny_llama: LlamaForCausalLM) -> None:
    mask = chosen((2, 48))
    scale, constant = Intervention(mask, Scale(strength=3)), Intervention(mask, Constant(value=0.1))
    product = Intervention(mask, Constant(value=0.3))
    with intervene(tiny_llama, product):
        three_tenths = logits_of(tiny_llama)
    with intervene(tiny_llama, constant):
        one_tenth = logits_of(tiny_llama)
    with intervene(tiny_llama, constant, scale):
        assert torch.allclose(logits_of(tiny_llama), three_tenths, atol=1e-5)
    with intervene(tiny_llama, scale, constant):
        assert torch.equal(logits_of(tiny_llama), one_tenth)
    with intervene(tiny_llama, constant), intervene(tiny_llama, scale):  # blocks as well: the outer one first
        assert torch.allclose(logits_of(tiny_llama), three_tenths, atol=1e-5)
    assert not torch.allclose(one_tenth, three_tenths, atol=1e-3)


def test_a_row_is_the_same_whatever_is_done_to_the_others(tiny_llama: LlamaForCausalLM, means_of: MeansOf) -> None:
    means = means_of(tiny_llama, "mlp.act")
    of = {"statistics": means, "language": "sw"}
    off, up = Intervention(chosen((2, 48)), layers="1"), Intervention(chosen((2, 48), 1), Add(strength=2), **of)
    late = Intervention(chosen((2, 48), 2), Scale(strength=4), scope="generated")
    heads = Intervention(chosen((2, 32), 3), Zero(), at="attention.q", scope="prompt")
    settings: Any = {"return_dict_in_generate": True, "output_logits": True}
    seen: dict[str, list[Any]] = {"forward": [], "generate": [], "plain": []}
    for others in ([(), ()], [(off,), (up, late)], [(heads,), (heads, late, up)], [(off, up), (late,)]):
        with intervene(tiny_llama, rows=[(up, late), *others]):
            given = answers(tiny_llama, **settings)
        seen["generate"].append((given.sequences[0], torch.stack(given.logits)[:, 0]))
        with intervene(tiny_llama, rows=[(off,), *others], prompt=PROMPT):
            together = logits_of(tiny_llama)
        for row, arm in enumerate(((off,), *others)):
            with intervene(tiny_llama, *arm, prompt=PROMPT):
                assert torch.equal(together[row], logits_of(tiny_llama)[row])
        seen["forward"].append(together[0])
        with intervene(tiny_llama, rows=[(), *others], prompt=PROMPT):
            seen["plain"].append(logits_of(tiny_llama)[0])
    assert all(torch.equal(one, seen["forward"][0]) for one in seen["forward"])
    assert all(torch.equal(a, b) for one in seen["generate"] for a, b in zip(one, seen["generate"][0], strict=True))
    assert all(torch.equal(one, logits_of(tiny_llama)[0]) for one in seen["plain"])
    plain = answers(tiny_llama, **settings)
    assert not torch.equal(torch.stack(plain.logits)[:, 0], seen["generate"][0][1])


def test_generate_tells_the_length_of_the_prompts(tiny_llama: LlamaForCausalLM) -> None:
    """As the same steps without a cache, in which the length is given by hand."""
    for scope in ("prompt", "generated"):
        one = Intervention(chosen((2, 48)), Scale(strength=3), scope=scope)  # type: ignore[arg-type]
        ids = IDS.clone()
        with intervene(tiny_llama, one, prompt=IDS.shape[1]):
            for _ in range(6):
                ids = torch.cat([ids, logits_of(tiny_llama, ids)[:, -1:].argmax(-1)], dim=1)
        with intervene(tiny_llama, one):
            told = answers(tiny_llama)
            assert torch.equal(told, ids)
            assert torch.equal(answers(tiny_llama, prefill_chunk_size=3), ids)
            # A second turn, with what the first has left in the cache: all before it is its prompt.
            first = answers(tiny_llama, return_dict_in_generate=True)
            second = answers(tiny_llama, first.sequences, past_key_values=first.past_key_values)
        assert not torch.equal(told, answers(tiny_llama))
        if scope == "generated":
            with intervene(tiny_llama, one, prompt=IDS.shape[1]):
                first = answers(tiny_llama, return_dict_in_generate=True)
            with intervene(tiny_llama, one, prompt=first.sequences.shape[1]):
                by_hand = answers(tiny_llama, first.sequences, past_key_values=first.past_key_values)
            assert torch.equal(second, by_hand)
    assert "generate" not in vars(tiny_llama)


def test_the_scope_generated_leaves_the_prompt_s_activations_as_they_are(tiny_llama: LlamaForCausalLM) -> None:
    seen: list[Tensor] = []
    sites = {at: find_sites(tiny_llama, at) for at in ("mlp.act", "residual")}  # type: ignore[arg-type]
    one = Intervention(torch.ones(2, 48, dtype=torch.bool), Constant(value=2), scope="generated")

    def run(*interventions: Intervention) -> list[Tensor]:
        seen.clear()
        with (
            intervene(tiny_llama, *interventions),
            observe(sites["mlp.act"], lambda _layer, shown: seen.append(shown.clone())),
            observe(sites["residual"], lambda _layer, shown: seen.append(shown.clone())),
        ):
            answers(tiny_llama)
        return list(seen)

    plain, changed = run(), run(one)
    of_prompt = [shown.shape[1] == IDS.shape[1] for shown in plain]
    assert sum(of_prompt) == 4
    assert all(torch.equal(a, b) for a, b, at in zip(plain, changed, of_prompt, strict=True) if at)
    assert not any(torch.equal(a, b) for a, b, at in zip(plain, changed, of_prompt, strict=True) if not at)


def test_padding_on_the_left_belongs_to_the_prompt(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(chosen((2, 48)), Scale(strength=3), scope="generated")
    padded = torch.cat([torch.zeros(3, 4, dtype=torch.int64), IDS], dim=1)
    mask = (torch.arange(12) >= 4).long().expand(3, -1)
    with intervene(tiny_llama, one):
        alone = answers(tiny_llama)
        beside = tiny_llama.generate(input_ids=padded, attention_mask=mask, max_new_tokens=6, do_sample=False,
                                     eos_token_id=None, pad_token_id=0)  # fmt: skip
    assert torch.equal(beside[:, 12:], alone[:, 8:])


def test_beams_are_rows_of_their_own(tiny_llama: LlamaForCausalLM) -> None:
    off = Intervention(chosen((2, 48)))
    with intervene(tiny_llama, off):
        every = answers(tiny_llama, num_beams=2)
    rows = [(), (off,), ()]
    with intervene(tiny_llama, rows=[row for row in rows for _ in range(2)]):
        given = answers(tiny_llama, num_beams=2)
    assert torch.equal(given[1], every[1])
    assert torch.equal(given[[0, 2]], answers(tiny_llama, num_beams=2)[[0, 2]])
    with pytest.raises(ValueError, match="a batch of 6 rows, and arms for 3"), intervene(tiny_llama, rows=rows):
        answers(tiny_llama, num_beams=2)


# Models of all kinds


def adapted(model: LlamaForCausalLM) -> Any:
    config = peft.LoraConfig(r=2, target_modules=["gate_proj", "down_proj", "v_proj"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return peft.get_peft_model(model, config).eval()


@pytest.mark.parametrize("at", ["mlp.act", "mlp.out", "attention.v"])
def test_a_model_with_an_adapter_is_the_one_into_which_it_is_merged(tiny_llama: Any, at: SiteName) -> None:
    model = adapted(tiny_llama.double())
    merged = copy.deepcopy(model).merge_and_unload()
    one = Intervention(chosen((2, find_sites(model, at)[0].width)), Scale(strength=-3), at=at, scope="generated")
    plain = logits_of(model)
    with intervene(model, one, prompt=3), intervene(merged, one, prompt=3):
        assert torch.allclose(logits_of(model), logits_of(merged))
        assert not torch.allclose(logits_of(model), plain, atol=1e-3)
    with intervene(model, one), intervene(merged, one):
        assert torch.equal(answers(model), answers(merged))
    assert torch.equal(logits_of(model), plain)


def test_zero_is_the_model_with_those_columns_zeroed_in_its_weights(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(mask := chosen((2, 48)))
    other = copy.deepcopy(tiny_llama)
    for layer in range(2):
        other.model.layers[layer].mlp.down_proj.weight.data[:, mask[layer]] = 0
    with intervene(tiny_llama, one):
        assert torch.equal(logits_of(tiny_llama), logits_of(other))
        assert torch.equal(answers(tiny_llama), answers(other))


def test_in_bfloat16_too(tiny_llama: LlamaForCausalLM) -> None:
    model = tiny_llama.bfloat16()
    mask, other = chosen((2, 48)), copy.deepcopy(model)
    for layer in range(2):
        other.model.layers[layer].mlp.down_proj.weight.data[:, mask[layer]] *= -4  # a power of 2 rounds nothing
    with intervene(model, Intervention(mask, Scale(strength=-4))):
        assert torch.equal(logits_of(model), logits_of(other))


def test_a_compiled_model_is_changed_and_stays_compiled(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(chosen((2, 48)))
    plain = logits_of(tiny_llama)
    with intervene(tiny_llama, one):
        expected = logits_of(tiny_llama)
    compiled: Any = torch.compile(tiny_llama, backend="eager")
    assert torch.allclose(logits_of(compiled), plain)
    with intervene(compiled, one):
        assert torch.allclose(logits_of(compiled), expected)
    assert torch.allclose(logits_of(compiled), plain)
    assert not torch.allclose(expected, plain, atol=1e-3)


class Wrapping(L.LightningModule):
    """A module that somebody trains."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.student = model

    def forward(self, ids: Tensor) -> Tensor:
        return logits_of(self.student, ids)


def test_a_module_that_holds_the_model_will_do(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(chosen((2, 48)))
    with intervene(tiny_llama, one):
        expected = logits_of(tiny_llama)
    module = Wrapping(tiny_llama)
    with intervene(module, one):
        assert torch.equal(module(IDS), expected)
    with pytest.raises(UnsupportedModelError, match="Hugging Face models found: none"), intervene(nn.Linear(2, 2), one):
        pass


def test_a_model_in_4_bits(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the processor. All neurons of a layer off is the layer without its MLP."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(ModelConfig, "four_bit_problems", lambda self: [])
    monkeypatch.setattr(load, "local_rank", lambda: "cpu")
    make("llama", hidden_size=64, intermediate_size=128).save_pretrained(tmp_path)  # blocks of 64 weights
    model: Any = ModelConfig(source=str(tmp_path), four_bit=True).build()
    one = Intervention(torch.ones(3, 128, dtype=torch.bool), layers=[1])
    plain = logits_of(model)
    with intervene(model, one):
        found = logits_of(model)
    assert torch.equal(logits_of(model), plain)
    model.model.layers[1].mlp.forward = torch.zeros_like
    assert torch.equal(found, logits_of(model))
    assert not torch.equal(found, plain)


# What is left, and what is refused


def test_the_model_is_as_it_was_whatever_happens(tiny_llama: LlamaForCausalLM) -> None:
    plain, before = answers(tiny_llama), hooks(tiny_llama)
    one = Intervention(chosen((2, 48)), Scale(strength=9), scope="generated")

    def halt(_module: nn.Module, _inputs: object, _output: object) -> None:
        raise RuntimeError("halt")

    with pytest.raises(RuntimeError, match="halt"), intervene(tiny_llama, one):  # noqa: SIM117
        with tiny_llama.model.norm.register_forward_hook(halt):
            answers(tiny_llama)
    with pytest.raises(KeyboardInterrupt), intervene(tiny_llama, one):
        raise KeyboardInterrupt
    assert hooks(tiny_llama) == before
    assert "generate" not in vars(tiny_llama)
    assert torch.equal(answers(tiny_llama), plain)


def test_blocks_within_blocks_find_the_model_as_it_is(tiny_llama: LlamaForCausalLM) -> None:
    """The forward in which the inner one finds its sites is neither changed nor seen by the outer ones."""
    a, b = Intervention(chosen((2, 48)), scope="generated"), Intervention(chosen((2, 32), 1), at="attention.q")
    with intervene(tiny_llama, rows=[(a, b), (b,), ()]):
        expected = answers(tiny_llama)
    seen: list[int] = []
    with (
        intervene(tiny_llama, rows=[(a,), (), ()]),
        observe(find_sites(tiny_llama, "mlp.up"), lambda layer, _shown: seen.append(layer)),
        intervene(tiny_llama, rows=[(b,), (b,), ()]),
    ):
        assert torch.equal(answers(tiny_llama), expected)
    assert seen == 6 * [0, 1]  # the forwards of `generate` alone
    assert "generate" not in vars(tiny_llama)
    assert not torch.equal(expected, answers(tiny_llama))


def test_a_scope_outside_of_generate_asks_for_the_length(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(chosen((2, 48)), scope="generated")
    with intervene(tiny_llama, one):
        answers(tiny_llama)
        with pytest.raises(InputError, match=r"intervene\(..., prompt=N\)"):
            logits_of(tiny_llama)
    filled = tiny_llama(input_ids=IDS, use_cache=True).past_key_values
    with intervene(tiny_llama, one), pytest.raises(InputError, match="without attention_mask"):
        tiny_llama.generate(input_ids=IDS, past_key_values=filled, max_new_tokens=2)


def test_what_does_not_fit_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    wrong = [Intervention(chosen((2, 40)), name="mine"), Intervention(chosen((3, 32)), at="residual")]
    with pytest.raises(InputError) as refused, intervene(tiny_llama, *wrong):
        pass
    assert [problem.found for problem in refused.value.problems] == ["a mask of (2, 40)", "a mask of (3, 32)"]
    assert "neurons of 'mine'" in str(refused.value)
    one = Intervention(chosen((2, 48)))
    with pytest.raises(InputError, match="both interventions and rows"), intervene(tiny_llama, one, rows=[(one,)]):
        pass
    with pytest.raises(ValueError, match="3 rows, and arms for 2"), intervene(tiny_llama, rows=[(one,), ()]):
        logits_of(tiny_llama)
    with pytest.raises(InputError, match="rows: none; expected the interventions"), intervene(tiny_llama, rows=[]):
        pass
    given: Any = "zh"
    with pytest.raises(InputError, match="interventions: 'zh'; expected an Intervention"), intervene(tiny_llama, given):
        pass
    given = [one, (one, 3)]
    with pytest.raises(InputError) as refused, intervene(tiny_llama, rows=given):
        pass
    assert [(one.where, one.expected[:17]) for one in refused.value.problems] == [
        ("rows[0]", "a list of interve"),
        ("rows[1]", "an Intervention, "),
    ]


@pytest.mark.parametrize("prompt", [-1, 2.5, True, "3", torch.tensor([1.0, 2, 3]), torch.ones(3, 1, dtype=torch.int64)])
def test_lengths_of_prompts_that_are_none(tiny_llama: LlamaForCausalLM, prompt: Any) -> None:
    one = Intervention(chosen((2, 48)), scope="generated")
    with (
        pytest.raises(InputError, match="expected the number of tokens of the prompts"),
        intervene(tiny_llama, one, prompt=prompt),
    ):
        pass


def test_lengths_of_other_prompts_than_the_batch_has(tiny_llama: LlamaForCausalLM) -> None:
    one = Intervention(chosen((2, 48)), scope="generated")
    with (
        intervene(tiny_llama, one, prompt=torch.tensor([1, 2])),
        pytest.raises(ValueError, match="lengths of 2 prompts"),
    ):
        logits_of(tiny_llama)


def test_a_copy_made_within_the_block_answers_with_its_own_weights(tiny_llama: LlamaForCausalLM) -> None:
    a, b = (Intervention(chosen((2, 48), seed), scope="generated") for seed in range(2))
    with intervene(tiny_llama, a), intervene(tiny_llama, b):
        expected = answers(tiny_llama)
        other = copy.deepcopy(tiny_llama)
        assert torch.equal(answers(other), expected)
        with torch.no_grad():
            tiny_llama.lm_head.weight.neg_()
        assert not torch.equal(answers(tiny_llama), expected)
        assert torch.equal(answers(other), expected)


def test_a_constant_within_another_block_is_looked_at_as_the_function_is(tiny_llama: LlamaForCausalLM) -> None:
    one, other = Intervention(chosen((2, 48)), Scale(strength=-9)), Intervention(chosen((2, 48)), Constant(value=0.1))
    with intervene(tiny_llama, one, other):
        expected = logits_of(tiny_llama)
    with intervene(tiny_llama, one):
        logits_of(tiny_llama)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with intervene(tiny_llama, other):
                assert torch.equal(logits_of(tiny_llama), expected)


@pytest.mark.parametrize(("value", "said"), [(-0.3, True), (-0.27, False), (5.0, False), (0.0, False)])
def test_a_constant_that_no_activation_has_is_noted(tiny_llama: LlamaForCausalLM, value: float, said: bool) -> None:
    one = Intervention(chosen((2, 48)), Constant(value=value))
    told = notes(one, find_sites(tiny_llama))
    assert bool(told) == said
    if said:
        assert told == ["-0.3 is no activation that SiLUActivation gives, whose range is -0.278 to inf"]
        with pytest.warns(UserWarning, match=r"range is -0\.278 to inf"), intervene(tiny_llama, one):
            logits_of(tiny_llama)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with intervene(tiny_llama, one):
                logits_of(tiny_llama)
    elsewhere = Intervention(chosen((2, 48)), Constant(value=value), at="mlp.up")  # a map gives any number
    assert notes(elsewhere, find_sites(tiny_llama, "mlp.up")) == []


def test_the_range_is_that_of_the_family_s_function(make: Make) -> None:
    for family, lowest in (("opt", 0.0), ("gemma", -0.17), ("llama", -0.278)):  # ReLU, GELU (tanh), SiLU
        sites = find_sites(make(family))
        for value, said in ((lowest - 0.01, True), (lowest + 0.001, False), (50.0, False)):
            assert bool(notes(Intervention(chosen((3, 40)), Constant(value=value)), sites)) == said, (family, value)


def test_a_model_that_ddp_wraps(tiny_llama: LlamaForCausalLM, tmp_path: Path) -> None:
    one = Intervention(chosen((2, 48)))
    with intervene(tiny_llama, one):
        expected = logits_of(tiny_llama)
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(tiny_llama)
        with intervene(wrapped, one):
            assert torch.equal(logits_of(wrapped), expected)
        assert not torch.equal(logits_of(wrapped), expected)
    finally:
        distributed.destroy_process_group()


def test_sites_that_have_been_found_are_not_looked_for_again(tiny_llama: LlamaForCausalLM) -> None:
    one, sites = Intervention(chosen((2, 48))), {"mlp.act": find_sites(tiny_llama)}
    forwards: list[int] = []
    with tiny_llama.register_forward_pre_hook(lambda _m, _a: forwards.append(1)):
        with intervene(tiny_llama, one, sites=sites):  # type: ignore[arg-type]
            assert forwards == []
            found = logits_of(tiny_llama)
        with intervene(tiny_llama, one):
            assert len(forwards) == 2
            assert torch.equal(logits_of(tiny_llama), found)
