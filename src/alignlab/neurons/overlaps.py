"""How much two sets of neurons that were made independently have in common, beside what chance would give them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.checks import grid_problems


@dataclass(frozen=True)
class Overlap:
    """Two sets, and what two random sets of the same sizes in every layer would share.

    size_a, size_b, common: neurons of either set and of both.
    jaccard: common / (size_a + size_b - common); NaN where both sets are empty.
    expected: E = sum_l a_l * b_l / n_l, the mean number in common by chance, n_l being the pool of layer l.
    chance: E / (size_a + size_b - E), to be read beside `jaccard`; NaN where both sets are empty.
    z: (common - E) / standard deviation, its square the hypergeometric variances summed over the layers; NaN where
        chance leaves no freedom, such as for an empty set.
    ratio: common / size_a, the share of the first set that the second holds too; NaN where the first is empty.
    """

    size_a: int
    size_b: int
    common: int
    jaccard: float
    expected: float
    chance: float
    z: float
    ratio: float


def overlap(a: Tensor, b: Tensor, pool: Tensor | None = None) -> Overlap:
    """Compare two sets, (L, N) bool.

    pool: (L, N) bool, the neurons from which both sets were taken, such as those selected; None for all.

    For two sets that were made independently of each other, such as by two methods or in two models. The sets of the
    languages of one classification are not: a related neuron is in two of them by definition, so that nearly all pairs
    would seem to share more than chance; `alignlab.neurons.language_overlaps` is for these.

    Raises InputError for other shapes and types, and for neurons outside the pool.
    """
    _check({"a": a, "b": b}, pool)
    first, second = a.numpy(), b.numpy()
    of_a, of_b = first.sum(axis=1), second.sum(axis=1)
    n = np.full(len(first), first.shape[1]) if pool is None else pool.numpy().sum(axis=1)
    size_a, size_b, common = int(of_a.sum()), int(of_b.sum()), int(np.count_nonzero(first & second))
    # An empty layer has nothing in common; a layer of one neuron leaves no freedom.
    n, several = np.maximum(n, 1), np.maximum(n - 1, 1)
    expected = float((of_a * of_b / n).sum())
    variance = float((of_a / n * (of_b / n) * (n - of_a) * ((n - of_b) / several)).sum())
    return Overlap(
        size_a=size_a,
        size_b=size_b,
        common=common,
        jaccard=share(common, size_a + size_b - common),
        expected=expected,
        chance=share(expected, size_a + size_b - expected),
        z=share(common - expected, math.sqrt(variance)),
        ratio=share(common, size_a),
    )


def _check(sets: Mapping[str, Tensor], pool: Tensor | None) -> None:
    pools = {} if pool is None else {"pool": pool}
    refuse_any(grid_problems({**sets, **pools}, torch.bool))
    if pool is not None:
        outside = {name: int((mask & ~pool).sum()) for name, mask in sets.items()}
        refuse_any(
            [
                Problem(name, f"{number} neurons outside the pool", "neurons of the pool only")
                for name, number in outside.items()
                if number
            ]
        )


def share(part: float, whole: float) -> float:
    """part / whole, NaN of nothing."""
    return part / whole if whole else math.nan
