"""Matrices of effects against loops over items, and their families and verdicts against what was planted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import t

from alignlab.analysis.arm_outcomes import answered_in, by_language, outcomes
from alignlab.analysis.beyond_control import excess
from alignlab.analysis.effect_matrices import matrix_rows, on_log_scale
from alignlab.analysis.effect_rows import SetOf
from alignlab.errors import InputError
from alignlab.evaluation.accuracy import accuracy, accuracy_change
from alignlab.neurons.corrections import adjusted
from alignlab.neurons.table import Row, csv_text, read_csv

from .arm_records import LANGUAGES, SETS, Arm, Record, answers, arms, likelihoods

LABELS = arms()


def one(rows: list[Row], **columns: object) -> Row:
    [found] = [row for row in rows if all(getattr(row, name) == value for name, value in columns.items())]
    return found


def mean_nats(record: Record, language: str, arm: str) -> float:
    """Nats a token, document by document."""
    assert record.nats is not None
    assert record.counted is not None
    place = [label.name for label in record.labels].index(arm)
    nats = tokens = 0.0
    for i, item in enumerate(record.items):
        if item.language == language:
            nats, tokens = nats + float(record.nats[i, place]), tokens + int(record.counted[i])
    return nats / tokens


def test_the_perplexity_matrix_is_that_of_loops_over_documents() -> None:
    record = likelihoods(0, LABELS)
    rows = matrix_rows(record, SETS)
    for language in LANGUAGES:
        base = mean_nats(record, language, "none")
        level = one(rows, measure="nats", group="language", language=language)
        assert level.value == pytest.approx(base)
        assert (level.set, level.unit, level.over) == ("", "nats a token", "clusters")
        for name in LANGUAGES:
            cell = {"set": name, "language": name, "other": language, "group": "pair", "operation": "zero"}
            off = mean_nats(record, language, f"zero None {name}")
            draws = {
                control: [mean_nats(record, language, f"zero None {name} {control} {i}") - base for i in range(4)]
                for control in ("matched", "random")
            }
            assert one(rows, measure="nats", **cell).value == pytest.approx(off)
            assert one(rows, measure="change of nats", control="", **cell).value == pytest.approx(off - base)
            on_log = one(rows, measure="log(1 + change of perplexity)", **cell)
            assert on_log.value == pytest.approx(math.log(1 + math.exp(off) - math.exp(base)))
            for control, changes in draws.items():
                mean = one(rows, measure="change of nats", control=control, **cell)
                assert mean.value == pytest.approx(np.mean(changes))
                assert mean.sd == pytest.approx(np.std(changes, ddof=1))
                over = one(rows, measure="nats over control", control=control, **cell)
                assert over.value == pytest.approx(off - base - np.mean(changes))
                assert (over.over, over.status, over.site, over.scope) == (
                    "clusters and controls",
                    "ok",
                    "mlp.act",
                    "all",
                )
    # 3 languages as they are; for each cell the level, the change, the log scale, and two rows of two controls.
    assert len(rows) == 3 + 9 * 7


def test_intervals_and_p_are_those_of_the_sums_by_cluster() -> None:
    record = likelihoods(1, LABELS)
    rows = matrix_rows(record, SETS)
    assert record.nats is not None
    assert record.counted is not None
    for language in LANGUAGES:
        of = [i for i, item in enumerate(record.items) if item.language == language]
        names = sorted({record.items[i].cluster for i in of})
        sums, sizes = np.zeros((len(LABELS), len(names))), np.zeros(len(names))
        for i in of:
            cluster = names.index(record.items[i].cluster)
            sizes[cluster] += int(record.counted[i])
            sums[:, cluster] += (record.nats[i] - record.nats[i, 0]).numpy()
        place = {label.name: number for number, label in enumerate(LABELS)}
        chosen = [sums[place[f"zero None {name}"]] for name in LANGUAGES]
        controls = [[sums[place[f"zero None {name} matched {i}"]] for i in range(4)] for name in LANGUAGES]
        found = excess(chosen, controls, sizes)
        for i, name in enumerate(LANGUAGES):
            row = one(rows, measure="nats over control", control="matched", set=name, other=language)
            assert (row.low, row.high, row.p) == pytest.approx((found.low[i], found.high[i], found.p[i]))


def test_own_languages_are_corrected_by_holm_and_the_others_apart() -> None:
    rows = [row for row in matrix_rows(likelihoods(2, LABELS), SETS) if row.measure == "nats over control"]
    for control in ("matched", "random"):
        cells = [row for row in rows if row.control == control]
        for own, correction, count in ((True, "holm", 3), (False, "fdr", 6)):
            family = [row for row in cells if (row.language == row.other) == own]
            assert len(family) == count
            expected = adjusted([row.p or 0.0 for row in family], correction)  # type: ignore[arg-type]
            assert [row.p_adjusted for row in family] == pytest.approx(expected.tolist())
            [name] = {row.family for row in family}
            end = "own language" if own else "other languages"
            assert name == f"effects (nats over control), {control}, zero specific: {end}"
            assert {row.correction for row in family} == {correction}


def test_what_is_planted_is_beyond_matched_controls_and_nothing_else() -> None:
    rows = matrix_rows(likelihoods(3, LABELS), SETS)
    for row in rows:
        if row.measure == "nats over control" and row.control == "matched":
            assert row.beyond_control == (row.language == row.other)
        else:
            assert row.beyond_control is None


def test_a_set_that_does_less_than_its_controls_does_not_exceed_them() -> None:
    record = likelihoods(4, LABELS)
    assert record.nats is not None
    assert record.counted is not None
    nats = record.nats.clone()
    for place, label in enumerate(record.labels):
        if label.control:
            nats[:, place] += 5 * record.counted
    rows = matrix_rows(replace(record, nats=nats), SETS)
    cells = [row for row in rows if row.measure == "nats over control" and row.control == "matched"]
    assert all(row.p_adjusted is not None and row.p_adjusted < 0.05 and row.value < 0 for row in cells)
    assert not any(row.beyond_control for row in cells)


def test_accuracy_and_its_change_have_the_intervals_of_accuracy() -> None:
    record = answers(0, LABELS)
    rows = matrix_rows(record, SETS)
    assert record.right is not None
    assert record.output_language is not None
    place = [label.name for label in LABELS].index("zero None de")
    of = [i for i, item in enumerate(record.items) if item.language == "de"]
    clusters = [record.items[i].cluster for i in of]
    right, before = record.right[of, place].numpy(), record.right[of, 0].numpy()
    within = (record.output_language[of, place] == LANGUAGES.index("de")).numpy()
    cell = {"set": "de", "other": "de", "control": ""}
    for measure, expected in {
        "right": accuracy(right, clusters),
        "change of right": accuracy_change(before, right, clusters),
        "right in language": accuracy(right & within, clusters),
        "in language": accuracy(within, clusters),
    }.items():
        row = one(rows, measure=measure, **cell)
        assert (row.value, row.low, row.high) == pytest.approx((expected.value, expected.low, expected.high))
        assert (row.unit, row.denominator, row.status) == ("share", 40, "ok")
    assert one(rows, measure="right over control", control="matched", set="de", other="de").beyond_control


def test_accuracies_that_can_hardly_fall_are_floors() -> None:
    rows = matrix_rows(answers(1, LABELS, right=0.08), SETS)
    of_right = [row for row in rows if row.measure.removeprefix("change of ").startswith("right")]
    assert {row.status for row in of_right} == {"floor"}
    assert "floor" not in {
        row.status for row in rows if row.measure.endswith("in language") and "right" not in row.measure
    }
    assert "floor" not in {row.status for row in matrix_rows(answers(1, LABELS, right=0.6), SETS)}


def test_answers_in_a_language_are_counted_over_all_items() -> None:
    record = answers(2, LABELS)
    rows = matrix_rows(record, SETS, [answered_in(record, "en")])
    assert record.output_language is not None
    for language in LANGUAGES:
        of = [i for i, item in enumerate(record.items) if item.language == language]
        share = sum(int(record.output_language[i, 0]) == 0 for i in of) / len(of)
        assert one(rows, measure="answers in en", group="language", language=language).value == pytest.approx(share)
    with pytest.raises(InputError, match="language: 'fr'"):
        answered_in(record, "fr")
    with pytest.raises(InputError, match="language: 'en'"):
        answered_in(likelihoods(0, LABELS), "en")


def test_intervals_stay_where_numbers_can_be() -> None:
    labels = arms(draws=2)  # t of one degree of freedom: what is known of so few draws reaches far
    shares = [row for row in matrix_rows(answers(3, labels), SETS) if row.unit == "share" and row.low is not None]
    assert all(row.low >= -1 and (row.high or 0.0) <= 1 for row in shares if row.low is not None)
    assert any(row.low == -1 or row.high == 1 for row in shares)
    record = likelihoods(5, LABELS)
    assert record.nats is not None
    nats = torch.zeros_like(record.nats)
    nats[::15] = 1.0  # in one cluster of many
    levels = [row for row in matrix_rows(replace(record, nats=nats), SETS) if row.measure == "nats"]
    assert {row.low for row in levels} == {0.0}


def test_draws_that_share_neurons_tell_less() -> None:
    record, share = likelihoods(1, LABELS), {"matched": 0.6}
    apart = matrix_rows(record, SETS)
    rows = matrix_rows(record, {name: replace(of, shared=share) for name, of in SETS.items()})
    cell = {"measure": "nats over control", "set": "zh", "other": "de"}
    alike, before = (one(of, control="matched", **cell) for of in (rows, apart))
    assert (alike.control_shared, before.control_shared) == (0.6, None)
    assert alike.value == before.value
    assert alike.high is not None
    assert before.high is not None
    assert alike.high - alike.value > before.high - before.value
    assert alike.p is not None
    assert before.p is not None
    assert alike.p > before.p
    assert one(rows, control="random", **cell).p == one(apart, control="random", **cell).p


def test_layers_of_a_set_and_gaps_of_controls_are_told() -> None:
    gaps = {("matched", seed): 0.01 * (seed + 1) for seed in range(4)}
    sets = {name: replace(of, part="layers 0 to 3", gaps=gaps) for name, of in SETS.items()}
    rows = matrix_rows(likelihoods(5, LABELS), sets)
    over = one(rows, measure="nats over control", control="matched", set="zh", other="zh")
    assert (over.label, over.control_gap) == ("layers 0 to 3", pytest.approx(0.025))
    assert one(rows, measure="nats over control", control="random", set="zh", other="zh").control_gap is None


def test_arms_that_do_nothing_are_too_few_to_tell() -> None:
    record = likelihoods(6, LABELS)
    assert record.nats is not None
    rows = matrix_rows(replace(record, nats=record.nats[:, :1].expand(-1, len(LABELS))), SETS)
    cells = [
        row
        for row in rows
        if row.measure == "nats over control" or (row.measure == "change of nats" and not row.control)
    ]
    assert len(cells) == 9 * 3
    for row in cells:
        assert (row.value, row.status, row.low, row.p, row.beyond_control, row.family) == (
            0,
            "too few",
            None,
            None,
            None,
            "",
        )


def test_arms_that_diverged_are_told_and_leave_the_others() -> None:
    record = likelihoods(7, LABELS)
    assert record.nats is not None
    nats = record.nats.clone()
    nats[:, [label.name for label in LABELS].index("zero None de")] = torch.inf
    rows = matrix_rows(replace(record, nats=nats), SETS)
    cells = {"set": "de", "other": "zh"}
    for row in (one(rows, measure="nats", **cells), one(rows, measure="nats over control", control="matched", **cells)):
        assert (row.status, row.low, row.p, row.beyond_control) == ("diverged", None, None, None)
    assert one(rows, measure="nats over control", control="matched", set="zh", other="zh").beyond_control


def test_sets_with_one_draw_have_no_verdict() -> None:
    rows = matrix_rows(likelihoods(8, arms(draws=1)), SETS)
    cells = [row for row in rows if row.measure == "nats over control"]
    assert len(cells) == 18
    assert {(row.status, row.p, row.beyond_control) for row in cells} == {("too few", None, None)}


def test_clusters_without_counted_tokens_are_left_out() -> None:
    record = likelihoods(9, LABELS)
    assert record.nats is not None
    assert record.counted is not None
    nats, counted = record.nats.clone(), record.counted.clone()
    for i, item in enumerate(record.items):
        if item.language == "zh" or item.cluster == "c3":
            nats[i], counted[i] = 0.0, 0
    [outcome] = outcomes(replace(record, nats=nats, counted=counted))
    found = by_language(record, outcome)
    assert set(found) == {"en", "de"}
    assert "c3" not in found["de"].clusters
    assert len(found["de"].clusters) == 14


def test_the_log_scale_has_the_interval_of_the_delta_method_by_differences() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(10, 90, 12).astype(float)
    base = sizes * random.normal(2.5, 0.2, 12)
    nats = base + sizes * random.normal(0.3, 0.2, 12)
    value, low, high = on_log_scale(nats, base, sizes)

    def scaled(weights: np.ndarray) -> float:
        after, before = (weights @ part / (weights @ sizes) for part in (nats, base))
        return math.log(1 + math.exp(after) - math.exp(before))

    # What each cluster moves the number by: by its weight, in small differences.
    whole, step = np.ones(12), 1e-6
    moved = [(scaled(whole + step * unit) - scaled(whole - step * unit)) / (2 * step) for unit in np.eye(12)]
    half = t.ppf(0.975, 11) * math.sqrt(12 / 11 * sum(one**2 for one in moved))
    assert (value, high - value, value - low) == pytest.approx((scaled(whole), half, half), rel=1e-6)


def test_the_log_scale_of_a_large_fall_and_of_a_huge_perplexity() -> None:
    sizes = np.array([1.0, 2.0])
    assert all(math.isnan(number) for number in on_log_scale(sizes * 1, sizes * 2, sizes))
    value, _, _ = on_log_scale(sizes * 2000.0, sizes * 2, sizes)
    assert value == pytest.approx(2000)


def test_a_record_needs_one_arm_of_the_model_as_it_is() -> None:
    record = likelihoods(0, LABELS)
    with pytest.raises(InputError, match="0 arms of the model as it is"):
        matrix_rows(replace(record, labels=[Arm("zero", "de", "zero"), *LABELS[1:]]), SETS)


def test_sets_of_no_language_are_all_among_the_others() -> None:
    rows = matrix_rows(likelihoods(0, LABELS), {"en": SetOf()})
    cells = [row for row in rows if row.measure == "nats over control"]
    assert {row.correction for row in cells} == {"fdr"}
    assert {row.language for row in cells} == {""}


def test_rows_come_back_from_a_file(tmp_path: Path) -> None:
    rows = matrix_rows(likelihoods(0, LABELS), SETS)
    path = tmp_path / "rows.csv"
    path.write_text(csv_text(rows), encoding="utf-8")
    assert read_csv(path) == rows
