"""The lower envelope of lines ``a - lambda * b`` over lambda in [0, 0.2], and where other lines lie at or under it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from alignlab.neurons.probabilities import Floats

LAMBDA_MAX = 0.2

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Envelope:
    """M(lambda) = min over its lines, a concave, piecewise linear function.

    a, b: (h,) lines that are the lowest somewhere in [0, 0.2], both strictly increasing.
    turns: (h - 1,) lambda at which line j hands over to line j + 1, increasing.
    """

    a: Floats
    b: Floats
    turns: Floats

    def distance(self, a: Floats, b: Floats) -> Floats:
        """Height of each line (a, b) over the envelope where it is least in [0, 0.2], (n,); negative if under."""
        # Line minus envelope is convex in lambda, lowest where the lines of the envelope become steeper than the line.
        turns = np.concatenate(([0.0], self.turns, [LAMBDA_MAX]))
        heights = np.concatenate((self.a, self.a[-1:])) - turns * np.concatenate((self.b, self.b[-1:]))
        turn = np.searchsorted(self.b, b, side="right")
        return np.asarray(a - turns[turn] * b - heights[turn])

    def ends(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Lowest and highest lambda at which each line is at or under the envelope, each (n,).

        The interval may reach out of [0, 0.2], where the envelope is not meant; it is empty where lowest > highest.
        """
        # Flatter lines of the envelope (smaller b) bound lambda from below, steeper ones from above.
        flatter, not_steeper = np.searchsorted(self.b, b, side="left"), np.searchsorted(self.b, b, side="right")
        last = len(self.b) - 1

        def above_at_turn(j: Indices) -> NDArray[np.bool_]:
            # As a difference to line j: nothing cancels, so the answer is right up to rounding of lambda itself.
            return np.asarray((a - self.a[j]) - self.turns[j] * (b - self.b[j]) > 0)

        line = _first(np.zeros_like(flatter), flatter - 1, lambda j: ~above_at_turn(j))
        lowest = np.where(flatter > 0, self._crossings(a, b, line), -np.inf)
        line = _first(not_steeper, np.full_like(not_steeper, last), above_at_turn)
        highest = np.where(not_steeper <= last, self._crossings(a, b, line), np.inf)
        parallel = np.minimum(flatter, last)
        lowest[(flatter < not_steeper) & (a > self.a[parallel])] = np.inf
        return lowest, highest

    def _crossings(self, a: Floats, b: Floats, line: Indices) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((a - self.a[line]) / (b - self.b[line]))


def lower_envelope(a: Floats, b: Floats) -> Envelope:
    """The envelope over [0, 0.2] of one or more lines, each (n,), in O(n log n)."""
    # A line that is no lower at 0 and no steeper than another is never needed. The loop is over the few that remain.
    order = np.lexsort((a, -b))
    sorted_a = a[order]
    needed = sorted_a < np.concatenate(([np.inf], np.minimum.accumulate(sorted_a)[:-1]))
    chain: list[tuple[float, float]] = []
    for line in zip(sorted_a[needed][::-1].tolist(), b[order][needed][::-1].tolist(), strict=True):
        while len(chain) > 1 and _crossing(chain[-1], line) <= _crossing(chain[-2], chain[-1]):
            chain.pop()
        chain.append(line)
    turns = [_crossing(first, second) for first, second in pairwise(chain)]
    within = sum(turn <= LAMBDA_MAX for turn in turns)
    lines = np.array(chain[: within + 1])
    return Envelope(lines[:, 0], lines[:, 1], np.array(turns[:within], dtype=np.float64))


def _crossing(flat: tuple[float, float], steep: tuple[float, float]) -> float:
    return (steep[0] - flat[0]) / (steep[1] - flat[1])


def _first(start: Indices, stop: Indices, holds: Callable[[Indices], NDArray[np.bool_]]) -> Indices:
    """The first j in [start, stop) where a condition holds that once true stays true, else stop; all are (n,)."""
    start, stop = start.copy(), stop.copy()
    while (searching := start < stop).any():
        middle = np.where(searching, (start + stop) // 2, 0)
        found = holds(middle)
        stop = np.where(searching & found, middle, stop)
        start = np.where(searching & ~found, middle + 1, start)
    return stop
