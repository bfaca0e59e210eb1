"""Equally many neurons of every language, against a loop that sorts each language's neurons by their entropy."""

from __future__ import annotations

import math

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, lape
from alignlab.neurons.equal_size_lape_identifier import equal_size_lape
from alignlab.neurons.identifiers import EqualSizeLapeConfig, has_tau

from .test_lape import LAYERS, NEURONS, Slow, counts_of, names, random_counts


def slow(counts: ActivationCounts, size: int, bar: float, exclusive: bool) -> tuple[dict[str, set[int]], bool]:
    """The sets as flat indices, and whether rounding could decide none of them."""
    found = Slow(counts, 0.5, bar)  # tau, owners and entropies, from the formulas
    sets: dict[str, set[int]] = {}
    clear = True
    rows = counts.probabilities().flatten(1).T.tolist()
    for g, name in enumerate(counts.languages):
        own = sorted((n for n in range(LAYERS * NEURONS) if g in found.owners[n]), key=lambda n: (found.entropy[n], n))
        sets[name] = set(own[:size])
        if len(own) > size:
            last = own[size - 1]
            clear = clear and all(
                sorted(rows[n]) == sorted(rows[last]) or abs(found.entropy[n] - found.entropy[last]) > 1e-12
                for n in own
            )
    if exclusive:
        every = [*sets.values()]
        sets = {name: {n for n in own if sum(n in other for other in every) == 1} for name, own in sets.items()}
    return sets, clear


@pytest.mark.parametrize("exclusive", [False, True])
def test_equals_the_loop_over_neurons(exclusive: bool) -> None:
    compared = short = empty = shared = 0
    for seed in range(40):
        g = 2 + seed % 6
        counts = random_counts(50 + seed, g)
        size, bar = [(3, 0.9), (10, 0.5), (7, 0.95), (40, 0.8)][seed % 4]
        expected, clear = slow(counts, size, bar, exclusive)
        if not clear:
            continue
        compared += 1
        for result in (
            equal_size_lape(counts, size, bar, exclusive),
            equal_size_lape(counts.probabilities(), size, bar, exclusive, languages=names(g)),
        ):
            found = {name: {*mask.flatten().nonzero().flatten().tolist()} for name, mask in result.sets.items()}
            assert found == expected
            assert list(result.sets) == list(result.languages) == names(g)
            assert {*result.selected.flatten().nonzero().flatten().tolist()} == set.union(*expected.values())
            assert result.thresholds == {"tau": Slow(counts, 0.5, bar).tau}
            assert not result.has_degree
        unshared, _ = slow(counts, size, bar, False)
        lacking = [name for name, own in unshared.items() if len(own) < size]
        assert bool(result.reason) == bool(lacking)
        assert all(f"{name} {len(unshared[name])}" in result.reason for name in lacking)
        short += bool(lacking)
        empty += any(not own for own in expected.values())
        shared += sum(map(len, unshared.values())) > len(set.union(*unshared.values()))
    assert min(compared - 19, short, empty, shared) > 0  # each of these is among the cases


def test_three_languages_by_hand() -> None:
    # At tau .1, strictly above it, the languages own {0, 1, 2}, {2, 3} and {2, 3, 4}; the entropies are 0, H(8/9, 1/9),
    # ln 3, ln 2 and 0.
    rows = [[0.5, 0.8, 0.3, 0.0, 0.0], [0.0, 0.1, 0.3, 0.6, 0.0], [0.0, 0.0, 0.3, 0.6, 0.2]]
    p = torch.tensor(rows, dtype=torch.float64).unsqueeze(1)
    found = {}
    for size, exclusive in ((1, False), (2, False), (2, True), (3, True)):
        result = equal_size_lape(p, size, exclusive=exclusive, threshold=0.1, languages=["a", "b", "c"])
        found[size, exclusive] = [mask[0].nonzero().flatten().tolist() for mask in result.sets.values()]
    assert found[1, False] == [[0], [3], [4]]
    assert found[2, False] == [[0, 1], [2, 3], [3, 4]]
    assert found[2, True] == [[0, 1], [2], [4]]
    assert found[3, True] == [[0, 1], [], [4]]
    h = -8 / 9 * math.log(8 / 9) - 1 / 9 * math.log(1 / 9)
    expected = [0.0, h, math.log(3), math.log(2), 0.0]
    assert result.scores["entropy"][0].tolist() == pytest.approx(expected, abs=1e-15)


def test_equal_entropies_go_by_position() -> None:
    p = torch.tensor([[0.8, 0.4, 0.2, 0.0, 0.6], [0.0] * 5], dtype=torch.float64).unsqueeze(1)
    result = equal_size_lape(p, 2, threshold=0.1, languages=names(2))
    assert [mask[0].tolist() for mask in result.sets.values()] == [[True, True, False, False, False], [False] * 5]
    assert result.reason == "above the threshold lie fewer than 2 neurons of: language-1 0"


def test_permuting_the_languages_permutes_the_result_exactly() -> None:
    for seed in range(8):
        g = 3 + seed % 5
        counts = random_counts(seed, g)
        order = torch.randperm(g, generator=torch.Generator().manual_seed(seed)).tolist()
        moved = counts_of(counts.firings[order], counts.tokens[order], [counts.languages[i] for i in order])
        result, other = (equal_size_lape(one, 6, 0.7, exclusive=seed % 2 == 0) for one in (counts, moved))
        assert other.languages == tuple(counts.languages[i] for i in order)
        assert all(torch.equal(result.sets[name], other.sets[name]) for name in counts.languages)
        assert torch.equal(result.scores["entropy"], other.scores["entropy"])


def test_anchored_it_keeps_tau_and_the_size_of_its_sets() -> None:
    first, second = random_counts(7, 4), random_counts(8, 4)
    identifier = EqualSizeLapeConfig(size=5, bar=0.6)
    assert not has_tau(identifier)
    start = identifier.identify(first)
    again = identifier.identify(first, start)
    anchored, own = identifier.identify(second, start), identifier.identify(second)
    assert anchored.thresholds == start.thresholds != own.thresholds
    expected = equal_size_lape(second, 5, threshold=lape(first, bar=0.6).threshold)
    for name in first.languages:
        assert torch.equal(anchored.sets[name], expected.sets[name])
        assert int(anchored.sets[name].sum()) == 5
        assert torch.equal(again.sets[name], start.sets[name])


def test_what_is_wrong_is_told_at_once() -> None:
    counts = random_counts(1, 3)
    for size in (0, LAYERS * NEURONS + 1):
        with pytest.raises(InputError) as caught:
            equal_size_lape(counts, size, threshold=1.5)
        assert [problem.where for problem in caught.value.problems] == ["threshold", "identifier.size"]
        assert "from 1 to 120, the neurons of the model" in str(caught.value)
    with pytest.raises(InputError, match="languages: 1; expected two or more"):
        equal_size_lape(counts.probabilities()[:1], 2, languages=["a"])
