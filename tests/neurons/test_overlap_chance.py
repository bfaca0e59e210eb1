"""Overlap beside chance that keeps the margins, against all matrices of these margins and against other samplers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.stats import false_discovery_control, norm, pearson3

from alignlab.errors import InputError
from alignlab.neurons import language_overlaps, overlap
from alignlab.neurons.overlap_chance import DRAWS, LanguageOverlaps, upper_tail

NAMES = ("zh", "en", "sw", "de", "th", "bn")


def as_sets(layers: list[np.ndarray], names: tuple[str, ...] = NAMES, width: int | None = None) -> dict:
    """By language (L, N) bool, from the (n, G) memberships of each layer."""
    width = width or max(map(len, layers)) + 1
    masks = np.zeros((layers[0].shape[1], len(layers), width), bool)
    for layer, members in enumerate(layers):
        masks[:, layer, 1 : len(members) + 1] = members.T
    return {name: torch.from_numpy(mask) for name, mask in zip(names, masks, strict=False)}


def random_layers(random: np.random.Generator, layers: int, n: int, g: int, spread: float = 0.6) -> list[np.ndarray]:
    """Neurons of two languages or more. Given the margins, all memberships are equally probable: the probability of a
    row is, but for a factor of its degree, a product of one of each of its languages.
    """
    found = []
    for _ in range(layers):
        odds = np.exp(random.normal(-0.5, spread, g))
        rows = random.random((20 * n, g)) < odds / (1 + odds)
        found.append(rows[(rows.sum(axis=1) >= 2) & (rows.sum(axis=1) < g)][:n])
        assert len(found[-1]) == n
    return found


TINY = (
    [[1, 1, 0, 0], [1, 0, 1, 0], [0, 1, 1, 1], [1, 0, 0, 1]],
    [[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]],
)


def every(members: list[list[int]]) -> list[np.ndarray]:
    """All matrices of the same margins."""
    g = len(members[0])
    choices = [[row for row in itertools.product((0, 1), repeat=g) if sum(row) == sum(given)] for given in members]
    sizes = np.sum(members, axis=0)
    return [one for rows in itertools.product(*choices) if ((one := np.array(rows)).sum(axis=0) == sizes).all()]


def test_moments_are_those_of_all_matrices_of_the_margins() -> None:
    layers = [np.array(rows, bool) for rows in TINY]
    draws = 1 << 15
    found = language_overlaps(as_sets(layers), draws)
    possible = [[one.T @ one for one in every(rows)] for rows in TINY]
    assert [len(some) for some in possible] > [20, 20]
    # Of both layers together, each as probable as any.
    common = np.array([first + second for first in possible[0] for second in possible[1]])
    sizes = sum(rows.sum(axis=0) for rows in layers)
    for (a, b), shared in found.pairs.items():
        i, j = NAMES.index(a), NAMES.index(b)
        values = common[:, i, j].astype(float)
        jaccards = values / (sizes[i] + sizes[j] - values)
        error = 4 * values.std() / math.sqrt(draws)
        observed = int(sum((rows[:, i] & rows[:, j]).sum() for rows in layers))
        assert shared.common == observed
        assert shared.jaccard == observed / (sizes[i] + sizes[j] - observed)
        assert shared.expected == pytest.approx(values.mean(), abs=error)
        assert shared.expected_jaccard == pytest.approx(jaccards.mean(), abs=4 * jaccards.std() / math.sqrt(draws))
        z = (observed - values.mean()) / values.std()
        assert shared.z == pytest.approx(z, abs=4 / math.sqrt(draws) * (1 + abs(z)))
        # By the probabilities themselves; numbers so small are the farthest from any smooth law.
        exact = min(1, 2 * min((values >= observed).mean(), (values <= observed).mean()))
        assert shared.p == pytest.approx(exact, abs=0.05)
    assert found.correction == "holm"


def test_margins_fix_the_sum_of_what_all_pairs_share() -> None:
    layers = random_layers(np.random.default_rng(0), 5, 30, 6)
    found = language_overlaps(as_sets(layers))
    pairs = sum(math.comb(int(degree), 2) for rows in layers for degree in rows.sum(axis=1))
    assert sum(shared.common for shared in found.pairs.values()) == pairs
    assert sum(shared.expected for shared in found.pairs.values()) == pytest.approx(pairs, rel=1e-12)
    assert found.drawn.shape == (DRAWS, 15)
    assert len(np.unique(found.drawn[:, 0])) > 5


def test_layers_are_kept_apart() -> None:
    """Two languages that share whole layers, as their sizes there say: nothing is beyond chance."""
    first, second = np.zeros((2, 40, 6), bool)
    first[:, :3], second[:, 3:] = True, True
    random = np.random.default_rng(0)
    for members, out in ((first, slice(0, 3)), (second, slice(3, 6))):
        members[np.arange(40), random.integers(out.start, out.stop, 40)] = False
    found = language_overlaps(as_sets([first, second]))
    assert overlap(*(as_sets([first, second], width=200)[name] for name in ("zh", "en"))).z > 3
    assert all(math.isnan(shared.p) for shared in found.pairs.values())


@pytest.mark.parametrize("skewness", [-2.5, -0.6, -1e-3, 0.0, 1e-7, 2e-4, 0.05, 0.8, 3.0])
def test_the_tail_is_that_of_pearsons_third_distribution(skewness: float) -> None:
    z = np.linspace(-6, 6, 49)
    found = upper_tail(z, np.full_like(z, skewness))
    assert found == pytest.approx(pearson3.sf(z, skewness), rel=1e-6, abs=1e-12)
    if abs(skewness) < 1e-3:
        assert found == pytest.approx(norm.sf(z), rel=0.02)


def test_p_is_the_share_of_draws_that_are_as_far_out() -> None:
    """Against the ranks among many draws, of observed numbers near and far: a start is forgotten, so all are draws."""
    layers = random_layers(np.random.default_rng(4), 3, 40, 6, 0.3)
    for members in layers[:2]:  # some pairs are brought together and some kept apart
        members[:12], members[12:18] = [1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]
    many = language_overlaps(as_sets(layers), 1 << 16, seed=1)
    few = language_overlaps(as_sets(layers))
    asked = []
    for place, (pair, shared) in enumerate(few.pairs.items()):
        drawn = many.drawn[:, place]
        rank = 2 * min((drawn >= shared.jaccard - 1e-12).mean(), (drawn <= shared.jaccard + 1e-12).mean())
        asked.append(rank)
        if rank > 1e-3:
            assert shared.p == pytest.approx(min(rank, 1), rel=0.25, abs=0.01), pair
    assert min(asked) < 1e-3
    assert few.pairs["zh", "en"].p < 1e-3
    assert few.pairs["zh", "en"].excess > 0


def test_random_memberships_are_found_at_the_rate_that_p_says() -> None:
    random = np.random.default_rng(5)
    p, adjusted, old = [], [], []
    for _ in range(120):
        sets = as_sets(random_layers(random, 4, 30, 6))
        found = language_overlaps(sets).pairs
        p += [shared.p for shared in found.values()]
        adjusted.append(min(shared.p_adjusted for shared in found.values()))
        pool = torch.stack(list(sets.values())).any(dim=0)
        old += [overlap(sets[a], sets[b], pool).z for a, b in found]
    assert 0.015 < np.mean(np.array(p) < 0.05) < 0.06
    assert np.mean(np.array(p) < 0.5) > 0.3
    assert np.mean(np.array(adjusted) < 0.05) < 0.1
    # The independent null takes every sixth for more or less than chance, where there are so few languages.
    assert np.mean(np.abs(old) > 1.96) > 0.14


def test_p_is_corrected_for_all_pairs() -> None:
    names = tuple("abcdefgh")
    sets = as_sets(random_layers(np.random.default_rng(1), 4, 40, 8), names)
    found = language_overlaps(sets)
    assert (found.correction, len(found.pairs)) == ("fdr", 28)
    expected = false_discovery_control([shared.p for shared in found.pairs.values()])
    assert [shared.p_adjusted for shared in found.pairs.values()] == pytest.approx(expected)


def test_the_same_sets_give_the_same_numbers_in_any_order() -> None:
    sets = as_sets(random_layers(np.random.default_rng(1), 4, 40, 6))
    found = language_overlaps(sets)
    assert list(found.pairs) == list(itertools.combinations(NAMES, 2))
    assert language_overlaps(sets).pairs == found.pairs
    turned = language_overlaps(dict(reversed(sets.items()))).pairs
    assert turned == {(b, a): found.pairs[a, b] for b, a in turned}
    other = language_overlaps(sets, seed=1).pairs
    assert other != found.pairs
    for pair, shared in found.pairs.items():
        assert other[pair].z == pytest.approx(shared.z, abs=0.25)


def test_sets_that_leave_nothing_to_chance() -> None:
    # Of three languages, a neuron of two is known by the one that it lacks, of which the margins say how many.
    three = as_sets(random_layers(np.random.default_rng(1), 3, 20, 3), NAMES[:3])
    for shared in language_overlaps(three).pairs.values():
        assert shared.expected == shared.common
        assert shared.excess == pytest.approx(0, abs=1e-12)
        assert all(map(math.isnan, (shared.z, shared.p, shared.p_adjusted)))
    sets = as_sets(random_layers(np.random.default_rng(1), 3, 20, 4), NAMES[:4])
    empty = torch.zeros_like(sets["zh"])
    everywhere = torch.stack(list(sets.values())).all(dim=0)
    assert not everywhere.any()
    found = language_overlaps({**sets, "xx": empty, "yy": empty}).pairs
    plain = language_overlaps(sets).pairs
    assert math.isnan(found["xx", "yy"].jaccard)
    assert (found["zh", "xx"].jaccard, found["zh", "xx"].expected_jaccard) == (0, 0)
    assert all(math.isnan(found[pair].p) for pair in (("xx", "yy"), ("zh", "xx")))
    for pair, shared in plain.items():
        assert found[pair].z == pytest.approx(shared.z, abs=0.25)
        assert not math.isnan(found[pair].p_adjusted)
    # Neurons of all languages stay where they are, for all that is drawn.
    whole = {name: torch.cat([mask, torch.ones(3, 5, dtype=torch.bool)], dim=1) for name, mask in sets.items()}
    for pair, shared in language_overlaps(whole).pairs.items():
        assert (shared.common, shared.z, shared.p) == (plain[pair].common + 15, plain[pair].z, plain[pair].p)
        assert shared.expected == plain[pair].expected + 15


def test_what_no_draw_has_is_as_rare_as_the_draws_can_tell() -> None:
    """Two languages of one neuron each among many, and it is the same one."""
    members = np.zeros((400, 6), bool)
    random = np.random.default_rng(0)
    for row in members[1:]:
        row[random.choice(4, 2, replace=False)] = True
    members[0, [0, 4, 5]] = True
    found = language_overlaps(as_sets([members]), 64).pairs["th", "bn"]
    assert found.common == 1
    assert found.expected == 0
    assert (found.p, math.isnan(found.z)) == (2 / 65, True)


def redrawn(layers: list[np.ndarray], random: np.random.Generator) -> list[np.ndarray]:
    """As a resample of documents does: some memberships are lost, some gained."""
    found = []
    for members in layers:
        again = (members & (random.random(members.shape) > 0.08)) | (random.random(members.shape) < 0.03)
        degree = again.sum(axis=1)
        found.append(again & ((degree > 1) & (degree < members.shape[1]))[:, None])
    return found


def test_chance_follows_the_margins_without_draws() -> None:
    random = np.random.default_rng(2)
    layers = random_layers(random, 8, 60, 6)
    width = 61
    found = language_overlaps(as_sets(layers, width=width))
    again = found.at(as_sets(layers, width=width))
    for pair, shared in found.pairs.items():
        assert again.pairs[pair].common == shared.common
        assert again.pairs[pair].expected == pytest.approx(shared.expected, rel=1e-12)
        assert again.pairs[pair].excess == pytest.approx(shared.excess, abs=1e-12)
        assert math.isnan(again.pairs[pair].p)
    assert again.drawn.shape == (0, 15)

    def excesses(of: LanguageOverlaps) -> list[float]:
        return [shared.excess for shared in of.pairs.values()]

    resamples = [as_sets(redrawn(layers, random), width=width) for _ in range(30)]
    drawn = np.array([excesses(language_overlaps(sets, seed=seed)) for seed, sets in enumerate(resamples)])
    followed = np.array([excesses(found.at(sets)) for sets in resamples])
    assert np.corrcoef(drawn.ravel(), followed.ravel())[0, 1] > 0.98
    # The interval, which is of the deviation, is that of chance drawn anew for every resample.
    assert followed.std(axis=0).mean() == pytest.approx(drawn.std(axis=0).mean(), rel=0.03)
    assert abs((followed - drawn).mean()) < 0.1 * drawn.std(axis=0).mean()


def test_a_resample_may_have_what_the_record_lacks() -> None:
    sets = as_sets(random_layers(np.random.default_rng(1), 3, 20, 4), NAMES[:4])
    none = {**sets, "zh": torch.zeros_like(sets["zh"])}
    found = language_overlaps(none).at(sets).pairs["zh", "en"]
    assert found.common == int((sets["zh"] & sets["en"]).sum())
    assert 0 < found.expected < min(int(sets["zh"].sum()), int(sets["en"].sum()))
    assert 0 < found.expected_jaccard < 1


def test_sets_that_cannot_be_compared_are_refused() -> None:
    sets = as_sets(random_layers(np.random.default_rng(1), 3, 20, 4), NAMES[:4])
    with pytest.raises(InputError, match=r"en: shape \(3, 5\)"):
        language_overlaps({**sets, "en": sets["en"][:, :5]})
    with pytest.raises(InputError, match="int64"):
        language_overlaps({**sets, "sw": sets["sw"].long()})
