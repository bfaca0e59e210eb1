"""Sets of most relevance, of less to others, against a loop over neurons in fractions."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from alignlab.errors import InputError
from alignlab.neurons.options import Elsewhere
from alignlab.neurons.relevance_identifier import relevance

from .test_attribution import ALL, GOOD, LAYERS, NEURONS, names, random_scores

WAYS: tuple[Elsewhere, ...] = get_args(Elsewhere)


def slow(nats: Tensor, top_rate: float, elsewhere: Elsewhere) -> list[set[int]]:
    shares = []
    for row in nats.flatten(1).tolist():
        whole = sum(Fraction(value) for value in row if value > 0)
        shares.append([Fraction(value) / whole if value > 0 else Fraction(0) for value in row])
    top = []
    for own in shares:
        order = sorted((n for n in range(ALL) if own[n] > 0), key=lambda n: (-own[n], n))
        top.append(set(order[: round(top_rate * ALL)]))
    if elsewhere == "any":
        return top
    if elsewhere == "none":
        return [{n for n in own if sum(n in other for other in top) == 1} for own in top]
    return [{n for n in own if all(shares[g][n] >= other[n] for other in shares)} for g, own in enumerate(top)]


def sets_of(nats: Tensor, top_rate: float, elsewhere: Elsewhere) -> list[set[int]]:
    result = relevance(nats, top_rate, elsewhere, languages=names(len(nats)))
    assert not result.has_degree
    return [{*mask.flatten().nonzero().flatten().tolist()} for mask in result.sets.values()]


@pytest.mark.parametrize("elsewhere", WAYS)
def test_equals_the_loop_over_neurons(elsewhere: Elsewhere) -> None:
    left_out = short = 0
    for seed in range(24):
        g = 2 + seed % 5
        random = torch.Generator().manual_seed(seed)
        nats = torch.randn(g, LAYERS, NEURONS, generator=random, dtype=torch.float64)
        nats = nats if seed % 3 else random_scores(seed, 2)  # with equal ones; sums of quarters are exact
        top_rate = (0.05, 0.2, 0.5, 1.0)[seed % 4]
        expected = slow(nats, top_rate, elsewhere)
        assert sets_of(nats, top_rate, elsewhere) == expected
        left_out += sum(map(len, slow(nats, top_rate, "any"))) > sum(map(len, expected))
        short += bool(relevance(nats, top_rate, elsewhere, languages=names(len(nats))).reason)
    assert short
    assert bool(left_out) == (elsewhere != "any")


@pytest.mark.parametrize("elsewhere", WAYS)
def test_neither_order_nor_scale_nor_a_language_that_is_there_twice_changes_a_set(elsewhere: Elsewhere) -> None:
    nats = torch.randn(4, LAYERS, NEURONS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = sets_of(nats, 0.3, elsewhere)
    for order in itertools.permutations(range(4)):
        assert sets_of(nats[[*order]], 0.3, elsewhere) == [expected[g] for g in order]
    scaled = nats * torch.tensor([0.25, 1, 8, 2], dtype=torch.float64)[:, None, None]  # text of more nats
    assert sets_of(scaled, 0.3, elsewhere) == expected
    twice = sets_of(torch.cat([nats, nats[1:2]]), 0.3, elsewhere)
    assert twice[4] == twice[1]
    assert twice[:1] + twice[2:4] == expected[:1] + expected[2:] or elsewhere == "none"
    assert twice[1] == (set() if elsewhere == "none" else expected[1])


def test_shares_sum_to_one_and_a_language_without_relevance_has_none() -> None:
    nats = torch.tensor([[[3.0, -5.0, 1.0]], [[-1.0, 0.0, -2.0]]], dtype=torch.float64)
    result = relevance(nats, 1.0, languages=["a", "b"])
    assert result.scores["relevance a"].tolist() == [[0.75, 0.0, 0.25]]
    assert result.scores["relevance b"].tolist() == [[0.0, 0.0, 0.0]]
    assert [mask[0].tolist() for mask in result.sets.values()] == [[True, False, True], [False] * 3]
    assert "a 2, b 0" in result.reason


@pytest.mark.parametrize(
    ("nats", "options", "languages", "words"),
    [
        (GOOD, {"top_rate": 0.0}, ["a", "b"], "over 0 and at most 1"),
        (GOOD, {"top_rate": 2.0}, ["a", "b"], "over 0 and at most 1"),
        (GOOD, {"top_rate": 0.001}, ["a", "b"], "rounds to a selection of none"),
        (GOOD, {"elsewhere": "never"}, ["a", "b"], "never"),
        (GOOD[:1], {}, ["a"], "two or more"),
        (GOOD, {}, ["a", "b", "c"], "one for each row"),
        (GOOD, {}, ["a", "a"], "a"),
        (GOOD.half(), {}, ["a", "b"], "float64"),
        (GOOD[..., 0], {}, ["a", "b"], "(languages, layers, neurons)"),
        (GOOD * torch.inf, {}, ["a", "b"], "not finite"),
    ],
)
def test_bad_input_is_one_message(nats: Tensor, options: dict[str, Any], languages: list[str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        relevance(nats, **{"top_rate": 0.5, **options}, languages=languages)
    assert words in str(refused.value)
    assert NEURONS * LAYERS == ALL
