"""How sources of given weights share the examples of a run: exactly, at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from math import gcd

import numpy as np
import numpy.typing as npt

from alignlab.data.batching import StepPlan, permutation


@dataclass(frozen=True, eq=False)
class MixedPlan(StepPlan):
    """A plan in which every step takes its share of each part: a pure function of the seed and the step.

    After any number n of examples of the run, a part of weight w among W has given fewer than one example more or less
    than n w / W, and exactly that where n is a multiple of W. Each part is a stream of permutations of its own, one an
    epoch, so that small ones begin again while large ones are still at their first.

    lengths: of all examples, part by part.
    sizes: examples of each part; their sum is the number of lengths.
    weights: of each part, 1 or more.
    """

    sizes: tuple[int, ...] = ()
    weights: tuple[int, ...] = ()

    def shares(self, end: int) -> list[int]:
        """How many of the first `end` examples of the run are of each part."""
        order = _turns(self.weights)
        rounds, rest = divmod(end, len(order))
        begun = np.bincount(order[:rest], minlength=len(self.weights))
        whole = np.bincount(order, minlength=len(self.weights))
        return [int(number) for number in rounds * whole + begun]

    def step(self, step: int) -> list[int]:
        """Indices of the examples of `step` (from 0)."""
        first = step // self.window_steps * self.window_steps
        return _window(self, first, min(self.window_steps, self.total_steps - first))[step - first]


@lru_cache(maxsize=4)
def _window(plan: MixedPlan, first: int, steps: int) -> list[list[int]]:
    """The examples of some steps, which are of like length within a step as far as its parts allow.

    The examples of each part are handed out in the order of their lengths, to the steps in a shuffled order.
    """
    order = np.random.default_rng([plan.seed, 1, first]).permutation(steps)
    ends = [plan.shares(number * plan.examples_per_step) for number in range(first, first + steps + 1)]
    window: list[list[int]] = [[] for _ in range(steps)]
    for part in range(len(plan.sizes)):
        stream = iter(_by_length(plan, part, ends[0][part], ends[-1][part]))
        for place in order:
            window[place] += islice(stream, ends[place + 1][part] - ends[place][part])
    return window


def _by_length(plan: MixedPlan, part: int, start: int, end: int) -> list[int]:
    """The examples of a part from its `start`-th to its `end`-th in the run, by epoch and then by length."""
    size, offset = plan.sizes[part], sum(plan.sizes[:part])
    seed = plan.seed + (part << 32)  # parts of one size are not to be dealt in the same order
    # By epoch first: by length alone an example of two epochs would stand beside itself, in the same step.
    stream = [
        (number // size, offset + int(permutation(seed, number // size, size)[number % size]))
        for number in range(start, end)
    ]
    stream.sort(key=lambda item: (item[0], plan.lengths[item[1]]))
    return [index for _, index in stream]


def steps_of_mixed_epochs(sizes: Sequence[int], weights: Sequence[int], examples_per_step: int, epochs: float) -> int:
    """Optimiser steps in which the part that lasts longest is seen `epochs` times."""
    longest = max(size / weight for size, weight in zip(sizes, weights, strict=True))
    return max(1, int(np.ceil(longest * sum(weights) * epochs / examples_per_step)))


@cache
def _turns(weights: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Whose turn it is, for one round of as many examples as the weights sum to (after their common divisor).

    The j-th example of a part of weight w among W may not come before floor(j W / w), and is due before
    ceil((j + 1) W / w); of those that may come, the one that is due first comes. That meets every due date (earliest
    deadline first, unit jobs on one machine: Horn 1974; there is a fractional schedule that does), so that the parts
    are never an example or more from their shares.
    """
    divisor = gcd(*weights)
    parts = [weight // divisor for weight in weights]
    total = sum(parts)
    given = [0] * len(parts)
    order = np.empty(total, dtype=np.int64)
    for number in range(total):
        open_parts = [part for part, weight in enumerate(parts) if given[part] * total // weight <= number]
        order[number] = min(open_parts, key=lambda part: (-(-(given[part] + 1) * total // parts[part]), part))
        given[order[number]] += 1
    return order
