"""Verdicts: each number corrected among those that are looked at together, and by no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alignlab.analysis.verdicts import family_of, with_verdicts
from alignlab.neurons.table import Row


def row(p: float | None, **columns: object) -> Row:
    return Row(**{"analysis": "kinds", "value": 1.0, "since": "step 0", "p": p} | columns)  # type: ignore[arg-type]


def test_few_are_corrected_by_holm_among_themselves() -> None:
    lead = [row(p, kind=kind) for kind, p in (("specific", 0.01), ("related", 0.02), ("general", 0.04))]
    told = with_verdicts([*lead, row(0.001, layer=3), row(None, kind="unassigned"), row(0.03, group="unseen")])
    # Of four questions .01 x 4, .02 x 3, .03 x 2, then .04 x 1 but no less than the one before.
    assert [one.p_adjusted for one in told] == pytest.approx([0.04, 0.06, 0.06, 0.001, None, 0.06])
    assert [one.beyond_noise for one in told] == [True, False, False, True, None, False]
    assert [one.correction for one in told] == ["holm"] * 4 + ["", "holm"]
    assert [one.family for one in told] == ["kinds, in all"] * 3 + ["kinds, each layer", "", "kinds, in all"]


@pytest.mark.parametrize(
    "other",
    [
        {"record": "step 5"}, {"since": "", "since_before": "step 1"}, {"thresholds": "reestimated"},
        {"convention": "all"}, {"analysis": "losses"}, {"measure": "loss"}, {"group": "language"}, {"group": "pair"},
        {"degree": 2}, {"layer": 1},
    ],
)  # fmt: skip
def test_other_questions_are_other_families(other: dict[str, object]) -> None:
    alone, with_others = with_verdicts([row(0.04)]), with_verdicts([row(0.04), *[row(0.9, **other)] * 9])
    assert with_others[0] == alone[0]
    assert alone[0].beyond_noise


def test_many_are_corrected_by_their_rate_of_false_discoveries() -> None:
    p = np.linspace(0.0005, 0.9, 60)
    told = with_verdicts([row(value, layer=i) for i, value in enumerate(p)])
    # Benjamini and Hochberg's step-up by hand: all up to the last whose p is at most its rank's share of 5 %.
    found = [i for i in range(60) if p[i] <= 0.05 * (i + 1) / 60]
    assert [one.beyond_noise for one in told] == [i <= max(found, default=-1) for i in range(60)]
    assert {one.correction for one in told} == {"fdr"}


def test_a_family_that_a_row_brings_stays() -> None:
    pair = row(0.03, family="pairs, kept margins", correction="fdr", p_adjusted=0.2, beyond_noise=False)
    assert with_verdicts([pair, replace(pair, p=0.001)]) == [pair, replace(pair, p=0.001)]


def test_families_are_named_in_words() -> None:
    assert family_of(row(0.1, measure="beyond chance", analysis="family_overlap")) == (
        "family_overlap (beyond chance), in all"
    )


def test_the_verdict_of_movement_is_corrected_in_the_same_family_by_itself() -> None:
    lead = [row(0.001, kind="specific", movement_p=0.01), row(None, kind="related", movement_p=0.02),
            row(0.04, kind="general", movement_p=0.03), row(0.2, kind="unassigned")]  # fmt: skip
    told = with_verdicts([*lead, row(0.5, layer=1, movement_p=0.04)])
    # Three questions of noise, .001 x 3, .04 x 2, .2; three of movement, .01 x 3, .02 x 2 and .03 x 1.
    assert [one.beyond_noise for one in told] == [True, None, False, False, False]
    assert [one.beyond_movement for one in told] == [True, True, True, None, True]
    stricter = with_verdicts([*lead, row(None, group="unseen", movement_p=0.9)])
    assert [one.beyond_movement for one in stricter] == [True, False, False, None, False]
