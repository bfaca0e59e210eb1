"""What the page is given is what the records hold."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.noise import Resampling
from alignlab.analysis.records import StoredCounts
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, bootstrap_difference, kind_counts, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import Row
from alignlab.reporting.page import PageRun, render
from alignlab.reporting.page_run import SHOWN, PageOf

NAMES = ("en", "de", "xx")
IDENTIFIER = TernaryConfig(top_rate=0.5, bar=0.5)


def record(seed: int, step: int | None, layers: int) -> ActivationCounts:
    random = torch.Generator().manual_seed(seed)
    firings = torch.randint(0, 50, (3, 4, layers, 20), generator=random)
    documents = torch.arange(12).reshape(3, 4) + 1
    return ActivationCounts(
        NAMES, firings, torch.full((3, 4), 50), documents, "mlp.act", "all", model="m", step=step,
        loss_sum=(torch.tensor([[1.0], [2.0], [4.0]]).double() + seed) / 4 * torch.ones(4).double(),
        loss_tokens=torch.tensor([[1, 1, 0, 0]] * 3),
    )  # fmt: skip


def page(folder: Path, layers: int = 3, steps: tuple[int | None, ...] = (0, 10, 20), by_step: bool = True) -> PageRun:
    records = [record(seed, step, layers) for seed, step in enumerate(steps)]
    resampling = Resampling(IDENTIFIER, {}, "paper", 30, 0, folder / "cache")
    inquiry = Inquiry(IDENTIFIER, SHOWN, trained=["de"], resampling=resampling, resampled="ends")
    stored = [StoredCounts(f"record {seed}", Path(), lambda _, one=one: one) for seed, one in enumerate(records)]
    collected = PageOf("mine", folder, "ternary", {"bar": 0.5}, by_step=by_step)
    for view, rows in inquiry.over(stored):
        collected.add(view, rows)
    return collected.page()


def rows_of(shown: PageRun, analysis: str, **columns: object) -> list[Row]:
    """The rows that the page shows of an analysis, with these values in these columns."""
    return [
        row
        for row in shown.rows
        if row.analysis == analysis and all(getattr(row, name) == value for name, value in columns.items())
    ]


def test_rows_and_changes(tmp_path: Path) -> None:
    shown = page(tmp_path)
    first, last = record(0, 0, 3), record(2, 20, 3)
    anchor = ternary(first, 0.5, 0.5)
    held = ternary(last, 0.5, 0.5, anchor.lambda_, threshold=anchor.threshold, cut=anchor.cut)
    expected = kind_counts(held, ["de"], step=20)
    mine = [row for row in rows_of(shown, "kinds", since="") if (row.step, row.thresholds) == (20, "anchored")]
    names = ("step", "group", "language", "layer", "kind", "degree", "convention", "denominator", "value")
    assert [[getattr(row, name) for name in names] for row in mine] == [
        [getattr(row, name) for name in names] for row in expected
    ]
    change = bootstrap_difference(first, last, IDENTIFIER, ["de"], resamples=30)
    mine = [row for row in rows_of(shown, "kinds", since="record 0") if (row.step, row.thresholds) == (20, "anchored")]
    ends = np.array([(row.value, row.low, row.high) for row in mine], dtype=float)
    expected_ends = np.array([(one.value, one.low, one.high) for one in change.intervals], dtype=float)
    assert np.allclose(ends, expected_ends, rtol=0, atol=1e-9, equal_nan=True)
    # Of the ends alone there are intervals.
    assert {row.low is None for row in rows_of(shown, "kinds", step=10)} == {True}
    varying = [row for row in rows_of(shown, "kinds") if row.kind != "selected"]  # re-estimated, as many are selected
    assert {row.low is None for row in varying if row.step != 10} == {False}
    assert {row.since for row in shown.rows if row.step == 0} == {""}
    assert {row.since_before for row in shown.rows} == {""}


def test_the_rest_of_it(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,key,value\n1,train/loss,2.5\n1,train/lr,9\n2,train/loss,1.5\n")
    (tmp_path / "config.yaml").write_text("seed: 0\n")
    (tmp_path / "environment.json").write_text(json.dumps({"packages": {"torch": "2"}}))
    shown = page(tmp_path)
    assert shown.steps == [0, 10, 20]
    assert shown.training_loss == [(1, 2.5), (2, 1.5)]
    assert (shown.config, shown.environment) == ("seed: 0\n", {"packages": {"torch": "2"}})
    assert [(one.code, one.name, one.family, one.group) for one in shown.languages] == [
        ("en", "English", "Germanic", "reference"), ("de", "German", "Germanic", "trained"), ("xx", "xx", "", "unseen"),
    ]  # fmt: skip
    assert [one.documents for one in shown.languages] == [1 + 2 + 3 + 4, 5 + 6 + 7 + 8, 9 + 10 + 11 + 12]
    assert {one.tokens for one in shown.languages} == {200}
    (loss,) = (row.value for row in shown.losses.itertuples() if (row.step, row.language) == (20, "xx"))
    assert loss == (4 + 2) / 2
    # Kind by kind, from the records.
    anchor = ternary(record(0, 0, 3), 0.5, 0.5)
    last = ternary(record(2, 20, 3), 0.5, 0.5, anchor.lambda_, threshold=anchor.threshold, cut=anchor.cut)
    before, after = (result.kinds().flatten().tolist() for result in (anchor, last))
    table = [[sum((x, y) == (i, j) for x, y in zip(before, after, strict=True)) for j in range(5)] for i in range(5)]
    moves = {(row.kind, row.to_kind): row.value for row in rows_of(shown, "transitions", step=20)}
    kinds = ("none", "specific", "related", "general", "unassigned")
    assert moves == {(old, new): table[i][j] for i, old in enumerate(kinds) for j, new in enumerate(kinds)}
    assert shown.steps_of("transitions") == [10, 20]
    assert shown.steps_of("language_overlap") == [0, 20]
    related = last.kinds() == 2
    a, b = (last.above[name] & related for name in ("en", "xx"))
    (shared,) = rows_of(shown, "language_overlap", step=20, language="en", other="xx", measure="jaccard", since="")
    assert shared.value == pytest.approx(int((a & b).sum()) / int((a | b).sum()))
    assert rows_of(shown, "layer_parts") == []
    assert "3 layers; expected 12 or more" in shown.parts_refused


def test_the_course_of_a_run_in_stages(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,key,value\n1,train/loss,2.5\n11,train/loss,0.7\n")
    ends = [{"name": "translate", "step": 10}]
    (tmp_path / "stages.json").write_text(json.dumps(ends))
    stages = {"translate": {"method": {"name": "question_translation"}}, "prefer": {"method": {"name": "preference"}}}
    (tmp_path / "config.yaml").write_text(json.dumps({"method": {"name": "supervised"}, "stages": stages}))
    shown = page(tmp_path)
    assert shown.stage_ends == {"translate": 10}
    assert shown.training_units == "answer tokens, then pairs"
    (tmp_path / "config.yaml").write_text(json.dumps({"method": {"name": "consistency"}, "stages": {}}))
    assert page(tmp_path).training_units == "parallel pairs"


def test_a_language_without_a_loss_is_left_out(tmp_path: Path) -> None:
    counts = dataclasses.replace(
        record(0, 0, 3), loss_tokens=torch.tensor([[2], [0], [2]]) * torch.tensor([1, 0, 0, 0])
    )
    collected = PageOf("mine", tmp_path, "ternary", {})
    for view, rows in Inquiry(IDENTIFIER, SHOWN).over([StoredCounts("one", Path(), lambda _: counts)]):
        collected.add(view, rows)
    shown = collected.page()
    assert [code for code in shown.losses.language if code] == ["en", "xx"]
    assert "not computed" in render([shown])


def test_parts_where_there_are_layers_enough(tmp_path: Path) -> None:
    shown = page(tmp_path, layers=12)
    for step in (0, 10, 20):
        units = [row.unit for row in rows_of(shown, "layer_parts", step=step, since="")]
        assert (units.count("layers"), units.count("error")) == (4, 6)
    assert shown.steps_of("layer_parts") == [0, 10, 20]
    assert shown.parts_refused == ""


def test_records_without_steps_have_names(tmp_path: Path) -> None:
    for steps in ((None, None), (7, 7)):
        shown = page(tmp_path, steps=steps, by_step=False)
        assert shown.steps == [0, 1]
        assert shown.step_names == {0: "record 0", 1: "record 1"}
        assert {row.step for row in shown.rows} == {0, 1}
        assert shown.steps_of("language_overlap") == [0, 1]
        assert shown.steps_of("transitions") == [1]


def test_a_damaged_log_is_refused_in_words_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,key,value\n1,train/loss,2.5\nx\n2,train/loss,1.5\n")
    with pytest.raises(InputError, match=r"metrics.csv:3: .*remove it to have the page without the training loss\.$"):
        page(tmp_path)
