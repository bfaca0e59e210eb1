"""LSS of sets of neurons against loops over items, with objects that are alike left out, and no diagonal."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from alignlab.analysis.effect_shifts import LEFT_OUT, shift_rows
from alignlab.evaluation.accuracy import accuracy
from alignlab.neurons.table import Row

from .arm_records import LANGUAGES, SETS, Item, Record, arms, items

TOWARDS, AWAY = "LSS towards the set's language", "LSS from the set's language"


@dataclass(frozen=True)
class Objects(Record):
    option_nats: Tensor | None = None
    option_tokens: Tensor | None = None
    option_alike: Tensor | None = None


def objects(seed: int, gain: float = 0.0, draws: int = 3) -> Objects:
    """Nats of objects; a set makes those of its language likelier by `gain`. One in ten is alike in all languages."""
    random = np.random.default_rng(seed)
    labels, prompts = arms(draws), items(clusters=12)
    shape = len(prompts), len(labels), len(LANGUAGES)
    nats = random.normal(20, 3, (shape[0], 1, shape[2])) + random.normal(0, 0.5, shape)
    for place, label in enumerate(labels):
        if label.set and not label.control:
            nats[:, place, LANGUAGES.index(label.set)] -= gain
    same = np.zeros((shape[0], shape[2]), dtype=np.bool_)
    same[random.random(shape[0]) < 0.1] = True
    same[np.arange(shape[0]), [LANGUAGES.index(item.language) for item in prompts]] = True
    tokens = torch.from_numpy(random.integers(1, 9, (shape[0], shape[2])))
    return Objects(
        prompts, labels, LANGUAGES, option_nats=torch.from_numpy(nats), option_tokens=tokens,
        option_alike=torch.from_numpy(same),
    )  # fmt: skip


def one(rows: list[Row], **columns: object) -> Row:
    [found] = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    return found


def by_hand(record: Objects, prompt: str, target: str, arm: str, by_token: bool) -> tuple[list[float], list[str]]:
    """What d gains under an arm, item by item, and the clusters; d = l_t - l_b."""
    assert record.option_nats is not None
    assert record.option_tokens is not None
    assert record.option_alike is not None
    names = [label.name for label in record.labels]
    gained, clusters = [], []
    b, t = LANGUAGES.index(prompt), LANGUAGES.index(target)
    for i, item in enumerate(record.items):
        if item.language == prompt and not record.option_alike[i, t]:
            d = []
            for name in (arm, "none"):
                nats = record.option_nats[i, names.index(name)].tolist()
                lengths = record.option_tokens[i].tolist() if by_token else [1] * len(nats)
                d.append(-nats[t] / lengths[t] + nats[b] / lengths[b])
            gained.append(d[0] - d[1])
            clusters.append(item.cluster)
    return gained, clusters


@pytest.mark.parametrize("by_token", [False, True])
def test_every_cell_is_that_of_a_loop_over_items(by_token: bool) -> None:
    record = objects(0)
    rows = shift_rows(record, SETS)
    unit, suffix = ("nats a token", ", a token") if by_token else ("nats an object", "")
    for name in LANGUAGES:
        for other in LANGUAGES:
            if other == name:
                continue
            ways = {
                TOWARDS: (other, name, "preference for the set's language"),
                AWAY: (name, other, "preference for another than the set's language"),
            }
            for measure, (prompt, target, preference) in ways.items():
                cell = {"set": name, "language": name, "other": other}
                gained, clusters = by_hand(record, prompt, target, f"zero None {name}", by_token)
                expected = accuracy(np.array([gain > 0 for gain in gained]), clusters)
                found = one(rows, measure=f"change of {measure}{suffix}", control="", **cell)
                assert (found.value, found.low, found.high) == (expected.value, expected.low, expected.high)
                assert (found.p, found.beyond_noise, found.denominator) == (None, None, len(gained))
                shift = one(rows, measure=f"change of {preference}{suffix}", control="", **cell)
                assert shift.value == pytest.approx(np.mean(gained))
                assert (shift.unit, shift.p is not None) == (unit, True)
                drawn = [
                    np.mean([gain > 0 for gain in
                             by_hand(record, prompt, target, f"zero None {name} matched {seed}", by_token)[0]])
                    for seed in range(3)
                ]  # fmt: skip
                control = one(rows, measure=f"change of {measure}{suffix}", control="matched", **cell)
                assert control.value == pytest.approx(np.mean(drawn))
                over = one(rows, measure=f"{measure}{suffix} over control", control="matched", **cell)
                assert over.value == pytest.approx(expected.value - np.mean(drawn))
                assert over.correction == "fdr"


def test_the_diagonal_is_not_defined_and_what_is_alike_is_counted() -> None:
    record = objects(1)
    assert record.option_alike is not None
    rows = shift_rows(record, SETS)
    own = [row for row in rows if row.set and row.language == row.other]
    assert {row.set for row in own} == set(LANGUAGES)
    assert len(own) == 3 * 8  # sets; LSS and preference, in two directions, by object and by token
    assert all(row.status == "not defined" and math.isnan(row.value) and row.low is row.p is None for row in own)
    for row in [row for row in rows if row.measure == LEFT_OUT]:
        of = [i for i, item in enumerate(record.items) if item.language == row.language]
        alike = [bool(record.option_alike[i, LANGUAGES.index(row.other)]) for i in of]
        assert (row.value, row.denominator) == (sum(alike), len(alike))
    assert len([row for row in rows if row.measure == LEFT_OUT]) == 6


def test_a_planted_shift_is_beyond_the_control_and_towards_its_language_only() -> None:
    rows = shift_rows(objects(2, gain=6.0, draws=9), SETS)
    told = {measure: [row for row in rows if row.measure == f"{measure} over control" and row.control == "matched"]
            for measure in (TOWARDS, AWAY)}  # fmt: skip
    assert {measure: [bool(row.beyond_control) for row in of] for measure, of in told.items()} == {
        TOWARDS: [True] * 6,
        AWAY: [False] * 6,
    }
    assert len({row.family for row in told[TOWARDS]}) == 1
    levels = [row for row in rows if row.measure == f"change of {AWAY}" and not row.control and row.other != row.set]
    assert {row.value for row in levels} == {0.0}


def test_a_diverged_arm_has_no_share_and_other_records_no_rows() -> None:
    record = objects(3)
    assert record.option_nats is not None
    nats = record.option_nats.clone()
    nats[:, 1] = torch.nan
    rows = shift_rows(replace(record, option_nats=nats), SETS)
    found = [row for row in rows if row.measure == TOWARDS and row.set == "en"]
    assert {row.status for row in found} == {"diverged"}
    assert shift_rows(replace(record, option_alike=None), SETS) == []
    assert [
        row for row in shift_rows(replace(record, languages=("de", "zh", "xx")), {"en": SETS["en"]}) if row.set
    ] == []


def test_items_that_are_all_alike_leave_no_cell() -> None:
    record = objects(4)
    assert record.option_alike is not None
    rows = shift_rows(replace(record, option_alike=torch.ones_like(record.option_alike)), SETS)
    assert {row.measure for row in rows} == {LEFT_OUT}
    assert isinstance(record.items[0], Item)
