"""`alignlab.load_run`: a run in Python, its numbers against its files read by other libraries."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

import alignlab
import alignlab.train
from alignlab.analyze import base_of
from alignlab.callbacks.tracker_files import TrackerFiles
from alignlab.config import load
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import Identifier, LapeConfig, TernaryConfig
from alignlab.options import AnalyzeOptions
from alignlab.stored_run import StoredRun, load_run

SMALL = (
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled", "probe.source.languages=[en,de,zh]",
    "evaluation=null",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> StoredRun:
    folder = tmp_path_factory.mktemp("stored") / "mine"
    assert alignlab.train.main([*SMALL, f"run.folder={folder}"]) == 0
    return alignlab.load_run(folder)


def test_snapshots_are_the_files(run: StoredRun) -> None:
    assert run.steps == (0, 2, 4)
    assert 2 in run.snapshots
    assert 3 not in run.snapshots
    stored = safetensors.torch.load_file(run.folder / "neurons/step-000002.safetensors")
    assert torch.equal(run.snapshots[2].tokens, stored["tokens"])
    with pytest.raises(alignlab.InputError, match="the run has no snapshot of step 3; expected one of: 0, 2, 4"):
        run.snapshots[3]


def test_the_table_has_every_row_and_languages_stay_text(run: StoredRun) -> None:
    with (run.folder / "neurons.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(run.table) == len(rows)
    whole = run.table[
        (run.table["kind"] == "specific") & (run.table["group"] == "language") & run.table["layer"].isna()
    ]
    assert set(whole["language"]) == {"en", "de", "zh"}
    assert set(run.metrics["step"]) == {0, 1, 2, 3, 4}


def test_the_config_and_the_sets_are_those_of_the_run(run: StoredRun) -> None:
    assert run.config["trainer"]["max_steps"] == 4
    first = alignlab.ternary(run.snapshots[0], top_rate=run.config["identifier"]["top_rate"])
    last = alignlab.ternary(
        run.snapshots[4],
        top_rate=run.config["identifier"]["top_rate"],
        lambda_=first.lambda_,
        threshold=first.threshold,
        cut=first.cut,
    )
    for language, neurons in run.sets().items():
        assert torch.equal(neurons, last.sets[language])
    own = alignlab.ternary(run.snapshots[4], top_rate=run.config["identifier"]["top_rate"])
    assert torch.equal(run.classification(4, anchored=False).selected, own.selected)


def test_it_is_shown_in_two_lines(run: StoredRun) -> None:
    assert repr(run).splitlines() == [
        f"Run 'demo' of builtin:demo, in {run.folder}", "  snapshots of 3 steps: 0, 2, 4"
    ]  # fmt: skip


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(alignlab.InputError, match="the folder holds no snapshot"):
        alignlab.load_run(tmp_path)


def test_the_readmes_lines(
    run: StoredRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- run -->\n```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/demo").symlink_to(run.folder)
    monkeypatch.chdir(tmp_path)
    exec(block, {})  # noqa: S102
    said = capsys.readouterr().out
    assert said.startswith("Run 'demo' of builtin:demo, in runs/demo\n")
    assert "'zh': " in said


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a,b\n1,2\n1,2,3,4\n", b""])
def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, content: bytes) -> None:
    counts = torch.tensor([[[[9, 1, 5]]], [[[2, 1, 5]]]])
    tokens = torch.tensor([[10], [5]])
    ActivationCounts(("en", "de"), counts, tokens, tokens, "mlp.act", "all", step=0).save(
        tmp_path / "neurons/step-000000.safetensors"
    )
    (tmp_path / "neurons.csv").write_bytes(content)
    with pytest.raises(InputError, match=r"neurons\.csv: it cannot be read"):
        load_run(tmp_path).table  # noqa: B018


def tracked(folder: Path, identifier: object) -> StoredRun:
    """The folder of a tracker in somebody's own script, with one snapshot."""
    counts = torch.stack([torch.arange(200), torch.arange(200).flip(0)]).view(2, 1, 2, 100)
    tokens = torch.full((2, 1), 200)
    ActivationCounts(("en", "de"), counts, tokens, tokens, "mlp.act", "all", step=0).save(
        folder / "neurons/step-000000.safetensors"
    )
    TrackerFiles(folder).write_identifier(identifier)  # type: ignore[arg-type]
    return load_run(folder)


@pytest.mark.parametrize(
    "identifier",
    [
        TernaryConfig(top_rate=0.2, bar=0.9, lambda_=1e-05),
        TernaryConfig(top_rate=1 / 3),
        LapeConfig(top_rate=1e-7, bar=0.123456789012345),
    ],
)
def test_a_trackers_folder_is_classified_as_it_was_tracked(tmp_path: Path, identifier: Identifier) -> None:
    run = tracked(tmp_path / "mine", identifier)
    assert run.identifier == identifier
    assert run.config == {}
    asked, _ = load(AnalyzeOptions, [f"run={run.folder}", "identifier.bar=0.5"], base_of)
    assert asked.identifier.model_dump() == {**identifier.model_dump(), "bar": 0.5}  # type: ignore[attr-defined]


class Own:
    """An identifier of somebody's own, that nobody else knows by its name."""

    reads = "counts"


def test_a_tracker_with_an_identifier_of_ones_own_is_never_classified_by_another(tmp_path: Path) -> None:
    run = tracked(tmp_path / "mine", Own())
    with pytest.raises(InputError) as refused:
        run.identifier  # noqa: B018
    (problem,) = refused.value.problems
    assert str(problem).startswith(f"{run.folder}/neurons/identifier.yaml:4: ")
    assert "'Own'" in str(problem)
    asked, _ = load(AnalyzeOptions, [f"run={run.folder}", "identifier.name=lape"], base_of)
    assert asked.identifier.name == "lape"


def test_a_file_of_ones_own_is_not_replaced_by_the_identifier(tmp_path: Path) -> None:
    own = tmp_path / "mine/neurons/identifier.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("identifier: mine\n", encoding="utf-8")
    with pytest.raises(InputError, match="which alignlab did not write"):
        TrackerFiles(tmp_path / "mine").write_identifier(TernaryConfig())
    assert own.read_text(encoding="utf-8") == "identifier: mine\n"
