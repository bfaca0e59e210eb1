"""Batches under a token budget, even splits, and the plan of a run: properties over many random inputs."""

from __future__ import annotations

import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from alignlab.data.batching import StepPlan, pad, split_evenly, steps_of_epochs, token_budget_batches
from alignlab.data.encoding import Document

INPUTS = range(100)


def random_lengths(generator: random.Random, most: int = 60) -> list[int]:
    """Lengths of several shapes: even, spread, one giant, all equal."""
    count = generator.randint(1, most)
    kind = generator.randrange(4)
    if kind == 0:
        return [generator.randint(1, 50) for _ in range(count)]
    if kind == 1:
        return [int(2 ** generator.uniform(0, 10)) for _ in range(count)]
    if kind == 2:
        return [generator.randint(1, 5) for _ in range(count - 1)] + [1000]
    return [generator.randint(1, 20)] * count


def padded(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(len(batch) * max(lengths[index] for index in batch) for batch in batches if batch)


# pad


def test_documents_are_padded_on_the_right() -> None:
    def document(tokens: list[int], answers: int) -> Document:
        mask = np.arange(len(tokens)) >= len(tokens) - answers
        return Document("1", "en", np.array(tokens, dtype=np.int32), mask, np.zeros(len(tokens), dtype=bool))

    batch = pad([document([5, 6, 7], 1), document([8], 0), document([9, 4], 2)], pad_id=2)
    assert batch.input_ids.tolist() == [[5, 6, 7], [8, 2, 2], [9, 4, 2]]
    assert batch.attention_mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
    assert batch.answer.tolist() == [[False, False, True], [False] * 3, [True, True, False]]
    assert [str(part.dtype) for part in (batch.input_ids, batch.attention_mask, batch.answer)] == [
        "torch.int64",
        "torch.int64",
        "torch.bool",
    ]


# token_budget_batches


@pytest.mark.parametrize("seed", INPUTS)
def test_batches_keep_the_budget_and_part_the_documents(seed: int) -> None:
    generator = random.Random(seed)
    lengths, budget = random_lengths(generator), generator.randint(1, 400)
    batches = token_budget_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget
    tops = [max(lengths[index] for index in batch) for batch in batches]
    assert tops == sorted(tops, reverse=True)
    for batch, following in pairwise(batches):
        # Full: the next document would not have fitted.
        assert (len(batch) + 1) * lengths[batch[0]] > budget
        assert min(lengths[index] for index in batch) >= lengths[following[0]]


def test_batches_of_nothing_are_none() -> None:
    assert token_budget_batches([], 100) == []


def test_batches_by_length_hold_less_padding_than_batches_in_random_order() -> None:
    generator = random.Random(0)
    lengths = [int(2 ** generator.uniform(2, 9)) for _ in range(2000)]
    batches = token_budget_batches(lengths, 4096)
    mixed = list(range(2000))
    generator.shuffle(mixed)
    same_sizes = [[mixed.pop() for _ in batch] for batch in batches]
    waste = padded(lengths, batches) - sum(lengths)
    assert waste < 0.05 * sum(lengths)
    assert waste < 0.05 * (padded(lengths, same_sizes) - sum(lengths))


# split_evenly


@pytest.mark.parametrize("seed", INPUTS)
def test_parts_are_as_many_as_asked_for_and_balanced(seed: int) -> None:
    generator = random.Random(seed)
    lengths, parts = random_lengths(generator), generator.randint(1, 12)
    groups = split_evenly(lengths, parts)
    assert len(groups) == parts
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert sum(bool(group) for group in groups) == min(parts, len(lengths))
    ordered = [lengths[index] for group in groups for index in group]
    assert ordered == sorted(lengths)
    # A cut is at most half a document off its place, so a part has at most one document more than its share; a part
    # that begins too late, because each part before had to get a document, has one.
    share, longest = sum(lengths) / parts, max(lengths)
    for group in groups:
        assert len(group) == 1 or sum(lengths[index] for index in group) <= share + longest + 1e-9


@pytest.mark.parametrize("parts", range(1, 9))
@pytest.mark.parametrize("each", range(1, 5))
def test_equal_documents_are_dealt_equally(parts: int, each: int) -> None:
    assert [len(group) for group in split_evenly([7] * (parts * each), parts)] == [each] * parts


def test_nothing_is_split_into_empty_parts() -> None:
    assert split_evenly([], 3) == [[], [], []]


# StepPlan


def random_plan(generator: random.Random, **changes: int) -> StepPlan:
    lengths = tuple(random_lengths(generator, most=90))
    values = {"examples_per_step": generator.randint(1, 20), "total_steps": generator.randint(1, 60), "seed": 5}
    return StepPlan(lengths, **{**values, "window_steps": generator.randint(1, 16), **changes})


@pytest.mark.parametrize("seed", INPUTS)
def test_a_run_sees_every_document_equally_often(seed: int) -> None:
    plan = random_plan(random.Random(seed))
    steps = [plan.step(step) for step in range(plan.total_steps)]
    assert {len(step) for step in steps} == {plan.examples_per_step}
    seen = Counter(index for step in steps for index in step)
    epochs = Fraction(plan.total_steps * plan.examples_per_step, len(plan.lengths))
    assert set(seen) <= set(range(len(plan.lengths)))
    assert all(int(epochs) <= seen[index] <= ceil(epochs) for index in range(len(plan.lengths)))


@pytest.mark.parametrize("seed", INPUTS)
def test_an_epoch_of_whole_steps_sees_every_document_once(seed: int) -> None:
    generator = random.Random(seed)
    steps, size, epochs = generator.randint(1, 20), generator.randint(1, 8), generator.randint(1, 4)
    lengths = tuple(generator.randint(1, 30) for _ in range(steps * size))
    plan = StepPlan(lengths, size, steps * epochs, seed, window_steps=generator.randint(1, 16))
    for epoch in range(epochs):
        seen = [index for step in range(epoch * steps, (epoch + 1) * steps) for index in plan.step(step)]
        assert sorted(seen) == list(range(len(lengths)))


@pytest.mark.parametrize("seed", range(100))
def test_a_step_holds_a_document_twice_only_where_epochs_meet(seed: int) -> None:
    """Documents of a few lengths only: sorting by length would bring the copies of later epochs side by side."""
    generator = random.Random(seed)
    count, size = generator.randint(8, 40), generator.randint(2, 8)
    plan = StepPlan(tuple(range(1, count + 1)), size, 100, seed)
    twice = [step for step in range(100) if len(set(plan.step(step))) < size]
    # A window ends with the step in which the epoch does, and at most size - 1 of its documents are of the next one.
    windows = ceil(100 * size / count)
    assert len(twice) <= windows * (size - 1)
    for step in twice:
        assert max(Counter(plan.step(step)).values()) <= 2


@pytest.mark.parametrize("seed", range(60))
def test_a_step_is_a_function_of_seed_and_step(seed: int) -> None:
    generator = random.Random(seed)
    plan = random_plan(generator)
    steps = [plan.step(step) for step in range(plan.total_steps)]
    order = list(range(plan.total_steps)) * 2
    generator.shuffle(order)
    again = StepPlan(plan.lengths, plan.examples_per_step, plan.total_steps, plan.seed, plan.window_steps)
    for step in order:
        assert again.step(step) == steps[step]
    # Only the window in which a longer run goes on may differ.
    longer = StepPlan(plan.lengths, plan.examples_per_step, plan.total_steps + 40, plan.seed, plan.window_steps)
    for step in range(plan.total_steps - plan.window_steps):
        assert longer.step(step) == steps[step]


def test_another_seed_is_another_order() -> None:
    lengths = tuple(random.Random(0).randint(1, 50) for _ in range(400))
    orders = [[StepPlan(lengths, 10, 80, seed).step(step) for step in range(80)] for seed in range(4)]
    assert all(one != other for number, one in enumerate(orders) for other in orders[:number])

    def window(order: list[list[int]], epoch: int) -> frozenset[int]:
        return frozenset(index for step in order[40 * epoch : 40 * epoch + 16] for index in step)

    # Not only the steps of a window are in another order: other documents are in it, with each seed and epoch.
    assert len({window(order, epoch) for order in orders for epoch in (0, 1)}) == 8


def test_steps_of_a_window_are_not_in_order_of_length() -> None:
    lengths = tuple(range(1, 1601))
    plan = StepPlan(lengths, 10, 160, seed=0)
    longest = [max(lengths[index] for index in plan.step(step)) for step in range(160)]
    rising = sum(one < other for one, other in pairwise(longest))
    assert 50 < rising < 110


def test_steps_hold_less_padding_than_in_random_order() -> None:
    generator = random.Random(0)
    lengths = [int(2 ** generator.uniform(3, 8)) for _ in range(1600)]
    plan = StepPlan(tuple(lengths), 32, 50, seed=0)
    steps = [plan.step(step) for step in range(50)]
    mixed = list(range(1600))
    generator.shuffle(mixed)
    at_random = [mixed[start : start + 32] for start in range(0, 1600, 32)]
    assert padded(lengths, steps) - sum(lengths) < 0.15 * (padded(lengths, at_random) - sum(lengths))


@pytest.mark.parametrize("seed", INPUTS)
def test_micro_batches_part_a_step(seed: int) -> None:
    generator = random.Random(seed)
    ranks, accumulation = generator.randint(1, 4), generator.randint(1, 4)
    plan = random_plan(generator)
    for step in range(min(plan.total_steps, 5)):
        groups = plan.micro_batches(step, ranks * accumulation)
        assert len(groups) == ranks * accumulation
        assert Counter(index for group in groups for index in group) == Counter(plan.step(step))
        if plan.examples_per_step >= ranks * accumulation:
            assert all(groups)


@pytest.mark.parametrize("seed", INPUTS)
def test_steps_of_epochs_suffice_and_one_less_would_not(seed: int) -> None:
    generator = random.Random(seed)
    documents, examples, tenths = generator.randint(1, 500), generator.randint(1, 64), generator.randint(1, 60)
    wanted = Fraction(documents * tenths, 10)
    steps = steps_of_epochs(documents, examples, tenths / 10)
    assert steps * examples >= wanted
    assert steps == 1 or (steps - 1) * examples < wanted
