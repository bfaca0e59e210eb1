"""The table of counts against counting neuron by neuron."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from alignlab.neurons import Classification, Kind, Row, kind_counts, ternary
from alignlab.neurons.groups import group_languages

LANGUAGES = ["zh", "de", "sw", "th", "bn"]
TRAINED = ("zh", "sw", "te")
GROUPS = {
    "trained": ("zh", "sw"), "reference": ("bn",), "unseen": ("de", "th"), "all languages": tuple(LANGUAGES),
}  # fmt: skip
LAYERS, NEURONS = 4, 60


@pytest.fixture(params=range(3))
def result(request: pytest.FixtureRequest) -> Classification:
    random = torch.Generator().manual_seed(request.param)
    rate = torch.rand(LAYERS, NEURONS, generator=random, dtype=torch.float64)
    spread = torch.rand(LAYERS, NEURONS, generator=random, dtype=torch.float64)
    noise = torch.rand(5, LAYERS, NEURONS, generator=random, dtype=torch.float64)
    return ternary(rate * (1 - spread) + spread * noise.pow(3), 0.3, 0.7, languages=LANGUAGES)


def counted(
    group: str,
    language: str,
    layer: int | None,
    kind: str,
    degree: int | None,
    convention: str,
    value: float,
    size: int,
) -> Row:
    return Row(
        analysis="kinds", step=7, group=group, language=language, layer=layer, kind=kind, degree=degree,
        convention=convention, value=value, denominator=size,
    )  # fmt: skip


def slow_rows(result: Classification, convention: str) -> Iterator[Row]:
    """The table as its schema says, by looping over neurons."""
    kinds = result.kinds(convention).tolist()  # type: ignore[arg-type]
    cells = [(layer, n) for layer in range(LAYERS) for n in range(NEURONS)]
    everyone = [Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL, Kind.UNASSIGNED]
    size = LAYERS * NEURONS
    for kind in everyone:
        label = kind.name.lower()
        total = sum(kinds[layer][n] == kind for layer, n in cells)
        yield counted("all", "", None, label, None, convention, total, size)
        for layer in range(LAYERS):
            count = sum(code == kind for code in kinds[layer])
            yield counted("all", "", layer, label, None, convention, count, NEURONS)
    for kind in (Kind.SPECIFIC, Kind.RELATED):
        label = kind.name.lower()
        owned = {}
        for name in LANGUAGES:
            above = result.above[name].tolist()
            owned[name] = sum(kinds[layer][n] == kind and above[layer][n] for layer, n in cells)
            yield counted("language", name, None, label, None, convention, owned[name], size)
        for group, members in GROUPS.items():
            mean = sum(owned[name] for name in members) / len(members)
            yield counted(group, "", None, label, None, convention, mean, size)
    degree, selected = result.degree.tolist(), result.selected.tolist()
    for d in range(6):
        count = sum(degree[layer][n] == d for layer, n in cells)
        within = sum(degree[layer][n] == d and selected[layer][n] for layer, n in cells)
        yield counted("all", "", None, "", d, "all", count, size)
        yield counted("all", "", None, "", d, "selection", within, round(0.3 * size))
    yield counted("all", "", None, "selected", None, convention, sum(map(sum, selected)), size)


@pytest.mark.parametrize("convention", ["paper", "selection", "all"])
def test_the_table_holds_what_counting_one_by_one_finds(result: Classification, convention: str) -> None:
    rows = kind_counts(result, TRAINED, convention, reference="bn", step=7)  # type: ignore[arg-type]
    assert len(set(rows)) == len(rows)
    assert set(rows) == set(slow_rows(result, convention))
    # Every sort of neuron is there, or the comparison says little.
    totals = {row.kind: row.value for row in rows if row.group == "all" and row.layer is None and row.kind}
    present = {"paper": 4, "selection": 3, "all": 3}[convention]
    assert sum(count > 0 for count in totals.values()) >= present


def test_specific_neurons_belong_to_one_language_and_related_to_several(result: Classification) -> None:
    rows = kind_counts(result, TRAINED)
    by_language = {
        kind: sum(row.value for row in rows if row.group == "language" and row.kind == kind)
        for kind in ("specific", "related")
    }
    totals = {row.kind: row.value for row in rows if row.group == "all" and row.layer is None and row.kind}
    assert by_language["specific"] == totals["specific"] > 0
    assert 2 * totals["related"] <= by_language["related"] <= 4 * totals["related"]
    assert {row.step for row in rows} == {None}
    assert all(row.kind not in ("general", "unassigned") for row in rows if row.group != "all")


def test_a_group_without_languages_has_no_rows(result: Classification) -> None:
    assert "unseen" not in {row.group for row in kind_counts(result, LANGUAGES)}
    assert "trained" not in {row.group for row in kind_counts(result, [])}
    assert "trained" not in {row.group for row in kind_counts(result, ["te"])}
    assert "reference" not in {row.group for row in kind_counts(result, TRAINED, reference="te")}


def test_the_reference_is_neither_trained_nor_unseen() -> None:
    # In whatever order: the groups keep that of the languages.
    assert group_languages(LANGUAGES, ["sw", "bn", "zh"], "bn") == GROUPS
    assert group_languages(LANGUAGES, ["sw", "zh"], "bn") == GROUPS
    assert group_languages(["de", "fr"], ["fr"], None) == {
        "trained": ("fr",), "unseen": ("de",), "all languages": ("de", "fr"),
    }  # fmt: skip
    assert group_languages(["en", "fr"], []) == {
        "reference": ("en",), "unseen": ("fr",), "all languages": ("en", "fr"),
    }  # fmt: skip
