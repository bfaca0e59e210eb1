"""Classifying neurons, from counts of large models: seconds and memory against goals. There is no peer to run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from alignlab.neurons import ActivationCounts, Classification, bootstrap, smallest_dtype, ternary
from alignlab.neurons.identifiers import TernaryConfig
from bench.measuring import Row, Scale, median_seconds

TOKENS = 25_000  # counted of each language: 250 answers of 100 tokens
RESAMPLES = 200


def ternary_of_seven_billion(scale: Scale) -> list[Row]:
    """Probabilities of ten languages."""
    p = make_counts(10, 1, 32, 14336 // scale.part).probabilities()
    names = [f"l{i}" for i in range(len(p))]
    return [ternary_row("(d)", tuple(p.shape), lambda: ternary(p, languages=names), scale.rounds)]


def ternary_of_fifty_languages(scale: Scale) -> list[Row]:
    """Counts of fifty languages and a 70 B model; the probabilities alone are 917 MB."""
    counts = make_counts(50, 1, 80, 28672 // scale.part)
    row = ternary_row("(e)", (50, *counts.shape[2:]), lambda: ternary(counts), scale.rounds)
    return [replace(row, goal="15 s, 6 GB")]


def bootstrap_of_seven_billion(scale: Scale) -> list[Row]:
    """Ten languages in twenty shards."""
    counts = make_counts(10, 20, 32, 14336 // scale.part)
    taken = median_seconds(lambda: bootstrap(counts, TernaryConfig(), resamples=RESAMPLES), scale.rounds)
    return [Row(f"(f) {RESAMPLES} bootstrap resamples, {by(counts.shape)}", taken, goal="60 s")]


def make_counts(g: int, shards: int, layers: int, neurons: int) -> ActivationCounts:
    """Counts that look like a model's: most neurons alike in all languages, one in fifty at home in a single one.

    Rates drawn for each language apart would leave no neuron above tau in all of them, and lambda* nothing to find.
    """
    rng, n, tokens = np.random.default_rng(0), layers * neurons, TOKENS // shards
    common = rng.normal(-1.5, 1.2, size=n).astype(np.float32)
    home = np.where(rng.random(n) < 0.02, rng.integers(0, g, size=n), -1)
    firings = np.empty((g, shards, n), dtype=str(smallest_dtype(tokens)).removeprefix("torch."))
    for language in range(g):
        logit = common + 0.3 * rng.standard_normal(n, dtype=np.float32) + 3 * (home == language)
        p = 1 / (1 + np.exp(-logit))
        deviation = np.sqrt(tokens * p * (1 - p))
        for shard in range(shards):  # a binomial, as nearly as a benchmark needs
            drawn = np.rint(tokens * p + deviation * rng.standard_normal(n, dtype=np.float32))
            firings[language, shard] = drawn.clip(0, tokens)
    return ActivationCounts(
        languages=tuple(f"l{i}" for i in range(g)),
        firings=torch.from_numpy(firings).view(g, shards, layers, neurons),
        tokens=torch.full((g, shards), tokens),
        documents=torch.full((g, shards), 250 // shards),
        site="mlp.act",
        scope="response",
    )


def ternary_row(section: str, shape: Sequence[int], classify: Callable[[], Classification], rounds: int) -> Row:
    """Seconds of a classification, with the lambda* that it found: at 0.2 there would have been little to look for."""
    found: list[Classification] = []

    def work() -> None:
        found.clear()  # first, so that memory never holds two
        found.append(classify())

    taken = median_seconds(work, rounds)
    return Row(f"{section} ternary with lambda*, {by(shape)}", taken, note=f"lambda* = {found[0].lambda_:.3f}")


def by(shape: Sequence[int]) -> str:
    """Such as 10 x 32 x 14,336."""
    return " x ".join(f"{size:,}" for size in shape)
