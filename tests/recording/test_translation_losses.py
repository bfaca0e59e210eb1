"""Losses of pairs against transformers' own loss of each, alone and padded, for several kinds of encoder-decoder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from alignlab.recording.translation_losses import batches, translation_losses

V, PAD = 60, 1
SIZES = {
    "vocab_size": V, "d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
    "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64,
    "pad_token_id": PAD, "bos_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
KINDS: dict[str, Callable[[], Any]] = {
    "m2m100": lambda: transformers.M2M100Config(**SIZES, decoder_start_token_id=2),
    "mbart": lambda: transformers.MBartConfig(**SIZES, decoder_start_token_id=2),
    "marian": lambda: transformers.MarianConfig(**SIZES, decoder_start_token_id=PAD),
    "bart": lambda: transformers.BartConfig(**SIZES, decoder_start_token_id=2),
    "t5": lambda: transformers.T5Config(
        vocab_size=V,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        pad_token_id=PAD,
        decoder_start_token_id=PAD,
    ),
}


def make(kind: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForSeq2SeqLM.from_config(KINDS[kind]()).double()
        for weight in model.parameters():
            if weight.ndim > 1:
                torch.nn.init.normal_(weight, 0, 0.3)
        return model.eval()


def texts(count: int, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.integers(3, V, rng.integers(2, 12)).astype(np.int32) for _ in range(count)]


ENCODED, DECODED = texts(7, 0), texts(9, 1)
PAIRS = [(first, second) for first in range(7) for second in range(9) if (first * second) % 3 != 1]


def alone(model: Any, first: Any, second: Any, padding: int) -> float:
    """transformers' loss of one pair, on both sides with so much padding that is masked."""
    ids = torch.full((1, len(first) + padding), PAD)
    ids[0, : len(first)] = torch.from_numpy(first)
    labels = torch.full((1, len(second) + padding), -100)
    labels[0, : len(second)] = torch.from_numpy(second)
    mask = (torch.arange(ids.shape[1]) < len(first)).long().unsqueeze(0)
    with torch.no_grad():
        return float(model(input_ids=ids, attention_mask=mask, labels=labels).loss)


@pytest.mark.parametrize("kind", KINDS)
def test_each_loss_is_transformers_own_of_the_pair(kind: str) -> None:
    model = make(kind)
    found = translation_losses(model, ENCODED, DECODED, PAIRS, max_tokens_per_batch=200)
    for padding in (0, 5):
        expected = [alone(model, ENCODED[first], DECODED[second], padding) for first, second in PAIRS]
        assert np.allclose(found.numpy(), expected, rtol=1e-10, atol=0)
    assert found.std() > 0.1  # it minds what it reads


def test_batches_hold_every_pair_once_within_their_size() -> None:
    for most in (1, 60, 300, 10_000):
        dealt = list(batches(ENCODED, DECODED, PAIRS, most))
        assert sorted(number for batch in dealt for number in batch) == list(range(len(PAIRS)))
        for batch in dealt:
            widths = [
                max(len(side[PAIRS[number][at]]) for number in batch) for at, side in ((0, ENCODED), (1, DECODED))
            ]
            assert len(batch) == 1 or len(batch) * sum(widths) <= most
    assert len(list(batches(ENCODED, DECODED, PAIRS, 10_000))) == 1
    assert list(batches(ENCODED, DECODED, [], 100)) == []


def test_the_size_of_batches_changes_nothing_and_modes_stay() -> None:
    model = make("m2m100")
    whole = translation_losses(model, ENCODED, DECODED, PAIRS, max_tokens_per_batch=10_000)
    model.train()
    for most in (1, 90):
        part = translation_losses(model, ENCODED, DECODED, PAIRS, max_tokens_per_batch=most)
        assert torch.allclose(part, whole, rtol=1e-12, atol=0)
    assert all(module.training for module in model.modules())
    assert not any(weight.grad is not None for weight in model.parameters())


def test_a_text_goes_through_the_encoder_once_a_batch() -> None:
    model, rows = make("m2m100"), []
    model.get_encoder().register_forward_hook(lambda *given: rows.append(given[-1].last_hidden_state.shape[0]))
    translation_losses(model, ENCODED, DECODED, PAIRS, max_tokens_per_batch=10_000)
    assert rows == [len({first for first, _ in PAIRS})]
