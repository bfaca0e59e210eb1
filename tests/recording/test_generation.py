"""What is generated against the likeliest token, one at a time, of one prompt at a time, without cache or padding."""

from __future__ import annotations

import copy
import logging
import warnings
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import peft
import pytest
import torch
import transformers
from torch import nn

from alignlab.errors import UnsupportedModelError
from alignlab.recording.generation import Response, generate, generator_of

NEW = 14
Prompts = list[npt.NDArray[np.int32]]


def make_prompts(vocabulary: int = 340, count: int = 12) -> Prompts:
    rng = np.random.default_rng(0)
    return [rng.integers(3, vocabulary, size=length).astype(np.int32) for length in rng.integers(1, 25, size=count)]


def slow(model: Any, prompts: Prompts, stops: set[int], new: int = NEW) -> list[tuple[list[int], bool]]:
    """Tokens and whether an EOS ended them."""
    responses = []
    for prompt in prompts:
        tokens: list[int] = []
        while len(tokens) < new and not (tokens and tokens[-1] in stops):
            ids = torch.tensor([prompt.tolist() + tokens])
            with torch.no_grad():
                logits = model(input_ids=ids, use_cache=False).logits
            tokens.append(max(range(logits.shape[-1]), key=logits[0, -1].tolist().__getitem__))
        responses.append((tokens, tokens[-1] in stops))
    return responses


def plain(responses: list[Response]) -> list[tuple[list[int], bool]]:
    return [(response.tokens.tolist(), response.ended) for response in responses]


def frequent(responses: list[tuple[list[int], bool]]) -> int:
    """A token that ends many of the responses early, taken for an EOS."""
    seen = Counter(token for tokens, _ in responses for token in set(tokens[1:]))
    return seen.most_common(1)[0][0]


@pytest.mark.parametrize("budget", [1, 100, 10_000])
def test_responses_are_the_likeliest_tokens_one_after_another(tiny_llama: Any, budget: int) -> None:
    model, prompts = tiny_llama.double(), make_prompts()
    own = model.generation_config.eos_token_id
    extra = frequent(slow(model, prompts, {own}))
    expected = slow(model, prompts, {own, extra})
    ended = sum(end for _, end in expected)
    assert 2 < ended < len(prompts)
    done: list[int] = []
    found = generate(
        model, prompts, max_new_tokens=NEW, max_tokens_per_batch=budget, eos_ids=[extra], advance=done.append
    )
    assert plain(found) == expected
    assert sum(done) == len(prompts)
    assert all(size * (1 + NEW) <= max(budget, 25 + NEW) for size in done)  # new tokens are in the budget
    assert (len(done) == len(prompts)) == (budget == 1)


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 60, "pad_token_id": 0,
         "bos_token_id": 1, "eos_token_id": 2}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 64},
    "opt": {"word_embed_proj_dim": 32, "ffn_dim": 40, "max_position_embeddings": 64},  # positions from the mask
    "bloom": {},  # no positions, but distances
    "gemma3_text": {"head_dim": 8, "num_key_value_heads": 2, "intermediate_size": 40, "sliding_window": 6},
    "falcon": {"ffn_hidden_size": 40},
}


def make_family(family: str, **changes: Any) -> Any:
    config = transformers.AutoConfig.for_model(family, **{**SMALL, **FAMILIES[family], **changes})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)  # at the usual scale it hardly reacts to its input
    return model.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_families_with_other_positions_are_padded_as_they_want_it(family: str) -> None:
    model, prompts = make_family(family), make_prompts(60)
    found = plain(generate(model, prompts, max_new_tokens=NEW, max_tokens_per_batch=200))
    assert found == slow(model, prompts, {2})
    assert len({tuple(tokens) for tokens, _ in found}) > 3


