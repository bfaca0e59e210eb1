"""Reassigned movement in simulation: nothing is seldom found, and what is planted in many neurons mostly is.

The populations and movements are those of `scripts/simulations/reassigned_movement.py`, whose tables are in
`docs/statistics/reassigned_movement.md`; bounds are quantiles of the binomial error of so few runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from alignlab.neurons import Kind, kind_counts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.reassigned import DRAWS, QUESTIONS, movement

from ..scripts_as_modules import SIMULATIONS, script_as_module

CHANCE = 1e-3


simulation = script_as_module(SIMULATIONS / "reassigned_movement.py")
SMALL, LARGE = (simulation.moves_of(simulation.POPULATIONS[name]) for name in ("small", "large"))
SPECIALISED, SHARED = "% of related neurons become specific", "% of specific neurons become related"
PLANTED = ((SPECIALISED, "related"), (SHARED, "specific"))


def slow_verdicts(drawn: np.ndarray, change: np.ndarray) -> list[bool]:
    """Ranks among all draws and Holm's steps, one after another."""
    p = []
    for question, value in enumerate(change.tolist()):
        others = drawn[:, question].tolist()
        low, high = sum(one <= value for one in others) + 1, sum(one >= value for one in others) + 1
        p.append(2 * min(low, high) / (len(others) + 1))
    verdicts = [False] * len(p)
    for rank, question in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[question] * (len(p) - rank) >= 0.05:
            break
        verdicts[question] = True
    return verdicts


def test_runs_are_judged_by_the_draws_that_users_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """The script looks up what neurons become; `movement` classifies all of them in every draw."""
    made = []
    real = simulation.reassigned

    def noted(*given: Any) -> Any:
        made.append((*given, real(*given)))
        return made[-1][-1]

    monkeypatch.setattr(simulation, "reassigned", noted)
    monkeypatch.setitem(simulation.POPULATIONS, "small", simulation.Population(60, (0.15, 0.3, 0.45)))
    found = 0
    for cell in ("every neuron jitters", f"45{SPECIALISED}", f"45{SHARED}"):
        names, judged = simulation.run("small", cell, 0, DRAWS, 3)
        first, second, anchor, draws, seed, drawn = made[-1]
        before, after = (kind_counts(TernaryConfig().identify(one, anchor), simulation.TRAINED) for one in made[-1][:2])
        rows = [
            next(i for i, row in enumerate(before) if (row.kind, row.group, row.layer, row.language) == wanted)
            for wanted in ((*wanted_of(name), None, "") for name in names)
        ]
        slow = movement(first, second, simulation.IDENTIFIER, anchor, simulation.TRAINED, draws=draws, seed=seed)[
            :, rows
        ]
        assert (drawn - judged.count == slow).all()
        change = np.array([after[i].value - before[i].value for i in rows])
        assert judged.change.tolist() == change.tolist()
        assert judged.verdict.tolist() == slow_verdicts(slow, change)
        assert len(set(names)) == QUESTIONS
        found += judged.verdict.sum()
    assert found > 0


def wanted_of(name: str) -> tuple[str, str]:
    """Kind and group of a row of the lead."""
    group, _, kind = name.rpartition(" ")
    return kind, group or "all"


@pytest.mark.parametrize(("cell", "kind"), [(SPECIALISED, Kind.RELATED), (SHARED, Kind.SPECIFIC)])
def test_what_is_planted_is_a_share_of_a_kind(cell: str, kind: Kind) -> None:
    logit = simulation.made(300, np.random.default_rng(1))
    later = SMALL[f"30{cell}"](logit, np.random.default_rng(2))
    random = np.random.default_rng(2)
    jittered = simulation.jittered(logit, random)
    kinds = simulation.IDENTIFIER.identify(simulation.counted(logit, random)).kinds().flatten().numpy()
    planted = (later != jittered).any(axis=0)
    assert planted.sum() == round(0.3 * (kinds == kind).sum()) > 5
    assert (kinds[planted] == kind).all()


def share_found(population: str, cell: str, name: str, runs: int) -> tuple[int, int]:
    """In how many runs a question of the lead, and any, is beyond movement."""
    found = [simulation.run(population, cell, 1, DRAWS, number) for number in range(runs)]
    verdicts = np.array([judged.verdict for _, judged in found])
    return int(verdicts[:, found[0][0].index(name)].sum()), int(verdicts.any(axis=1).sum())


@pytest.mark.parametrize("cell", ["every neuron jitters", "uniform gain of .3, and jitter"])
def test_movement_that_is_not_of_a_kind_is_seldom_found(cell: str) -> None:
    runs = 40  # uncorrected, a quarter to a third of them have a verdict
    _, some = share_found("small", cell, "specific", runs)
    assert some <= binom.ppf(1 - CHANCE, runs, 0.05)


@pytest.mark.parametrize(("cell", "name"), PLANTED)
def test_a_change_of_three_in_ten_of_hundreds_is_mostly_found(cell: str, name: str) -> None:
    runs = 5
    found, _ = share_found("large", f"30{cell}", name, runs)
    assert found >= binom.ppf(CHANCE, runs, 0.8)


@pytest.mark.slow
@pytest.mark.parametrize("cell", list(LARGE)[:4])
def test_in_large_populations_too_movement_that_is_not_of_a_kind_is_seldom_found(cell: str) -> None:
    runs = 40
    _, some = share_found("large", cell, "specific", runs)
    assert some <= binom.ppf(1 - CHANCE, runs, 0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("cell", "name"), PLANTED)
def test_a_change_of_a_fifth_of_hundreds_is_mostly_found(cell: str, name: str) -> None:
    runs = 30
    found, _ = share_found("large", f"20{cell}", name, runs)
    assert found >= binom.ppf(CHANCE, runs, 0.8)
