"""LAPE against a loop over neurons written from the formulas of the paper."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, Kind, kind_counts, lape, ternary
from alignlab.neurons.identifiers import IDENTIFIERS, LapeConfig, TernaryConfig

LAYERS, NEURONS = 3, 40


def names(g: int) -> list[str]:
    return [f"language-{i}" for i in range(g)]


def counts_of(firings: torch.Tensor, tokens: torch.Tensor, languages: list[str] | None = None) -> ActivationCounts:
    ones = torch.ones_like(tokens)
    return ActivationCounts(tuple(languages or names(len(tokens))), firings, tokens, ones, "mlp.act", "all")


def random_counts(seed: int, g: int) -> ActivationCounts:
    """Two shards; neurons that tie, some that never fire, some in one language only, at times a silent language."""
    random = torch.Generator().manual_seed(seed)
    tokens = torch.randint(5, 60, (g, 2), generator=random)
    if g > 2 and seed % 3 == 0:
        tokens[int(torch.randint(g, (1,), generator=random))] = 0
    p = torch.rand(g, 2, LAYERS * NEURONS, generator=random).pow(4)
    p[:, :, :20] *= torch.rand(g, 1, 20, generator=random) < 0.3
    source, target = torch.randint(LAYERS * NEURONS, (2, 30), generator=random)
    p[..., target] = p[..., source]
    firings = (p * tokens[..., None]).round().long()
    firings[..., source] = firings[..., target]
    firings[..., torch.randint(LAYERS * NEURONS, (6,), generator=random)] = 0
    return counts_of(firings.view(g, 2, LAYERS, NEURONS), tokens)


class Slow:
    """The definition, one neuron after another, in plain Python."""

    def __init__(self, counts: ActivationCounts, top_rate: float, bar: float) -> None:
        g = len(counts.languages)
        tokens = [sum(row) for row in counts.tokens.tolist()]
        firings = counts.firings.sum(dim=1).flatten(1).tolist()
        n = len(firings[0])
        rows = [[firings[i][j] / tokens[i] if tokens[i] else 0.0 for i in range(g)] for j in range(n)]
        self.tau = sorted(p for row in rows for p in row)[max(1, round(bar * (g * n))) - 1]
        self.owners = [{i for i in range(g) if row[i] > self.tau} for row in rows]
        # Equal rows must tie exactly whatever the library's logarithm does, and only they may.
        first: dict[tuple[float, ...], float] = {}
        self.entropy = [first.setdefault(tuple(sorted(row)), self.entropy_of(row)) for row in rows]
        order = sorted((j for j in range(n) if self.owners[j]), key=lambda j: (self.entropy[j], j))
        self.k = round(top_rate * n)
        self.selected = set(order[: self.k])
        # Where different rows are this near to the last selected, rounding decides: not a case to compare.
        last = order[: self.k][-1]
        shape = [sorted(row) for row in rows]
        self.clear = all(shape[j] == shape[last] or abs(self.entropy[j] - self.entropy[last]) > 1e-12 for j in order)

    @staticmethod
    def entropy_of(row: list[float]) -> float:
        total = sum(sorted(row))
        return -sum(p / total * math.log(p / total) for p in sorted(row) if p > 0)


@pytest.mark.parametrize("g", range(2, 13))
def test_equals_the_loop_over_neurons(g: int) -> None:
    compared = 0
    for seed in range(24):
        counts = random_counts(100 * g + seed, g)
        top_rate, bar = [(0.013, 0.95), (0.1, 0.9), (0.3, 0.5), (1.0, 0.8), (0.055, 0.0), (0.5, 0.99)][seed % 6]
        slow = Slow(counts, top_rate, bar)
        if not slow.clear:
            continue
        compared += 1
        for result in (
            lape(counts, top_rate, bar),
            lape(counts.probabilities(), top_rate, bar, languages=names(g)),
        ):
            assert result.threshold == slow.tau
            assert result.degree.flatten().tolist() == [len(owners) for owners in slow.owners]
            assert result.general.flatten().tolist() == [len(owners) == g for owners in slow.owners]
            assert result.scores["entropy"].flatten().tolist() == pytest.approx(slow.entropy, abs=1e-12)
            score = [h if own else math.inf for h, own in zip(slow.entropy, slow.owners, strict=True)]
            assert result.scores["score"].flatten().tolist() == pytest.approx(score, abs=1e-12)
            assert set(result.selected.flatten().nonzero().flatten().tolist()) == slow.selected
            assert bool(result.reason) == (len(slow.selected) < slow.k)
            assert list(result.sets) == list(result.above) == list(result.languages) == names(g)
            for i, name in enumerate(names(g)):
                owned = [i in owners for owners in slow.owners]
                assert result.above[name].flatten().tolist() == owned
                mine = [own and j in slow.selected for j, own in enumerate(owned)]
                assert result.sets[name].flatten().tolist() == mine
    assert compared > 12


def test_three_languages_by_hand() -> None:
    # Neurons in columns. Pooled: 0 x7, .1 x4, .2 x2, .3, .4, .8. Rank round(.75 * 15) = 11 is .1.
    rows = [[0.0, 0.8, 0.1, 0.4, 0.0], [0.0, 0.0, 0.1, 0.0, 0.2], [0.0, 0.0, 0.1, 0.1, 0.2]]
    p = torch.tensor(rows, dtype=torch.float64).unsqueeze(1)
    result = lape(p, 0.6, 0.75, languages=["de", "sw", "zh"])
    assert result.threshold == 0.1
    # The third is at .1, not above it; H is 0, H(.8, .2) = .5004 and ln 2 for the others.
    assert result.selected.tolist() == [[False, True, False, True, True]]
    expected = [0.0, 0.0, math.log(3), -0.8 * math.log(0.8) - 0.2 * math.log(0.2), math.log(2)]
    assert result.scores["entropy"][0].tolist() == pytest.approx(expected, abs=1e-15)
    assert {name: own[0].nonzero().flatten().tolist() for name, own in result.sets.items()} == {
        "de": [1, 3],
        "sw": [4],
        "zh": [4],
    }
    assert result.kinds().tolist() == [[Kind.NONE, Kind.SPECIFIC, Kind.NONE, Kind.SPECIFIC, Kind.RELATED]]


def test_a_neuron_above_the_threshold_nowhere_is_never_selected_however_low_its_entropy() -> None:
    p = torch.tensor([[[0.9, 0.1, 0.8, 0.0]], [[0.7, 0.0, 0.6, 0.0]]], dtype=torch.float64)
    result = lape(p, 1.0, threshold=0.5, languages=names(2))
    assert result.selected.tolist() == [[True, False, True, False]]
    assert result.reason == "only 2 of the 4 neurons to select lie above the threshold in any language"
    none = lape(p, 0.5, threshold=0.9, languages=names(2))
    assert not none.selected.any()
    assert list(none.sets) == names(2)
    assert none.reason.startswith("only 0 of the 2")


def test_equal_entropies_go_by_position() -> None:
    row = [0.8, 0.4, 0.2, 0.0, 0.6]
    p = torch.tensor([row, [0.0] * 5], dtype=torch.float64).unsqueeze(1)
    result = lape(p, 0.4, threshold=0.1, languages=names(2))
    assert result.selected.tolist() == [[True, True, False, False, False]]


@pytest.mark.parametrize("g", [2, 3, 7, 12])
def test_permuting_the_languages_permutes_the_result_exactly(g: int) -> None:
    for seed in range(10):
        counts = random_counts(seed, g)
        order = torch.randperm(g, generator=torch.Generator().manual_seed(seed)).tolist()
        moved = counts_of(counts.firings[order], counts.tokens[order], [counts.languages[i] for i in order])
        result, other = lape(counts, 0.2, 0.8), lape(moved, 0.2, 0.8)
        assert other.languages == tuple(counts.languages[i] for i in order)
        assert other.threshold == result.threshold
        for field in ("selected", "degree", "general"):
            assert torch.equal(getattr(other, field), getattr(result, field)), field
        assert set(result.scores) == {"score", "entropy"}
        for name, score in result.scores.items():
            assert torch.equal(other.scores[name], score), name
        for name in counts.languages:
            assert torch.equal(other.sets[name], result.sets[name])
            assert torch.equal(other.above[name], result.above[name])


def test_a_duplicated_language_gets_the_set_of_its_original() -> None:
    counts = random_counts(7, 4)
    double = counts_of(counts.firings[[0, 1, 2, 3, 1]], counts.tokens[[0, 1, 2, 3, 1]], [*counts.languages, "double"])
    result = lape(double, 0.2, 0.8)
    assert bool(result.sets["double"].any())
    assert torch.equal(result.sets["double"], result.sets[counts.languages[1]])


def test_a_language_without_tokens_keeps_its_place_and_has_an_empty_set() -> None:
    counts = random_counts(8, 4)
    counts.tokens[1] = 0
    counts.firings[1] = 0
    result = lape(counts, 0.2, 0.8)
    assert list(result.sets) == names(4)
    assert not result.sets["language-1"].any()
    assert bool(result.sets["language-2"].any())


def test_an_anchored_threshold_replaces_the_bar() -> None:
    counts = random_counts(10, 4)
    first = lape(counts, 0.2, 0.8)
    anchored = lape(counts, 0.2, 0.5, threshold=first.threshold)
    assert torch.equal(anchored.degree, first.degree)
    assert torch.equal(anchored.selected, first.selected)
    assert not torch.equal(lape(counts, 0.2, 0.5).degree, first.degree)


PROBABILITIES = torch.rand(3, 2, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"top_rate": 0.0}, "top_rate"),
        ({"top_rate": 1.01}, "top_rate"),
        ({"top_rate": math.nan}, "top_rate"),
        ({"top_rate": 0.01}, "selection of none"),
        ({"bar": -0.1}, "bar"),
        ({"bar": math.nan}, "bar"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": math.nan}, "threshold"),
        ({"languages": None}, "languages"),
        ({"counts": PROBABILITIES[:1], "languages": ["a"]}, "two or more"),
        ({"counts": PROBABILITIES.float()}, "float64"),
        ({"counts": torch.zeros_like(PROBABILITIES)}, "no neuron is active"),
        ({"counts": torch.ones_like(PROBABILITIES)}, "every counted token"),
    ],
)
def test_what_cannot_be_classified_is_refused(changes: dict[str, Any], word: str) -> None:
    arguments: dict[str, Any] = {"counts": PROBABILITIES, "top_rate": 0.2, "bar": 0.8, "languages": ["a", "b", "c"]}
    assert lape(**arguments).languages == ("a", "b", "c")
    with pytest.raises(InputError, match=word):
        lape(**arguments | changes)


def same(one: Any, other: Any) -> bool:
    return torch.equal(one.selected, other.selected) and torch.equal(one.degree, other.degree)


def test_the_config_identifies_and_anchors() -> None:
    first, second = random_counts(1, 4), random_counts(2, 4)
    config = IDENTIFIERS["lape"](top_rate=0.2, bar=0.8)
    anchor = config.identify(first)
    assert same(anchor, lape(first, 0.2, 0.8))
    assert same(config.identify(second, anchor), lape(second, threshold=anchor.threshold, cut=anchor.cut))
    assert LapeConfig() == LapeConfig(top_rate=0.01, bar=0.95)
    with pytest.raises(InputError, match="the same identifier"):
        TernaryConfig(top_rate=0.2).identify(second, anchor)


@pytest.mark.parametrize("config", [TernaryConfig(top_rate=0.2, bar=0.8), LapeConfig(top_rate=0.2, bar=0.8)])
def test_the_selection_of_a_resample_is_that_of_identifying_it(config: TernaryConfig | LapeConfig) -> None:
    for seed in range(10):
        counts, resample = random_counts(seed, 4), random_counts(seed + 50, 4)
        held = config.identify(counts)
        p = resample.probabilities().flatten(1).numpy()
        anchored = config.identify(resample, held)
        selected = config.select(p, anchored.degree.flatten().numpy(), held, held.cut)
        assert selected.tolist() == anchored.selected.flatten().tolist()
        if isinstance(config, LapeConfig):
            as_many: Classification = lape(resample, 0.2, threshold=held.threshold)
        else:
            as_many = ternary(resample, 0.2, lambda_=held.lambda_, threshold=held.threshold)
        selected = config.select(p, anchored.degree.flatten().numpy(), held)
        assert selected.tolist() == as_many.selected.flatten().tolist()


def test_the_selection_of_a_resample_puts_full_degrees_last_among_equal_scores() -> None:
    # All scores are equal at lambda 0 (shares 1/4 and 3/4); at tau .3 the degrees are 2, 2, 1, 2, 1, 1.
    rows = [[0.8, 0.4, 0.2, 0.8, 0.4, 0.2], [0.4, 0.8, 0.4, 0.4, 0.2, 0.4]]
    p = torch.tensor(rows, dtype=torch.float64)
    held = ternary(p.unsqueeze(1), 0.5, lambda_=0.0, threshold=0.3, languages=names(2))
    selected = TernaryConfig(top_rate=0.5).select(p.numpy(), held.degree.flatten().numpy(), held)
    assert selected.tolist() == [False, False, True, False, True, True]


def test_the_table_serves_both_identifiers() -> None:
    counts = random_counts(4, 5)
    result: Classification = lape(counts, 0.2, 0.8)
    rows = kind_counts(result, ["language-0"], "selection")
    totals = {row.kind: row.value for row in rows if row.group == "all" and row.layer is None and row.kind}
    assert totals.pop("selected") == sum(totals.values()) == round(0.2 * LAYERS * NEURONS)
    assert totals["unassigned"] == 0
    assert result.thresholds == {"tau": result.threshold, "score": float(result.scores["score"][result.selected].max())}
    other = kind_counts(ternary(counts, 0.2, 0.8), ["language-0"], "selection")
    assert [(row.group, row.language, row.layer, row.kind, row.degree) for row in rows] == [
        (row.group, row.language, row.layer, row.kind, row.degree) for row in other
    ]
