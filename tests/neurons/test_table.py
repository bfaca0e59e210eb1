"""Rows go into files and come back as they were; what is no such file is refused by name and line."""

from __future__ import annotations

import csv
import dataclasses
import math
from pathlib import Path

import pytest

from alignlab.errors import InputError
from alignlab.neurons import Row
from alignlab.neurons.table import COLUMNS, csv_text, read_csv, write_csv

FULL = Row(
    analysis="effects", record="step 5", step=5, since="step 0", since_before="step 4", thresholds="anchored",
    convention="paper", classified_on="en zh",
    group="pair", language="en", other="zh", layer=3, kind="related", to_kind="none", degree=2,
    set='a "set", quoted', operation="zero", strength=-0.1, control="matched", seed=7, site="mlp.act", scope="all",
    task="mgsm", measure="nats",
    label="3.14", compared="lape", value=1 / 3, unit="nats a token", denominator=12, status="too few", low=-0.5,
    high=1e-300, over="seeds",
    sd=0.25, noise_bias=0.0, reference=0.0, p=0.04, p_adjusted=0.4, family="diagonal", correction="holm",
    beyond_noise=False, movement=-0.5, movement_low=-1.5, movement_high=0.25, movement_p=0.01, movement_p_adjusted=0.1,
    beyond_movement=True,
    beyond_control=False, control_gap=0.01, control_shared=0.6,
)  # fmt: skip


def test_every_column_comes_back(tmp_path: Path) -> None:
    default = Row(value=0.0)
    assert [name for name in COLUMNS if getattr(FULL, name) == getattr(default, name)] == []
    write_csv(tmp_path / "rows.csv", [FULL, default])
    assert read_csv(tmp_path / "rows.csv") == [FULL, default]


def test_the_schema_says_every_column() -> None:
    assert Row.__doc__
    assert [name for name in COLUMNS if f"{name}:" not in Row.__doc__ and f"{name}," not in Row.__doc__] == []


def test_whole_neurons_have_no_fraction_and_numbers_are_exact(tmp_path: Path) -> None:
    rows = [Row(value=3.0), Row(value=0.1 + 0.2), Row(value=2.0, unit="ratio"), Row(value=math.nan, unit="share")]
    (tmp_path / "rows.csv").write_text(csv_text(rows), encoding="utf-8")
    with (tmp_path / "rows.csv").open(encoding="utf-8", newline="") as file:
        assert [line["value"] for line in csv.DictReader(file)] == ["3", "0.30000000000000004", "2.0", "nan"]
    assert math.isnan(read_csv(tmp_path / "rows.csv")[3].value)


@pytest.mark.parametrize("line", ["1,2", "x" * 40, csv_text([FULL], header=False).replace("False", "No").strip()])
def test_a_line_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(csv_text([FULL]) + line + "\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"rows\.csv:3"):
        read_csv(path)


def test_columns_that_an_older_version_did_not_have_are_empty(tmp_path: Path) -> None:
    path, missing = tmp_path / "rows.csv", ("site", "scope", "control_gap")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name in COLUMNS if name not in missing], lineterminator="\n")
        writer.writeheader()
        [line] = csv.DictReader(csv_text([FULL]).splitlines())
        writer.writerow({name: cell for name, cell in line.items() if name not in missing})
    assert read_csv(path) == [dataclasses.replace(FULL, site="", scope="", control_gap=None)]


def test_a_table_of_an_older_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / "step-000000.csv"
    path.write_text("thresholds,step,group\nanchored,0,all\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"step-000000\.csv:1: the header 'thresholds,step,group"):
        read_csv(path)


def test_a_change_has_the_columns_of_the_later_number_and_no_interval() -> None:
    later = dataclasses.replace(FULL, since="", since_before="")
    change = later.less(Row(value=1.0), since="step 0")
    assert (change.value, change.since, change.reference) == (1 / 3 - 1, "step 0", 0.0)
    assert (change.language, change.denominator, change.measure) == ("en", 12, "nats")
    assert (change.low, change.high, change.p, change.beyond_noise, change.status) == (None, None, None, None, "ok")
    assert change.is_change
    assert not later.is_change
