"""Memberships drawn at random with every neuron's degree and every language's number kept: the fixed-fixed null.

A chain of checkerboard swaps: of two neurons and two languages, where each neuron has the one language that the other
lacks, both exchange them with probability 1/2. Each exchange can be undone alike, so every matrix of these margins
becomes equally probable, as in curveball (Strona et al. 2014), which reaches the same distribution by larger moves. A
step pairs all neurons and all languages anew. 64 chains are the 64 bits of a word: an operation moves all of them.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from alignlab.neurons.probabilities import Bools

CHAINS_A_WORD = 64
# A step moves some density * (1 - density) * max(density, 1 - density) of all that can move. After half as many times
# the inverse of it a start of z = 5 is still off by 0.1; after so many, by less than can be told.
_MIXING = 20

Words = NDArray[np.uint64]


def draw_memberships(members: Bools, words: int, random: np.random.Generator) -> Words:
    """64 * `words` matrices drawn uniformly from those with the row and column sums of `members`.

    members: (n, G), the languages of each neuron of one layer.

    Returns (n, G, words): bit b of word w is the membership in draw 64 * w + b. Draws are independent of each other,
    given which pairs met in which step.

    Cost: about 5 * steps * n * G * words operations on words, with some 130 steps where languages have a third of the
    neurons each and 450 where they have a twentieth; some 24 * n * G * words bytes.
    """
    n, g = members.shape
    half, few = n // 2, g // 2
    state: Words = np.repeat(np.where(members, ~np.uint64(0), np.uint64(0)).reshape(n * g, 1), words, axis=1)
    if not half or not few:
        return state.reshape(n, g, words)
    other, neurons, languages = np.empty_like(state), np.arange(n), np.arange(g)
    for _ in range(_steps(float(members.mean()))):
        # Pairs meet by shuffling all, after which they are slices: no gathering and scattering of their four cells.
        rows, columns = random.permutation(n), random.permutation(g)
        neurons, languages = neurons[rows], languages[columns]
        np.take(state, (rows[:, None] * g + columns).ravel(), axis=0, out=other, mode="clip")
        state, other = other, state
        cells = state.reshape(n, g, words)
        first, second = cells[:half], cells[half : 2 * half]
        a, b = slice(few), slice(few, 2 * few)
        swap = random.integers(0, 1 << 64, size=(half, few, words), dtype=np.uint64)
        swap &= first[:, a] ^ first[:, b]
        swap &= first[:, a] ^ second[:, a]
        swap &= first[:, b] ^ second[:, b]
        for neuron in (first, second):
            for language in (a, b):
                neuron[:, language] ^= swap
    return state.reshape(n, g, words)[np.argsort(neurons)[:, None], np.argsort(languages)]


def common_counts(drawn: Words) -> NDArray[np.int32]:
    """How many neurons each pair of languages has in common in each draw, (draws, G, G).

    drawn: as `draw_memberships` gives them. On the diagonal are the neurons of each language.
    """
    n, g, words = drawn.shape
    found = np.empty((words * CHAINS_A_WORD, g, g), dtype=np.int32)
    for word in range(words):
        octets = np.ascontiguousarray(drawn[:, :, word].T).astype("<u8", copy=False).view(np.uint8).reshape(g, n, 8)
        bits = np.unpackbits(octets, axis=2, bitorder="little")
        # Whole numbers below 2^24 are exact in float32.
        members = np.ascontiguousarray(bits.transpose(2, 0, 1), dtype=np.float32)
        found[word * CHAINS_A_WORD : (word + 1) * CHAINS_A_WORD] = members @ members.transpose(0, 2, 1)
    return found


def _steps(density: float) -> int:
    rate = density * (1 - density) * max(density, 1 - density)
    return math.ceil(_MIXING / rate) if rate else 0
