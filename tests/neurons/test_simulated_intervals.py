"""The default path in simulation: ternary with lambda found anew, convention paper, changes, shares and both controls.

The texts are those of `scripts/simulations/intervals.py`, whose tables are in `docs/statistics/intervals.md`; bounds
are quantiles of the binomial error of so few runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from alignlab.analysis.layer_parts import FIRST_LAYER, WITHIN_ONE, parts
from alignlab.analysis.noise import Noise
from alignlab.analysis.snapshots import summarise
from alignlab.analysis.view import View
from alignlab.neurons.layer_parts import PARTS
from alignlab.neurons.uncertainty import bootstrap

from ..scripts_as_modules import SIMULATIONS, script_as_module

# All bounds of a test together are crossed by chance in one of a thousand seeds.
CHANCE = 1e-3


simulation = script_as_module(SIMULATIONS / "intervals.py")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_coverage(world: Any, runs: int) -> None:
    """Every number's interval holds the expected value as often as it says, and is possible."""
    tables = [
        simulation.changed(world, run) + simulation.counted(world, simulation.anchor_of(world), run)
        for run in range(runs)
    ]
    found = list(simulation.coverage(tables))
    sorts = {sort for sort, _, _ in found}
    for thresholds in ("re-estimated", "anchored", "change"):
        assert {f"{thresholds}: {what}" for what in ("specific", "by layer", "by language", "by degree")} <= sorts
    assert {"transitions", "survival", "overlap ratio", "jaccard", "loss", "change of loss"} <= sorts
    cells = [(sort, size, held) for sort, size, held in found if held.given >= runs / 2]
    for sort, size, held in cells:
        assert held.held >= binom.ppf(CHANCE / len(cells), held.given, 0.92), (sort, size, held)
    for sort, size, held in found:
        assert held.impossible == 0, (sort, size, held)
    held, given = (sum(getattr(cell, name) for _, _, cell in found) for name in ("held", "given"))
    assert held / given > 0.93


def check_verdicts(world: Any, runs: int, changed: float, share: float) -> None:
    """With nothing changed few runs have a verdict in the lead; what is planted is found, in both kinds, in many."""
    first = world.logits()
    nothing = [simulation.lead_of(world, (first, first), run) for run in range(runs)]
    _, holm = simulation.verdicts(nothing)
    assert holm * runs <= binom.ppf(1 - CHANCE, runs, 0.05)
    there = [simulation.lead_of(world, (first, simulation.planted(world, changed)), run) for run in range(runs)]
    for kind in ("specific", "related"):
        assert simulation.found_share(there, kind) * runs >= binom.ppf(CHANCE, runs, share)


@pytest.mark.slow
def test_intervals_mostly_hold_what_is_expected() -> None:
    check_coverage(replace(simulation.FEW, resamples=60), runs=25)


@pytest.mark.slow
def test_what_is_planted_is_mostly_found_and_nothing_seldom() -> None:
    check_verdicts(replace(simulation.MANY, resamples=40), runs=15, changed=0.5, share=0.8)


@pytest.mark.slow
@pytest.mark.parametrize("world", [simulation.MANY, simulation.FEW], ids=["many", "few"])
def test_intervals_hold_what_is_expected_as_often_as_they_say(world: Any) -> None:
    check_coverage(world, runs=70)


@pytest.mark.slow
def test_what_is_planted_is_found_and_nothing_is_not() -> None:
    check_verdicts(simulation.MANY, runs=70, changed=0.5, share=0.8)


def test_stable_neurons_keep_their_kind_in_new_text_and_alike_languages_are_seldom_told_apart() -> None:
    world = replace(simulation.MANY, resamples=40)
    real, chance, stable, again = np.array([simulation.controls_of(world, run) for run in range(8)]).mean(axis=0)
    assert stable > 50
    assert again / stable > 0.95
    assert abs(real - chance) < 1


def in_four_parts(world: Any) -> np.ndarray:
    """Logits of 16 layers as the paper describes them: 4 with many specific and related neurons, 8 with many general
    ones, 3 as the first, and one with most general ones."""
    logits, random = world.logits(), np.random.default_rng(0)
    logits[:, 4:12] += 0.8
    logits[:, 15:] += 2.5
    for layer in (*range(4), *range(12, 15)):
        for neuron in range(25):
            logits[random.integers(6), layer, neuron] += 3
            logits[random.choice(6, 3, replace=False), layer, neuron + 25] += 3
    return logits


def test_parts_that_are_there_are_cut_alike_in_all_resamples_and_others_are_not() -> None:
    world = replace(simulation.MANY, layers=16, resamples=40)
    starts, steady = [], []
    for logits in (in_four_parts(world), world.logits()):
        (counts,) = simulation.records(3, logits)
        now = summarise(counts, world.identifier, simulation.TRAINED, None)
        drawn = bootstrap(counts, world.identifier, simulation.TRAINED, anchor=now.result, resamples=world.resamples)
        values = np.full((world.resamples, len(now.rows)), np.nan)
        values[:, : drawn.values.shape[1]] = drawn.values
        rows = parts(View(counts, now, "paper", noise=Noise("", values, drawn.kept, {})))
        starts.append([(row.value, row.label) for row in rows if row.measure == FIRST_LAYER])
        steady.append([row.value for row in rows if row.measure == WITHIN_ONE])
    assert starts[0] == list(zip((0, 4, 12, 15), PARTS, strict=True))
    assert min(steady[0]) > 0.95
    assert min(steady[1]) < 0.8
