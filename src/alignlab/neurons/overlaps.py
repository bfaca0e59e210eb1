"""How much two sets of neurons have in common, beside what chance would give them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from alignlab.errors import InputError, Problem


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

    For sets of the kind specific it says nothing: they are disjoint by definition. Raises InputError for other shapes
    and types, and for neurons outside the pool.
    """
    masks = {"a": a, "b": b} | ({} if pool is None else {"pool": pool})
    arrays = {name: np.asarray(mask) for name, mask in masks.items()}
    problems = [
        Problem(name, f"shape {array.shape} of {array.dtype}", f"{arrays['a'].shape} of bool, (layers, neurons)")
        for name, array in arrays.items()
        if array.dtype != np.bool_ or array.ndim != 2 or array.shape != arrays["a"].shape
    ]
    for name in ("a", "b") if pool is not None and not problems else ():
        outside = int((arrays[name] & ~arrays["pool"]).sum())
        if outside:
            problems.append(Problem(name, f"{outside} neurons outside the pool", "neurons of the pool only"))
    if problems:
        raise InputError(*problems)

    of_a, of_b = arrays["a"].sum(axis=1), arrays["b"].sum(axis=1)
    n = arrays["pool"].sum(axis=1) if pool is not None else np.full(len(of_a), arrays["a"].shape[1])
    # An empty layer has nothing in common; a layer of one neuron leaves no freedom.
    n, several = np.maximum(n, 1), np.maximum(n - 1, 1)
    expected = float((of_a * of_b / n).sum())
    variance = float((of_a / n * (of_b / n) * (n - of_a) * ((n - of_b) / several)).sum())
    common = int((arrays["a"] & arrays["b"]).sum())
    size_a, size_b = int(of_a.sum()), int(of_b.sum())
    return Overlap(
        size_a=size_a,
        size_b=size_b,
        common=common,
        jaccard=_share(common, size_a + size_b - common),
        expected=expected,
        chance=_share(expected, size_a + size_b - expected),
        z=_share(common - expected, math.sqrt(variance)),
        ratio=_share(common, size_a),
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan
