"""What intervals cost is told from how often a record is classified."""

from __future__ import annotations

import math

import pytest

from alignlab.analysis import interval_cost
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import LapeConfig, TernaryConfig
from alignlab.neurons.reassigned import DRAWS


@pytest.mark.parametrize("identifier", [TernaryConfig(), LapeConfig()])
def test_it_can_be_told_on_this_machine(identifier: TernaryConfig | LapeConfig) -> None:
    assert 0 <= interval_cost.seconds_of_intervals(identifier, (3, 4, 2, 50), 10, 2) < math.inf


@pytest.mark.parametrize("shape", [(10, 20, 4, 640), (10, 20, 32, 14336)])
def test_it_grows_with_neurons_resamples_and_records(
    shape: tuple[int, int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a resample takes a second a million neurons, a draw of reassigned movement two."""

    def resampled(counts: ActivationCounts, _: object, resamples: int) -> float:
        return resamples * counts.firings[0, 0].numel() / 1e6

    def moved(counts: ActivationCounts, *_: object, draws: int) -> float:
        return 2 * draws * counts.firings[0, 0].numel() / 1e6

    monkeypatch.setattr(interval_cost, "bootstrap", resampled)
    monkeypatch.setattr(interval_cost, "movement", moved)
    monkeypatch.setattr(interval_cost, "_seconds", lambda work: work(5) / 5)
    millions = shape[2] * shape[3] / 1e6
    chance = 20 * 10
    one, three = (interval_cost.seconds_of_intervals(TernaryConfig(), shape, 200, records) for records in (1, 3))
    assert one == pytest.approx(millions * (3.25 * 200 + chance))
    assert three == pytest.approx(one + millions * ((4.25 + 5.25) * 200 + 2 * chance + 2 * 2 * DRAWS))
