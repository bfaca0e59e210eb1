"""Counts of a study's cells in the same resamples, against documents drawn and neurons classified by hand."""

from __future__ import annotations

import gc
import math
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from alignlab import analyze
from alignlab.analysis.draws import Drawing, Draws
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.noise import Resampling
from alignlab.analysis.records import StoredCounts
from alignlab.errors import InputError
from alignlab.manifest import checksum
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.subset import subset
from alignlab.neurons.table import csv_text, read_csv
from alignlab.neurons.uncertainty import resamples_digest
from alignlab.studying.draws import Resampled, draws_in, notes_of
from alignlab.studying.grid import Cell, Grid
from alignlab.studying.summary import Question, Summary, collected, summarise
from alignlab.studying.table import Number

LANGUAGES, TRAINED = ("en", "de", "sw"), ("de",)
SHARDS, LAYERS, WIDTH = 6, 2, 25
SEEDS, RESAMPLES = (0, 1, 2), 40
BAR, RATE, LAMBDA = 0.6, 0.4, 0.2
CELLS = [Cell(f"{level}+seed{seed}", (level,), seed) for level in ("base", "more") for seed in SEEDS]
GRID = Grid(("aligned",), tuple(CELLS), 0)


def record(random: np.random.Generator, rate: Any, step: int, texts: str = "probe") -> ActivationCounts:
    """Counts of (G, L, N) rates, which documents move alike in every model."""
    of_documents = np.random.default_rng(7).normal(0, 0.5, (3, SHARDS, LAYERS, WIDTH))
    p = 1 / (1 + np.exp(-rate[:, None] - of_documents - random.normal(0, 0.2, (3, SHARDS, LAYERS, WIDTH))))
    tokens = np.random.default_rng(8).integers(300, 400, (3, SHARDS))
    firings = random.binomial(np.broadcast_to(tokens[:, :, None, None], p.shape), p)
    return ActivationCounts(
        LANGUAGES, torch.from_numpy(firings), torch.from_numpy(tokens), torch.full((3, SHARDS), 4), "mlp.act", "all",
        step=step, trained_languages=TRAINED, reference="en", data_fingerprint=texts,
    )  # fmt: skip


def ends(texts: str = "probe") -> dict[Cell, tuple[ActivationCounts, ActivationCounts]]:
    """What every cell has counted: at its start, which is one model, and at its end."""
    random = np.random.default_rng(0)
    rate = random.normal(-1, 1.5, (3, LAYERS, WIDTH))
    start = record(random, rate, 0, texts)
    return {
        cell: (start, record(random, rate + random.normal(0.3 * (cell.levels[0] == "more"), 0.4, rate.shape), 9, texts))
        for cell in CELLS
    }


class Plain(Resampling):
    """Without what reassigned movement brings, which takes longest and is not looked at here."""

    def movement_of(self, *_: Any) -> dict[Any, Any]:
        return {}


