"""How far identifiers agree, against sets of Python and scikit-learn."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from sklearn.metrics import jaccard_score
from torch import Tensor

from alignlab.errors import InputError
from alignlab.neurons.agreement import agreement, halves, layer_shares, shared_share

LANGUAGES = ("en", "de", "th")


def some_sets(seed: int, share: float = 0.3) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.rand(3, 40, generator=generator) < share for name in LANGUAGES}


def test_languages_without_neurons_are_in_no_mean() -> None:
    first, second = some_sets(0), some_sets(1)
    first["th"][:] = second["th"][:] = False
    found = agreement(first, second)
    expected = [jaccard_score(first[name].flatten(), second[name].flatten()) for name in ("en", "de")]
    assert found.jaccard == pytest.approx(sum(expected) / 2)
    assert found.languages == 2
    assert math.isnan(found.by_language["th"].jaccard)


def test_one_empty_set_counts_as_nothing_shared() -> None:
    first, second = some_sets(0), some_sets(1)
    first["th"][:] = False
    expected = [jaccard_score(first[name].flatten(), second[name].flatten()) for name in ("en", "de")]
    assert agreement(first, second).jaccard == pytest.approx(sum(expected) / 3)


def test_chance_is_what_shuffled_sets_share() -> None:
    first, second = some_sets(0, 0.1), some_sets(1, 0.4)
    generator = torch.Generator().manual_seed(5)
    drawn = []
    for _ in range(400):
        shuffled = {
            name: torch.stack([layer[torch.randperm(len(layer), generator=generator)] for layer in mask])
            for name, mask in second.items()
        }
        drawn.append(agreement(first, shuffled).jaccard)
    mean, sd = torch.tensor(drawn).mean().item(), torch.tensor(drawn).std().item()
    # A ratio of means beside a mean of ratios: near, not equal.
    assert agreement(first, second).chance == pytest.approx(mean, abs=4 * sd / math.sqrt(len(drawn)) + 0.003)


def test_other_languages_are_refused() -> None:
    with pytest.raises(InputError, match="the same languages in both"):
        agreement(some_sets(0), {name: mask for name, mask in some_sets(0).items() if name != "th"})


def test_layers_and_sharing_by_loops() -> None:
    sets = some_sets(2)
    sets["de"][:] = False
    shares = layer_shares(sets)
    for name, of in zip(LANGUAGES, shares, strict=True):
        neurons = [(layer, neuron) for layer, neuron in sets[name].nonzero().tolist()]
        layers = Counter(layer for layer, _ in neurons)
        expected = [layers[layer] / len(neurons) if neurons else math.nan for layer in range(3)]
        assert of.tolist() == pytest.approx(expected, nan_ok=True)
    members = Counter(tuple(place) for mask in sets.values() for place in mask.nonzero().tolist())
    expected_share = sum(number > 1 for number in members.values()) / len(members)
    assert shared_share(sets) == pytest.approx(expected_share)
    assert math.isnan(shared_share({name: torch.zeros_like(mask) for name, mask in sets.items()}))


@pytest.mark.parametrize("shards", [2, 3, 20])
def test_halves_hold_every_shard_once(shards: int) -> None:
    first, second = halves(shards)
    assert sorted([*first, *second]) == list(range(shards))
    assert 0 <= len(first) - len(second) <= 1
