"""The four parts of a model's layers that Zhang et al. 2025 see in the counts of neurons by layer, by a fixed rule.

They divide the layers by eye. Here the layers are cut where the z-scored curves of the specific, related and general
neurons are best told by one mean a segment, by least squares; a part has a name only where its signature is there.
Everything is decided in whole numbers, so that the cuts are the best ones to the last digit.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.probabilities import Floats, Integers

PARTS = ("understanding", "shared semantic space", "output space transformation", "vocabulary output")
SEGMENTS = 4
MOST_SEGMENTS = 6
FEWEST_LAYERS = 12


@dataclass(frozen=True)
class LayerParts:
    """Layers cut into segments.

    layers: L.
    cuts: first layer, from 0, of every segment but the first, ascending.
    labels: for each segment its name of `PARTS`, or None where the signature is not there.
    costs: squared error, summed over layers and curves, of the best cut into 1, 2, ... 6 segments; the first is L times
        the number of curves that vary. What a further segment gains shows whether four are right.
    """

    layers: int
    cuts: tuple[int, ...]
    labels: tuple[str | None, ...]
    costs: tuple[float, ...]

    @property
    def segments(self) -> tuple[range, ...]:
        """The layers of each segment."""
        return _ranges(self.cuts, self.layers)


def layer_parts(curves: Floats | Integers | Tensor, segments: int = SEGMENTS) -> LayerParts:
    """Cut the layers into `segments` of one layer or more.

    curves: (3, L), numbers of specific, related and general neurons by layer.
    segments: 1 to 6.

    Each curve is z-scored over the layers (mean 0, population variance 1; a constant one becomes zeros), and the cuts
    have the least squared error around the segments' means. Of equally good ones those that cut first come first.

    The labels, with S, R, G the mean z-score of each curve in a segment, s its number, all strict and exact:

    1. understanding: S > 0, R > 0 and G < 0.
    2. shared semantic space: G > S and G > R, of a general curve that varies. G > 0 is not asked: a high maximum in the
       last layers puts the mean above all others.
    3. output space transformation: S > 0 and R > 0, and each above its own in segment 2.
    4. vocabulary output: the maximum of the general curve is in this segment, and in no other.

    These are the signatures of four parts: with another number of segments all labels are None.

    Raises InputError for fewer than 12 layers, other shapes, values that are not finite, and other numbers of segments.
    """
    values = np.asarray(curves, dtype=np.float64)
    _check(values, 2, segments)
    deviations = [_deviations(curve) for curve in values.tolist()]
    costs, cuts = _best(deviations, segments)
    layers = values.shape[1]
    labels = _labels(deviations, _ranges(cuts, layers)) if segments == len(PARTS) else (None,) * segments
    return LayerParts(layers, cuts, labels, costs)


def stability(curves_of_resamples: Floats | Integers | Tensor, parts: LayerParts) -> tuple[float, ...]:
    """For each cut of `parts`, the share of resamples that have theirs, of the same number, within one layer of it.

    curves_of_resamples: (resamples, 3, L), the curves of each resample, of the same L.

    Raises InputError as `layer_parts` does, and for no resamples or another L.
    """
    values = np.asarray(curves_of_resamples, dtype=np.float64)
    segments = len(parts.cuts) + 1
    _check(values, 3, segments, parts.layers)
    cuts = [_best([_deviations(curve) for curve in curves], segments)[1] for curves in values.tolist()]
    near = np.abs(np.array(cuts).reshape(len(values), -1) - np.array(parts.cuts)) <= 1
    return tuple(near.mean(axis=0).tolist())


def too_few(layers: int) -> list[Problem]:
    """Why a model of so many layers cannot be cut; empty where it can."""
    if layers >= FEWEST_LAYERS:
        return []
    fix = "In so few layers a part is a layer or two, and some cut fits any curve: there is nothing to learn from it."
    return [Problem("layer parts", f"{layers} layers", f"{FEWEST_LAYERS} or more", fix)]


def _ranges(cuts: tuple[int, ...], layers: int) -> tuple[range, ...]:
    return tuple(itertools.starmap(range, itertools.pairwise((0, *cuts, layers))))


def _deviations(curve: list[float]) -> list[int]:
    """Whole numbers in proportion to the deviations from the mean: a z-score knows no unit."""
    exact = [Fraction(value) for value in curve]
    unit = math.lcm(*(value.denominator for value in exact))
    whole = [int(value * unit) for value in exact]
    total = sum(whole)
    deviations = [len(whole) * value - total for value in whole]
    common = math.gcd(*deviations) or 1
    return [value // common for value in deviations]


def _best(deviations: list[list[int]], segments: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The least cost of 1 to 6 segments, and the first cuts that have the least cost of `segments`."""
    cost, unit = _segment_costs(deviations)
    layers = len(cost)
    # From the end: best[k][i] is the least cost of layers i, ... L - 1 in k + 1 segments, cut[k][i] where the second
    # one starts. Going forward the earliest of equally good cuts can be taken every time.
    best = [[row[layers] for row in cost]]
    cut: list[list[int]] = [[]]
    for more in range(1, MOST_SEGMENTS):
        rest, row, at = best[-1], [], []
        for start in range(layers - more):
            total, first = min((cost[start][i] + rest[i], i) for i in range(start + 1, layers - more + 1))
            row.append(total)
            at.append(first)
        best.append(row)
        cut.append(at)
    cuts, start = [], 0
    for more in range(segments - 1, 0, -1):
        start = cut[more][start]
        cuts.append(start)
    return tuple(float(row[0] * unit) for row in best), tuple(cuts)


