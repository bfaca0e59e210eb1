"""Attribution and relevance asked of a model: from the command to sets, and what is refused before it is loaded."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from alignlab.analyze import main
from alignlab.models.adapters import ModelLoader
from alignlab.neurons import NeuronSets
from alignlab.neurons.importance import Importance

TEXT = ["source.count=3", "source.languages=[en,de,sw]", "shards=2"]
ASKED = ["models=[builtin:demo]", *(f"probe.{one}" for one in TEXT), "folder=found"]
CONTROL = [*(f"control.{one}" for one in TEXT), "control.seed=3", "control.source.count=2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_attribution_with_and_without_a_control_set(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*ASKED, "identifier.name=attribution", "identifier.top_rate=0.02"]
    assert main([*asked, *CONTROL, "dry_run=true"]) == 0
    plan = capsys.readouterr().out
    assert "by attribution at mlp.act: 9 documents" in plan
    assert "control" in plan
    assert "of memory beside the weights" in plan
    assert not Path("found").exists()
    assert main(asked) == 0
    plain = NeuronSets.load("found/sets.safetensors")
    records = sorted(Path("runs/analysis/importance").iterdir())
    assert [Importance.load(folder).options for folder in records] == [{"probability": "token"}]
    assert main([*asked, *CONTROL]) == 0
    less = NeuronSets.load("found/sets.safetensors")
    assert [*plain.sizes()] == [*less.sizes()] == ["en", "de", "sw"]
    # round(0.02 * 4 * 640) = 51, of which those are left out that do not stand out.
    assert all(0 < size <= 51 for sets in (plain, less) for size in sets.sizes().values())
    assert plain.sizes() != less.sizes() or any(not torch.equal(plain[name], less[name]) for name in plain.sizes())
    folders = sorted(Path("runs/analysis/importance").iterdir())
    assert len(folders) == 2  # the control set's beside that of the probe, which was not made again
    of_control = next(record for record in map(Importance.load, folders) if record.options.get("control"))
    assert sum(int(of_control.documents(name).sum()) for name in of_control.languages) == 6
    assert all((of_control.total("mlp.act", name) >= 0).all() for name in of_control.languages)
    rows = list(csv.DictReader(Path("found/table.csv").read_text(encoding="utf-8").splitlines()))
    assert {"kinds", "language_overlap", "losses"} <= {row["analysis"] for row in rows}


def test_relevance_at_another_site(capsys: pytest.CaptureFixture[str]) -> None:
    asked = [
        *ASKED,
        "identifier.name=relevance",
        "probe.site=attention.v",
        "probe.scope=all",
        "identifier.top_rate=0.1",
    ]
    assert main(asked) == 0
    assert "by relevance at attention.v" in capsys.readouterr().out
    sets = NeuronSets.load("found/sets.safetensors")
    assert sets.site == "attention.v"
    assert all(sets.sizes().values())
    assert not (sets["en"] & sets["de"]).any()  # of less to others, and none is equal


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["identifier.name=attribution", "probe.scope=all"], "probe.scope"),
        (["identifier.name=attribution", "probe.responses=regenerated"], "probe.responses"),
        (["identifier.name=attribution", "probe.responses=generated_once"], "right answers"),
        (["identifier.name=attribution", *CONTROL, "control.scope=all"], "control.scope"),
        (["identifier.name=attribution", *CONTROL, "control.site=mlp.up"], "control.site"),
        (["identifier.name=attribution", *CONTROL, "control.source.languages=[en,de]"], "no text in sw"),
        (["identifier.name=attribution", *CONTROL, "control.source.name=nothing"], "control.source.name"),
        (["identifier.name=attribution", "control.source.name=files", "control.source.path=nowhere"], "nowhere"),
        (["identifier.name=relevance", *CONTROL], "subtracts none"),
        (["identifier.name=lape", *CONTROL], "subtracts none"),
        (["identifier.name=attribution", "identifier.top_rate=0"], "identifier.top_rate"),
        (["identifier.name=attribution", "identifier.top_rate=1.5"], "identifier.top_rate"),
        (["identifier.name=attribution", "identifier.top_rate=0.00001"], "rounds to a selection of none"),
        (["identifier.name=relevance", "identifier.top_rate=0.00001"], "rounds to a selection of none"),
        (["identifier.name=attribution", "identifier.least_z=-1"], "identifier.least_z"),
        (["identifier.name=attribution", "identifier.probability=mean"], "identifier.probability"),
        (["identifier.name=relevance", "identifier.elsewhere=never"], "identifier.elsewhere"),
        (["identifier.name=relevance", "identifier.k=5"], "identifier.k"),
        (["identifier.name=relevance", "intervals=ends"], "intervals"),
        (["identifier.name=relevance", "analyses=[transitions]"], "transitions"),
        (["identifier.name=attribution", "probe.source.languages=[en]"], "two or more"),
        (["identifier.name=relevance", "against.source.count=2", "against.site=mlp.up"], "against.site"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_model_is_loaded(
    settings: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_given: object) -> None:
        raise AssertionError("loaded")

    monkeypatch.setattr(ModelLoader, "load", load)
    assert main([*ASKED, *settings]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not Path("found").exists()


def test_stored_counts_have_no_importance(capsys: pytest.CaptureFixture[str]) -> None:
    Path("counts.safetensors").touch()
    assert main(["counts=counts.safetensors", "identifier.name=relevance"]) == 2
    assert "it reads importance" in capsys.readouterr().err
