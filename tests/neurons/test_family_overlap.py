"""Pairs within language families against others: by loops, among all draws, and where something is planted."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import LanguageOverlaps, language_overlaps
from alignlab.neurons.family_overlap import family_overlap

FAMILIES = {"de": "Germanic", "nl": "Germanic", "sv": "Germanic", "ru": "Slavic", "uk": "Slavic", "eu": "Basque"}
KINDRED = [("de", "nl"), ("de", "sv"), ("nl", "sv"), ("ru", "uk")]


def related(kindred: float, seed: int, width: int = 40) -> dict[str, torch.Tensor]:
    """Neurons of two languages, or three; of a share of them the first two are of one family."""
    random = np.random.default_rng(seed)
    names = list(FAMILIES)
    masks = np.zeros((len(names), 4, width), bool)
    for layer in range(4):
        for neuron in range(width):
            owners = list(random.choice(6, random.integers(2, 4), replace=False))
            if random.random() < kindred:
                owners[:2] = [names.index(name) for name in KINDRED[random.integers(len(KINDRED))]]
            masks[owners, layer, neuron] = True
    return {name: torch.from_numpy(mask) for name, mask in zip(names, masks, strict=True)}


@pytest.fixture(scope="module")
def shared() -> LanguageOverlaps:
    return language_overlaps(related(0.2, 0))


def test_pairs_are_those_of_one_family_and_of_two(shared: LanguageOverlaps) -> None:
    found = family_overlap(shared, FAMILIES)
    others = [pair for pair in shared.pairs if pair not in KINDRED]
    for group, members in ((found.within, KINDRED), (found.between, others)):
        assert group.pairs == len(members)
        jaccards = [shared.pairs[pair].jaccard for pair in members]
        expected = [shared.pairs[pair].expected_jaccard for pair in members]
        assert group.jaccard == pytest.approx(sum(jaccards) / len(members), rel=1e-14)
        assert group.excess == pytest.approx((sum(jaccards) - sum(expected)) / len(members), rel=1e-12)
    assert (found.within.pairs, found.between.pairs) == (4, 11)
    assert found.more == found.within.excess - found.between.excess


def test_z_and_p_are_those_among_the_draws(shared: LanguageOverlaps) -> None:
    found = family_overlap(shared, FAMILIES)
    kin = [pair in KINDRED for pair in shared.pairs]

    def more(jaccards: list[float]) -> float:
        within = [value for value, one in zip(jaccards, kin, strict=True) if one]
        between = [value for value, one in zip(jaccards, kin, strict=True) if not one]
        return sum(within) / 4 - sum(between) / 11

    drawn = [more(row) for row in shared.drawn.tolist()]
    observed = more([one.jaccard for one in shared.pairs.values()])
    assert found.more == pytest.approx(observed - sum(drawn) / len(drawn), abs=1e-12)
    assert found.z == pytest.approx((observed - np.mean(drawn)) / np.std(drawn, ddof=1), rel=1e-9)
    out = min(sum(value >= observed - 1e-9 for value in drawn), sum(value <= observed + 1e-9 for value in drawn))
    assert found.p == 2 * (out + 1) / (len(drawn) + 1)
    assert 0.002 < found.p < 0.3


def test_kindred_languages_that_share_more_are_found_and_random_ones_are_not() -> None:
    kindred = [family_overlap(language_overlaps(related(0.4, seed)), FAMILIES) for seed in range(10)]
    assert all(one.p < 0.01 and one.more > 0 for one in kindred)
    p = [family_overlap(language_overlaps(related(0.0, seed)), FAMILIES).p for seed in range(60)]
    assert np.mean(np.array(p) < 0.05) < 0.12
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.2)


def test_pairs_that_say_nothing_are_left_out() -> None:
    sets = related(0.4, 0) | dict.fromkeys(("ru", "uk"), torch.zeros(4, 40, dtype=torch.bool))
    found = family_overlap(language_overlaps(sets), FAMILIES)
    # An empty set and one that is not share nothing, which counts.
    assert (found.within.pairs, found.between.pairs) == (3, 11)
    assert not math.isnan(found.p)
    alone = family_overlap(language_overlaps({name: sets[name] for name in ("ru", "uk")}), FAMILIES)
    assert alone.within.pairs == alone.between.pairs == 0
    assert all(map(math.isnan, (alone.within.jaccard, alone.between.excess, alone.more, alone.z, alone.p)))


def test_without_draws_or_freedom_there_is_no_p(shared: LanguageOverlaps) -> None:
    again = family_overlap(shared.at(related(0.2, 1)), FAMILIES)
    assert not math.isnan(again.more)
    assert math.isnan(again.p)
    # Of three languages, the neurons of two of them leave no freedom.
    three = {name: mask for name, mask in related(0.0, 0).items() if name in ("de", "nl", "ru")}
    two_each = torch.stack(list(three.values())).sum(dim=0) == 2
    none = family_overlap(language_overlaps({name: mask & two_each for name, mask in three.items()}), FAMILIES)
    assert math.isnan(none.p)
    assert math.isnan(none.z)


def test_a_language_without_a_family_is_refused(shared: LanguageOverlaps) -> None:
    with pytest.raises(InputError) as caught:
        family_overlap(shared, {name: family for name, family in FAMILIES.items() if name not in ("ru", "eu")})
    assert [str(problem) for problem in caught.value.problems] == [
        "family of 'ru': none; expected one.",
        "family of 'eu': none; expected one.",
    ]
