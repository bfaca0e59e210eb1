"""Answers that are drawn: the same ones from the same seed, whatever they are drawn beside.

The token at a position is where one number between 0 and 1 falls among the probabilities of all tokens, in the order of
the vocabulary. The number is a function of the seed, the name of the answer and the position alone, so that batches,
ranks and the order of the answers change no draw. What can still differ is the probabilities: batches of another shape
round the logits otherwise, by about 1e-6 in float32 and 1e-2 in bfloat16, and about as seldom another token is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LogitsProcessor, TemperatureLogitsWarper, TopPLogitsWarper


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn.

    names: of each prompt to be answered; prompts of one name draw the same numbers.
    temperature: by which logits are divided, over 0.
    top_p: of the tokens only the likeliest, until their probabilities sum to this (Holtzman et al. 2020); over 0.
    """

    seed: int
    names: Sequence[str]
    temperature: float
    top_p: float = 1.0


class Draws(LogitsProcessor):
    """Leaves of all tokens the one that is drawn, for `generate` to take.

    numbers: (B, R) float64 in [0, 1), for each row of the batch and each new token.
    prompt_length: tokens of the padded prompts.
    """

    def __init__(self, numbers: Tensor, prompt_length: int, sampling: Sampling) -> None:
        self.numbers, self.prompt_length = numbers, prompt_length
        self.warpers: list[LogitsProcessor] = [TemperatureLogitsWarper(sampling.temperature)]
        if sampling.top_p < 1:
            self.warpers.append(TopPLogitsWarper(sampling.top_p))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """input_ids: (B, T), padded prompts and what was drawn so far.  scores: (B, vocabulary) float32 logits."""
        left = scores
        for warper in self.warpers:
            left = warper(input_ids, left)
        drawn = draw(left, self.numbers[:, input_ids.shape[1] - self.prompt_length])
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn.unsqueeze(1), 0.0)


def draw(logits: Tensor, numbers: Tensor) -> Tensor:
    """The token into whose share of the probability each number falls: (B,) int64.

    logits: (B, vocabulary); -inf is never drawn.  numbers: (B,) float64 in [0, 1).
    """
    below = logits.double().softmax(-1).cumsum(-1)  # float64: a vocabulary of 150,000 sums to 1 within 1e-12
    return torch.searchsorted(below, numbers.unsqueeze(1) * below[:, -1:], right=True).squeeze(1)


def uniform(seed: int, name: str, count: int) -> npt.NDArray[np.float64]:
    """The first `count` of the numbers in [0, 1) that belong to a name: (count,) float64, multiples of 2^-52.

    Of Philox (Salmon et al. 2011), whose output NumPy keeps from version to version.
    """
    key = int.from_bytes(hashlib.sha256(f"{seed}\0{name}".encode()).digest()[:16], "little")
    raw = np.random.Philox(key=key).random_raw(count)
    return np.ldexp((np.asarray(raw, dtype=np.uint64) >> np.uint64(12)).astype(np.float64), -52)
