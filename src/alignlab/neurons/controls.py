"""Control sets: neurons that belong to no language, as many in every layer, drawn at random or alike in activity.

Language neurons are active on most tokens of their language, neurons drawn at random on few, so that switching them off
changes less whatever they do. The matched control is the fair one.
"""

from __future__ import annotations

import bisect

import numpy as np

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.probabilities import Bools, Floats


def generator(seed: int, name: str) -> np.random.Generator:
    """Random numbers of one set: they do not depend on which other sets there are."""
    return np.random.default_rng([seed, *name.encode()])


def random_control(target: Bools, free: Bools, seed: int, name: str) -> Bools:
    """As many neurons in every layer as `target` has, drawn from those `free`, all (L, N)."""
    _check_room(target, free, name)
    random = generator(seed, name)
    control = np.zeros_like(target)
    for layer, size in enumerate(target.sum(axis=1).tolist()):
        control[layer, random.choice(np.flatnonzero(free[layer]), size, replace=False)] = True
    return control


def matched_control(target: Bools, free: Bools, p: Floats, seed: int, name: str, among: int) -> Bools:
    """For every neuron of `target` a free one of its layer, of the nearest probability `p`; all (L, N).

    among: each is drawn from this many nearest ones that are still free; 1 takes the nearest. Of equally near ones the
        lower probability, then the lower index comes first. The neurons are served in an order drawn by `seed`.
    """
    if among < 1:
        raise InputError(Problem("among", f"{among}", "1 or more"))
    _check_room(target, free, name)
    random = generator(seed, name)
    control = np.zeros_like(target)
    for layer in range(len(target)):
        candidates = np.flatnonzero(free[layer])
        candidates = candidates[np.argsort(p[layer, candidates], kind="stable")].tolist()
        values = p[layer, candidates].tolist()
        for wanted in p[layer, random.permutation(np.flatnonzero(target[layer]))].tolist():
            at = _nearest(values, wanted, among)
            chosen = at[int(random.integers(len(at)))] if among > 1 else at[0]
            control[layer, candidates.pop(chosen)] = True
            values.pop(chosen)
    return control


def _nearest(values: list[float], wanted: float, count: int) -> list[int]:
    """Where the `count` values nearest to `wanted` are in an ascending list, nearest first."""
    low = bisect.bisect_left(values, wanted) - 1
    # Of a run of equal values below, the first has the lowest index and comes first.
    below: list[int] = []
    while low >= 0 and len(below) < count:
        start = bisect.bisect_left(values, values[low])
        below += range(start, min(low + 1, start + count - len(below)))
        low = start - 1
    high = bisect.bisect_left(values, wanted)
    near = [*below, *range(high, min(high + count, len(values)))]
    return sorted(near, key=lambda i: (abs(values[i] - wanted), i))[:count]


def _check_room(target: Bools, free: Bools, name: str) -> None:
    sizes = zip(target.sum(axis=1).tolist(), free.sum(axis=1).tolist(), strict=True)
    refuse_any(
        [
            Problem(
                f"control of {name!r}",
                f"layer {layer} has {there} neurons outside every set, and {needed} in it",
                "at least as many outside as in it",
            )
            for layer, (needed, there) in enumerate(sizes)
            if needed > there
        ]
    )
