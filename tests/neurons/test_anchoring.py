"""Where a selection ends, and what another classification selects up to there, against loops over neurons."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, lape, ternary
from alignlab.neurons.identifiers import LapeConfig, TernaryConfig
from alignlab.neurons.selection import Cut, lowest, up_to

LANGUAGES = ("a", "b", "c", "d")
CONFIGS = [
    TernaryConfig(top_rate=0.2, bar=0.7),
    TernaryConfig(top_rate=0.4, lambda_=0.0),
    LapeConfig(top_rate=0.25, bar=0.6),
]


def record(seed: int, tokens: int = 12) -> ActivationCounts:
    """Few tokens, so that many neurons tie; some never fire, some in one language only."""
    random = torch.Generator().manual_seed(seed)
    firings = (torch.rand(4, 1, 2, 60, generator=random).pow(3) * (tokens + 1)).long()
    firings[:, 0, 0, :20] *= torch.arange(4)[:, None] == torch.randint(4, (20,), generator=random)
    firings[..., 50:] = 0
    return ActivationCounts(
        LANGUAGES, firings, torch.full((4, 1), tokens), torch.ones(4, 1, dtype=torch.int64), "mlp.act", "all"
    )


def order(result: Classification) -> list[tuple[float, bool, int]]:
    """By which a neuron comes before another: score, whether it is general (ternary only), index."""
    scores = result.scores["score"].flatten().tolist()
    general = result.general.flatten().tolist() if result.identifier == "ternary" else [False] * len(scores)
    return [(score, full, i) for i, (score, full) in enumerate(zip(scores, general, strict=True))]


@pytest.mark.parametrize("config", CONFIGS)
def test_anchored_neurons_are_selected_up_to_the_last_one_of_the_first(config: Any) -> None:
    sizes = set()
    for seed in range(20):
        first, second = record(seed), record(seed + 100)
        anchor = config.identify(first)
        k = int(anchor.selected.sum())
        end = sorted(order(anchor))[k - 1]
        assert anchor.cut.score == anchor.thresholds["score"] == end[0]
        anchored = config.identify(second, anchor)
        expected = [place <= end for place in order(anchored)]
        assert anchored.selected.flatten().tolist() == expected
        assert (anchored.cut, anchored.thresholds) == (anchor.cut, anchor.thresholds)
        sizes.add(sum(expected) - k)
    assert min(sizes) < 0 < max(sizes)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_record_anchored_to_itself_selects_the_same_whatever_ties(config: Any) -> None:
    tied = 0
    for seed in range(20):
        counts = record(seed)
        own = config.identify(counts)
        again = config.identify(counts, own)
        assert torch.equal(again.selected, own.selected)
        assert {name: mask.tolist() for name, mask in again.sets.items()} == {
            name: mask.tolist() for name, mask in own.sets.items()
        }
        assert (again.cut, again.thresholds) == (own.cut, own.thresholds)
        tied += int((own.scores["score"] <= own.cut.score).sum() > own.selected.sum())
    assert tied > 2  # "at or under" alone would have taken in more


def test_equal_scores_at_the_cut_by_hand() -> None:
    score = np.array([0.5, 0.1, 0.5, 0.5, 0.5, 0.9])
    later = np.array([True, False, False, True, False, False])
    # In order: 1, 2, 4, 0, 3, 5.
    for k, chosen in enumerate(([1], [1, 2], [1, 2, 4], [1, 2, 4, 0], [1, 2, 4, 0, 3]), start=1):
        selected, cut = lowest(score, k, later)
        assert sorted(np.flatnonzero(selected)) == sorted(chosen)
        assert (up_to(cut, score, later) == selected).all()
    assert lowest(score, 4, later)[1] == Cut(0.5, 0 + 6)
    # Another score at the cut, beyond and before its place.
    moved = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.5])
    assert np.flatnonzero(up_to(Cut(0.5, 4), moved, later)).tolist() == [1, 2, 4]
    assert np.flatnonzero(up_to(Cut(0.5, 4), moved)).tolist() == [1, 2, 3, 4]


def test_only_neurons_above_tau_are_selected_by_entropy_and_all_of_them_where_they_were_too_few() -> None:
    p = torch.tensor([[0.9, 0.9, 0.2, 0.1], [0.1, 0.9, 0.2, 0.1]], dtype=torch.float64).unsqueeze(1)
    first = lape(p, 0.75, threshold=0.5, languages=("a", "b"))
    assert first.selected.tolist() == [[True, True, False, False]]
    assert "only 2 of the 3" in first.reason
    assert math.log(2) < first.thresholds["score"] < math.log(2) + 1e-6
    second = p.clone()
    second[:, 0, 2:] = 0.7
    again = lape(second, threshold=first.threshold, cut=first.cut, languages=("a", "b"))
    assert again.selected.all()
    assert again.reason == ""


@pytest.mark.parametrize("config", CONFIGS)
def test_an_anchor_without_a_cut_holds_the_number_selected(config: Any) -> None:
    first, second = record(1), record(2)
    own = config.identify(first)
    anchor = replace(own, cut=None, thresholds={n: v for n, v in own.thresholds.items() if n != "score"})
    again = config.identify(second, anchor)
    assert again.selected.sum() == own.selected.sum()
    assert again.threshold == own.threshold


def test_a_cut_needs_the_lambda_that_it_was_made_with() -> None:
    with pytest.raises(InputError, match="one lambda, since scores differ by it"):
        ternary(record(1), 0.2, cut=Cut(0.5, 3))
