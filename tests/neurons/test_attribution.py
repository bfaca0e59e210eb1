"""Sets of the highest scores that stand out among languages, against a loop over neurons with Python's statistics."""

from __future__ import annotations

import itertools
import statistics

import pytest
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.neurons.attribution_identifier import attribution

LAYERS, NEURONS = 3, 20
ALL = LAYERS * NEURONS


def names(g: int) -> list[str]:
    return [f"l{n}" for n in range(g)]


def random_scores(seed: int, g: int) -> Tensor:
    """Of few values, so that many are equal; some languages have hardly any over 0."""
    random = torch.Generator().manual_seed(seed)
    values = torch.randint(-4, 5, (g, LAYERS, NEURONS), generator=random).double() / 4
    values[seed % g] -= 0.9 * (seed % 2)
    return values


def slow(scores: Tensor, top_rate: float, least_z: float | None) -> tuple[list[set[int]], list[int]]:
    """The sets as flat indices, and how many of each language's neurons were there to take."""
    rows = scores.flatten(1).tolist()
    sets, there = [], []
    for own in rows:
        order = sorted((n for n in range(ALL) if own[n] > 0), key=lambda n: (-own[n], n))
        taken = order[: round(top_rate * ALL)]
        there.append(len(taken))
        found = set()
        for n in taken:
            values = [row[n] for row in rows]
            deviation = statistics.pstdev(values)
            if least_z is None or (deviation and (own[n] - statistics.fmean(values)) / deviation >= least_z):
                found.add(n)
        sets.append(found)
    return sets, there


def sets_of(scores: Tensor, top_rate: float, least_z: float | None) -> list[set[int]]:
    result = attribution(scores, top_rate, least_z, languages=names(len(scores)))
    assert list(result.sets) == list(result.languages) == names(len(scores))
    assert not result.has_degree
    return [{*mask.flatten().nonzero().flatten().tolist()} for mask in result.sets.values()]


@pytest.mark.parametrize("least_z", [None, 0.0, 0.5, 1.2])
def test_equals_the_loop_over_neurons(least_z: float | None) -> None:
    short = filtered = 0
    for seed in range(24):
        g = 2 + seed % 5
        scores, top_rate = random_scores(seed, g), (0.05, 0.2, 0.5, 1.0)[seed % 4]
        expected, there = slow(scores, top_rate, least_z)
        assert sets_of(scores, top_rate, least_z) == expected
        reason = attribution(scores, top_rate, least_z, languages=names(g)).reason
        lacking = [f"{name} {n}" for name, n in zip(names(g), there, strict=True) if n < round(top_rate * ALL)]
        assert bool(reason) == bool(lacking)
        assert all(one in reason for one in lacking)
        short += bool(lacking)
        filtered += sum(there) > sum(map(len, expected))
    assert short
    assert filtered or least_z is None


def test_the_order_of_languages_changes_nothing() -> None:
    scores = torch.randn(4, LAYERS, NEURONS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = sets_of(scores, 0.3, 0.5)
    for order in itertools.permutations(range(4)):
        assert sets_of(scores[[*order]], 0.3, 0.5) == [expected[g] for g in order]


def test_a_label_that_is_there_twice_has_the_same_set_twice_and_changes_no_other_without_z() -> None:
    scores = random_scores(7, 4)
    twice = torch.cat([scores, scores[1:2]])
    assert sets_of(twice, 0.3, None)[:4] == sets_of(scores, 0.3, None)
    for least_z in (None, 0.5):
        assert sets_of(twice, 0.3, least_z)[4] == sets_of(twice, 0.3, least_z)[1]
    alike = scores[:1].expand(3, -1, -1)
    assert sets_of(alike, 0.3, 0.5) == [set()] * 3  # none stands out
    assert sets_of(alike, 0.3, 0.0) == [set()] * 3
    assert all(sets_of(alike, 0.3, None))


GOOD = torch.ones(2, LAYERS, NEURONS, dtype=torch.float64)


@pytest.mark.parametrize(
    ("scores", "options", "languages", "words"),
    [
        (GOOD, {"top_rate": 0.0}, ["a", "b"], "over 0 and at most 1"),
        (GOOD, {"top_rate": 1.1}, ["a", "b"], "over 0 and at most 1"),
        (GOOD, {"top_rate": float("nan")}, ["a", "b"], "over 0 and at most 1"),
        (GOOD, {"top_rate": 0.001}, ["a", "b"], "rounds to a selection of none"),
        (GOOD, {"least_z": -0.1}, ["a", "b"], "0 or more"),
        (GOOD, {"least_z": float("nan")}, ["a", "b"], "0 or more"),
        (GOOD[:1], {}, ["a"], "two or more"),
        (GOOD, {}, ["a"], "one for each row"),
        (GOOD, {}, ["a", "a"], "a"),
        (GOOD.float(), {}, ["a", "b"], "float64"),
        (GOOD[0], {}, ["a", "b"], "(languages, layers, neurons)"),
        (GOOD[:, :0], {}, ["a", "b"], "(languages, layers, neurons)"),
        (GOOD * torch.nan, {}, ["a", "b"], "not finite"),
        (GOOD / 0, {}, ["a", "b"], "not finite"),
    ],
)
def test_bad_input_is_one_message(scores: Tensor, options: dict[str, float], languages: list[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        attribution(scores, **{"top_rate": 0.5, **options}, languages=languages)
    assert words in str(refused.value)
