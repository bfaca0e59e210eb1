"""The cuts against trying all of them, to forty digits; the labels against curves that are made of known parts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal, getcontext

import numpy as np
import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons.layer_parts import PARTS, LayerParts, layer_parts, scaled, stability

Curves = list[list[int]]


getcontext().prec = 50
# Sums of fifty digits are right to more than these; what they have in common is a tie.
DIGITS = Decimal("1e-40")


def errors_of(curves: Curves) -> dict[tuple[int, int], Decimal]:
    """The squared error of every segment of the z-scored log(1 + count), from the definition."""
    layers = len(curves[0])
    found = dict.fromkeys(itertools.combinations(range(layers + 1), 2), Decimal(0))
    for counts in curves:
        curve = [Decimal(1 + count).ln() for count in counts]
        mean = sum(curve) / layers
        variance = sum((x - mean) ** 2 for x in curve) / layers
        if len(set(counts)) == 1:
            continue
        for start, stop in found:
            part = curve[start:stop]
            middle = sum(part) / len(part)
            found[start, stop] += sum(((x - middle) ** 2 for x in part), Decimal(0)) / variance
    return found


def all_cuts(curves: Curves, segments: int) -> list[tuple[Decimal, tuple[int, ...]]]:
    """The cost of every way to cut, cheapest and then earliest first."""
    errors, layers = errors_of(curves), len(curves[0])
    return sorted(
        (sum((errors[ends] for ends in itertools.pairwise((0, *cuts, layers))), Decimal(0)).quantize(DIGITS), cuts)
        for cuts in itertools.combinations(range(1, layers), segments - 1)
    )


def instances() -> Iterator[Curves]:
    random = np.random.default_rng(0)
    for layers in (12, 13, 14):
        for high in (2, 2, 2, 3, 3, 100, 14336):  # few values make many ties
            yield random.integers(0, high, (3, layers)).tolist()
        steps = np.repeat(random.integers(0, 4, (3, 5)), 3, axis=1)[:, :layers]
        yield steps.tolist()
        yield [steps[0].tolist(), [7] * layers, steps[2].tolist()]
        yield [[layer % 2 for layer in range(layers)]] * 3
        yield (40 + np.cumsum(random.integers(-3, 4, (3, layers)), axis=1)).tolist()
    yield [[0] * 12, [3] * 12, [5] * 12]
    yield [list(range(12)), list(range(12, 0, -1)), [1] * 12]


@pytest.mark.parametrize("curves", list(instances()))
def test_the_cuts_are_the_first_of_the_best_of_all(curves: Curves) -> None:
    best = [all_cuts(curves, segments)[0] for segments in range(1, 7)]
    for segments in range(1, 7):
        found = layer_parts(np.array(curves), segments)
        assert found.cuts == best[segments - 1][1]
        assert found.costs == pytest.approx([float(cost) for cost, _ in best], rel=1e-13, abs=1e-13)
        assert found.layers == len(curves[0])
        assert [layer for part in found.segments for layer in part] == list(range(found.layers))
        assert tuple(part.start for part in found.segments[1:]) == found.cuts
    assert layer_parts(np.array(curves)) == layer_parts(torch.tensor(curves), 4)


def test_ties_are_there_to_be_decided() -> None:
    tied = 0
    for curves in instances():
        ways = all_cuts(curves, 4)
        tied += ways[0][0] == ways[1][0]
    assert tied >= 5


def z_of(curves: np.ndarray) -> np.ndarray:
    logs = np.log(1 + curves)
    return (logs - logs.mean(axis=1, keepdims=True)) / logs.std(axis=1, keepdims=True)


def test_costs_are_those_of_the_z_scores() -> None:
    curves = np.random.default_rng(1).random((3, 32)) * [[5.0], [700.0], [0.01]]
    z = z_of(curves)
    assert scaled(curves) == pytest.approx(z, abs=1e-12)
    for segments in range(1, 7):
        found = layer_parts(curves, segments)
        pieces = [z[:, part.start : part.stop] for part in found.segments]
        error = sum(((piece - piece.mean(axis=1, keepdims=True)) ** 2).sum() for piece in pieces)
        assert found.costs[segments - 1] == pytest.approx(float(error), rel=1e-12)
    assert found.costs[0] == pytest.approx(3 * 32, rel=1e-14)
    assert list(found.costs) == sorted(found.costs, reverse=True)
    flat = np.stack([curves[0], np.full(32, 0.1), curves[2]])
    assert not scaled(flat)[1].any()
    constant = layer_parts(flat)
    assert constant.costs[0] == pytest.approx(2 * 32, rel=1e-14)


def test_one_layer_with_most_of_the_neurons_does_not_decide() -> None:
    # The paper's parts, and a last layer of a hundred times as many general neurons: by plain counts all else is flat.
    curves = built(DESCRIBED)
    curves[2, -1] *= 100
    assert layer_parts(curves).cuts == CUTS


def test_layers_may_be_counted_from_either_end() -> None:
    curves = np.random.default_rng(2).integers(0, 500, (3, 40))
    assert layer_parts(curves[:, ::-1].copy()).costs == pytest.approx(layer_parts(curves).costs, rel=1e-12)


# Labels

LENGTHS = (5, 10, 8, 1)
# What the paper describes: specific, related, general in each of four parts.
DESCRIBED = [[60, 10, 50, 20], [80, 20, 70, 30], [100, 400, 150, 900]]
CUTS = (5, 15, 23)


def built(levels: Curves) -> np.ndarray:
    return np.repeat(np.array(levels), LENGTHS, axis=1)


def test_the_parts_that_the_paper_describes_are_found_and_named() -> None:
    exact = layer_parts(built(DESCRIBED))
    assert (exact.cuts, exact.labels) == (CUTS, PARTS)
    assert exact.costs[3:] == (0, 0, 0)
    assert exact.costs[2] > 0
    assert exact.segments == (range(5), range(5, 15), range(15, 23), range(23, 24))
    noise = np.random.default_rng(0).normal(0, 2, (3, 24))
    noisy = layer_parts(built(DESCRIBED) + noise)
    assert (noisy.cuts, noisy.labels) == (CUTS, PARTS)


@pytest.mark.parametrize(
    ("levels", "there"),
    [
        # The first part lacks a high specific, a high related, a low general curve.
        ([[15, 10, 50, 20], [80, 20, 70, 30], [100, 400, 150, 900]], "0111"),
        ([[60, 10, 50, 20], [25, 20, 70, 30], [100, 400, 150, 900]], "0111"),
        ([[60, 10, 50, 20], [80, 20, 70, 30], [500, 450, 150, 900]], "0111"),
        # In the second the specific, the related curve is above the general one, for what is usual in each.
        ([[10, 60, 50, 20], [80, 20, 70, 30], [100, 100, 150, 900]], "0001"),
        ([[60, 10, 50, 20], [20, 80, 70, 30], [100, 100, 150, 900]], "0001"),
        # A peak of the general curve in the last layer puts the second part under its mean, yet it dominates.
        ([[60, 10, 50, 20], [80, 20, 70, 30], [100, 400, 150, 9000]], "1111"),
        # In the third one does not rise above its mean, one rises from below to below.
        ([[90, 10, 18, 20], [80, 20, 70, 30], [100, 400, 150, 900]], "1101"),
        ([[60, 10, 50, 20], [200, 20, 40, 30], [100, 400, 150, 900]], "1101"),
        # In the third they are above the mean, but one or the other not above the second.
        ([[20, 60, 50, 10], [80, 20, 70, 30], [100, 400, 150, 900]], "0101"),
        ([[60, 10, 50, 20], [20, 80, 70, 10], [100, 400, 150, 900]], "0101"),
        # The maximum is elsewhere, or elsewhere too.
        ([[60, 10, 50, 20], [80, 20, 70, 30], [100, 400, 150, 200]], "1110"),
        ([[60, 10, 50, 20], [80, 20, 70, 30], [100, 400, 150, 400]], "1110"),
        # A general curve that never changes shows nothing; one of the others that does not stays at its mean.
        ([[60, 10, 50, 20], [80, 20, 70, 30], [7, 7, 7, 7]], "0010"),
        ([[7, 7, 7, 7], [80, 20, 70, 30], [100, 400, 150, 900]], "0101"),
        ([[60, 10, 50, 20], [7, 7, 7, 7], [100, 400, 150, 900]], "0101"),
    ],
)
def test_a_part_has_its_name_only_where_its_signature_is(levels: Curves, there: str) -> None:
    found = layer_parts(built(levels))
    assert found.cuts == CUTS
    assert "".join("1" if label else "0" for label in found.labels) == there
    assert all(label in (None, name) for label, name in zip(found.labels, PARTS, strict=True))


def test_the_mean_itself_is_neither_high_nor_low() -> None:
    # Segments of 3, 4, 4 and 1 layers; counts of 2^k - 1, whose logarithms of 1 + count are k log 2.
    lengths = (3, 4, 4, 1)
    powers = [[6, 1, 5, 2], [8, 2, 7, 3], [1, 6, 3, 9]]
    assert layer_parts(2.0 ** np.repeat(powers, lengths, axis=1) - 1).labels == PARTS
    for curve, part in ((0, 0), (1, 0), (2, 0), (0, 2), (1, 2)):
        changed = np.repeat(np.array(powers), lengths, axis=1)
        segment = slice(*((0, 3) if part == 0 else (7, 11)))
        rest = np.delete(changed[curve], np.r_[segment])
        # The layers of the segment get the mean of all others, in whole numbers: every power times their number.
        changed[curve] *= len(rest)
        changed[curve, segment] = rest.sum()
        found = layer_parts(2.0**changed - 1)
        assert found.cuts == (3, 7, 11)
        assert found.labels[part] is None


def labels_by_hand(curves: np.ndarray, parts: LayerParts) -> list[str | None]:
    z = z_of(curves)
    (s1, r1, g1), (s2, r2, g2), (s3, r3, _), _ = (z[:, list(part)].mean(axis=1) for part in parts.segments)
    holds = (
        s1 > 0 and r1 > 0 and g1 < 0,
        g2 > s2 and g2 > r2,
        s3 > 0 and s3 > s2 and r3 > 0 and r3 > r2,
        int(curves[2].argmax()) in parts.segments[3],
    )
    return [name if there else None for name, there in zip(PARTS, holds, strict=True)]


def test_labels_of_random_curves_follow_the_signatures() -> None:
    random = np.random.default_rng(3)
    seen: list[list[str | None]] = []
    for _ in range(200):
        curves = np.exp(random.normal(size=(3, 20)).cumsum(axis=1))
        found = layer_parts(curves)
        seen.append(labels_by_hand(curves, found))
        assert list(found.labels) == seen[-1]
    for name, column in zip(PARTS, zip(*seen, strict=True), strict=True):
        assert 10 < column.count(name) < 190


def test_other_numbers_of_segments_have_no_names() -> None:
    for segments in (1, 2, 3, 5, 6):
        found = layer_parts(built(DESCRIBED), segments)
        assert found.labels == (None,) * segments
        assert found.costs == layer_parts(built(DESCRIBED)).costs


# Resamples


def test_stability_is_the_share_of_resamples_that_cut_near_by() -> None:
    random = np.random.default_rng(4)
    estimate = built(DESCRIBED)
    resamples = estimate * np.exp(random.normal(0, 0.8, (40, *estimate.shape)))
    for segments in (2, 4, 6):
        parts = layer_parts(estimate, segments)
        again = [layer_parts(one, segments).cuts for one in resamples]
        expected = [sum(abs(cuts[i] - cut) <= 1 for cuts in again) / 40 for i, cut in enumerate(parts.cuts)]
        assert stability(resamples, parts) == tuple(expected)
        assert 0 < min(expected) < 1
    assert stability(resamples, layer_parts(estimate, 1)) == ()


def test_a_cut_may_move_by_one_layer() -> None:
    parts = layer_parts(built(DESCRIBED))
    moved = [np.repeat(np.array(DESCRIBED), (5 + by, 10 - by, 8, 1), axis=1) for by in (-2, -1, 0, 1, 2)]
    assert stability(np.stack(moved), parts) == (0.6, 1, 1)
    assert stability(torch.from_numpy(np.stack(moved)), parts) == (0.6, 1, 1)


# Refusals


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ((3, 11), "layer parts: 11 layers; expected 12 or more. In so few layers"),
        ((3, 2), "layer parts: 2 layers"),
        ((3, 0), "layer parts: 0 layers"),
        ((4, 20), r"curves: shape \(4, 20\)"),
        ((20,), r"curves: shape \(20,\)"),
        ((1, 3, 20), r"curves: shape \(1, 3, 20\)"),
    ],
)
def test_what_has_no_parts_is_refused(shape: tuple[int, ...], word: str) -> None:
    with pytest.raises(InputError, match=word):
        layer_parts(np.arange(np.prod(shape)).reshape(shape))


def test_numbers_that_are_none_and_segments_out_of_range_are_refused_together() -> None:
    for value in (np.nan, np.inf, -1.0):
        curves = np.arange(60.0).reshape(3, 20)
        curves[1, 3] = value
        for segments in (0, 7):
            with pytest.raises(InputError) as caught:
                layer_parts(curves, segments)
            assert [problem.where for problem in caught.value.problems] == ["curves", "segments"]
    assert layer_parts(np.arange(36).reshape(3, 12), 1).cuts == ()


def test_resamples_of_other_layers_and_none_are_refused() -> None:
    parts = layer_parts(built(DESCRIBED))
    for shape in ((2, 3, 23), (2, 2, 24), (3, 24), (0, 3, 24)):
        with pytest.raises(InputError, match=r"curves: shape .*expected \(resamples, 3, 24\)"):
            stability(np.zeros(shape), parts)