def _segment_costs(deviations: list[list[int]]) -> tuple[list[list[int]], Fraction]:
    """The squared error of layers i, ... j - 1 as whole numbers [i][j], and what one of them is worth."""
    layers = len(deviations[0])
    squares = [sum(d * d for d in curve) for curve in deviations]
    divisor, multiple = math.prod(q or 1 for q in squares), math.lcm(*range(1, layers + 1))
    cost = [[0] * (layers + 1) for _ in range(layers)]
    for curve, q in zip(deviations, squares, strict=True):
        weight = divisor // (q or 1)
        for start in range(layers):
            total = square = 0
            for stop in range(start + 1, layers + 1):
                total += curve[stop - 1]
                square += curve[stop - 1] ** 2
                cost[start][stop] += weight * (multiple * square - multiple // (stop - start) * total * total)
    return cost, Fraction(layers, divisor * multiple)


def _labels(deviations: list[list[int]], segments: tuple[range, ...]) -> tuple[str | None, ...]:
    specific, related, general = ([_rank_of_mean(curve, layers) for layers in segments] for curve in deviations)
    curve = deviations[2]
    holds = (
        specific[0] > 0 and related[0] > 0 and general[0] < 0,
        general[1] > specific[1] and general[1] > related[1] and any(curve),
        all(ranks[2] > 0 and ranks[2] > ranks[1] for ranks in (specific, related)),
        max(curve[segments[3].start :]) > max(curve[: segments[3].start]),
    )
    return tuple(name if there else None for name, there in zip(PARTS, holds, strict=True))


def _rank_of_mean(deviations: list[int], layers: range) -> Fraction:
    """The mean z-score squared, with its sign, but for a factor that all curves share: in the same order, and exact."""
    mean = Fraction(sum(deviations[layer] for layer in layers), len(layers))
    return mean * abs(mean) / (sum(d * d for d in deviations) or 1)


def _check(values: Floats, axes: int, segments: int, layers: int | None = None) -> None:
    problems = []
    shape, form = values.shape, "(3, layers)" if axes == 2 else f"(resamples, 3, {layers})"
    wrong = len(shape) != axes or shape[-2] != 3 or shape[0] == 0 or (layers is not None and shape[-1] != layers)
    if wrong:
        problems.append(Problem("curves", f"shape {shape}", f"{form}: specific, related, general"))
    elif not np.isfinite(values).all():
        problems.append(Problem("curves", "values that are not finite", "numbers of neurons"))
    if not wrong:
        problems += too_few(shape[-1])
    if not 1 <= segments <= MOST_SEGMENTS:
        problems.append(Problem("segments", f"{segments}", f"1 to {MOST_SEGMENTS}"))
    refuse_any(problems)
