"""`alignlab.share`: the folder that a run's neurons become, and what is refused before one is made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from alignlab import ActivationCounts, NeuronSets, from_hub, load_run
from alignlab.share import main


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two snapshots, as a tracker writes them."""
    monkeypatch.chdir(tmp_path)
    random = torch.Generator().manual_seed(0)
    tokens = torch.full((2, 2), 100)
    for step in (0, 20):
        firings = torch.randint(0, 99, (2, 2, 3, 60), generator=random)
        counts = ActivationCounts(("en", "de"), firings, tokens, tokens, "mlp.act", "all", model="ada/tiny", step=step)
        counts.save(tmp_path / f"runs/mine/neurons/step-{step:06d}.safetensors")
    return Path("runs/mine")


def test_the_neurons_of_the_last_snapshot_or_another(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"run={run}", "repo=ada/mine"]) == 0
    said = capsys.readouterr().out
    assert "shared/mine" in said
    assert "upload=true" in said
    assert "20 of runs/mine" in said
    stored = load_run(run)
    shared = from_hub("shared/mine", model="ada/tiny")
    assert shared.counts is not None
    assert torch.equal(shared.counts.firings, stored.snapshots[20].firings)
    assert {name: mask.tolist() for name, mask in shared.sets.items()} == {
        name: mask.tolist() for name, mask in stored.classification(20).sets.items()
    }
    assert main([f"run={run}", "repo=ada/mine", "step=0", "with_counts=false", "folder=first"]) == 0
    first = from_hub("first")
    assert first.counts is None
    assert all(torch.equal(first.sets[name], stored.classification(0).sets[name]) for name in ("en", "de"))
    assert "| training | step 0: before training |" in first.card


def test_the_card_names_the_method_and_whose_thresholds_the_neurons_have(run: Path) -> None:
    assert main([f"run={run}", "repo=ada/mine"]) == 0
    assert main([f"run={run}", "repo=ada/mine", "step=0", "folder=first"]) == 0
    stored = load_run(run)
    at_the_first = stored.identifier.identify(stored.snapshots[0]).thresholds["tau"]
    assert stored.identifier.identify(stored.snapshots[20]).thresholds["tau"] != at_the_first
    cards = [from_hub(folder).card for folder in ("shared/mine", "first")]
    for card in cards:
        assert "| found by | `ternary` |" in card
        assert f"`tau` {at_the_first:.6g}" in card
    assert [": those of step 0, " in card for card in cards] == [True, False]


def test_sets_without_their_counts_are_told_to_be_of_a_trained_model(run: Path) -> None:
    assert main([f"run={run}", "repo=ada/mine", "with_counts=false"]) == 0
    assert not Path("shared/mine/counts.safetensors").exists()
    assert "| training | step 20, in training: " in from_hub("shared/mine").card


def test_a_dry_run_writes_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path().rglob("*"))
    assert main([f"run={run}", "repo=ada/mine", "dry_run=true"]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert sorted(Path().rglob("*")) == before


def test_sets_of_ones_own(run: Path) -> None:
    NeuronSets({"poems": torch.eye(3, dtype=torch.bool)}).save("sets.safetensors")
    assert main(["sets=sets.safetensors", "repo=ada/poems"]) == 0
    assert from_hub("shared/poems").sets.sizes() == {"poems": 3}


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["repo=ada/mine"], ["run: neither run nor sets"]),
        (["run=runs/mine", "sets=x", "counts=y", "step=3"], ["run: run and sets", "counts: y", "repo: none"]),
        (["sets=x", "step=3", "repo=a/b"], ["step: 3"]),
        (["run=runs/mine", "repo=mine"], ["repo is 'mine'; expected owner/name"]),
        (["run=runs/mine", "repo=ada/../mine", "licence=All rights"], ["repo is", "licence is"]),
        (["run=nowhere", "repo=ada/mine"], ["nowhere"]),
        (["run=runs/mine", "repo=ada/mine", "step=7"], ["no snapshot of step 7; expected one of: 0, 20"]),
        (["sets=nowhere.safetensors", "repo=ada/mine"], ["nowhere.safetensors"]),
        (["sets=runs/mine/neurons/step-000000.safetensors", "repo=ada/mine"], ["step-000000.safetensors"]),
        (["sets=mask.pth", "repo=ada/mine"], ["mask.pth"]),
        (["sets=good.safetensors", "counts=runs/mine/neurons/step-000000.safetensors", "repo=ada/mine"], ["shape"]),
        (["run=runs/mine", "repo=ada/mine", "folder=thesis"], ["thesis"]),
        (["run=runs/mine", "repo=ada/mine", "folder=thesis/chapter.txt"], ["chapter.txt"]),
        (["run=runs/mine", "repo=ada/mine", "uplod=true"], ["Did you mean 'upload'"]),
        (["run=runs/mine", "repo=ada/mine", "upload=maybe"], ["upload is 'maybe'"]),
        (["run=runs/mine", "repo=ada/mine", "step=-1"], ["step is -1"]),
    ],
)
def test_what_cannot_be_shared(run: Path, argv: list[str], said: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    NeuronSets({"poems": torch.eye(4, dtype=torch.bool)}).save("good.safetensors")
    Path("mask.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    Path("thesis").mkdir()
    Path("thesis/chapter.txt").write_text("mine")
    assert main(argv) == 2
    found = " ".join(capsys.readouterr().err.split())
    assert all(part in found for part in said), found
    assert "Traceback" not in found
    assert not Path("shared").exists()
    assert Path("thesis/chapter.txt").read_text() == "mine"


def test_without_arguments_it_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    said = capsys.readouterr().out
    assert "run=FOLDER repo=OWNER/NAME" in said
    assert max(map(len, said.splitlines())) <= 80
