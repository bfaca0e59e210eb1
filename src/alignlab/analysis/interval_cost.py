"""What intervals cost on this machine, told before they are drawn."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

import torch

from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.identifiers import Identifier
from alignlab.neurons.reassigned import DRAWS, movement
from alignlab.neurons.uncertainty import CHANCE_DRAWS, bootstrap

# A piece of a model that is quickly timed and large enough to stand for the rest; more resamples less few leave out
# what is done once.
_NEURONS, _FEW, _MORE = 1 << 16, 4, 16
# A record is classified in each resample at both thresholds, and a third time, beside the first record and the one
# before, for what is no count; reading those numbers off takes about a quarter as long as a classification. Of the
# second record the first is the one before.
_FIRST, _SECOND, _LATER = 3.25, 4.25, 5.25


def seconds_of_intervals(
    identifier: Identifier, shape: tuple[int, int, int, int], resamples: int, records: int
) -> float:
    """About how long the intervals of some records of this shape, (G, S, L, N), take, the first one among them.

    And what reassigned movement brings since the first one.
    """
    g, shards, layers, width = shape
    neurons = min(layers * width, _NEURONS)
    counts = _counts(g, shards, neurons)
    times = layers * width / neurons
    one = times * _seconds(lambda number: bootstrap(counts, identifier, resamples=number))
    anchor = identifier.identify(counts)
    moved = times * _seconds(lambda number: movement(counts, counts, identifier, anchor, draws=number))
    each = (_FIRST, _SECOND)[:records]
    passes = (sum(each) + _LATER * (records - len(each))) * resamples + CHANCE_DRAWS * g * records
    return one * passes + moved * DRAWS * (records - 1)


def _seconds(work: Callable[[int], Any]) -> float:
    """What one more takes; of two times the less, as something else may run beside."""
    few, more = (min(timeit.repeat(lambda n=n: work(n), repeat=2, number=1)) for n in (_FEW, _MORE))  # type: ignore[misc]
    return max(0.0, more - few) / (_MORE - _FEW)


def _counts(g: int, shards: int, neurons: int) -> ActivationCounts:
    """Neurons of all rates, alike in all languages but for noise, in as many bytes as counts usually have."""
    random = torch.Generator().manual_seed(0)
    rate = torch.rand(neurons, generator=random).expand(g, shards, 1, neurons)
    noise = 15 * torch.randn(rate.shape, generator=random)
    firings = (1000 * rate + noise).clamp(0, 1000).to(torch.uint16)
    tokens = torch.full((g, shards), 1000)
    return ActivationCounts(tuple(f"language {n}" for n in range(g)), firings, tokens, tokens, "mlp.act", "all")
