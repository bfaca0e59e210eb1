"""Resampling the shards of a record: weights in, probabilities out, a few resamples at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.counts_checks import as_array
from alignlab.neurons.probabilities import Floats

Weights = NDArray[np.int64]
Result = TypeVar("Result")
Resample = TypeVar("Resample")

# Resamples that are held together, G * L * N float64 each, and columns multiplied together, to stay in the cache.
RESAMPLES, COLUMNS = 8, 8192


def draw_weights(random: np.random.Generator, resamples: int, g: int, shards: int, parallel: bool) -> Weights:
    """How often each shard is in each resample of `shards` of them with replacement, (resamples, g, shards).

    parallel: the shards of all languages hold the same documents, so that one draw serves all.
    """
    draws = random.multinomial(shards, np.full(shards, 1 / shards), size=(resamples, 1 if parallel else g))
    return np.broadcast_to(draws, (resamples, g, shards))


def resampled(counts: ActivationCounts, weights: Weights) -> Iterator[Floats]:
    """The (G, L * N) probabilities of each resample, numerators and denominators summed before the division.

    weights: (resamples, G, S). What is yielded is overwritten some resamples later.
    """
    g, shards, layers, neurons = counts.shape
    n = layers * neurons
    firings = as_array(counts.firings).reshape(g, shards, n)
    p = np.empty((min(RESAMPLES, len(weights)), g, n))
    for start in range(0, len(weights), RESAMPLES):
        chunk = weights[start : start + RESAMPLES].astype(np.float64)
        tokens = np.maximum(counts.denominators(weights[start : start + RESAMPLES]), 1)
        for language in range(g):
            # Whole numbers below 2^53: the sums are exact in whatever order they are taken.
            some, divisor = chunk[:, language], tokens[:, language]
            for column in range(0, n, COLUMNS):
                block = firings[language, :, column : column + COLUMNS].astype(np.float64)
                of = np.arange(column, column + block.shape[1]) // (n // divisor.shape[1])
                np.divide(some @ block, divisor[:, of], out=p[: len(chunk), language, column : column + COLUMNS])
        yield from p[: len(chunk)]


def over_resamples(work: Callable[[Resample], Result], resamples: Iterator[Resample]) -> Iterator[Result]:
    """`work` on every resample, in order, on as many threads as torch may use: numpy frees them for each other."""
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        # Only resamples of one chunk may be under way: the next chunk is written over it.
        while some := list(islice(resamples, RESAMPLES)):
            yield from pool.map(work, some)


def check_shards(counts: ActivationCounts) -> None:
    """Raises InputError, with the reason, for counts whose shards cannot tell how uncertain they are.

    That is one shard, a language with tokens in fewer than two, and counters that are empty (no neuron ever fires) or
    saturated (every neuron always does) in a language, and so would look certain.
    """
    shards = counts.shape[1]
    if shards < 2:
        fix = "Count with shards=20."
        raise InputError(Problem("counts", "one shard", "two or more: resamples of one are all the same", fix))
    problems = []
    filled = (counts.tokens > 0).sum(dim=1).tolist()
    totals = counts.totals().flatten(1)
    columns = (filled, counts.language_tokens().tolist(), totals.amin(dim=1).tolist(), totals.amax(dim=1).tolist())
    for name, full, tokens, low, high in zip(counts.languages, *columns, strict=True):
        if full < 2:
            reason = (f"tokens in {full} of {shards} shards", "tokens in two shards or more", "Count more documents.")
        elif high == 0:
            found = f"empty: no neuron is active on any of {tokens} tokens"
            reason = (found, "some activity", "Was it counted at the right site?")
        elif low >= tokens:
            found = f"saturated: every neuron is active on all {tokens} tokens, so the counter carries no information"
            reason = (found, "shares of the tokens", "Count a neuron as active where its activation is > 0, not != 0.")
        else:
            continue
        problems.append(Problem(f"counts of {name!r}", *reason))
    refuse_any(problems)
