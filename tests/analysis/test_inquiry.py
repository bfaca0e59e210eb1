"""The analyses of an inquiry, each against loops over neurons from its definition."""

from __future__ import annotations

import csv
import io
import itertools
import math
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignlab.analysis.analyses import ANALYSES
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.records import StoredCounts
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, language_overlaps, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import Row, csv_text

NAMES = ("en", "de", "sw", "bn")
LAYERS, WIDTH, TOKENS = 3, 40, 200
IDENTIFIER = TernaryConfig(top_rate=0.4, bar=0.6)
LABELS = ("none", "specific", "related", "general", "unassigned")


def record(step: int, layers: int = LAYERS) -> ActivationCounts:
    random = torch.Generator().manual_seed(step)
    firings = torch.randint(0, TOKENS // 4, (4, 4, layers, WIDTH), generator=random)
    return ActivationCounts(
        NAMES, firings, torch.full((4, 4), TOKENS // 4), torch.full((4, 4), 3), "mlp.act", "all", step=step,
        trained_languages=("de", "sw"), loss_sum=torch.arange(4).double()[:, None] + step,
        loss_tokens=torch.full((4, 1), 10),
    )  # fmt: skip


def stored(*counts: ActivationCounts) -> list[StoredCounts]:
    return [StoredCounts(f"step {one.step}", Path(f"{one.step}"), lambda _, one=one: one) for one in counts]


def rows_of(analysis: str, *counts: ActivationCounts, neurons: tuple[tuple[int, int], ...] = ()) -> list[Row]:
    """The rows of the last record."""
    return list(Inquiry(IDENTIFIER, [analysis], neurons=neurons).over(stored(*counts)))[-1][1]


def pick(rows: Sequence[Row], **columns: object) -> Row:
    """The one row with these columns; not a change where there are others, unless they say so."""
    if not {"since", "since_before"} & set(columns):
        rows = [row for row in rows if not row.is_change] or [row for row in rows if row.since] or rows
    elif "since_before" not in columns:
        columns["since_before"] = ""
    (found,) = [row for row in rows if all(getattr(row, key) == value for key, value in columns.items())]
    return found


@pytest.fixture(scope="module")
def pair() -> tuple[list[list[str]], list[list[str]], list[list[list[bool]]], list[list[list[bool]]]]:
    """Kinds (by the paper's convention) and owners of every neuron in two records, the second anchored; by loops."""
    first = ternary(record(0), 0.4, 0.6)
    second = ternary(record(5), 0.4, 0.6, first.lambda_, threshold=first.threshold, cut=first.cut)
    kinds, owned = [], []
    for result in (first, second):
        table = []
        for layer in range(LAYERS):
            line = []
            for neuron in range(WIDTH):
                degree = sum(bool(result.above[name][layer, neuron]) for name in NAMES)
                if degree == len(NAMES):
                    line.append("general")
                elif not result.selected[layer, neuron]:
                    line.append("none")
                else:
                    line.append("unassigned" if degree == 0 else "specific" if degree == 1 else "related")
            table.append(line)
        kinds.append(table)
        owned.append([[[bool(x) for x in line] for line in result.above[name].tolist()] for name in NAMES])
    return kinds[0], kinds[1], owned[0], owned[1]


def number(kinds: list[list[str]], kind: str, layer: int | None = None, owner: list[list[bool]] | None = None) -> int:
    return sum(
        kinds[i][n] == kind and (owner is None or owner[i][n])
        for i in range(LAYERS) for n in range(WIDTH) if layer in (None, i)
    )  # fmt: skip


def test_kinds_and_their_changes(pair) -> None:
    before, after, owned_before, owned_after = pair
    rows = rows_of("kinds", record(0), record(5))
    for kind in LABELS[1:]:
        columns = {"thresholds": "anchored", "group": "all", "layer": None, "kind": kind}
        assert pick(rows, since="", **columns).value == number(after, kind)
        assert pick(rows, since="step 0", **columns).value == number(after, kind) - number(before, kind)
    columns = {"thresholds": "anchored", "group": "language", "language": "sw", "kind": "related"}
    mine = number(after, "related", owner=owned_after[2])
    assert pick(rows, since="", **columns).value == mine > 0
    assert pick(rows, since="step 0", **columns).value == mine - number(before, "related", owner=owned_before[2])
    own = ternary(record(5), 0.4, 0.6)
    again = pick(rows, thresholds="reestimated", since="", group="all", layer=None, kind="general")
    assert again.value == int(own.general.sum())
    rows = rows_of("losses", record(0), record(5))
    loss = pick(rows, measure="loss", language="bn", since="")
    assert (loss.value, loss.unit, loss.step) == (pytest.approx((3 + 5) / 10), "nats a token", 5)
    assert pick(rows, measure="loss", group="trained", since="").value == pytest.approx((1 + 5 + 2 + 5) / 20)
    assert pick(rows, measure="loss", group="unseen", since="step 0").value == pytest.approx(0.5)


def test_losses_that_only_one_record_has_are_not_compared() -> None:
    without = replace(record(5), loss_sum=None, loss_tokens=None)
    assert rows_of("losses", record(0), without) == []
    assert {row.since for row in rows_of("losses", replace(record(0), loss_sum=None, loss_tokens=None), record(5))} == {
        ""
    }


def test_where_only_the_threshold_moves_anchored_changes_stay_zero() -> None:
    """Two neurons become general, all others keep their probabilities; only a threshold taken anew moves others."""
    p = torch.arange(1, 81).reshape(2, 40)  # out of 100 tokens: en 1 to 40, de 41 to 80
    later = p.clone()
    later[:, :2] = 95
    before, after = (
        ActivationCounts(
            ("en", "de"), values.reshape(2, 1, 1, 40), torch.full((2, 1), 100), torch.full((2, 1), 3), "mlp.act", "all",
            step=step,
        )
        for step, values in ((0, p), (5, later))
    )  # fmt: skip
    bar = 0.75  # tau is the 60th of 80 values, 0.60: 20 lie above it, all of them German
    inquiry = Inquiry(TernaryConfig(top_rate=0.5, bar=bar, lambda_=0.0), ["kinds"], "all")
    rows = list(inquiry.over(stored(before, after)))[-1][1]

    def change(thresholds: str, kind: str) -> float:
        columns = {"group": "all", "layer": None, "kind": kind, "since": "step 0"}
        return pick(rows, thresholds=thresholds, **columns).value

    assert [change("anchored", kind) for kind in ("specific", "related", "general")] == [0, 0, 2]
    # Four values rose above the rest, so the four lowest of the 20 fall below the new threshold, of which none moved.
    assert [change("reestimated", kind) for kind in ("specific", "related", "general")] == [-4, 0, 2]
    fixed = [
        sum(
            row.degree * row.value
            for row in step
            if row.thresholds == "reestimated"
            and row.degree is not None
            and row.convention == "all"
            and not row.is_change
        )
        for _, step in inquiry.over(stored(before, after))
    ]
    assert fixed == [80 - round(bar * 80)] * 2


def test_by_layer(pair) -> None:
    before, after, *_ = pair
    distribution = rows_of("layer_distribution", record(0), record(5))
    delta = rows_of("layer_delta", record(0), record(9), record(5))
    steps = rows_of("checkpoint_layer_delta", record(0), record(5))
    for layer in range(LAYERS):
        for kind in LABELS[1:]:
            found = pick(distribution, thresholds="anchored", layer=layer, kind=kind)
            assert (found.value, found.denominator) == (number(after, kind, layer), WIDTH)
            change = number(after, kind, layer) - number(before, kind, layer)
            assert pick(delta, layer=layer, kind=kind).value == change
            assert pick(steps, layer=layer, kind=kind, since_before="step 0").value == change
    assert {row.since for row in delta} == {"step 0"}
    assert {row.since_before for row in rows_of("checkpoint_layer_delta", record(0), record(9), record(5))} == {
        "step 9"
    }


def test_the_first_record_has_no_changes() -> None:
    for name in ("layer_delta", "checkpoint_layer_delta", "transitions", "survival", "overlap_ratio"):
        assert rows_of(name, record(0)) == []
    assert {row.since for row in rows_of("kinds", record(0)) + rows_of("trained_vs_unseen", record(0))} == {""}


def test_degrees(pair) -> None:
    *_, owned_after = pair
    rows = rows_of("sharing_histogram", record(0), record(5))
    degrees = [sum(owned[i][n] for owned in owned_after) for i in range(LAYERS) for n in range(WIDTH)]
    for degree in range(5):
        assert pick(rows, convention="all", degree=degree).value == degrees.count(degree)
    first = ternary(record(0), 0.4, 0.6)
    scores = ternary(record(5), 0.4, 0.6, first.lambda_).scores["score"].flatten().tolist()
    last = sorted(first.scores["score"].flatten().tolist())[round(0.4 * LAYERS * WIDTH) - 1]
    up_to_it = sum(score <= last for score in scores)
    assert sum(row.value for row in rows if row.convention == "selection" and not row.is_change) == up_to_it
    assert up_to_it != round(0.4 * LAYERS * WIDTH)  # the selection may grow or shrink


def test_moves(pair) -> None:
    before, after, owned_before, owned_after = pair
    rows = rows_of("transitions", record(0), record(5))
    for old in LABELS:
        for new in LABELS:
            expected = sum(
                before[i][n] == old and after[i][n] == new for i in range(LAYERS) for n in range(WIDTH)
            )  # fmt: skip
            assert pick(rows, kind=old, to_kind=new).value == expected
    assert sum(row.value for row in rows if row.since) == LAYERS * WIDTH
    kept = rows_of("survival", record(0), record(5))
    stays = sum(before[i][n] == after[i][n] == "related" for i in range(LAYERS) for n in range(WIDTH))
    assert pick(kept, group="all", kind="related").value == pytest.approx(stays / number(before, "related"))
    mine = [(i, n) for i in range(LAYERS) for n in range(WIDTH) if before[i][n] == "related" and owned_before[1][i][n]]
    still = [1 for i, n in mine if after[i][n] == "related" and owned_after[1][i][n]]
    of_german = pick(kept, language="de", kind="related")
    assert (of_german.value, of_german.denominator) == (pytest.approx(len(still) / len(mine)), len(mine))
    assert pick(kept, group="all", kind="related").denominator == number(before, "related")


def test_groups_of_languages(pair) -> None:
    before, after, owned_before, owned_after = pair
    rows = rows_of("trained_vs_unseen", record(0), record(5))
    for group, members in (("trained", (1, 2)), ("reference", (0,)), ("unseen", (3,)), ("all languages", range(4))):
        for kind in ("specific", "related"):
            now, then = (
                sum(number(kinds, kind, owner=owned[g]) for g in members) / len(members)
                for kinds, owned in ((after, owned_after), (before, owned_before))
            )
            columns = {"thresholds": "anchored", "group": group, "kind": kind}
            assert pick(rows, since="", **columns).value == now
            assert pick(rows, since="step 0", **columns).value == now - then


def test_english_beside_the_others(pair) -> None:
    _, after, _, owned_after = pair
    rows = rows_of("english_uniqueness", record(0), record(5))
    counts = [number(after, "related", owner=owned_after[g]) for g in range(4)]
    assert pick(rows, measure="over the others", kind="related").value == pytest.approx(
        counts[0] / (sum(counts[1:]) / 3)
    )
    less = pick(rows, measure="less the others", kind="related")
    assert less.value == pytest.approx(counts[0] - sum(counts[1:]) / 3)
    assert (less.unit, less.reference) == ("neurons", 0.0)
    assert pick(rows, group="unseen", kind="related").value == counts[3]
    assert pick(rows, group="reference", kind="related").value == counts[0]
    assert pick(rows, group="all languages", kind="related").value == sum(counts) / 4


def test_pairs_of_languages() -> None:
    first = ternary(record(0), 0.4, 0.6)
    second = ternary(record(5), 0.4, 0.6, first.lambda_, threshold=first.threshold, cut=first.cut)
    rows = rows_of("language_overlap", record(0), record(5))
    shared = (second.degree > 1) & (second.degree < 4)
    a, b = ((second.sets[name] & shared).flatten().tolist() for name in ("de", "bn"))
    both, either = sum(x and y for x, y in zip(a, b, strict=True)), sum(x or y for x, y in zip(a, b, strict=True))
    for measure, value in (("jaccard", both / either), ("common", both)):
        row = pick(rows, language="de", other="bn", measure=measure)
        assert (row.value, row.denominator) == (pytest.approx(value), either)
    assert [sum(bool(row.since) for row in rows), sum(not row.is_change for row in rows)] == [6 * 6] * 2
    chance = language_overlaps({name: second.above[name] & shared & second.selected for name in NAMES})
    of = {"language": "de", "other": "bn"}
    expected = chance.pairs["de", "bn"]
    assert pick(rows, **of, measure="jaccard expected from the margins").value == expected.expected_jaccard
    excess = pick(rows, **of, measure="jaccard beyond the margins")
    assert (excess.value, excess.reference) == (pytest.approx(both / either - expected.expected_jaccard), 0)
    assert pick(rows, **of, measure="common expected from the margins").value == expected.expected
    z = pick(rows, **of, measure="z beyond the margins")
    assert (z.value, z.p, z.p_adjusted) == (expected.z, expected.p, expected.p_adjusted)
    assert (z.family, z.correction) == ("pairs of languages", "holm")
    assert [row for row in rows if row.p is not None and row.measure != z.measure] == []
    ratio = pick(rows_of("overlap_ratio", record(0), record(5)), language="de")
    old, a = first.sets["de"].flatten().tolist(), second.sets["de"].flatten().tolist()
    expected = sum(x and y for x, y in zip(old, a, strict=True)) / sum(old)
    assert (ratio.value, ratio.denominator) == (pytest.approx(expected), sum(old))
    family = rows_of("family_overlap", record(0), record(5))
    jaccard = {(row.language, row.other): row.value for row in rows if row.measure == "jaccard" and not row.is_change}
    assert pick(family, group="within", measure="jaccard").value == pytest.approx(jaccard["en", "de"])
    others = [value for key, value in jaccard.items() if key != ("en", "de")]
    assert pick(family, group="between", measure="jaccard").value == pytest.approx(sum(others) / 5)
    z = pick(family, group="within less between", measure="z beyond the margins")
    assert 0 < z.p == z.p_adjusted <= 1
    assert (z.family, z.correction) == ("within less between language families", "holm")


def test_a_neuron_by_itself() -> None:
    counts = record(5)
    rows = rows_of("single_neuron_profile", record(0), counts, neurons=((2, 7), (0, 0)))
    for g, name in enumerate(NAMES):
        expected = sum(int(counts.firings[g, s, 2, 7]) for s in range(4)) / TOKENS
        assert pick(rows, label="2.7", language=name).value == pytest.approx(expected)
    with pytest.raises(InputError, match="there is no neuron 40 in layer 0; expected 3 layers of 40"):
        rows_of("single_neuron_profile", counts, neurons=((0, 40),))


def test_parts_of_the_layers_need_layers() -> None:
    assert rows_of("layer_parts", record(0)) == []
    rows = rows_of("layer_parts", record(0, layers=12))
    starts = [row.value for row in rows if row.unit == "layers"]
    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert len(starts) == 4
    errors = [row.value for row in rows if row.unit == "error"]
    assert len(errors) == 6
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))


