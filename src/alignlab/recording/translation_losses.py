"""How likely texts are as translations: of each pair the mean negative log-likelihood under an encoder-decoder.

A text that is in several pairs of a batch goes through the encoder once. Padding is masked on both sides, and a loss is
that of one pair: it is averaged over its own tokens, never over a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutput

from alignlab.models.modes import evaluating

Tokens = npt.NDArray[np.int32]
Pair = tuple[int, int]
# Logits that are held in float32 at once: on a processor so few that they stay in its cache.
_ON_A_PROCESSOR, _ON_A_GPU = 1_500_000, 500_000_000
_NONE = -100  # what transformers leaves out of a loss


def translation_losses(
    model: nn.Module,
    encoded: Sequence[Tokens],
    decoded: Sequence[Tokens],
    pairs: Sequence[Pair],
    *,
    max_tokens_per_batch: int,
    context: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """The loss of each of P pairs, (P,) float64: nats a token of the decoded text, given the encoded one.

    encoded, decoded: tokens of texts with all that their tokenizer adds; all those of the decoded one count.
    pairs: places of an encoded text and of a decoded one.
    max_tokens_per_batch: of a forward at most, both texts of each pair and padding counted; a pair that is longer is a
        batch of its own.
    context: entered around each forward, such as an autocast.
    """
    found = torch.zeros(len(pairs), dtype=torch.float64)
    with evaluating(model), torch.no_grad():
        for batch in batches(encoded, decoded, pairs, max_tokens_per_batch):
            with context():
                found[batch] = _losses(model, encoded, decoded, [pairs[number] for number in batch])
    return found


def batches(
    encoded: Sequence[Tokens], decoded: Sequence[Tokens], pairs: Sequence[Pair], max_tokens: int
) -> Iterator[list[int]]:
    """The numbers of the pairs of each batch: pairs of one encoded text together, and texts of like length."""

    def sizes(number: int) -> tuple[int, int, int]:
        first, second = pairs[number]
        return len(encoded[first]), first, len(decoded[second])

    batch: list[int] = []
    widest = 0, 0
    for number in sorted(range(len(pairs)), key=sizes):
        length, _, answer = sizes(number)
        wider = max(widest[0], length), max(widest[1], answer)
        if batch and (len(batch) + 1) * sum(wider) > max_tokens:
            yield batch
            batch, wider = [], (length, answer)
        batch.append(number)
        widest = wider
    if batch:
        yield batch


def _losses(model: Any, encoded: Sequence[Tokens], decoded: Sequence[Tokens], pairs: Sequence[Pair]) -> Tensor:
    device = next(model.parameters()).device
    texts = {first: row for row, first in enumerate(dict.fromkeys(first for first, _ in pairs))}
    ids, mask = _padded([encoded[first] for first in texts], model.config.pad_token_id)
    labels, counted = _padded([decoded[second] for _, second in pairs], _NONE)
    ids, mask, labels = ids.to(device), mask.to(device).long(), labels.to(device)
    rows = torch.tensor([texts[first] for first, _ in pairs], device=device)
    hidden = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
    # With labels the model itself makes of them what its decoder is given. The loss that it takes of them too is one
    # number for the whole batch, and not read.
    logits = model(
        encoder_outputs=BaseModelOutput(last_hidden_state=hidden[rows]),
        attention_mask=mask[rows],
        labels=labels,
        use_cache=False,
    ).logits
    return _of_tokens(logits, labels).view(labels.shape).sum(1) / counted.sum(1)


def _of_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    """(B * T,) float64, 0 where the label is none. logits: (B, T, vocabulary).  labels: (B, T)."""
    most = _ON_A_PROCESSOR if logits.device.type == "cpu" else _ON_A_GPU
    size = max(1, most // logits.shape[-1])
    exact = torch.promote_types(logits.dtype, torch.float32)
    parts = zip(logits.flatten(0, 1).split(size), labels.flatten().split(size), strict=True)
    losses = [F.cross_entropy(part.to(exact), label, ignore_index=_NONE, reduction="none") for part, label in parts]
    return torch.cat(losses).cpu().double()


def _padded(texts: Sequence[Tokens], fill: int) -> tuple[Tensor, Tensor]:
    """Texts one below the other, (B, T) int64, and where they are, (B, T) bool."""
    longest = max(map(len, texts))
    rows = np.full((len(texts), longest), fill, dtype=np.int64)
    there = np.zeros((len(texts), longest), dtype=bool)
    for row, text in enumerate(texts):
        rows[row, : len(text)] = text
        there[row, : len(text)] = True
    return torch.from_numpy(rows), torch.from_numpy(there)
