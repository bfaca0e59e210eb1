"""Overlap and its chance against the hypergeometric distribution itself, in exact arithmetic, and against draws."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import overlap


def masks(rows: list[tuple[int, int, int, int]], width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sets a and b and their pool, from (pool, a, b, common) of each layer."""
    a, b, pool = (torch.zeros(len(rows), width, dtype=torch.bool) for _ in range(3))
    for layer, (n, of_a, of_b, common) in enumerate(rows):
        pool[layer, :n] = True
        a[layer, :of_a] = True
        b[layer, of_a - common : of_a - common + of_b] = True
        assert int((a[layer] & b[layer]).sum()) == common
    return a, b, pool


def distribution(n: int, a: int, b: int) -> dict[int, Fraction]:
    """How probable it is that b of n, drawn at random, hold each number of the a marked ones."""
    ways = {k: math.comb(a, k) * math.comb(n - a, b - k) for k in range(min(a, b) + 1) if b - k <= n - a}
    return {k: Fraction(way, math.comb(n, b)) for k, way in ways.items()}


def moments(rows: list[tuple[int, int, int, int]]) -> tuple[Fraction, Fraction]:
    """Mean and variance of the number in common over all layers, from the distribution of the sum."""
    total = {0: Fraction(1)}
    for n, a, b, _ in rows:
        layer = distribution(n, a, b)
        joint: dict[int, Fraction] = {}
        for k, share in total.items():
            for more, chance in layer.items():
                joint[k + more] = joint.get(k + more, Fraction(0)) + share * chance
        total = joint
    mean = sum((k * share for k, share in total.items()), Fraction(0))
    return mean, sum(((k - mean) ** 2 * share for k, share in total.items()), Fraction(0))


@pytest.mark.parametrize(
    "rows",
    [
        [(10, 4, 5, 3)],
        [(10, 4, 5, 3), (7, 2, 6, 2), (12, 12, 3, 3), (9, 0, 4, 0), (0, 0, 0, 0), (1, 1, 0, 0), (2, 1, 1, 0)],
        [(6, 1, 1, 1)] * 4,
    ],
)
def test_chance_is_that_of_the_hypergeometric_distribution(rows: list[tuple[int, int, int, int]]) -> None:
    a, b, pool = masks(rows, 12)
    found = overlap(a, b, pool)
    size_a, size_b, common = (sum(row[i] for row in rows) for i in (1, 2, 3))
    mean, variance = moments(rows)
    assert (found.size_a, found.size_b, found.common) == (size_a, size_b, common)
    assert found.expected == pytest.approx(float(mean), rel=1e-14)
    assert found.z == pytest.approx(float(common - mean) / math.sqrt(variance), rel=1e-13)
    assert found.jaccard == common / (size_a + size_b - common)
    assert found.chance == pytest.approx(float(mean / (size_a + size_b - mean)), rel=1e-14)
    assert found.ratio == common / size_a


def test_without_a_pool_all_neurons_of_the_layer_are_it() -> None:
    a, b, _ = masks([(12, 4, 5, 3), (12, 2, 6, 2)], 12)
    assert overlap(a, b) == overlap(a, b, torch.ones_like(a))
    assert overlap(a, b).expected == pytest.approx(4 * 5 / 12 + 2 * 6 / 12, rel=1e-15)


def test_random_sets_of_a_small_pool_overlap_as_much_as_chance_says() -> None:
    random = torch.Generator().manual_seed(0)
    pool = torch.rand(4, 60, generator=random) < 0.5

    def draw(share: float) -> torch.Tensor:
        return pool & (torch.rand(4, 60, generator=random) < share)

    found = [overlap(draw(0.3), draw(0.5), pool) for _ in range(2000)]
    z = torch.tensor([one.z for one in found])
    assert abs(float(z.mean())) < 4 / math.sqrt(2000)
    assert float(z.std()) == pytest.approx(1, abs=0.06)
    # Over all neurons, of which half cannot be drawn, the same sets look related.
    assert sum(overlap(draw(0.3), draw(0.5)).z for _ in range(200)) / 200 > 1


def test_sets_that_leave_nothing_to_compare() -> None:
    a, b, pool = masks([(10, 4, 5, 3)], 12)
    empty = torch.zeros_like(a)
    both = overlap(empty, empty)
    assert all(map(math.isnan, (both.jaccard, both.chance, both.z, both.ratio)))
    one = overlap(empty, b)
    assert (one.jaccard, one.chance, one.expected) == (0, 0, 0)
    assert math.isnan(one.z)
    assert math.isnan(one.ratio)
    whole = overlap(pool, b, pool)
    assert (whole.jaccard, whole.chance) == (0.5, 0.5)
    assert math.isnan(whole.z)
    assert overlap(a, a).jaccard == overlap(a, a).ratio == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a, b, pool: (a, b[:, :5], pool), "b: shape"),
        (lambda a, b, pool: (a.long(), b, pool), "a: shape"),
        (lambda a, b, pool: (a[0], b[0], pool[0]), "layers, neurons"),
        (lambda a, b, pool: (a, b, pool[:, 1:]), "pool: shape"),
        (lambda a, b, pool: (a, b, pool & ~a), "a: 4 neurons outside the pool"),
        (lambda a, b, pool: (a, b, a), "b: 2 neurons outside the pool"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: Callable[..., tuple[torch.Tensor, ...]], word: str) -> None:
    with pytest.raises(InputError, match=word):
        overlap(*change(*masks([(10, 4, 5, 3)], 12)))