def test_records_that_do_not_compare_are_refused() -> None:
    with pytest.raises(InputError, match="4 layers of 40; expected 3 layers of 40, as in the first"):
        rows_of("kinds", record(0), record(1, layers=4))


def test_all_rows_name_their_analysis_and_are_one_table() -> None:
    names = [name for name in ANALYSES if name != "stability"]  # without resamples it has no rows
    inquiry = Inquiry(IDENTIFIER, names, neurons=((0, 1),))
    rows = [row for _, some in inquiry.over(stored(record(0, 12), record(5, 12))) for row in some]
    assert {row.analysis for row in rows} == set(names)
    read = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert len(read) == len(rows)
    for row, line in zip(rows, read, strict=True):
        same = math.isnan(float(line["value"])) if math.isnan(row.value) else float(line["value"]) == row.value
        assert same
        assert line["layer"] == ("" if row.layer is None else str(row.layer))


@pytest.mark.parametrize("name", [name for name in ANALYSES if name != "stability"])
def test_every_analysis_gives_changes_since_the_first_record_and_the_one_before(name: str) -> None:
    """Of numbers of one record the difference; what compares two records is asked of both pairs."""
    steps = (0, 9, 5)
    inquiry = Inquiry(IDENTIFIER, [name], neurons=((0, 1),))
    by_record = [rows for _, rows in inquiry.over(stored(*(record(step, 12) for step in steps)))]
    levels = [[row for row in rows if not row.is_change] for rows in by_record]
    for column, place in (("since", 0), ("since_before", 1)):
        changes = [row for row in by_record[2] if getattr(row, column)]
        only = {"layer_distribution": "", "layer_delta": "since", "checkpoint_layer_delta": "since_before"}
        if name in only:
            assert bool(changes) is (column == only[name])
            continue
        assert {getattr(row, column) for row in changes} == {f"step {steps[place]}"}
        if name in ("transitions", "survival", "overlap_ratio"):
            continue  # from the same function; their numbers have tests of their own
        expected = [now.value - then.value for now, then in zip(levels[2], levels[place], strict=True)]
        assert [row.value for row in changes] == pytest.approx(expected, nan_ok=True)
        assert {row.reference for row in changes} == {0.0}


