"""Logits at chosen rows only, and the loss made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import peft
import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, LlamaModel

from alignlab.errors import UnsupportedModelError
from alignlab.models import output_rows
from alignlab.models.output_rows import only_rows, output_head, predicting_rows, token_losses

ROWS = torch.tensor([0, 3, 4, 6, 12, 13, 5])


def ids(rows: int = 2, length: int = 7, seed: int = 1) -> Tensor:
    return torch.randint(3, 60, (rows, length), generator=torch.Generator().manual_seed(seed))


def logits(model: nn.Module, input_ids: Tensor) -> Tensor:
    with torch.no_grad():
        output: Tensor = model(input_ids=input_ids, attention_mask=torch.ones_like(input_ids), use_cache=False).logits
    return output


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_pre_hooks) for module in model.modules())


def test_every_family_gives_the_full_logits_at_the_rows(family: str, make: Any) -> None:
    model = make(family)
    full = logits(model, ids()).reshape(14, -1)
    with only_rows(model, ROWS):
        chosen = logits(model, ids())
    assert chosen.shape == (1, len(ROWS), full.shape[1])
    assert full.std() > 0.01
    torch.testing.assert_close(chosen[0], full[ROWS], atol=1e-6, rtol=1e-5)
    assert torch.equal(logits(model, ids()).reshape(14, -1), full)


def test_soft_cap_and_logit_scale_are_in_the_logits(make: Any) -> None:
    """That the small models do have what the test above is to show."""
    assert logits(make("gemma2", final_logit_softcapping=None), ids()).abs().max() > 0.6
    with only_rows(model := make("gemma2"), ROWS):
        assert logits(model, ids()).abs().max() <= 0.5
    with only_rows(model := make("cohere", logit_scale=1.0), ROWS):
        unscaled = logits(model, ids())
    with only_rows(model := make("cohere"), ROWS):
        torch.testing.assert_close(logits(model, ids()), 3 * unscaled)


def test_a_wrapped_model_gives_the_same(tiny_llama: LlamaForCausalLM) -> None:
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "lm_head"], init_lora_weights=False, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = peft.get_peft_model(tiny_llama, config).eval()
    full = logits(model, ids()).reshape(14, -1)
    with only_rows(model, ROWS):
        torch.testing.assert_close(logits(model, ids())[0], full[ROWS])


def test_the_head_sees_only_the_rows(tiny_llama: LlamaForCausalLM) -> None:
    seen: list[tuple[int, ...]] = []
    tiny_llama.lm_head.register_forward_hook(lambda _m, args, _o: seen.append(tuple(args[0].shape)))
    with only_rows(tiny_llama, ROWS):
        logits(tiny_llama, ids())
    assert seen == [(1, len(ROWS), 32)]


def test_no_rows_give_no_logits_and_no_loss(tiny_llama: LlamaForCausalLM) -> None:
    rows = torch.zeros(0, dtype=torch.int64)
    with only_rows(tiny_llama, rows):
        output = tiny_llama(input_ids=ids(), use_cache=False).logits
    assert output.shape[:2] == (1, 0)
    losses = token_losses(output, ids(), rows)
    assert (losses.shape, losses.dtype) == ((0,), torch.float32)
    losses.sum().backward()  # a rank without answers takes part in the backward pass all the same


@contextmanager
def broken(model: LlamaForCausalLM) -> Iterator[None]:
    handle = model.model.norm.register_forward_pre_hook(lambda _m, _a: [][0])
    try:
        yield
    finally:
        handle.remove()


def test_the_hook_is_gone_afterwards_also_when_the_forward_fails(tiny_llama: LlamaForCausalLM) -> None:
    full = logits(tiny_llama, ids())
    with only_rows(tiny_llama, ROWS):
        assert hooks(tiny_llama) == 1
    assert hooks(tiny_llama) == 0
    with broken(tiny_llama), pytest.raises(IndexError), only_rows(tiny_llama, ROWS):
        logits(tiny_llama, ids())
    assert hooks(tiny_llama) == 0
    assert torch.equal(logits(tiny_llama, ids()), full)


def test_gradients_are_those_of_the_full_logits(tiny_llama: LlamaForCausalLM) -> None:
    weight = tiny_llama.model.layers[0].mlp.gate_proj.weight
    with only_rows(tiny_llama, ROWS):
        chosen = tiny_llama(input_ids=ids(), use_cache=False).logits
    chosen.square().sum().backward()
    gradient = weight.grad.clone()
    weight.grad = None
    full = tiny_llama(input_ids=ids(), use_cache=False).logits.reshape(14, -1)
    full[ROWS].square().sum().backward()
    assert gradient.abs().max() > 0
    torch.testing.assert_close(gradient, weight.grad, atol=1e-5, rtol=1e-4)


def test_a_model_without_output_embeddings_is_refused(tiny_llama: LlamaForCausalLM) -> None:
    assert output_head(tiny_llama) is tiny_llama.lm_head
    headless = LlamaModel(tiny_llama.config)
    for model in (headless, nn.Linear(2, 2)):
        with pytest.raises(UnsupportedModelError, match=f"{type(model).__name__} has no output embeddings; expected a"):
            output_head(model)


# predicting_rows


@pytest.mark.parametrize("seed", range(50))
def test_a_token_is_predicted_from_the_one_before(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    rows, length = (int(torch.randint(1, 9, (), generator=generator)) for _ in range(2))
    targets = torch.rand((rows, length), generator=generator) < 0.5
    kept = targets.clone()
    slow = []
    for row in range(rows):
        for position in range(length):
            if targets[row, position] and position > 0:
                slow.append(row * length + position - 1)  # noqa: PERF401 - to be read, not to be fast
    result = predicting_rows(targets)
    assert result.tolist() == slow
    assert result.dtype == torch.int64
    assert torch.equal(targets, kept)


# token_losses


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2", "cohere", "granite"])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_is_transformers_own(make: Any, family: str, seed: int) -> None:
    model, input_ids = make(family), ids(rows=4, length=11, seed=seed)
    targets = torch.rand(input_ids.shape, generator=torch.Generator().manual_seed(seed)) < 0.4
    rows = predicting_rows(targets)
    with torch.no_grad():
        own = model(input_ids=input_ids, labels=torch.where(targets, input_ids, -100), use_cache=False).loss
        with only_rows(model, rows):
            chosen = model(input_ids=input_ids, use_cache=False).logits
    losses = token_losses(chosen, input_ids, rows)
    assert losses.shape == rows.shape
    torch.testing.assert_close(losses.mean(), own, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("held", [1, 700, 1_000_000])
def test_each_loss_is_of_the_token_after_its_row_also_in_chunks(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """held: numbers of a chunk: less than a row of logits, a hundred rows, all of them."""
    monkeypatch.setattr(output_rows, "_NUMBERS", held)
    count, vocabulary = 5000, 7
    generator = torch.Generator().manual_seed(0)
    input_ids = torch.randint(0, vocabulary, (3, 2000), generator=generator)
    rows = torch.randperm(5999, generator=generator)[:count]
    values = torch.randn((1, count, vocabulary), generator=generator, dtype=torch.float64)
    losses = token_losses(values, input_ids, rows)
    assert losses.dtype == torch.float64
    assert token_losses(values.bfloat16(), input_ids, rows).dtype == torch.float32
    flat = input_ids.flatten().tolist()
    for number in range(0, count, 97):
        shares = values[0, number].exp() / values[0, number].exp().sum()
        assert float(losses[number]) == pytest.approx(-float(shares[flat[int(rows[number]) + 1]].log()), abs=1e-12)


def test_losses_of_half_precision_logits_are_computed_in_float32() -> None:
    values = torch.tensor([[[3.0, 1.0, 0.5]]], dtype=torch.bfloat16)
    losses = token_losses(values, torch.tensor([[0, 1]]), torch.tensor([0]))
    exact = -torch.log_softmax(values[0, 0].double(), dim=0)[1]
    assert losses.dtype == torch.float32
    assert float(losses[0]) == pytest.approx(float(exact), abs=1e-6)


def test_padding_on_the_right_needs_no_mask(family: str, make: Any) -> None:
    """Texts are scored in batches padded on the right under a mask of ones: no token sees what comes later."""
    model = make(family)
    input_ids = ids(rows=2, length=7)
    with torch.no_grad():
        alone = model(input_ids=input_ids[:1, :4], use_cache=False).logits[0]
    together = logits(model, input_ids)[0, :4]
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=1e-5)
