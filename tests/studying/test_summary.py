"""A study's numbers over seeds, on numbers made by hand: against loops, scipy and the formula of a standard error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alignlab.analysis.languages import LESS_OTHERS
from alignlab.evaluation.accuracy import accuracy, accuracy_change
from alignlab.neurons.table import Row
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.page import figure_of, leads_of
from alignlab.studying.summary import Summary, collected, ends_of, summarise
from alignlab.studying.table import Number, measure_of, standard_error

SEEDS = (0, 1, 2, 3)
AXES = ("method", "set")
LEVELS = [(method, some) for method in ("a", "b", "c") for some in ("x", "y")]


def number(value: float, step: int, since: str = "", se: float | None = None, **columns: Any) -> Number:
    row = Row(analysis="capability", group="unseen", measure="right", task="sums", unit="share", value=value, step=step)
    return replace(Number.of(replace(row, since=since, **columns), "capability"), se=se)


@pytest.fixture
def study() -> tuple[Grid, dict[str, list[Number]]]:
    """Twelve combinations with four seeds; of (c, y) the last seed has not been trained."""
    random = np.random.default_rng(0)
    cells, numbers = [], {}
    for seed in SEEDS:
        for levels in LEVELS:
            if (levels, seed) == (("c", "y"), 3):
                continue
            cell = Cell(f"{'+'.join(levels)}+seed{seed}", levels, seed)
            first, last = random.uniform(0.3, 0.7, 2)
            cells.append(cell)
            numbers[cell.name] = [
                number(first, 0, se=0.05),
                number(0.9, 5, se=0.05),
                number(last, 10, se=random.uniform(0.02, 0.06)),
                number(last - first, 10, since="step 0", se=random.uniform(0.02, 0.06)),
                number(0.1, 10, se=0.2, label="templates in training"),
            ]
    return Grid(AXES, tuple(cells), 0), numbers


def rows_of(study: tuple[Grid, dict[str, list[Number]]], baseline: dict[str, str]) -> list[Summary]:
    grid, numbers = study
    return summarise(grid, collected((cell, numbers[cell.name]) for cell in grid.cells), baseline)


def test_a_figure_of_differences_has_no_empty_lines_of_the_baseline(
    study: tuple[Grid, dict[str, list[Number]]],
) -> None:
    rows = rows_of(study, {"method": "b"})
    figure = figure_of(LEVELS, rows, "difference", "share")
    assert figure is not None
    assert figure.layout["yaxis"]["categoryarray"] == ["c+y", "c+x", "a+y", "a+x"]
    figure = figure_of(LEVELS, rows, "value", "share")
    assert figure is not None
    assert len(figure.layout["yaxis"]["categoryarray"]) == 6


def test_means_changes_and_differences_are_those_of_loops(study: tuple[Grid, dict[str, list[Number]]]) -> None:
    _, numbers = study
    rows = rows_of(study, {"method": "b"})
    assert len(rows) == 2 * 6 + 4
    for row in rows:
        assert row.over is not None
        assert row.step == 10
        told = []
        for seed in SEEDS:
            own = numbers.get(f"{'+'.join(row.levels)}+seed{seed}")
            other = numbers.get(f"b+{row.levels[1]}+seed{seed}")
            if own is None or other is None:
                continue
            _, _, last, change, _ = own
            difference = last.value - other[2].value, math.sqrt((last.se or 0) ** 2 + (other[2].se or 0) ** 2)
            told.append(
                {"value": (last.value, last.se), "change": (change.value, change.se), "difference": difference}[
                    row.what
                ]
            )
        values, errors = (np.array([one[place] for one in told]) for place in (0, 1))
        assert row.seeds == len(values) == (3 if row.levels == ("c", "y") else 4)
        assert row.over.value == pytest.approx(values.mean())
        low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
        assert row.over.over_seeds.low == pytest.approx(max(low, 0.0) if row.what == "value" else max(low, -1.0))
        assert row.over.over_seeds.high == pytest.approx(min(high, 1.0))
        half = stats.norm.ppf(0.975) * math.sqrt((errors**2).mean())
        assert row.over.over_documents.high == pytest.approx(min(1.0, values.mean() + half))


def test_the_baseline_is_not_compared_with_itself(study: tuple[Grid, dict[str, list[Number]]]) -> None:
    different = {row.levels for row in rows_of(study, {"method": "b"}) if row.what == "difference"}
    assert different == {levels for levels in LEVELS if levels[0] != "b"}
    assert not [row for row in rows_of(study, {}) if row.what == "difference"]


def test_without_a_row_of_its_change_a_number_changes_by_its_values() -> None:
    (ends,) = ends_of([number(0.25, 0), number(0.75, 4)]).values()
    assert ends.change is not None
    assert (ends.change.value, ends.change.se) == (0.5, None)
    (ends,) = ends_of([number(0.25, 7)]).values()
    assert ends.change is None


def test_numbers_that_are_not_finite_are_told_as_such(study: tuple[Grid, dict[str, list[Number]]]) -> None:
    _, numbers = study
    numbers["a+x+seed1"] = [number(0.4, 0), number(math.nan, 10)]
    rows = [row for row in rows_of(study, {}) if row.levels == ("a", "x")]
    assert [row.over for row in rows] == [None, None]
    columns = rows[0].columns(AXES)
    assert columns["status"] == "not finite"
    assert "value" not in columns


def test_one_seed_has_no_interval_over_seeds() -> None:
    grid = Grid(("method",), (Cell("a+seed0", ("a",), 0),), 0)
    (row, _) = summarise(grid, collected([(grid.cells[0], [number(0.4, 0), number(0.5, 1, se=0.1)])]), {})
    columns = row.columns(("method",))
    assert columns["value"] == 0.5
    assert columns["seeds_low"] is columns["both_low"] is columns["sd"] is None
    assert columns["documents_low"] == pytest.approx(0.5 - 0.1 * stats.norm.ppf(0.975))


def test_what_leads_is_the_first_measure_of_what_was_asked(study: tuple[Grid, dict[str, list[Number]]]) -> None:
    grid, numbers = study
    for some in numbers.values():
        row = Row(analysis="x", group="unseen", measure="nats", task="text", unit="nats a token", value=1.0, step=10)
        some += [Number.of(row, "likely"), Number.of(replace(row, measure="perplexity"), "likely")]
    rows = summarise(grid, collected((cell, numbers[cell.name]) for cell in grid.cells), {})
    assert leads_of(rows) == [("capability", "sums", "right"), ("likely", "text", "nats")]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_standard_error_is_about_that_of_independent_documents(share: float) -> None:
    right = np.arange(40) < share * 40
    now = accuracy(right, [str(n) for n in range(40)])
    row = Row(value=now.value, low=now.low, high=now.high, unit="share", measure="right")
    assert standard_error(row) == pytest.approx(right.std(ddof=1) / math.sqrt(40), rel=0.07)
    moved = accuracy_change(right, np.roll(right, 3), [str(n) for n in range(40)])
    different = np.roll(right, 3).astype(float) - right
    row = Row(value=moved.value, low=moved.low, high=moved.high, unit="share", measure="right")
    assert standard_error(row) == pytest.approx(different.std(ddof=1) / math.sqrt(40), rel=0.2)


def test_of_resamples_the_standard_error_is_their_deviation() -> None:
    assert standard_error(Row(value=1.0, low=0.0, high=9.0, sd=0.25)) == 0.25
    assert standard_error(Row(value=1.0)) is None
    # Of a mean of controls it is between their draws: it tells nothing of documents.
    assert standard_error(Row(value=1.0, sd=0.25, control="matched", measure="change of nats")) is None
    assert standard_error(Row(value=1.0, low=math.nan, high=math.nan)) is None


def test_rows_that_differ_are_told_apart_by_their_measure() -> None:
    kinds = Row(analysis="kinds", kind="specific", thresholds="anchored", convention="paper", value=1)
    rows = [
        kinds,
        replace(kinds, kind="related"),
        replace(kinds, thresholds="reestimated"),
        replace(kinds, convention="all"),
        replace(kinds, kind="", degree=3),
        replace(kinds, analysis="transitions", to_kind="general"),
        Row(analysis="losses", measure="loss", value=1),
        Row(analysis="effects", measure="loss", seed=1, value=1),
        Row(analysis="effects", measure="loss", seed=2, value=1),
    ]
    assert len({measure_of(row) for row in rows}) == len(rows)
    assert measure_of(kinds) == "specific neurons"


def test_of_a_matrix_the_diagonal_is_summarised_and_of_degrees_all_neurons() -> None:
    pairs = [number(float(place), 10, group="pair", language=of, other=other, set=of, control="matched")
             for place, (of, other) in enumerate([("en", "en"), ("en", "zh"), ("zh", "en"), ("zh", "zh")])]  # fmt: skip
    said = {(one.language, one.set, one.control): ends.last.value for one, ends in ends_of(pairs).items()}
    assert said == {("en", "en", "matched"): 0.0, ("zh", "zh", "matched"): 3.0}
    bars = [
        Number.of(Row(analysis="kinds", group="all", degree=2, layer=layer, convention=convention, thresholds=how,
                      value=value, step=0), "neurons")
        for value, layer, convention, how in (
            (1.0, None, "all", "anchored"), (3.0, None, "selection", "anchored"),
            (4.0, None, "all", "reestimated"),
        )
    ]  # fmt: skip
    assert [(one.measure, ends.last.value) for one, ends in ends_of(bars).items()] == [
        ("neurons of degree 2, all", 1.0)
    ]


def test_less_the_others_may_be_below_0() -> None:
    row = Row(analysis="english_uniqueness", group="language", language="en", kind="specific", measure=LESS_OTHERS,
              step=0, value=0.0)  # fmt: skip
    cells = [Cell(f"x+seed{seed}", ("x",), seed) for seed in range(3)]
    told = [
        (cell, [Number.of(replace(row, value=value), "apart")])
        for cell, value in zip(cells, (-3.0, -1.0, 1.0), strict=True)
    ]
    (summary,) = summarise(Grid(("set",), tuple(cells), 0), collected(told), {})
    assert summary.over is not None
    right = stats.t.interval(0.95, 2, -1.0, 2 / math.sqrt(3))
    assert (summary.over.over_seeds.low, summary.over.over_seeds.high) == pytest.approx(right)
