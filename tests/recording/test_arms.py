"""Which arms go together: none that are the same, none that do nothing, and the number of forwards by hand."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from alignlab.models.edits import Arm, NeuronEdit
from alignlab.recording.arms import digest_of, first_layer, plan_arms, without_effectless


def an_edit(places: list[tuple[int, int]], gain: float = 0.0, offset: float = 0.0, **more: Any) -> NeuronEdit:
    layers, neurons = (torch.tensor([place[axis] for place in places], dtype=torch.int64) for axis in (0, 1))
    return NeuronEdit(layers, neurons, torch.full((len(places),), gain), torch.full((len(places),), offset), **more)


def test_a_digest_is_of_what_an_arm_does() -> None:
    one = an_edit([(1, 3), (0, 7)])
    assert digest_of((one,)) == digest_of((an_edit([(0, 7), (1, 3)]),))
    assert digest_of((one,)) == digest_of((one, an_edit([])))
    assert digest_of((one,)) == digest_of((one, an_edit([(0, 1), (2, 2)], 1.0)))
    assert digest_of((one,)) == digest_of((an_edit([(1, 3), (0, 7)], -0.0, -0.0),))
    assert digest_of(()) == digest_of((an_edit([(0, 1)], 1.0),)) == digest_of((an_edit([]),))
    others: list[Arm] = [
        (),
        (one,),
        (an_edit([(1, 3)]),),
        (an_edit([(0, 3), (1, 7)]),),
        (an_edit([(1, 3), (0, 7)], 0.5),),
        (an_edit([(1, 3), (0, 7)], 0.0, 0.5),),
        (an_edit([(1, 3), (0, 7)], at="mlp.up"),),
        (an_edit([(1, 3), (0, 7)], scope="prompt"),),
        (an_edit([(1, 3)]), an_edit([(0, 7)])),
        (an_edit([(0, 7)]), an_edit([(1, 3)])),
    ]
    assert len({digest_of(arm) for arm in others}) == len(others)


def test_what_changes_nothing_is_left_out() -> None:
    mixed = NeuronEdit(torch.tensor([0, 1, 2]), torch.tensor([5, 6, 7]), torch.tensor([1.0, 1.0, 0.5]),
                       torch.tensor([0.0, 0.25, 0.0]))  # fmt: skip
    (kept,) = without_effectless((an_edit([(0, 0)], 1.0), mixed))
    assert [kept.layers.tolist(), kept.gain.tolist(), kept.offset.tolist()] == [[1, 2], [1.0, 0.5], [0.25, 0.0]]
    assert first_layer((mixed, kept), 4) == 0
    assert first_layer((kept,), 4) == 1
    assert first_layer((), 4) == 4


def test_every_arm_that_differs_is_once_with_every_text() -> None:
    arms: list[Arm] = [(an_edit([(number % 4, number)]),) for number in range(40)]
    asked = [arms[3], (), *arms, (), arms[3]]
    lengths = [9, 30, 4, 12, 12, 7]
    plan = plan_arms(lengths, asked, layers=4, max_tokens=300)
    assert len(plan.distinct) == 41
    assert [digest_of(plan.distinct[place]) for place in plan.places] == [digest_of(arm) for arm in asked]
    cells = [(text, arm) for job in plan.jobs for text in job.texts for arm in job.chunk.arms]
    assert sorted(cells) == sorted(itertools.product(range(6), range(41)))
    for job in plan.jobs:
        assert job.rows * max(lengths[text] for text in job.texts) <= 300
        assert job.chunk.first == min(first_layer(plan.distinct[arm], 4) for arm in job.chunk.arms)


@pytest.mark.parametrize("budget", [1, 29, 30])
def test_a_text_longer_than_a_forward_is_a_forward_of_its_own(budget: int) -> None:
    plan = plan_arms([30, 3], [(), (an_edit([(0, 0)]),)], layers=2, max_tokens=budget)
    assert all(job.rows * [30, 3][job.texts[0]] <= max(budget, 30) for job in plan.jobs)


def test_forwards_that_are_filled_less_have_fewer_texts_and_as_many_arms() -> None:
    arms: list[Arm] = [(an_edit([(1, number)]),) for number in range(12)]
    lengths = [20, 19, 3, 3, 2, 2]
    full, less = (plan_arms(lengths, arms, layers=2, max_tokens=240, filled=filled) for filled in (None, 100))
    assert {len(job.chunk.arms) for job in (*full.jobs, *less.jobs)} == {12}
    assert [job.texts for job in full.jobs] == [(0,), (1,), (2, 3, 4, 5)]
    assert [job.texts for job in less.jobs] == [(0,), (1,), (2, 3), (4, 5)]
    assert less.forwards() == full.forwards() == 6 * (1 + 12) / 2
    assert plan_arms(lengths, arms, layers=2, max_tokens=240, filled=300).jobs == full.jobs
    assert all(len(job.texts) == 1 for job in plan_arms(lengths, arms, layers=2, max_tokens=240, filled=1).jobs)


def test_forwards_counted_by_hand() -> None:
    # Ten texts of one token; the baseline and three arms that begin in layers 1, 3 and 3 of 4.
    arms: list[Arm] = [(), (an_edit([(1, 0)]),), (an_edit([(3, 0)]),), (an_edit([(3, 1)]),)]
    plan = plan_arms([1] * 10, arms, layers=4, max_tokens=1000)
    # All in one chunk: 1 + 4 * 3 layers a text. That of layer 1 alone: 3 + 3 * 1, and 4.
    assert plan.forwards() == 10 * (3 + 3 + 4) / 4
    assert plan.forwards(shared=False) == 40
    # Two in a chunk: the baseline with one of layer 3, and layers 3 and 1, or three chunks.
    plan = plan_arms([1] * 10, arms, layers=4, max_tokens=2)
    assert plan.forwards() == 10 * (3 + 2 * 1) / 4 + 10 * (1 + 2 * 3) / 4
    assert plan.forwards(plan.jobs[:1]) == (3 + 2 * 1) / 4


@pytest.mark.parametrize("seed", range(20))
def test_no_other_chunks_run_fewer_layers(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    layers, together = 6, 3
    firsts = torch.randint(0, layers + 1, (8,), generator=random).tolist()
    arms: list[Arm] = [(an_edit([(first, number)]),) if first < layers else () for number, first in enumerate(firsts)]
    plan = plan_arms([1], arms, layers=layers, max_tokens=together)
    present = [first_layer(arm, layers) for arm in plan.distinct]  # the baseline once

    def cost(chunks: list[list[int]]) -> int:
        return sum(min(chunk) + len(chunk) * (layers - min(chunk)) for chunk in chunks)

    every = [
        cost([ordered[start:end] for start, end in itertools.pairwise((0, *cuts, len(present)))])
        for ordered in [sorted(present)]
        for count in range(len(present))
        for cuts in itertools.combinations(range(1, len(present)), count)
        if all(end - start <= together for start, end in itertools.pairwise((0, *cuts, len(present))))
    ]
    assert plan.forwards() == pytest.approx(min(every) / layers)


def test_arms_that_share_nothing_are_in_as_few_chunks_as_can_be() -> None:
    arms: list[Arm] = [(an_edit([(0, number)]),) for number in range(60)]
    plan = plan_arms([10], arms, layers=4, max_tokens=150)
    assert [len(job.chunk.arms) for job in plan.jobs] == [15] * 4
