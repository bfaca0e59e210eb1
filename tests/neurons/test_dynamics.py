"""How neurons move against looking at them one by one; families against sets whose overlap is known."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import Classification, Kind, lape, overlap, ternary
from alignlab.neurons.dynamics import (
    english_uniqueness,
    overlap_ratios,
    survival,
    survival_by_language,
    transitions,
)

LANGUAGES = ("zh", "en", "sw", "de", "th")
LAYERS, NEURONS = 4, 60
CELLS = list(itertools.product(range(LAYERS), range(NEURONS)))
CONVENTIONS = ["paper", "selection", "all"]


def probabilities(seed: int) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    rate = torch.rand(LAYERS, NEURONS, generator=random, dtype=torch.float64)
    spread = torch.rand(LAYERS, NEURONS, generator=random, dtype=torch.float64)
    noise = torch.rand(5, LAYERS, NEURONS, generator=random, dtype=torch.float64)
    return rate * (1 - spread) + spread * noise.pow(3)


@pytest.fixture(params=[0, 1])
def pair(request: pytest.FixtureRequest) -> tuple[Classification, Classification]:
    """Two snapshots; the second is mostly like the first, anchored, and names its languages in another order."""
    first = probabilities(request.param)
    before = ternary(first, 0.3, 0.7, languages=LANGUAGES)
    second = 0.7 * first + 0.3 * probabilities(request.param + 100)
    order = [3, 0, 4, 2, 1]
    names = [LANGUAGES[i] for i in order]
    return before, ternary(second[order], 0.3, 0.7, before.lambda_, threshold=before.threshold, languages=names)


def same(found: float, part: int, whole: int) -> bool:
    """Whether a share is part / whole, NaN where there is no whole."""
    return found == part / whole if whole else math.isnan(found)


# Moves


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_moves_and_survival_are_those_of_counting_one_by_one(
    pair: tuple[Classification, Classification], convention: Any
) -> None:
    before, after = (result.kinds(convention) for result in pair)
    expected = [[[0] * 5 for _ in range(5)] for _ in range(LAYERS)]
    for layer, n in CELLS:
        expected[layer][int(before[layer, n])][int(after[layer, n])] += 1
    table, by_layer = transitions(before, after), transitions(before, after, layers=True)
    assert by_layer.dtype == table.dtype == torch.int64
    assert by_layer.tolist() == expected
    total = [[sum(layer[i][j] for layer in expected) for j in range(5)] for i in range(5)]
    assert table.tolist() == total
    assert table.tolist() != table.T.tolist()

    shares = survival(before, after)
    assert list(shares) == list(Kind)
    for kind in Kind:
        assert same(shares[kind], total[kind][kind], sum(total[kind]))
    assert 0 < shares[Kind.SPECIFIC] < 1
    assert math.isnan(shares[Kind.UNASSIGNED]) == (convention == "all")


def test_nothing_moves_between_a_snapshot_and_itself(pair: tuple[Classification, Classification]) -> None:
    kinds = pair[0].kinds()
    assert torch.equal(transitions(kinds, kinds), torch.diag(torch.bincount(kinds.flatten(), minlength=5)))
    assert survival(kinds, kinds) == dict.fromkeys(Kind, 1.0)
    own = survival_by_language(pair[0], pair[0])
    assert own == {name: {Kind.SPECIFIC: 1.0, Kind.RELATED: 1.0} for name in LANGUAGES}
    assert overlap_ratios(pair[0], pair[0]) == dict.fromkeys(LANGUAGES, 1.0)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_survival_by_language_is_that_of_counting_one_by_one(
    pair: tuple[Classification, Classification], convention: Any
) -> None:
    before, after = pair
    first, second = before.kinds(convention), after.kinds(convention)
    found = survival_by_language(before, after, convention)
    assert list(found) == list(LANGUAGES)
    for name in LANGUAGES:
        assert list(found[name]) == [Kind.SPECIFIC, Kind.RELATED]
        for kind in found[name]:
            had = [at for at in CELLS if first[at] == kind and before.above[name][at]]
            kept = [at for at in had if second[at] == kind and after.above[name][at]]
            assert same(found[name][kind], len(kept), len(had))
    assert 0 < found["sw"][Kind.RELATED] < 1


def snapshot(*owners: str) -> Classification:
    """Two languages and a neuron for each of `owners`, which says who lies above tau, such as "ab"."""
    p = torch.tensor([[[0.9 if name in owner else 0.1 for owner in owners]] for name in "ab"], dtype=torch.float64)
    return ternary(p, 1.0, lambda_=0.0, threshold=0.5, languages=("a", "b"))


def test_a_neuron_that_changes_its_language_survives_in_its_kind_only() -> None:
    before, after = snapshot("a", "a", "b", "ab"), snapshot("b", "a", "b", "a")
    assert survival(before.kinds("all"), after.kinds("all"))[Kind.SPECIFIC] == 1
    found = survival_by_language(before, after, "all")
    assert (found["a"][Kind.SPECIFIC], found["b"][Kind.SPECIFIC]) == (0.5, 1)
    # Of two languages none is related.
    assert math.isnan(found["a"][Kind.RELATED])
    assert survival_by_language(after, before, "all")["b"][Kind.SPECIFIC] == 0.5
    assert transitions(before.kinds("all"), after.kinds("all"))[Kind.GENERAL].tolist() == [0, 1, 0, 0, 0]


def test_the_overlap_ratio_is_a_share_of_the_first_set(pair: tuple[Classification, Classification]) -> None:
    before, after = pair
    found = overlap_ratios(before, after)
    assert list(found) == list(LANGUAGES)
    for name in LANGUAGES:
        a, b = before.sets[name], after.sets[name]
        held = [at for at in CELLS if a[at]]
        assert found[name] == overlap(a, b).ratio == sum(bool(b[at]) for at in held) / len(held)
        assert 0 < found[name] < 1
    assert overlap_ratios(after, before) != found
    empty = torch.zeros(LAYERS, NEURONS, dtype=torch.bool)
    assert math.isnan(overlap(empty, ~empty).ratio)
    assert overlap(~empty, empty).ratio == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda kinds: (kinds, kinds[1:]), r"after: shape \(3, 60\).*expected \(4, 60\)"),
        (lambda kinds: (kinds, kinds[:, :5]), "after: shape"),
        (lambda kinds: (kinds.flatten(), kinds.flatten()), "before: shape.*two axes"),
        (lambda kinds: (kinds.long(), kinds), "before: shape .* of torch.int64"),
        (lambda kinds: (kinds, kinds.bool()), "after: shape .* of torch.bool"),
        (lambda kinds: (kinds, torch.full_like(kinds, 5)), "after: codes from 5 to 5"),
        (lambda kinds: (kinds - 1, kinds), "before: codes from -1"),
    ],
)
@pytest.mark.parametrize("ask", [transitions, survival])
def test_what_are_no_kinds_of_one_model_is_refused(ask: Any, change: Any, word: str) -> None:
    kinds = ternary(probabilities(0), 0.3, 0.7, languages=LANGUAGES).kinds()
    with pytest.raises(InputError, match=word):
        ask(*change(kinds))


@pytest.mark.parametrize("ask", [survival_by_language, overlap_ratios])
def test_other_languages_and_shapes_are_not_compared(ask: Any) -> None:
    p = probabilities(0)
    before = ternary(p, 0.3, 0.7, languages=LANGUAGES)
    for other, names, words in (
        (p, ("zh", "en", "sw", "de", "te"), ["languages"]),
        (p[:4], LANGUAGES[:4], ["languages"]),
        (p[:, :, 1:], LANGUAGES, ["shape"]),
        (p[:, 1:], ("zh", "en", "sw", "de", "te"), ["languages", "shape"]),
    ):
        with pytest.raises(InputError) as caught:
            ask(before, ternary(other, 0.3, 0.7, languages=names))
        assert [problem.where for problem in caught.value.problems] == [
            f"{word} of the second classification" for word in words
        ]


# English


def slow_counts(result: Classification, convention: Any) -> dict[str, dict[str, int]]:
    kinds = result.kinds(convention)
    return {
        name: {
            "specific": sum(bool(kinds[at] == Kind.SPECIFIC and result.above[name][at]) for at in CELLS),
            "related": sum(bool(kinds[at] == Kind.RELATED and result.above[name][at]) for at in CELLS),
            "selected": sum(bool(result.selected[at] and result.above[name][at]) for at in CELLS),
        }
        for name in result.languages
    }


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("identify", [ternary, lape])
def test_english_is_put_beside_the_others(identify: Any, convention: Any) -> None:
    result = identify(probabilities(2), 0.3, 0.7, languages=LANGUAGES)
    found = english_uniqueness(result, ("zh", "sw", "te"), convention)
    counts = slow_counts(result, convention)
    assert (found.convention, found.english) == (convention, "en")
    assert found.counts == counts
    assert list(found.counts) == list(LANGUAGES)
    assert list(found.means) == ["trained", "reference", "unseen", "all languages"]
    for label in ("specific", "related", "selected"):
        zh, en, sw, de, th = (counts[name][label] for name in LANGUAGES)
        assert found.ratios[label] == pytest.approx(en / ((zh + sw + de + th) / 4), rel=1e-14)
        means = [found.means[group][label] for group in found.means]
        assert means == pytest.approx([(zh + sw) / 2, en, (de + th) / 2, (zh + en + sw + de + th) / 5], rel=1e-14)
        assert len({zh, en, sw, de, th}) > 1


def test_english_can_be_unusual_in_the_selection_alone() -> None:
    p = probabilities(2)
    # Neurons in which English is just above tau and hardly above the others: specific to it, but not selected.
    p[:, 0] = 0.69
    p[1, 0] = 0.71
    result = ternary(p, 0.2, lambda_=0.0, threshold=0.7, languages=LANGUAGES)
    found = {name: english_uniqueness(result, (), name) for name in ("paper", "selection", "all")}
    assert found["paper"].ratios == found["selection"].ratios
    assert found["all"].ratios["specific"] > 2 * found["selection"].ratios["specific"]
    assert found["all"].ratios["selected"] == found["selection"].ratios["selected"]


def test_groups_of_which_english_or_nobody_is_a_member() -> None:
    result = ternary(probabilities(2), 0.3, 0.7, languages=LANGUAGES)
    with_english = english_uniqueness(result, ("en", "zh"))
    assert with_english.means == english_uniqueness(result, ("zh",)).means
    assert list(english_uniqueness(result, ()).means) == ["reference", "unseen", "all languages"]
    assert list(english_uniqueness(result, LANGUAGES).means) == ["trained", "reference", "all languages"]
    thai = english_uniqueness(result, (), english="th")
    assert list(thai.means) == ["reference", "unseen", "all languages"]
    assert thai.ratios != with_english.ratios


def test_english_alone_has_no_ratio() -> None:
    found = english_uniqueness(snapshot("a", "a", "", "ab"), (), "all", english="a")
    assert found.counts == {
        "a": {"specific": 2, "related": 0, "selected": 3},
        "b": {"specific": 0, "related": 0, "selected": 1},
    }
    assert found.ratios["selected"] == 3
    assert math.isnan(found.ratios["specific"])
    assert math.isnan(found.ratios["related"])


def test_without_english_there_is_nothing_to_compare() -> None:
    result = ternary(probabilities(2), 0.3, 0.7, languages=("zh", "eng", "sw", "de", "th"))
    with pytest.raises(InputError, match="zh, eng, sw, de, th; expected 'en' among them"):
        english_uniqueness(result, ())
    assert english_uniqueness(result, (), english="eng").english == "eng"
    with pytest.raises(InputError, match="kinds: 'papers'"):
        english_uniqueness(result, (), "papers", english="eng")  # type: ignore[arg-type]
