"""How documents are put together: batches for reading, and the plan of a training run's steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from alignlab.data.encoding import Document


@dataclass(frozen=True)
class Batch:
    """B documents padded on the right to T tokens.

    input_ids: (B, T) int64.
    attention_mask: (B, T) int64, 1 where there is a token.
    answer: (B, T) bool, the token belongs to the answer.
    """

    input_ids: Tensor
    attention_mask: Tensor
    answer: Tensor


def pad(documents: Sequence[Document], pad_id: int) -> Batch:
    """Put documents side by side, padded on the right (a causal model then needs no position ids)."""
    return Batch(
        side_by_side([document.tokens for document in documents], pad_id).long(),
        side_by_side([np.ones(len(document), dtype=np.int64) for document in documents]),
        side_by_side([document.answer for document in documents]),
    )


def side_by_side(
    rows: Sequence[npt.NDArray[Any]], fill: int = 0, padding_side: Literal["left", "right"] = "right"
) -> Tensor:
    """Rows of different lengths as one tensor of their type, padded with `fill`: (B, T)."""
    tensors = [torch.tensor(row) for row in rows]
    return pad_sequence(tensors, batch_first=True, padding_value=fill, padding_side=padding_side)


def token_budget_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Indices of documents in batches of at most `max_tokens` tokens, padding counted, longest documents first.

    A document that is longer than the budget is a batch of its own. Longest first, so that memory runs out at once or
    never.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def split_evenly(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of documents in exactly `parts` groups of similar length and about the same number of tokens.

    Every group gets a document while there are any. Sorted by length and cut where the running number of tokens is
    nearest to each part's share, so that a group holds documents of one length and little padding.
    """
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    before = np.cumsum([0, *(lengths[index] for index in order)])  # tokens before each possible cut
    cuts = [0]
    for part in range(1, parts):
        cut = int(np.abs(before - before[-1] * part / parts).argmin())
        # A document left for each of the parts that follow: the long ones are last, and may exceed their shares.
        cuts.append(min(cut, max(len(order) - (parts - part), cuts[-1])))
    cuts.append(len(order))
    return [order[start:end] for start, end in pairwise(cuts)]


@dataclass(frozen=True, eq=False)  # hashed by identity: the cache below must not hash all lengths at every step
class StepPlan:
    """Which documents each optimiser step of a run sees: a pure function of the seed and the step.

    The run is a stream of permutations of the documents, one an epoch, cut into windows of at most `window_steps`
    steps that begin in the same epoch. Within a window documents are sorted by length and cut into steps, whose order
    is then shuffled: steps of one length, little padding, and still every document once an epoch.

    lengths: tokens of each document.
    examples_per_step: documents of a step, over all ranks and accumulated micro-batches.
    total_steps: steps of the whole run; the last window ends there.
    """

    lengths: tuple[int, ...]
    examples_per_step: int
    total_steps: int
    seed: int
    window_steps: int = 16

    def step(self, step: int) -> list[int]:
        """Indices of the documents of `step` (from 0)."""
        count, size = len(self.lengths), self.examples_per_step
        epoch = step * size // count
        # The steps that begin in this epoch; a longer window would put a document into the same step twice.
        begin, end = -(-epoch * count // size), -(-(epoch + 1) * count // size)
        first = begin + (step - begin) // self.window_steps * self.window_steps
        steps = min(self.window_steps, end - first, self.total_steps - first)
        return _window(self, first, steps)[step - first]

    def micro_batches(self, step: int, parts: int) -> list[list[int]]:
        """The documents of `step` dealt to `parts` = ranks x accumulation micro-batches, balanced by tokens.

        A part is empty where the step has fewer documents than parts.
        """
        documents = self.step(step)
        groups = split_evenly([self.lengths[index] for index in documents], parts)
        return [[documents[position] for position in group] for group in groups]


@lru_cache(maxsize=16)
def permutation(seed: int, epoch: int, documents: int) -> npt.NDArray[np.int64]:
    """The order in which an epoch sees its documents."""
    return np.random.default_rng([seed, 0, epoch]).permutation(documents)


@lru_cache(maxsize=4)
def _window(plan: StepPlan, first: int, steps: int) -> list[list[int]]:
    count, size = len(plan.lengths), plan.examples_per_step
    stream = [
        int(permutation(plan.seed, position // count, count)[position % count])
        for position in range(first * size, (first + steps) * size)
    ]
    stream.sort(key=lambda index: plan.lengths[index])
    order = np.random.default_rng([plan.seed, 1, first]).permutation(steps)
    return [stream[start * size : (start + 1) * size] for start in order]


def steps_of_epochs(documents: int, examples_per_step: int, epochs: float) -> int:
    """Optimiser steps in which every document is seen `epochs` times; the last step is filled from the next epoch."""
    return max(1, int(np.ceil(documents * epochs / examples_per_step)))
