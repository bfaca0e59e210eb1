"""Numbers of labels against what is known of them, beside scipy, every order of the labels, and chance."""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from alignlab.analysis.associations import DRAWS, LEAST, Association, between_groups, rank_correlation
from alignlab.analysis.label_properties import property_rows
from alignlab.analyze import main as analyze
from alignlab.errors import InputError
from alignlab.languages import Language
from alignlab.neurons.table import read_csv

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run

GROUPS = ["a", "a", "b", "b", "b", "c", "c", "a", "b", "c", "c", "a"]


def some(n: int, seed: int, *, ties: bool = False) -> list[float]:
    drawn = np.random.default_rng(seed).normal(size=n)
    return [float(value) for value in (drawn.round() if ties else drawn)]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [6, 8, 12, 40])
def test_the_numbers_are_scipy_s(n: int, ties: bool) -> None:
    for seed in range(10):
        y, x, groups = some(n, seed, ties=ties), some(n, 100 + seed, ties=ties), (GROUPS * 4)[:n]
        if len(set(x)) > 1 and len(set(y)) > 1:
            assert rank_correlation(y, x).value == pytest.approx(stats.spearmanr(y, x).statistic, abs=1e-12)
            found = between_groups(y, groups)
            whose = [[one for one, group in zip(y, groups, strict=True) if group == name] for name in "abc"]
            assert found.value * (n - 1) == pytest.approx(stats.kruskal(*filter(None, whose)).statistic, abs=1e-9)


def test_p_counts_every_order_of_few_labels() -> None:
    """One by one, with ties among the numbers and the levels; three groups of which p can be told, too."""
    x, groups = [0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 3.0], "aaabbcc"
    for seed in range(3):
        y = [0.0, 1.0, 1.0, 2.0, 3.0, 5.0, 8.0]
        random.Random(seed).shuffle(y)
        ranks, levels = (stats.rankdata(values) - 4 for values in (y, x))

        def correlation(order: Sequence[float], levels: Any = levels) -> float:
            return abs(sum(a * b for a, b in zip(order, levels, strict=True)))

        def between(order: Sequence[float]) -> float:
            return sum(order[:3]) ** 2 / 3 + sum(order[3:5]) ** 2 / 2 + sum(order[5:]) ** 2 / 2

        for statistic, found in ((correlation, rank_correlation(y, x)), (between, between_groups(y, list(groups)))):
            orders = [statistic(order) for order in itertools.permutations(ranks.tolist())]
            expected = sum(one >= statistic(ranks.tolist()) - 1e-9 for one in orders) / len(orders)
            assert found.p == pytest.approx(expected, abs=1e-12)
        variance = sum(rank**2 for rank in ranks.tolist())
        assert found.chance == pytest.approx(sum(orders) / len(orders) / variance, abs=1e-12)


def test_drawn_orders_agree_with_scipy_s_own_permutations() -> None:
    y, x = some(11, 1), some(11, 2)
    x = [a + 0.8 * b for a, b in zip(x, y, strict=True)]
    ours = rank_correlation(y, x)
    theirs = stats.permutation_test(
        (y,),
        lambda values: stats.spearmanr(values, x).statistic,
        permutation_type="pairings",
        n_resamples=2000,
        rng=np.random.default_rng(0),
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=4 * math.sqrt(0.25 / 2000) * 2 * math.sqrt(ours.p))
    assert ours.p >= 1 / (DRAWS + 1)


def test_chance_alone_is_found_no_more_often_than_said() -> None:
    """Five of a hundred at most, but for what so many runs can be off by (3 standard errors)."""
    for n in (6, 11):
        levels = [float(place % 3) for place in range(n)]
        found = [rank_correlation(some(n, seed), levels).p for seed in range(1000 if n < 9 else 200)]
        limit = 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(found))
        assert sum(p < 0.05 for p in found) / len(found) <= limit


def test_a_strong_property_is_found() -> None:
    rng = random.Random(0)
    found = 0
    for _ in range(100):
        levels = [float(place) for place in range(11)]
        found += rank_correlation([level + rng.gauss(0, 2) for level in levels], levels).p < 0.05
    assert found > 90


@pytest.mark.parametrize("n", range(2, LEAST))
def test_few_labels_tell_nothing(n: int) -> None:
    y = some(n, 0)
    assert math.isnan(rank_correlation(y, sorted(y)).p)
    assert math.isnan(between_groups(y, (GROUPS * 2)[:n]).p)


@pytest.mark.parametrize("groups", ["aaaaab", "aaaabb", "aaaaaaaaaaab"])
def test_groups_of_which_no_order_can_stand_out_tell_nothing(groups: str) -> None:
    found = between_groups([float(value) for value in range(len(groups))], list(groups))
    assert not math.isnan(found.value)
    assert math.isnan(found.p)


