"""The plan of a mixture: shares to the example, against exact fractions, for many random weights."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction

import pytest

from alignlab.data.mixing import MixedPlan, steps_of_mixed_epochs

INPUTS = range(60)


def plan(sizes: list[int], weights: list[int], *, examples: int, steps: int, seed: int = 0) -> MixedPlan:
    generator = random.Random(seed)
    lengths = tuple(generator.randint(1, 40) for _ in range(sum(sizes)))
    return MixedPlan(lengths, examples, steps, seed, sizes=tuple(sizes), weights=tuple(weights))


def part_of(sizes: list[int], index: int) -> int:
    return next(part for part in range(len(sizes)) if index < sum(sizes[: part + 1]))


def random_mixture(seed: int) -> tuple[list[int], list[int], MixedPlan]:
    generator = random.Random(seed)
    parts = generator.randint(2, 6)
    sizes = [generator.randint(1, 60) for _ in range(parts)]
    weights = [generator.choice([1, 2, 3, 7, 50, generator.randint(1, 200)]) for _ in range(parts)]
    made = plan(sizes, weights, examples=generator.randint(1, 24), steps=generator.randint(1, 60), seed=seed)
    return sizes, weights, made


@pytest.mark.parametrize("seed", INPUTS)
def test_after_every_step_each_part_is_within_one_example_of_its_share(seed: int) -> None:
    sizes, weights, made = random_mixture(seed)
    given: Counter[int] = Counter()
    for step in range(made.total_steps):
        chosen = made.step(step)
        assert len(chosen) == made.examples_per_step
        given.update(part_of(sizes, index) for index in chosen)
        for part, weight in enumerate(weights):
            share = Fraction((step + 1) * made.examples_per_step * weight, sum(weights))
            assert abs(given[part] - share) < 1
            if share.denominator == 1 and (step + 1) * made.examples_per_step % sum(weights) == 0:
                assert given[part] == share


@pytest.mark.parametrize("seed", INPUTS)
def test_each_part_is_seen_epoch_by_epoch(seed: int) -> None:
    sizes, _, made = random_mixture(seed)
    seen = Counter(index for step in range(made.total_steps) for index in made.step(step))
    for part, size in enumerate(sizes):
        own = range(sum(sizes[:part]), sum(sizes[: part + 1]))
        total = sum(seen[index] for index in own)
        assert {seen[index] for index in own} <= {total // size, -(-total // size)}


def test_twelve_and_four_of_sixteen_in_every_step() -> None:
    made = plan([100, 7], [3, 1], examples=16, steps=40)
    for step in range(40):
        assert sum(index >= 100 for index in made.step(step)) == 4
    assert made.shares(40 * 16) == [480, 160]


def test_a_step_is_the_same_whenever_it_is_asked_for() -> None:
    forward = [plan([30, 11], [5, 2], examples=8, steps=50).step(step) for step in range(50)]
    for step in (49, 0, 17, 16, 31):
        assert plan([30, 11], [5, 2], examples=8, steps=50).step(step) == forward[step]
    assert plan([30, 11], [5, 2], examples=8, steps=50, seed=1).step(3) != forward[3]


def test_an_example_meets_itself_in_a_step_only_where_an_epoch_ends() -> None:
    for seed in range(20):
        made = plan([40, 9], [3, 1], examples=16, steps=30, seed=seed)
        twice = [step for step in range(30) if len(set(made.step(step))) < 16]
        ends = [part_end // size for part_end, size in zip(made.shares(30 * 16), (40, 9), strict=True)]
        assert len(twice) <= sum(ends) // 3  # it can at each, and is rare


def test_steps_hold_examples_of_like_length() -> None:
    made = plan([2000, 1500], [1, 1], examples=16, steps=64)
    spread = [
        max(lengths) - min(lengths)
        for step in range(64)
        for lengths in [[made.lengths[index] for index in made.step(step)]]
    ]
    assert sum(spread) / 64 < 10  # of lengths from 1 to 40: drawn at random the mean is over 35


def test_parts_of_one_size_are_not_dealt_in_the_same_order() -> None:
    made = MixedPlan((5,) * 40, 40, 1, 0, window_steps=1, sizes=(20, 20), weights=(1, 1))
    chosen = made.step(0)
    assert sorted(chosen) == list(range(40))
    assert [index for index in chosen if index < 20] != [index - 20 for index in chosen if index >= 20]


def test_the_part_that_lasts_longest_counts_the_epochs() -> None:
    # 90 examples at 3 of 4: 120 examples of the run; 20 at 1 of 4: 80.
    assert steps_of_mixed_epochs([90, 20], [3, 1], 16, 1.0) == 8
    assert steps_of_mixed_epochs([90, 200], [3, 1], 16, 1.0) == 50
