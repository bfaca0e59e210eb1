"""What every identifier returns: what follows from tau, what is refused without one, and how values show themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, Kind, NeuronSets, kind_counts, lape, ternary
from alignlab.neurons.dynamics import english_uniqueness, survival_by_language
from alignlab.neurons.identifiers import IDENTIFIERS, has_tau, reading_problems

P = torch.tensor(
    [[[0.9, 0.8, 0.1], [0.2, 0.9, 0.1]], [[0.1, 0.8, 0.2], [0.6, 0.9, 0.3]], [[0.1, 0.2, 0.1], [0.7, 0.9, 0.2]]],
    dtype=torch.float64,
)
NAMES = ("en", "zh", "sw")


def sets_only() -> Classification:
    """Of two layers of three neurons en has two, zh three of which it shares one, sw none."""
    sets = {name: torch.zeros(2, 3, dtype=torch.bool) for name in NAMES}
    sets["en"][0, :2] = sets["zh"][0, 1] = sets["zh"][1, 1:] = True
    return Classification("shortlist", NAMES, sets, sets["en"] | sets["zh"])


@pytest.mark.parametrize("identify", [ternary, lape])
def test_what_follows_from_tau(identify: Callable[..., Classification]) -> None:
    result = identify(P, 0.5, languages=NAMES, threshold=0.5)
    above = [[[True, True, False], [False, True, False]], [[False, True, False], [True, True, False]],
             [[False, False, False], [True, True, False]]]  # fmt: skip
    assert [mask.tolist() for mask in result.above.values()] == above
    assert result.degree.tolist() == [[1, 2, 0], [2, 3, 0]]
    assert result.general.tolist() == [[False, False, False], [False, True, False]]
    assert int(result.selected.sum()) == 3
    for name, mask in zip(NAMES, above, strict=True):
        assert torch.equal(result.sets[name], torch.tensor(mask) & result.selected)
    assert (result.shape, result.threshold, result.has_degree) == ((2, 3), 0.5, True)
    assert result.identifier in IDENTIFIERS


@pytest.mark.parametrize(
    "ask",
    [
        lambda result: result.degree,
        lambda result: result.above,
        lambda result: result.general,
        lambda result: result.kinds("all"),
        lambda result: NeuronSets.of(result, [Kind.SPECIFIC]),
        lambda result: survival_by_language(result, result),
        lambda result: english_uniqueness(result, ["zh"]),
    ],
)
def test_without_a_tau_there_are_no_degrees(ask: Callable[[Classification], Any]) -> None:
    with pytest.raises(InputError, match=r"identifier shortlist: it finds sets only, and so no .* degrees and kinds"):
        ask(sets_only())
    with pytest.raises(InputError, match="identifier shortlist: it has no tau; expected an identifier with a tau"):
        _ = sets_only().threshold


def test_without_a_lambda_there_is_none() -> None:
    with pytest.raises(InputError, match="identifier lape: it has no lambda; expected an identifier with a lambda"):
        _ = lape(P, 0.5, languages=NAMES).lambda_


def test_the_table_of_sets_counts_neurons_of_sets() -> None:
    rows = kind_counts(sets_only(), ["zh", "sw"], step=7)
    assert {(row.kind, row.degree, row.convention, row.step) for row in rows} == {("selected", None, "", 7)}
    assert [(row.group, row.language, row.layer, row.value, row.denominator) for row in rows] == [
        ("all", "", None, 4, 6), ("all", "", 0, 2, 3), ("all", "", 1, 2, 3),
        ("language", "en", None, 2, 6), ("language", "zh", None, 3, 6), ("language", "sw", None, 0, 6),
        ("trained", "", None, 1.5, 6), ("reference", "", None, 2, 6), ("all languages", "", None, 5 / 3, 6),
    ]  # fmt: skip


def test_identifiers_say_what_they_read() -> None:
    for config in (IDENTIFIERS["ternary"](), IDENTIFIERS["lape"]()):
        assert (config.reads, has_tau(config), reading_problems(config)) == ("counts", True, [])
        (problem,) = reading_problems(config, "importance")
        assert "reads counts" in str(problem)


def test_a_classification_shows_itself_in_two_lines() -> None:
    result = ternary(P, 0.5, lambda_=0.025, threshold=0.5, languages=NAMES)
    sizes = ", ".join(f"{name} {int(mask.sum())}" for name, mask in result.sets.items())
    assert repr(result) == (
        "<Classification by ternary: 2 x 3 neurons, 3 selected, tau 0.5, lambda 0.025, "
        f"score {result.cut.score:.4g}\n"
        f" sets of 3 languages: {sizes}; 1 in every language>"
    )
    expected = (
        "<Classification by shortlist: 2 x 3 neurons, 4 selected\n sets of 3 languages: en 2, zh 3, sw 0>"
    )  # fmt: skip
    assert repr(sets_only()) == expected


def test_sets_show_themselves_in_two_lines() -> None:
    sets = NeuronSets(sets_only().sets, model="org/base", thresholds={"tau": 0.25})
    expected = "<NeuronSets: 2 x 3 neurons at mlp.act, tau 0.25, org/base\n 3 sets: en 2, zh 3, sw 0>"
    assert repr(sets) == expected
    many = NeuronSets({f"l{n}": torch.ones(1, n + 1, dtype=torch.bool)[:, :1] for n in range(50)})
    assert repr(many).splitlines()[1] == f" 50 sets: {', '.join(f'l{n} 1' for n in range(8))} and 42 more>"


def test_counts_show_themselves_in_two_lines() -> None:
    tokens = torch.tensor([[10, 20], [5, 6]])
    firings = torch.zeros(2, 2, 3, 4, dtype=torch.int64)
    counts = ActivationCounts(
        ("en", "zh"), firings, tokens, torch.ones(2, 2, dtype=torch.int64), "mlp.act", "response",
        step=0, model="https://user:hunter2@host/m", trained_languages=("zh",),
    )  # fmt: skip
    first, second = repr(counts).splitlines()
    assert first.startswith("<ActivationCounts: 3 x 4 neurons at mlp.act, 2 shards, step 0, model https://")
    assert first.endswith(", trained zh")
    assert "hunter2" not in first
    assert second == " tokens (response) of 2 languages: en 30, zh 11>"