def test_what_is_alike_is_not_defined() -> None:
    flat = [1.0] * 8
    assert math.isnan(rank_correlation(flat, some(8, 0)).value)
    assert math.isnan(rank_correlation(some(8, 0), flat).value)
    assert math.isnan(between_groups(flat, GROUPS[:8]).value)
    assert math.isnan(between_groups(some(8, 0), ["a"] * 8).value)
    assert math.isnan(between_groups(some(8, 0), list("abcdefgh")).value)


def test_intervals_of_drawn_labels_hold_the_correlation() -> None:
    rho, rng = 0.5, np.random.default_rng(3)
    true = 6 / math.pi * math.asin(rho / 2)  # Spearman's of a bivariate normal
    held = 0
    for _ in range(300):
        drawn = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=20)
        found: Association = rank_correlation(drawn[:, 0].tolist(), drawn[:, 1].tolist())
        held += found.low <= true <= found.high
    assert 0.9 < held / 300 <= 1


@pytest.mark.parametrize("wrong", [[1.0, math.nan], [1.0, math.inf], [1.0], [1.0, 2.0, 3.0]])
def test_numbers_that_are_none(wrong: list[float]) -> None:
    with pytest.raises(InputError, match="numbers of labels"):
        rank_correlation(wrong, [1.0, 2.0])


def labels(n: int) -> dict[str, Language]:
    return {
        f"l{place:02}": Language(
            f"l{place:02}", f"L{place}", "xyz"[place % 3], ["p", "q"][place % 2], "", float(place // 2), {"order": "so"}
        )
        for place in range(n)
    }


def test_rows_say_what_of_how_many_and_correct_over_all_questions() -> None:
    known = labels(10)
    counts = {name: float(place) for place, name in enumerate(known)}
    losses = {**dict.fromkeys(known, 0.0), **{name: some(10, 4)[place] for place, name in enumerate(known)}}
    losses["l03"] = math.nan
    rows = property_rows({"specific neurons": counts, "loss": losses}, known)
    measures = [row.measure for row in rows]
    assert measures == [
        f"{what} by {of}"
        for what in ("specific neurons", "loss")
        for of in ("resource: rank correlation", "family: share between groups", "script: share between groups")
    ]
    assert [row.denominator for row in rows] == [10, 10, 10, 9, 9, 9]
    order = sorted((row.p, place) for place, row in enumerate(rows) if row.p is not None)
    running, expected = 0.0, {}
    for rank, (p, place) in enumerate(order):  # Holm, step by step
        running = max(running, min(1.0, p * (len(order) - rank)))
        expected[place] = running
    assert {place: row.p_adjusted for place, row in enumerate(rows)} == pytest.approx(expected)
    assert rows[0].p_adjusted is not None
    assert rows[0].p_adjusted < 0.05
    assert (rows[0].over, rows[1].over) == ("labels", "")


def test_labels_of_which_nothing_is_known_are_left_out() -> None:
    known = labels(7)
    some_known = {**known, "l00": Language("l00", "L0"), "l01": Language("l01", "L1")}
    counts = {name: float(place) for place, name in enumerate(known)}
    rows = property_rows({"right": {**counts, "unknown": 3.0}}, some_known)
    assert {row.denominator for row in rows} == {5}
    assert {row.status for row in rows} == {"too few"}
    assert all(row.p is None and row.low is None for row in rows)
    assert property_rows({}, known) == []
    assert property_rows({"right": counts}, {name: Language(name, name) for name in known}) == []


def test_a_label_under_another_name_changes_no_other_number() -> None:
    """Of the association itself this is not so: a copy is a label more."""
    known = labels(8)
    counts = {name: float(value) for name, value in zip(known, some(8, 1), strict=True)}
    renamed = {f"x{name}": value for name, value in counts.items()}
    again = property_rows({"right": renamed}, {f"x{name}": language for name, language in known.items()})
    assert again == property_rows({"right": counts}, known)
    twice = property_rows({"right": {**counts, "copy": counts["l00"]}}, {**known, "copy": known["l00"]})
    assert [row.denominator for row in twice] == [9, 9, 9]


@pytest.mark.slow
def test_a_run_is_asked_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = small_run.make(tmp_path / "run", "trainer.max_steps=1", "evaluation=null")
    resource = [f"labels.table.{code}.resource={level}" for level, code in enumerate(("en", "zh", "de", "sw"))]
    capsys.readouterr()
    folder = tmp_path / "out"
    assert analyze([f"run={run}", "analyses=[label_properties]", *resource, f"folder={folder}"]) == 0
    printed = capsys.readouterr().out
    assert "Of 9 questions 0 can be tested, and 0 are answered beyond chance." in printed
    rows = [row for row in read_csv(folder / "table.csv") if row.analysis == "label_properties" and not row.is_change]
    assert {row.denominator for row in rows} == {4}
    assert {row.status for row in rows} == {"too few"}
    assert {row.measure.split(" by ")[0] for row in rows} == {"specific neurons", "related neurons", "loss"}