def analysed(folder: Path, counts: Sequence[ActivationCounts], seed: int = 3) -> None:
    """What `alignlab.analyze` leaves of a run, without its page."""
    options = TernaryConfig(top_rate=RATE, bar=BAR, lambda_=LAMBDA)
    resampling = Plain(options, {}, "paper", RESAMPLES, seed, folder / "cache")
    records = [StoredCounts(f"step {one.step}", Path(f"{one.step}"), lambda _, one=one: one) for one in counts]
    (folder / "sure").mkdir(parents=True)
    table, drawing, written = folder / "sure/table.csv", Drawing(), 0
    with table.open("w", encoding="utf-8", newline="") as file:
        for _, rows in Inquiry(options, ["kinds"], resampling=resampling).drawn_over(records):
            file.write(csv_text([one.row for one in rows], header=written == 0))
            drawing.add(enumerate(rows, written), SHARDS, resampling.digest_of(counts[0]))
            written += len(rows)
    drawing.save(table)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the cells."""
    folder = tmp_path_factory.mktemp("cells")
    for cell, counts in ends().items():
        analysed(folder / cell.name, counts)
    return folder


def rows_of(folder: Path) -> dict[tuple[str, str, str, str, str, int | None], Summary]:
    """By what, level, measure, group, language and layer."""
    cells = [
        (
            cell,
            [Number.of(row, "sure", line) for line, row in enumerate(read_csv(folder / cell.name / "sure/table.csv"))],
        )
        for cell in CELLS
    ]
    found = summarise(
        GRID, collected(cells), {"aligned": "base"}, draws_of=lambda cell: draws_in(folder / cell.name, ["sure"])
    )

    def name(asked: Question) -> tuple[str, str, str, int | None]:
        return asked.measure, asked.group, asked.language, asked.layer

    return {(row.what, row.levels[0], *name(row.question)): row for row in found}


def classified(counts: ActivationCounts, start: ActivationCounts, weights: Sequence[int]) -> dict[Any, float]:
    """The numbers of specific and related neurons, of so many copies of each shard, at the start's thresholds."""

    def rates(some: ActivationCounts, times: Sequence[int]) -> list[list[float]]:
        found = []
        for g in range(3):
            of = sum(times[s] * int(some.tokens[g, s]) for s in range(SHARDS))
            all_layers = some.firings[g].flatten(1).tolist()
            found.append([sum(times[s] * all_layers[s][i] for s in range(SHARDS)) / of for i in range(LAYERS * WIDTH)])
        return found

    def score(p: Sequence[float]) -> float:
        whole = sum(p)
        entropy = -sum(q / whole * math.log(q / whole) for q in p) / math.log(3)
        return entropy - LAMBDA * max(p) / ((1 + 1 / 2 + 1 / 3) / 3)

    first = rates(start, [1] * SHARDS)
    pooled = sorted(q for language in first for q in language)
    tau = pooled[round(BAR * len(pooled)) - 1]
    cut = sorted(score(p) for p in zip(*first, strict=True))[round(RATE * LAYERS * WIDTH) - 1]
    numbers: dict[Any, float] = {}
    for i, p in enumerate(zip(*rates(counts, weights), strict=True)):
        above = [q > tau for q in p]
        kind = {1: "specific neurons", 2: "related neurons"}.get(sum(above))
        if kind and score(p) <= cut + 1e-12:
            owners = [name for name, there in zip(LANGUAGES, above, strict=True) if there]
            for place in (("all", "", None), ("all", "", i // WIDTH), *(("language", name, None) for name in owners)):
                numbers[kind, *place] = numbers.get((kind, *place), 0) + 1
            groups = {"trained": ("de",), "reference": ("en",), "unseen": ("sw",), "all languages": LANGUAGES}
            for group, members in groups.items():
                key = (kind, group, "", None)
                numbers[key] = numbers.get(key, 0) + sum(name in members for name in owners) / len(members)
    return numbers


def test_intervals_are_those_of_documents_drawn_and_neurons_classified_by_hand(study: Path) -> None:
    counts = ends()
    weights = np.random.default_rng(3).multinomial(SHARDS, [1 / SHARDS] * SHARDS, size=(RESAMPLES, 1))[:, 0].tolist()
    by_hand: dict[tuple[Cell, int], list[dict[Any, float]]] = {}
    for cell, (start, end) in counts.items():
        for at, one in enumerate((start, end)):
            if at == 0 and cell != CELLS[0]:
                by_hand[cell, at] = by_hand[CELLS[0], at]  # one model
            else:
                by_hand[cell, at] = [classified(one, start, times) for times in [[1] * SHARDS, *weights]]
    rows = rows_of(study)
    checked = 0
    for (what, level, *place), row in rows.items():
        key = tuple(place)
        if key[0] not in ("specific neurons", "related neurons"):
            continue
        assert row.over is not None
        assert row.over.clusters in (SHARDS, 0)
        mine = [cell for cell in CELLS if cell.levels == (level,)]
        theirs = [cell for cell in CELLS if cell.levels == ("base",)]
        series = []  # by seed: the number as it is, then in each resample
        for cell, other in zip(mine, theirs, strict=True):
            off = {"value": None, "change": (cell, 0), "difference": (other, 1)}[what]
            less = [0.0] * (RESAMPLES + 1) if off is None else [one.get(key, 0) for one in by_hand[off]]
            series.append([one.get(key, 0) - b for one, b in zip(by_hand[cell, 1], less, strict=True)])
        values, drawn = [one[0] for one in series], [one[1:] for one in series]
        assert row.over.value == pytest.approx(statistics.mean(values))
        if all(len(set(one)) == 1 for one in drawn):
            assert np.isnan(row.over.over_documents.low)
            continue
        k = len(SEEDS)
        of_seeds = statistics.variance(values) / k
        shared = [statistics.mean(column) for column in zip(*drawn, strict=True)]
        spread = SHARDS / (SHARDS - 1) * statistics.variance(shared)
        apart = [[one - mean for one, mean in zip(column, shared, strict=True)] for column in drawn]
        rest = SHARDS / (SHARDS - 1) * sum(map(statistics.variance, apart)) / (k * (k - 1))
        whole = all(value == round(value) for column in drawn for value in column)
        half = stats.t.ppf(0.975, SHARDS - 1) * math.sqrt(spread + (1 / 12 / k if whole else 0))
        low, high = (0 if what == "value" else -math.inf), (WIDTH if key[3] is not None else LAYERS * WIDTH)
        over = row.over.over_documents
        assert (over.low, over.high) == pytest.approx(
            (max(row.over.value - half, low), min(row.over.value + half, high)), abs=1e-5
        )
        if of_seeds == 0:
            assert np.isnan(row.over.over_both.low)
            continue
        parts = stats.t.ppf(0.975, k - 1) ** 2 * of_seeds + stats.t.ppf(0.975, SHARDS - 1) ** 2 * max(spread - rest, 0)
        assert row.over.over_both.high == pytest.approx(min(row.over.value + math.sqrt(parts), high), abs=1e-5)
        checked += 1
    assert checked > 40


def test_what_is_the_same_in_all_cells_cancels(tmp_path: Path) -> None:
    """Cells that end as they began do not change, on any documents, however unsure their counts are."""
    start, _ = ends()[CELLS[0]]
    analysed(tmp_path / CELLS[0].name, (start, replace(start, step=9)))
    for cell in CELLS[1:]:
        shutil.copytree(tmp_path / CELLS[0].name, tmp_path / cell.name)
    rows = rows_of(tmp_path)
    value, change, difference = (
        rows[what, "more", "specific neurons", "all", "", None].over for what in ("value", "change", "difference")
    )
    assert value is not None and change is not None and difference is not None  # noqa: PT018
    assert value.over_documents.high - value.over_documents.low > 2
    assert (change.value, difference.value) == (0, 0)
    assert np.isnan([change.over_documents.low, difference.over_documents.low]).all()


def test_the_resamples_of_a_combination_and_its_baseline_are_held_at_a_time(study: Path) -> None:
    cells = [Cell(f"{level}+seed{seed}", (f"{level}",), seed) for level in range(8) for seed in SEEDS]
    numbers = [
        Number.of(row, "sure", line) for line, row in enumerate(read_csv(study / CELLS[0].name / "sure/table.csv"))
    ]
    calls = held = 0

    def draws_of(_: Cell) -> dict[str, Draws]:
        nonlocal calls, held
        calls += 1
        if calls == (8 + 7) * len(SEEDS):  # the last
            held = sum(len(one.values) for one in gc.get_objects() if type(one) is Resampled)
        return {"sure": Draws.load(study / CELLS[0].name / "sure/draws.safetensors")}

    rows = summarise(
        Grid(("aligned",), tuple(cells), 0),
        collected((cell, numbers) for cell in cells),
        {"aligned": "0"},
        draws_of=draws_of,
    )
    of_one = len({row.question for row in rows}) * 2 * len(SEEDS) * RESAMPLES  # values and changes
    assert calls == (8 + 7) * len(SEEDS)
    assert 0 < held <= of_one


def copied(study: Path, folder: Path) -> Path:
    for cell in CELLS:
        (folder / cell.name / "sure").mkdir(parents=True)
        for name in ("table.csv", "draws.safetensors"):
            (folder / cell.name / "sure" / name).write_bytes((study / cell.name / "sure" / name).read_bytes())
    return folder


def by_errors(rows: dict[Any, Summary], folder: Path) -> None:
    """The change of the cells with more is told as if documents erred alike under all seeds."""
    asked = ("specific", "anchored", "all", None, "paper")
    errors = []
    for cell in CELLS[3:]:
        errors += [
            row.sd or 0.0
            for row in read_csv(folder / cell.name / "sure/table.csv")
            if row.since and (row.kind, row.thresholds, row.group, row.layer, row.convention) == asked
        ]
    assert len(errors) == len(SEEDS)
    over = rows["change", "more", "specific neurons", "all", "", None].over
    assert over is not None
    assert over.clusters == 0
    half = stats.norm.ppf(0.975) * math.sqrt(statistics.mean(error**2 for error in errors))
    assert over.over_documents.high == pytest.approx(over.value + half)


@pytest.mark.parametrize(
    "how", ["missing", "damaged", "another table", "other texts", "unknown texts", "other resamples"]
)
def test_without_the_same_resamples_the_errors_are_taken_and_it_is_said(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    copied(study, tmp_path)
    name = CELLS[4].name
    file = tmp_path / name / "sure/draws.safetensors"
    draws = Draws.load(file)
    if how == "missing":
        file.unlink()
    elif how == "damaged":
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
    elif how == "another table":
        table = file.with_name("table.csv")
        table.write_text(table.read_text().rstrip("\n"))
    elif how == "other resamples":
        replace(draws, values=draws.values[:, 1:]).save(file)
    else:
        replace(draws, documents="other" if how == "other texts" else "").save(file)
    by_errors(rows_of(tmp_path), tmp_path)
    said = capsys.readouterr()
    notes = notes_of({cell.name: tmp_path / cell.name for cell in CELLS}, ["sure"])
    if how in ("damaged", "another table"):
        assert str(file) in said.err.replace("\n", "")
    if how in ("missing", "unknown texts"):
        (note,) = notes
        assert note.startswith(f"sure: 1 cell, such as {name}, without resamples")
        assert f"config={tmp_path / name / 'sure/config.yaml'} folder={tmp_path / name / 'sure'} makes" in note
    if how == "other texts":
        assert "2 sets of texts" in notes[0]


def test_cells_with_the_same_resamples_have_no_note_nor_those_that_were_not_asked(study: Path, tmp_path: Path) -> None:
    folders = {cell.name: study / cell.name for cell in CELLS}
    assert notes_of({**folders, "not asked": tmp_path}, ["sure"]) == []


def test_texts_shards_and_draws_decide_what_is_of_the_same_documents(study: Path) -> None:
    same = {Draws.load(study / one.name / "sure/draws.safetensors").documents for one in CELLS}
    (start, end), (other, _) = ends()[CELLS[0]], ends("others")[CELLS[0]]
    assert same == {resamples_digest(start, RESAMPLES, 3)} == {resamples_digest(end, RESAMPLES, 3)}
    part = subset(start, None, [0, 1, 2])
    different = [resamples_digest(one, RESAMPLES, 3) for one in (other, part)]
    different += [resamples_digest(start, RESAMPLES, 4), resamples_digest(start, RESAMPLES + 1, 3)]
    assert len({*same, *different}) == 5
    assert resamples_digest(replace(start, data_fingerprint="")) == ""


@pytest.mark.slow
def test_the_command_leaves_these_draws_and_makes_them_again(study: Path, tmp_path: Path) -> None:
    neurons = tmp_path / "run/neurons"
    neurons.mkdir(parents=True)
    for one in ends()[CELLS[4]]:
        one.save(neurons / f"step-{one.step:06d}.safetensors")
    asked = [f"run={tmp_path / 'run'}", f"folder={tmp_path / 'sure'}", "intervals=ends", "analyses=[kinds]", "seed=3"]
    asked += [f"identifier.top_rate={RATE}", f"identifier.bar={BAR}", f"identifier.lambda_={LAMBDA}"]
    assert analyze.main([*asked, f"resamples={RESAMPLES}"]) == 0
    (tmp_path / "sure/draws.safetensors").unlink()
    (note,) = notes_of({"cell": tmp_path}, ["sure"])
    command = note.split("python -m alignlab.analyze ")[1].split(" makes")[0]
    assert analyze.main(command.split()) == 0
    found, expected = (Draws.load(path / "sure/draws.safetensors") for path in (tmp_path, study / CELLS[4].name))
    assert found.documents == expected.documents
    assert found.lines.tolist() == expected.lines.tolist()
    assert found.values.tolist() == expected.values.tolist()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"values": np.ones((2, 5), dtype=np.float32)}, r"\(2, 5\) at lines \(3,\)"),
        ({"values": np.full((3, 5), np.nan, dtype=np.float32)}, "not finite"),
        ({"values": np.ones((3, 1), dtype=np.float32)}, r"\(3, 1\).*two or more"),
        ({"lines": np.array([0, 2, 1])}, "out of order"),
        ({"lines": np.array([-1, 0, 1])}, "out of order"),
        ({"shards": 1}, "1 shards"),
    ],
)
def test_draws_that_are_none_are_refused(study: Path, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    table = study / CELLS[0].name / "sure/table.csv"
    (tmp_path / "table.csv").write_bytes(table.read_bytes())
    given: dict[str, Any] = {"values": np.ones((3, 5), dtype=np.float32), "lines": np.array([0, 1, 2]), "shards": 6}
    draws = Draws(documents="a", table=checksum(table), **given)
    draws.save(tmp_path / "draws.safetensors")
    assert Draws.load(tmp_path / "draws.safetensors").values.tolist() == given["values"].tolist()
    replace(draws, **changed).save(tmp_path / "draws.safetensors")
    with pytest.raises(InputError, match=said):
        Draws.load(tmp_path / "draws.safetensors")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "draws.safetensors"
    path.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match=r"draws\.safetensors"):
        Draws.load(path)