def test_changes_since_the_record_before_can_be_left_out() -> None:
    inquiry = Inquiry(IDENTIFIER, ["kinds", "transitions"], since_before=False)
    rows = [row for _, some in inquiry.over(stored(record(0), record(9), record(5))) for row in some]
    assert {row.since for row in rows} == {"", "step 0"}
    assert {row.since_before for row in rows} == {""}


def test_records_are_let_go() -> None:
    """Of a hundred snapshots a few are held at a time."""
    alive: list[int] = []

    def load(step: int) -> ActivationCounts:
        counts = record(step)

        alive.append(step)
        weakref.finalize(counts, alive.remove, step)
        return counts

    most = 0
    many = [StoredCounts(f"step {step}", Path(), lambda _, step=step: load(step)) for step in range(8)]
    for _ in Inquiry(IDENTIFIER, ["kinds", "transitions"]).over(many):
        most = max(most, len(alive))
    assert most <= 3


def test_counts_of_a_model_that_had_diverged_are_refused() -> None:
    whole = record(5)
    assert whole.loss_sum is not None
    losses = whole.loss_sum.clone()
    losses[2, 0] = torch.nan
    with pytest.raises(InputError, match="step 5: it has diverged: its numbers on sw are NaN or infinite"):
        rows_of("kinds", record(0), replace(whole, loss_sum=losses))
