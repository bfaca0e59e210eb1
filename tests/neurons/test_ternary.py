"""The ternary classification against a loop over neurons written from the formulas of the paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, Kind, ternary
from alignlab.neurons.ternary_identifier import paper_lambda

LAYERS, NEURONS = 3, 40


def names(g: int) -> list[str]:
    return [f"language-{i}" for i in range(g)]


def counts_of(firings: torch.Tensor, tokens: torch.Tensor, languages: list[str] | None = None) -> ActivationCounts:
    return ActivationCounts(
        languages=tuple(languages or names(len(tokens))),
        firings=firings,
        tokens=tokens,
        documents=torch.ones_like(tokens),
        site="mlp.act",
        scope="all",
    )


def random_counts(seed: int, g: int, shards: int = 2) -> ActivationCounts:
    """Counts with neurons that tie, neurons that never fire, a language without tokens, and many degrees."""
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 60, (g, shards), generator=random)
    if g > 2 and seed % 3 == 0:
        tokens[int(torch.randint(g, (1,), generator=random))] = 0
    rate = torch.rand(LAYERS, NEURONS, generator=random).pow(2)
    noise = torch.rand(g, shards, LAYERS, NEURONS, generator=random)
    spread = torch.rand(LAYERS, NEURONS, generator=random)
    p = (rate * (1 - spread) + spread * noise.pow(4)).clamp(0, 1)
    firings = (p * tokens[..., None, None]).round().long()
    source, target = torch.randint(LAYERS * NEURONS, (2, 30), generator=random)
    flat = firings.flatten(2)
    flat[..., target] = flat[..., source]
    flat[..., torch.randint(LAYERS * NEURONS, (6,), generator=random)] = 0
    return counts_of(flat.view_as(firings), tokens)


class Slow:
    """The definition, one neuron after another, in plain Python."""

    def __init__(self, counts: ActivationCounts, top_rate: float, bar: float, lambda_: float) -> None:
        g = len(counts.languages)
        tokens = [sum(row) for row in counts.tokens.tolist()]
        firings = counts.firings.sum(dim=1).flatten(1).tolist()
        n = len(firings[0])
        self.p = [[firings[i][j] / tokens[i] if tokens[i] else 0.0 for i in range(g)] for j in range(n)]
        self.tau = sorted(p for row in self.p for p in row)[max(1, round(bar * (g * n))) - 1]
        self.owners = [{i for i in range(g) if row[i] > self.tau} for row in self.p]
        self.degree = [len(owners) for owners in self.owners]
        h = sum(1 / i for i in range(1, g + 1)) / g
        self.score = [self.entropy(row) / math.log(g) - lambda_ * max(row) / h for row in self.p]
        self.k = round(top_rate * n)
        # Equal rows must tie exactly whatever the library's logarithm does, and only they may.
        self.shape = [sorted(row) for row in self.p]
        first: dict[tuple[float, ...], float] = {}
        tied = [first.setdefault(tuple(shape), score) for shape, score in zip(self.shape, self.score, strict=True)]
        order = sorted(range(n), key=lambda j: (tied[j], self.degree[j] == g, j))
        self.selected = set(order[: self.k])
        # Where different rows are this near to the last selected, rounding decides: not a case to compare.
        last = order[self.k - 1]
        self.clear = all(self.shape[j] == self.shape[last] or abs(tied[j] - tied[last]) > 1e-12 for j in range(n))

    @staticmethod
    def entropy(row: list[float]) -> float:
        if sum(row) == 0:
            return math.log(len(row))
        shares = [p / sum(sorted(row)) for p in sorted(row)]
        return -sum(q * math.log(q) for q in shares if q > 0)


def agrees(result: Classification, slow: Slow) -> None:
    g = len(result.languages)
    assert result.threshold == slow.tau
    assert result.degree.flatten().tolist() == slow.degree
    assert result.general.flatten().tolist() == [degree == g for degree in slow.degree]
    assert result.scores["score"].flatten().tolist() == pytest.approx(slow.score, abs=1e-12)
    assert set(result.selected.flatten().nonzero().flatten().tolist()) == slow.selected
    assert list(result.sets) == list(result.above) == list(result.languages)
    for i, name in enumerate(result.languages):
        owned = [i in owners for owners in slow.owners]
        assert result.above[name].flatten().tolist() == owned
        assert result.sets[name].flatten().tolist() == [own and j in slow.selected for j, own in enumerate(owned)]
    for convention in ("paper", "selection", "all"):
        codes = result.kinds(convention)
        assert codes.dtype == torch.int8
        for j, code in enumerate(codes.flatten().tolist()):
            assert code == kind_of(slow.degree[j], g, j in slow.selected, convention), (convention, j)


def kind_of(degree: int, g: int, selected: bool, convention: str) -> Kind:
    by_degree = Kind.SPECIFIC if degree == 1 else Kind.GENERAL if degree == g else Kind.RELATED
    if convention == "all":
        return by_degree if degree else Kind.NONE
    if convention == "paper" and degree == g:
        return Kind.GENERAL
    if not selected:
        return Kind.NONE
    return by_degree if degree else Kind.UNASSIGNED


@pytest.mark.parametrize("g", range(2, 13))
def test_equals_the_loop_over_neurons(g: int) -> None:
    compared = 0
    for seed in range(24):
        counts = random_counts(100 * g + seed, g)
        top_rate, bar = [(0.013, 0.95), (0.1, 0.9), (0.3, 0.5), (1.0, 0.8), (0.055, 0.0), (0.5, 1.0)][seed % 6]
        lambda_ = [0.0, 0.04, 0.2, 1.5][seed % 4]
        slow = Slow(counts, top_rate, bar, lambda_)
        if slow.clear:
            compared += 1
            agrees(ternary(counts, top_rate, bar, lambda_), slow)
            bare = ternary(counts.probabilities(), top_rate, bar, lambda_, languages=names(g))
            agrees(bare, slow)
    assert compared > 12


@pytest.mark.parametrize("g", range(2, 13))
def test_lambda_star_keeps_full_degree_out_and_reproduces_itself(g: int) -> None:
    found = 0
    for seed in range(12):
        counts = random_counts(1000 * g + seed, g)
        top_rate, bar = [(0.05, 0.9), (0.2, 0.7), (0.3, 0.5)][seed % 3]
        result = ternary(counts, top_rate, bar)
        again = ternary(counts, top_rate, bar, lambda_=result.lambda_)
        assert torch.equal(again.selected, result.selected)
        assert torch.equal(again.scores["score"], result.scores["score"])
        assert all(torch.equal(again.sets[name], result.sets[name]) for name in result.languages)
        assert not again.capped
        slow = Slow(counts, top_rate, bar, result.lambda_)
        if slow.clear:
            agrees(result, slow)
        assert bool((result.selected & result.general).any()) == bool(result.reason)
        if result.reason:
            assert (result.lambda_, result.capped) == (0.0, False)
            continue
        found += 1
        assert result.capped == (result.lambda_ == 0.2)
        # Nothing larger qualifies: not on a grid, and not just above.
        steps = [*torch.linspace(result.lambda_, 0.2, 50, dtype=torch.float64).tolist()[1:], result.lambda_ + 1e-9]
        for lambda_ in steps if not result.capped else []:
            larger = ternary(counts, top_rate, bar, lambda_=lambda_)
            assert bool((larger.selected & larger.general).any()), lambda_
    assert found > 2


def test_lambda_in_the_papers_units() -> None:
    result = ternary(random_counts(4, 5), 0.1, 0.9, lambda_=0.04)
    h = (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5) / 5
    assert paper_lambda(result.lambda_, 5) == pytest.approx(0.04 * math.log(5) / h, rel=1e-15)


def test_degrees_sum_to_the_probabilities_above_the_threshold() -> None:
    random = torch.Generator().manual_seed(0)
    for bar in (0.95, 0.5, 0.123, 0.0, 1.0):
        # All different, as a permutation of a grid: the sum is exact.
        p = (torch.randperm(6 * 3 * 50, generator=random).double() / 1000).view(6, 3, 50)
        result = ternary(p, 0.1, bar, languages=names(6))
        assert int(result.degree.sum()) == 900 - max(1, round(bar * 900))
        # With ties at tau, those tied lie above it no more.
        coarse = (p * 20).round() / 20
        result = ternary(coarse, 0.1, bar, languages=names(6))
        tied = int((coarse.flatten().sort().values[max(1, round(bar * 900)) :] == result.threshold).sum())
        assert int(result.degree.sum()) == 900 - max(1, round(bar * 900)) - tied


@pytest.mark.parametrize("g", [2, 3, 7, 12])
def test_permuting_the_languages_permutes_the_result_exactly(g: int) -> None:
    for seed in range(10):
        counts = random_counts(seed, g)
        order = torch.randperm(g, generator=torch.Generator().manual_seed(seed)).tolist()
        moved = counts_of(counts.firings[order], counts.tokens[order], [counts.languages[i] for i in order])
        result, other = ternary(counts, 0.2, 0.8), ternary(moved, 0.2, 0.8)
        assert other.languages == tuple(counts.languages[i] for i in order)
        assert other.lambda_ == result.lambda_
        assert other.threshold == result.threshold
        for field in ("selected", "degree", "general"):
            assert torch.equal(getattr(other, field), getattr(result, field)), field
        assert set(result.scores) == {"score", "entropy", "peak"}
        for name, score in result.scores.items():
            assert torch.equal(other.scores[name], score), name
        for name in counts.languages:
            assert torch.equal(other.sets[name], result.sets[name])
            assert torch.equal(other.above[name], result.above[name])


def test_a_duplicated_language_gets_the_set_of_its_original() -> None:
    counts = random_counts(7, 4)
    double = counts_of(counts.firings[[0, 1, 2, 3, 1]], counts.tokens[[0, 1, 2, 3, 1]], [*counts.languages, "double"])
    result = ternary(double, 0.2, 0.8)
    assert bool(result.sets["double"].any())
    assert torch.equal(result.sets["double"], result.sets[counts.languages[1]])


def test_a_language_without_tokens_keeps_its_place_and_has_an_empty_set() -> None:
    counts = random_counts(8, 4)
    counts.tokens[1] = 0
    counts.firings[1] = 0
    result = ternary(counts, 0.2, 0.8)
    assert list(result.sets) == names(4)
    assert not result.sets["language-1"].any()
    assert bool(result.sets["language-2"].any())


def test_neurons_that_never_fire_count_as_uniform() -> None:
    p = torch.tensor([[[0.0, 0.3, 0.9, 0.2]], [[0.0, 0.3, 0.1, 0.1]]], dtype=torch.float64)
    result = ternary(p, 0.5, 0.5, lambda_=0.0, languages=names(2))
    assert result.scores["entropy"][0, 0] == 1
    assert result.scores["entropy"][0, 1] == pytest.approx(1, abs=1e-15)
    assert result.selected.tolist() == [[False, False, True, True]]


def test_equal_scores_go_first_to_degrees_under_g_and_then_by_position() -> None:
    # By rows: the neurons. Degrees 2 and 1 at tau .3, all scores equal at lambda 0 (shares 1/4 and 3/4).
    rows = [[0.8, 0.4, 0.2, 0.8, 0.4, 0.2], [0.4, 0.8, 0.4, 0.4, 0.2, 0.4]]
    p = torch.tensor(rows, dtype=torch.float64).unsqueeze(1)
    result = ternary(p, 0.5, lambda_=0.0, threshold=0.3, languages=names(2))
    assert result.degree.tolist() == [[2, 2, 1, 2, 1, 1]]
    assert result.selected.tolist() == [[False, False, True, False, True, True]]
    more = ternary(p, 5 / 6, lambda_=0.0, threshold=0.3, languages=names(2))
    assert more.selected.tolist() == [[True, True, True, False, True, True]]


def test_identical_neurons_tie_to_the_last_bit_wherever_they_lie() -> None:
    # A vectorised logarithm must not treat the end of an array otherwise than its middle.
    random = torch.Generator().manual_seed(3)
    for n in (1, 3, 7, 20_001):
        row = torch.rand(5, 1, 1, generator=random, dtype=torch.float64)
        p = row.expand(5, 2, n).clone()
        assert len(ternary(p, 1.0, languages=names(5)).scores["score"].unique()) == 1


def test_every_neuron_of_a_large_model_is_reached() -> None:
    p = torch.rand(5, 2, 30_001, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    p[:, :, ::7] = 0
    entropy = ternary(p, languages=names(5)).scores["entropy"].flatten()
    for j in (*range(0, 60_002, 97), 60_000, 60_001):
        assert float(entropy[j]) == pytest.approx(Slow.entropy(p.flatten(1)[:, j].tolist()) / math.log(5), abs=1e-12)


def test_an_anchored_threshold_replaces_the_bar() -> None:
    counts = random_counts(9, 4)
    first = ternary(counts, 0.2, 0.8)
    anchored = ternary(counts, 0.2, 0.5, lambda_=first.lambda_, threshold=first.threshold)
    assert torch.equal(anchored.degree, first.degree)
    assert torch.equal(anchored.selected, first.selected)
    assert not torch.equal(ternary(counts, 0.2, 0.5).degree, first.degree)


def test_the_number_of_shards_changes_nothing() -> None:
    counts = random_counts(10, 4, shards=5)
    one = counts_of(counts.firings.sum(dim=1, keepdim=True), counts.tokens.sum(dim=1, keepdim=True))
    narrow = counts_of(counts.firings.to(torch.uint16), counts.tokens)
    for other in (one, narrow):
        assert torch.equal(ternary(other, 0.2, 0.8).scores["score"], ternary(counts, 0.2, 0.8).scores["score"])


PROBABILITIES = torch.rand(3, 2, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"top_rate": 0.0}, "top_rate"),
        ({"top_rate": 1.01}, "top_rate"),
        ({"top_rate": math.nan}, "top_rate"),
        ({"top_rate": 0.01}, "selection of none"),
        ({"bar": -0.1}, "bar"),
        ({"bar": 1.5}, "bar"),
        ({"bar": math.nan}, "bar"),
        ({"lambda_": -0.1}, "lambda_"),
        ({"lambda_": math.inf}, "lambda_"),
        ({"lambda_": math.nan}, "lambda_"),
        ({"lambda_": "smallest"}, "lambda_"),
        ({"lambda_": True}, "lambda_"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"languages": None}, "languages"),
        ({"languages": ["a", "b"]}, "2 names"),
        ({"languages": ["a", "b", "a"]}, "once"),
        ({"counts": PROBABILITIES[:1], "languages": ["a"]}, "two or more"),
        ({"counts": PROBABILITIES[0]}, "shape"),
        ({"counts": PROBABILITIES[:, :, :0]}, "shape"),
        ({"counts": PROBABILITIES.float()}, "float64"),
        ({"counts": PROBABILITIES + 0.5}, "from 0 to 1"),
        ({"counts": PROBABILITIES - 0.5}, "from 0 to 1"),
        ({"counts": PROBABILITIES.where(PROBABILITIES < 0.9, math.nan)}, "from 0 to 1"),
        ({"counts": torch.zeros_like(PROBABILITIES)}, "no neuron is active"),
        ({"counts": torch.ones_like(PROBABILITIES)}, "every counted token"),
        ({"counts": torch.full_like(PROBABILITIES, 0.25)}, "same probability, 0.25"),
        ({"counts": torch.ones_like(PROBABILITIES) * torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1).double()}, "carries"),
    ],
)
def test_what_cannot_be_classified_is_refused(changes: dict[str, Any], word: str) -> None:
    arguments: dict[str, Any] = {"counts": PROBABILITIES, "top_rate": 0.2, "bar": 0.8, "languages": ["a", "b", "c"]}
    assert ternary(**arguments).languages == ("a", "b", "c")
    with pytest.raises(InputError, match=word):
        ternary(**arguments | changes)


def test_names_beside_counts_and_unknown_conventions_are_refused() -> None:
    counts = random_counts(1, 3)
    with pytest.raises(InputError, match="languages"):
        ternary(counts, languages=names(3))
    with pytest.raises(InputError, match="Did you mean 'paper'"):
        ternary(counts).kinds("papers")  # type: ignore[arg-type]


def test_a_saturated_counter_is_refused_and_one_free_value_is_enough() -> None:
    tokens = torch.full((3, 2), 9)
    firings = tokens[..., None, None].expand(3, 2, 2, 4).clone()
    with pytest.raises(InputError, match="not != 0"):
        ternary(counts_of(firings, tokens), 0.5)
    firings[1, 0, 0, 0] = 8
    assert ternary(counts_of(firings, tokens), 0.5).degree.sum() == 0
