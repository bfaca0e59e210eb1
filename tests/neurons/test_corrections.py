"""Corrections against scipy, and against the definitions by loops."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from alignlab.errors import InputError
from alignlab.neurons.corrections import adjusted, correction_for


def _p(seed: int, n: int) -> list[float]:
    random = np.random.default_rng(seed)
    p = random.uniform(size=n) ** random.integers(1, 4)
    p[random.integers(n)] = p[0]  # a tie
    return list(p)


@pytest.mark.parametrize("seed", range(20))
def test_the_false_discovery_rate_is_scipys(seed: int) -> None:
    p = _p(seed, 1 + seed * 3)
    assert adjusted(p, "fdr") == pytest.approx(false_discovery_control(p), rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_holm_rejects_what_its_procedure_rejects_at_every_level(seed: int) -> None:
    p = _p(seed, 1 + seed)
    found = adjusted(p, "holm")
    for level in np.linspace(0.001, 0.999, 97):
        rejected = set()
        for done, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
            if p[i] * (len(p) - done) > level:
                break
            rejected.add(i)
        ties = {i for i in range(len(p)) if any(p[i] == p[j] for j in rejected)}
        assert set(np.flatnonzero(found <= level)) == ties


def test_known_values() -> None:
    # Holm's own procedure for 4 questions: .01 x 4, .02 x 3, .03 x 2, .04 x 1, never less than the one before.
    assert adjusted([0.04, 0.01, 0.03, 0.02], "holm") == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert adjusted([0.9, 0.8], "holm") == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("correction", ["holm", "fdr"])
def test_a_question_without_an_answer_is_not_counted(correction: str) -> None:
    p = np.array([0.01, np.nan, 0.02, 0.5])
    found = adjusted(p, correction)  # type: ignore[arg-type]
    assert np.isnan(found[1])
    assert found[[0, 2, 3]] == pytest.approx(adjusted(p[[0, 2, 3]], correction))  # type: ignore[arg-type]
    assert len(adjusted([], correction)) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("correction", ["holm", "fdr"])
def test_where_nothing_is_there_a_family_has_a_verdict_in_at_most_one_of_twenty_runs(correction: str) -> None:
    random = np.random.default_rng(0)
    runs = 4000
    any_verdict = sum(adjusted(random.uniform(size=30), correction).min() < 0.05 for _ in range(runs)) / runs  # type: ignore[arg-type]
    assert 0.05 - 4 * (0.05 * 0.95 / runs) ** 0.5 < any_verdict < 0.05 + 4 * (0.05 * 0.95 / runs) ** 0.5


def test_few_questions_are_corrected_strictly_and_many_by_their_rate() -> None:
    assert [correction_for(n) for n in (1, 20, 21, 1000)] == ["holm", "holm", "fdr", "fdr"]


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_what_is_no_probability_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="0 to 1"):
        adjusted([0.5, value], "holm")