def test_eager_attention_in_double_precision_is_not_padded(tiny_llama: Any) -> None:
    """Padding becomes NaN there, and all responses the token 0."""
    tiny_llama.set_attn_implementation("eager")
    model, prompts = tiny_llama.double(), make_prompts()
    stops = {model.generation_config.eos_token_id}
    assert plain(generate(model, prompts, max_new_tokens=NEW, max_tokens_per_batch=500)) == slow(model, prompts, stops)


def lora(model: Any, task: str | None = None) -> Any:
    config = peft.LoraConfig(r=4, target_modules=["gate_proj", "q_proj"], init_lora_weights=False, task_type=task)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return peft.get_peft_model(model, config)


@pytest.mark.parametrize("task", [None, "CAUSAL_LM"])
def test_an_adapter_answers_too_with_gradient_checkpointing(tiny_llama: Any, task: str | None) -> None:
    base = copy.deepcopy(tiny_llama).double()
    prompts, stops = make_prompts(), {base.generation_config.eos_token_id}
    model = lora(tiny_llama.double(), task)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.config.use_cache = False
    model.train()
    found = plain(generate(model, prompts, max_new_tokens=NEW, max_tokens_per_batch=200))
    assert model.training
    assert model.is_gradient_checkpointing
    assert model.config.use_cache is False
    assert found == slow(model.eval(), prompts, stops)
    assert found != slow(base, prompts, stops)


def test_the_generation_config_neither_bends_the_responses_nor_is_bent(
    tiny_llama: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    model, prompts = tiny_llama.double(), make_prompts()
    expected = slow(model, prompts, {7, model.generation_config.eos_token_id})
    own = transformers.GenerationConfig(
        do_sample=True, temperature=3.0, top_k=2, repetition_penalty=9.0, no_repeat_ngram_size=2, min_new_tokens=5,
        max_length=3, num_beams=2, eos_token_id=[7, model.generation_config.eos_token_id], use_cache=False,
    )  # fmt: skip
    model.generation_config = own
    before = own.to_dict()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert plain(generate(model, prompts, max_new_tokens=NEW, max_tokens_per_batch=200)) == expected
    assert model.generation_config is own
    assert own.to_dict() == before
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_failure_leaves_the_model_as_it_was(tiny_llama: Any) -> None:
    tiny_llama.train()
    own = tiny_llama.generation_config
    with pytest.raises(IndexError):
        generate(tiny_llama, [np.array([999_999], dtype=np.int32)], max_new_tokens=2, max_tokens_per_batch=9)
    assert tiny_llama.generation_config is own
    assert tiny_llama.training


def test_modes_gradients_and_random_numbers_are_left_alone(tiny_llama: Any) -> None:
    model = tiny_llama
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.5
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    before = torch.random.get_rng_state()
    one, other = (plain(generate(model, make_prompts(), max_new_tokens=9, max_tokens_per_batch=200)) for _ in range(2))
    assert one == other  # no dropout
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_context_is_around_every_forward(tiny_llama: Any) -> None:
    seen = []
    tiny_llama.lm_head.register_forward_hook(lambda _m, _i, out: seen.append(out.dtype))
    options: dict[str, Any] = {"max_new_tokens": 3, "max_tokens_per_batch": 60}
    generate(tiny_llama, make_prompts(), context=lambda: torch.autocast("cpu", dtype=torch.bfloat16), **options)
    assert len(seen) > 3
    assert set(seen) == {torch.bfloat16}


def test_a_model_without_eos_is_cut(tiny_llama: Any) -> None:
    tiny_llama.generation_config.eos_token_id = None
    responses = generate(tiny_llama, make_prompts(), max_new_tokens=5, max_tokens_per_batch=100)
    assert {(len(response.tokens), response.ended) for response in responses} == {(5, False)}


def test_what_cannot_generate_is_refused() -> None:
    with pytest.raises(UnsupportedModelError) as refusal:
        generator_of(nn.Linear(2, 2))
    assert str(refusal.value) == (
        "probe.responses: Linear cannot generate; expected a causal language model (AutoModelForCausalLM). "
        "Set probe.responses=reference."
    )
