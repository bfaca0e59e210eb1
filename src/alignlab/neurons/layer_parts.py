"""The four parts of a model's layers that Zhang et al. 2025 see in the counts of neurons by layer, by a fixed rule.

They divide the layers by eye. Here the layers are cut where the curves of the specific, related and general neurons,
log(1 + count) z-scored over the layers, are best told by one mean a segment, by least squares; without the logarithm
the few layers with most neurons would decide. A part has a name only where its signature is there.
Sums of floats are off by far less than `EQUAL`: what differs by less counts as equal, so that ties are ties however
they were rounded.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.probabilities import Floats, Integers

PARTS = ("understanding", "shared semantic space", "output space transformation", "vocabulary output")
SEGMENTS = 4
MOST_SEGMENTS = 6
FEWEST_LAYERS = 12
# Costs, and means of z-scores, that differ by no more are equal: the total cost is the number of layers times curves.
EQUAL = 1e-9
# What rounding leaves of the error of layers that are all alike is less.
ZERO = 1e-12


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

    curves: (3, L), numbers of specific, related and general neurons by layer, 0 or more.
    segments: 1 to 6.

    The curves are cut as `scaled` gives them; the cuts have the least squared error around the segments' means. Of
    equally good ones, to 1e-9, the earliest cuts are taken.

    The labels, with S, R, G the mean z-score of each curve in a segment, all strict (by more than 1e-9):

    1. understanding: S > 0, R > 0 and G < 0.
    2. shared semantic space: G > S and G > R, of a general curve that varies. G > 0 is not asked: a high maximum in the
       last layers puts the mean above all others.
    3. output space transformation: S > 0 and R > 0, and each above its own in segment 2.
    4. vocabulary output: the maximum of the general curve is in this segment, and in no other.

    These are the signatures of four parts: with another number of segments all labels are None.

    Raises InputError for fewer than 12 layers, other shapes, values that are negative or not finite, and other numbers
    of segments.
    """
    values = np.asarray(curves, dtype=np.float64)
    _check(values, 2, segments)
    z = _z_scores(values)
    costs, cuts = _best(z, segments)
    layers = values.shape[1]
    labels = _labels(z, _ranges(cuts, layers)) if segments == len(PARTS) else (None,) * segments
    return LayerParts(layers, cuts, labels, costs)


def scaled(curves: Floats | Integers | Tensor) -> Floats:
    """The (3, L) float64 values that are cut: log(1 + count), each curve z-scored over the layers.

    Mean 0, population variance 1; a constant curve becomes zeros. Raises InputError as `layer_parts` does.
    """
    values = np.asarray(curves, dtype=np.float64)
    _check(values, 2, SEGMENTS)
    return _z_scores(values).astype(np.float64)


def stability(curves_of_resamples: Floats | Integers | Tensor, parts: LayerParts) -> tuple[float, ...]:
    """For each cut of `parts`, the share of resamples that have theirs, of the same number, within one layer of it.

    curves_of_resamples: (resamples, 3, L), the curves of each resample, of the same L.

    Raises InputError as `layer_parts` does, and for no resamples or another L.
    """
    values = np.asarray(curves_of_resamples, dtype=np.float64)
    segments = len(parts.cuts) + 1
    _check(values, 3, segments, parts.layers)
    cuts = [_best(_z_scores(curves), segments)[1] for curves in values]
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


def _z_scores(curves: Floats) -> Floats:
    """log(1 + count) of each of (3, L) curves with mean 0 and population variance 1; a constant one becomes zeros.

    In long double, with which sums come out right to the last digit of float64 (where the machine has a longer one).
    """
    z: Floats = np.log1p(curves.astype(np.longdouble))
    z -= z.mean(axis=1, keepdims=True)
    varies = np.ptp(curves, axis=1) > 0
    z[varies] /= z[varies].std(axis=1, keepdims=True)
    z[~varies] = 0
    return z


def _best(z: Floats, segments: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """The least cost of 1 to 6 segments, and the first cuts that have the least cost of `segments`."""
    cost = _segment_costs(z)
    # From the end: rest[i] is the least cost of layers i, ... L - 1 in so many segments, first[i] where the second one
    # starts. Going forward the earliest of equally good cuts can be taken every time.
    rest = cost[:, -1]
    costs, firsts = [float(rest[0])], []
    for _ in range(1, MOST_SEGMENTS):
        whole = cost + rest
        rest = whole.min(axis=1)
        costs.append(float(rest[0]))
        firsts.append((whole <= rest[:, None] + EQUAL).argmax(axis=1))
    cuts = [0]
    for first in reversed(firsts[: segments - 1]):
        cuts.append(int(first[cuts[-1]]))
    return tuple(costs), tuple(cuts[1:])


def _segment_costs(z: Floats) -> Floats:
    """The squared error of layers i, ... j - 1 around their mean as [i, j], (L + 1, L + 1); infinite for no layers."""
    sums, squares = (np.pad(values.cumsum(axis=1), ((0, 0), (1, 0))) for values in (z, z * z))
    ends = np.arange(z.shape[1] + 1)
    lengths = ends - ends[:, None]
    totals, errors = (values[:, None] - values[:, :, None] for values in (sums, squares))
    cost: Floats = (errors - totals**2 / np.maximum(lengths, 1)).sum(axis=0)
    cost[cost < ZERO] = 0
    cost[lengths <= 0] = np.inf
    return cost


def _labels(z: Floats, segments: tuple[range, ...]) -> tuple[str | None, ...]:
    specific, related, general = np.array([z[:, part].mean(axis=1) for part in segments]).T
    last = segments[3].start
    holds = (
        specific[0] > EQUAL and related[0] > EQUAL and general[0] < -EQUAL,
        general[1] > max(specific[1], related[1]) + EQUAL and z[2].any(),
        all(means[2] > max(means[1], 0) + EQUAL for means in (specific, related)),
        z[2, last:].max() > z[2, :last].max(),
    )
    return tuple(name if there else None for name, there in zip(PARTS, holds, strict=True))


def _check(values: Floats, axes: int, segments: int, layers: int | None = None) -> None:
    problems = []
    shape, form = values.shape, "(3, layers)" if axes == 2 else f"(resamples, 3, {layers})"
    if len(shape) != axes or shape[-2] != 3 or shape[0] == 0 or layers not in (None, shape[-1]):
        problems.append(Problem("curves", f"shape {shape}", f"{form}: specific, related, general"))
    else:
        if not (np.isfinite(values) & (values >= 0)).all():
            found = "values that are negative or not finite"
            problems.append(Problem("curves", found, "numbers of neurons, 0 or more"))
        problems += too_few(shape[-1])
    if not 1 <= segments <= MOST_SEGMENTS:
        problems.append(Problem("segments", f"{segments}", f"1 to {MOST_SEGMENTS}"))
    refuse_any(problems)
