"""The neurons that fire most, against a loop that takes one neuron after another until they hold the share."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts
from alignlab.neurons.activation_frequency_identifier import activation_frequency
from alignlab.neurons.identifiers import ActivationFrequencyConfig, has_tau

LAYERS, NEURONS = 3, 30


def counts_of(firings: torch.Tensor, languages: tuple[str, ...]) -> ActivationCounts:
    """Of (G, S, L, N) firings on so many tokens that each could be one."""
    tokens = firings.amax(dim=(2, 3)) + 1
    return ActivationCounts(languages, firings, tokens, torch.ones_like(tokens), "mlp.act", "all")


def random_counts(seed: int, g: int) -> ActivationCounts:
    """Few different numbers, so that many tie; a layer that never fires in a language; a language that never does."""
    random = torch.Generator().manual_seed(seed)
    most = int(torch.randint(2, 40, (1,), generator=random))
    firings = torch.randint(0, most, (g, 2, LAYERS, NEURONS), generator=random)
    firings[0, :, 1] = 0
    if seed % 3 == 0:
        firings[-1] = 0
    return counts_of(firings, tuple(f"language-{i}" for i in range(g)))


def slow(counts: ActivationCounts, numerator: int, denominator: int) -> dict[str, set[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for g, name in enumerate(counts.languages):
        found[name] = set()
        for layer in range(LAYERS):
            fired = [sum(shard[layer][n] for shard in counts.firings[g].tolist()) for n in range(NEURONS)]
            held, left = 0, list(range(NEURONS))
            while held * denominator < numerator * sum(fired):
                best = max(left, key=lambda n: (fired[n], -n))
                left.remove(best)
                held += fired[best]
                found[name].add((layer, best))
    return found


def cells(mask: torch.Tensor) -> set[tuple[int, int]]:
    return {(layer, neuron) for layer, neuron in mask.nonzero().tolist()}


@pytest.mark.parametrize("written", ["0.9", "0.1", "0.333", "1.0"])
def test_equals_the_loop_over_neurons(written: str) -> None:
    share = Fraction(written)
    for seed in range(12):
        counts = random_counts(seed, 2 + seed % 4)
        result = activation_frequency(counts, float(written))
        expected = slow(counts, share.numerator, share.denominator)
        assert {name: cells(mask) for name, mask in result.sets.items()} == expected
        assert list(result.sets) == list(result.languages) == list(counts.languages)
        assert cells(result.selected) == set.union(*expected.values())
        assert (result.thresholds, result.has_degree, result.cut) == ({}, False, None)


@pytest.mark.parametrize(("share", "neurons", "size"), [(0.9, 10, 9), (0.07, 100, 7), (0.55, 100, 55)])
def test_a_share_that_is_just_reached_needs_no_more(share: float, neurons: int, size: int) -> None:
    # In floating point 0.07 * 100 is over 7, and 0.55 * 100 over 55.
    alike, one = torch.ones(neurons, dtype=torch.int64), torch.zeros(neurons, dtype=torch.int64)
    one[0] = 1
    counts = counts_of(torch.stack([alike, one]).view(2, 1, 1, neurons), ("en", "de"))
    result = activation_frequency(counts, share)
    assert {name: int(mask.sum()) for name, mask in result.sets.items()} == {"en": size, "de": 1}


def test_a_sum_beyond_the_floats_is_exact() -> None:
    half = 2**52 + 1
    counts = counts_of(torch.tensor([[[[half, half - 2, 1, 1]]], [[[1, 1, 1, 0]]]]), ("en", "de"))
    # The first holds exactly half; one firing less would not.
    assert activation_frequency(counts, 0.5).sets["en"].tolist() == [[True, False, False, False]]
    fewer = counts_of(torch.tensor([[[[half - 1, half - 2, 2, 2]]], [[[1, 1, 1, 0]]]]), ("en", "de"))
    assert activation_frequency(fewer, 0.5).sets["en"].tolist() == [[True, True, False, False]]


def test_permuting_the_languages_permutes_the_result() -> None:
    counts = random_counts(4, 5)
    order = [3, 0, 4, 1, 2]
    names = tuple(counts.languages[i] for i in order)
    moved = ActivationCounts(
        names, counts.firings[order], counts.tokens[order], counts.documents[order], "mlp.act", "all"
    )
    result, other = activation_frequency(counts), activation_frequency(moved)
    assert other.languages == names
    assert all(torch.equal(result.sets[name], other.sets[name]) for name in names)


def test_an_anchor_changes_nothing() -> None:
    first, second = random_counts(1, 3), random_counts(2, 3)
    identifier = ActivationFrequencyConfig(share=0.5)
    anchored = identifier.identify(second, identifier.identify(first))
    own = activation_frequency(second, 0.5)
    assert all(torch.equal(anchored.sets[name], own.sets[name]) for name in own.sets)
    assert not has_tau(identifier)
    assert any(not torch.equal(mask, activation_frequency(second).sets[name]) for name, mask in own.sets.items())


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=f"share: {share}; expected a share of all firings"):
        activation_frequency(random_counts(1, 2), share)


def test_counters_that_carry_no_information_are_refused() -> None:
    with pytest.raises(InputError, match="no neuron is active"):
        activation_frequency(counts_of(torch.zeros(2, 1, 1, 4, dtype=torch.int64), ("en", "de")))
