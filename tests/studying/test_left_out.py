"""Cells whose results are damaged or gone: each is told of by name and left out, and no other number changes."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alignlab.config import load
from alignlab.neurons import ActivationCounts
from alignlab.neurons.table import Row, write_csv
from alignlab.studying.configs import Study, study_of
from alignlab.studying.options import StudyOptions
from alignlab.studying.results import Results, show_results, write_results

from . import small

TRAINED = {"zh": ("zh",), "zh-de": ("zh", "de")}
LANGUAGES = ("en", "de", "zh", "sw")
VALUES = {"en": 1.0, "de": 2.0, "zh": 4.0, "sw": 8.0}


def value(code: str, seed: int, step: int, level: str) -> float:
    return VALUES[code] + seed / 4 + step * (1 + (level == "zh-de") * VALUES[code])


def rows(level: str, seed: int) -> list[Row]:
    """Losses of every language, and of the groups of those trained and unseen: their means."""
    groups = {"trained": TRAINED[level], "unseen": [code for code in LANGUAGES[1:] if code not in TRAINED[level]]}
    found = []
    for step in (0, 2):
        of = {code: value(code, seed, step, level) for code in LANGUAGES}
        told = [("language", code, number) for code, number in of.items()]
        told += [(name, "", sum(of[code] for code in codes) / len(codes)) for name, codes in groups.items()]
        found += [
            Row(analysis="losses", step=step, group=group, language=code, measure="loss", unit="nats", value=number)
            for group, code, number in told
        ]
    return found


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = small.write(tmp_path_factory.mktemp("plan"), small.small(Path("model"), baseline={"aligned": "zh"}))
    return study_of(*load(StudyOptions, [f"config={path}"]))


@pytest.fixture
def study(planned: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Four cells as if they were done: tables, and snapshots that say what was trained."""
    monkeypatch.chdir(tmp_path)
    study = replace(planned, configs=dict(planned.configs))
    study.folder.begin("study")
    for cell in study.grid.cells:
        run = study.folder.cell(cell) / "run"
        firings, tokens = torch.ones((4, 1, 1, 2), dtype=torch.int64), torch.ones((4, 1), dtype=torch.int64)
        for step in (0, 2):
            counts = ActivationCounts(
                LANGUAGES, firings, tokens, tokens, "mlp.act", "all", step=step, reference="en",
                trained_languages=TRAINED[cell.levels[0]],
            )  # fmt: skip
            counts.save(run / f"neurons/step-{step:06d}.safetensors")
        write_csv(run / "neurons.csv", rows(cell.levels[0], cell.seed or 0))
        (run / "finished.json").write_text("{}")
        study.folder.end_step(cell, study.steps[0], 1.0, done=True)
    return study


def differences(study: Study) -> dict[str, float]:
    """From the baseline, by group or language."""
    with study.folder.summary.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if row["what"] == "difference"]
    return {row["language"] or row["group"]: float(row["value"]) for row in found}


def by_hand(codes: tuple[str, ...]) -> float:
    """Of the same languages on both sides; seeds cancel."""
    return sum(value(code, 0, 2, "zh-de") - value(code, 0, 2, "zh") for code in codes) / len(codes)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def exchange(path: Path) -> None:
    """A name in the header of a snapshot, as a disk may."""
    path.write_bytes(path.read_bytes().replace(b"mlp.act", b"mlp.abt"))


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "the last snapshot, cut": ("neurons/step-000002.safetensors", cut, "cannot be read as safetensors"),
    "its header, changed": ("neurons/step-000002.safetensors", exchange, "damaged after it was written"),
    "no table": ("neurons.csv", Path.unlink, "there is no such file"),
    "a table, cut": ("neurons.csv", cut, "expected"),
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_a_damaged_cell_alone_is_left_out_and_told(study: Study, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    file, damage, says = DAMAGE[name]
    bad = next(cell for cell in study.grid.cells if cell.name == "zh-de+seed1")
    damage(study.folder.cell(bad) / "run" / file)
    results = write_results(study)
    assert list(results.left_out) == [bad]
    found = differences(study)  # of seed 0 alone
    assert found["trained"] == pytest.approx(by_hand(("zh", "de")))
    assert {code: found[code] for code in LANGUAGES} == pytest.approx({code: by_hand((code,)) for code in LANGUAGES})
    with study.folder.table.open(encoding="utf-8", newline="") as table:
        assert {row["cell"] for row in csv.DictReader(table)} == {"zh+seed0", "zh+seed1", "zh-de+seed0"}
    page = study.folder.page.read_text(encoding="utf-8")
    assert "Of 1 that are done the files are damaged" in page
    capsys.readouterr()
    show_results(study, results, [], [])
    said = capsys.readouterr()
    assert "zh-de+seed1 is done, and left out of the tables: studies/small/cells/zh-de+seed1/run/" in said.err
    assert says in " ".join(said.err.split())
    assert "remove studies/small/cells/zh-de+seed1: the same command makes it anew" in " ".join(said.err.split())
    assert "every number of 3 of 4 cells" in said.out


def test_no_cell_that_is_whole_leaves_tables_of_none(study: Study) -> None:
    for cell in study.grid.cells:
        (study.folder.cell(cell) / "run/neurons.csv").unlink()
    assert write_results(study).rows == []


def test_answers_that_were_asked_are_missed(study: Study) -> None:
    cell = study.grid.cells[0]
    config = load(type(study.configs[cell.name]), ["config=demo"])[0]
    study.configs[cell.name] = study.configs[cell.name].model_copy(update={"evaluation": config.evaluation})
    (told,) = write_results(study).left_out.values()
    assert "run/evaluation.csv: there is no such file" in told


@pytest.mark.parametrize("whose", ["all", "one seed", "the baseline"])
def test_groups_without_snapshots_are_compared_with_nothing_rather_than_with_others(
    study: Study, whose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained in zh-de are two languages, in zh is one: their losses are no difference of anything."""
    names = {"all": ["zh", "zh-de"], "one seed": ["zh-de+seed1"], "the baseline": ["zh+"]}[whose]
    for cell in study.grid.cells:
        if cell.name.startswith(tuple(names)):
            for snapshot in (study.folder.cell(cell) / "run/neurons").iterdir():
                snapshot.unlink()
    results: Results = write_results(study)
    assert results.left_out == {}
    found = differences(study)
    assert {code: found[code] for code in LANGUAGES} == pytest.approx({code: by_hand((code,)) for code in LANGUAGES})
    said = " ".join(capsys.readouterr().out.split())
    if whose == "one seed":  # the other one of these levels tells
        assert found["trained"] == pytest.approx(by_hand(("zh", "de")))
        assert "snapshots are gone" not in said
    else:
        assert not {"trained", "unseen"} & set(found)
        assert "the snapshots are gone" in said


def test_a_config_that_is_no_text_is_written_again(study: Study) -> None:
    study.folder.config.write_bytes(b"\xff\xfe")
    study.folder.begin("study: {}\n")
    assert study.folder.config.read_text(encoding="utf-8") == "study: {}\n"


def test_what_is_asked_then_is_made_anew_without_the_training(study: Study) -> None:
    cell, step = study.grid.cells[0], study.steps[0]
    asked = type(step)("off", "intervene", None, (), "then.off")
    fix = study.folder.made_anew(cell, asked)
    assert f"remove {study.folder.cell(cell) / 'off'} and {study.folder.cell(cell) / 'state.json'}:" in fix
