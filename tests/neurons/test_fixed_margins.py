"""Draws with fixed margins against all matrices that there are, and against a slow curveball."""

from __future__ import annotations

import itertools
import random as plain_random
from collections import Counter

import numpy as np
import pytest

from alignlab.neurons.fixed_margins import CHAINS_A_WORD, common_counts, draw_memberships


def unpacked(drawn: np.ndarray) -> np.ndarray:
    """(draws, n, G) bool, bit by bit."""
    draws = drawn.shape[2] * CHAINS_A_WORD
    return np.array(
        [[[bool(int(cell[d // 64]) >> d % 64 & 1) for cell in row] for row in drawn] for d in range(draws)], bool
    )


def all_matrices(degrees: list[int], sizes: list[int]) -> list[tuple[tuple[int, ...], ...]]:
    """Every 0/1 matrix with these row and column sums, by trying all rows."""
    choices = [[row for row in itertools.product((0, 1), repeat=len(sizes)) if sum(row) == d] for d in degrees]
    return [
        rows for rows in itertools.product(*choices) if [sum(column) for column in zip(*rows, strict=True)] == sizes
    ]


def curveball(members: np.ndarray, trades: int, random: plain_random.Random) -> np.ndarray:
    """Strona et al. 2014: two languages put together the neurons that one of them has, and deal them out anew."""
    owned = [set(np.flatnonzero(column).tolist()) for column in members.T]
    for _ in range(trades):
        a, b = random.sample(range(len(owned)), 2)
        both, either = owned[a] & owned[b], list(owned[a] ^ owned[b])
        random.shuffle(either)
        cut = len(owned[a]) - len(both)
        owned[a], owned[b] = both | set(either[:cut]), both | set(either[cut:])
    found = np.zeros_like(members)
    for language, neurons in enumerate(owned):
        found[list(neurons), language] = True
    return found


@pytest.mark.parametrize(
    ("degrees", "sizes"),
    [
        ([2, 2, 2, 2], [2, 2, 2, 2]),
        ([2, 2, 3, 1, 2], [4, 3, 2, 1]),
        ([3, 3, 2, 1], [4, 2, 1, 1, 1]),
        ([1, 1, 1], [1, 1, 1]),
        ([2, 3, 3, 3], [4, 3, 2, 2]),
    ],
)
def test_every_matrix_of_the_margins_is_equally_probable(degrees: list[int], sizes: list[int]) -> None:
    possible = all_matrices(degrees, sizes)
    assert len(possible) > 2
    # The start, which has no part in it, is the first.
    drawn = unpacked(draw_memberships(np.array(possible[0], bool), 64, np.random.default_rng(1)))
    counted = Counter(tuple(tuple(map(int, row)) for row in one) for one in drawn)
    assert set(counted) <= set(possible)
    expected = len(drawn) / len(possible)
    chi_squared = sum((counted[one] - expected) ** 2 / expected for one in possible)
    # Mean and standard deviation of chi squared; the seed is fixed.
    freedom = len(possible) - 1
    assert abs(chi_squared - freedom) < 4 * (2 * freedom) ** 0.5


def clustered(n: int, g: int, degree: int) -> np.ndarray:
    """Far from random: neighbouring neurons have neighbouring languages; the first language is small."""
    found = np.zeros((n, g), bool)
    for neuron in range(n):
        first = 1 + neuron * (g - degree) // n
        found[neuron, first : first + degree] = True
    found[0] = True
    found[0, g - 1] = False
    return found


@pytest.mark.parametrize(("n", "g", "degree"), [(40, 10, 2), (24, 9, 3), (40, 20, 2), (31, 8, 4), (30, 12, 10)])
def test_as_curveball_does_from_a_start_far_away(n: int, g: int, degree: int) -> None:
    start = clustered(n, g, degree)
    drawn = common_counts(draw_memberships(start, 32, np.random.default_rng(2))).astype(float)
    random, slow = plain_random.Random(3), []
    now = curveball(start, 100 * g, random)
    for _ in range(1000):
        now = curveball(now, 8 * g, random)
        x = now.astype(float)
        slow.append(x.T @ x)
    expected = np.array(slow)
    a, b = np.triu_indices(g, 1)
    sd = np.maximum(expected.std(axis=0)[a, b], 0.1)
    off = (drawn.mean(axis=0) - expected.mean(axis=0))[a, b] / sd
    # Means of 2048 and 1000 draws differ by 0.039 sd.
    assert np.abs(off).max() < 0.16
    assert np.sqrt((off**2).mean()) < 0.06
    ratio = drawn.var(axis=0)[a, b].sum() / expected.var(axis=0)[a, b].sum()
    assert ratio == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("shape", [(13, 7), (12, 6), (2, 5), (5, 2), (1, 6), (6, 1)])
def test_margins_are_kept_in_every_draw(shape: tuple[int, int]) -> None:
    members = np.random.default_rng(0).random(shape) < 0.5
    packed = draw_memberships(members, 2, np.random.default_rng(0))
    drawn = unpacked(packed)
    assert drawn.shape == (128, *shape)
    assert (drawn.sum(axis=1) == members.sum(axis=0)).all()
    assert (drawn.sum(axis=2) == members.sum(axis=1)).all()
    counted = common_counts(packed)
    for one, found in zip(drawn.astype(int), counted, strict=True):
        assert (found == one.T @ one).all()
    if min(shape) > 2:
        assert len({one.tobytes() for one in drawn}) > 100
