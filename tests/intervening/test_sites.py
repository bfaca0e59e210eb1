"""Neurons of several sites in one grid: which counts are read, what is changed, and the command that counts them."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch

from alignlab.analyze import main as analyze
from alignlab.config import load
from alignlab.intervene import base_of, main
from alignlab.intervening.options import InterveneOptions
from alignlab.models.load import ModelConfig
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.identifiers import identifier_of
from alignlab.neurons.subset import subset
from alignlab.recording.effects import Effects
from alignlab.recording.probes import ProbeConfig

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_run

ASKED = [
    "run=run", "config=interventions/layer_band_deactivation", "sites=[mlp.act,attention.o]", "languages=[en,zh]",
    "max_documents=2", "controls=[]",
]  # fmt: skip
COUNT = ["run=run", "recount=true", "probe.site=attention.o", "models=[0,2]", "intervals=none", "analyses=[kinds]"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run.make(tmp_path_factory.mktemp("sites") / "run")


def test_a_second_site_is_counted_by_the_command_that_is_named(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(made, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert main(ASKED) == 2
    said = capsys.readouterr().err
    assert "sites (run): it has counted at mlp.act, and nothing at attention.o of step 0, 2" in said
    assert f"python -m alignlab.analyze {' '.join(COUNT[:4])}" in said
    assert not Path("run/interventions").exists()

    assert analyze(COUNT) == 0
    assert main(ASKED) == 0
    folder = Path("run/interventions/layer_band_deactivation")
    sets = {
        site: NeuronSets.load(folder / f"sets-step-000002-{site}.safetensors") for site in ("mlp.act", "attention.o")
    }
    assert {site: (of.site, of.shape[1]) for site, of in sets.items()} == {
        "mlp.act": ("mlp.act", 640),
        "attention.o": ("attention.o", 160),
    }
    # Its neurons are those that the identifier finds by the counts there, of the same shards, at step 0's thresholds.
    counted = [ActivationCounts.load(path) for path in Path("run/analysis/counts").glob("*.safetensors")]
    first, last = (subset(one, shards=[0, 2, 4]) for one in sorted(counted, key=lambda one: one.step or 0))
    identifier = identifier_of(load(InterveneOptions, ["run=run"], base_of)[0].identifier)
    expected = identifier.identify(last, identifier.identify(first)).sets
    assert all(not (sets["attention.o"][code] & ~expected[code]).any() for code in ("en", "zh"))
    assert sets["attention.o"]["zh"].any()

    # What is off is what the attention's output projection gives, by a hook of torch's own.
    effects = Effects.load(folder / "effects-step-000002-attention.o.safetensors")
    assert effects.nats is not None
    model: Any = peft.PeftModel.from_pretrained(ModelConfig().build(), "run/checkpoints/step-000002").eval()
    options = load(InterveneOptions, ["run=run"], base_of)[0]
    probe: Any = ProbeConfig.of(options.probe).build(ModelConfig().build_tokenizer())
    texts = {(one.language, one.id): one for of in probe.documents.values() for one in of}

    def switch(layer: int, columns: torch.Tensor) -> Any:
        def off(_module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
            return torch.where(columns, 0.0, output)

        return model.base_model.model.model.layers[layer].self_attn.o_proj.register_forward_hook(off)

    for arm in ("zero zh", "zero zh, layers 2-3"):
        handles = [switch(layer, sets["attention.o"][arm[5:]][layer]) for layer in range(4)]
        for row, item in enumerate(effects.items):
            document = texts[item.language, item.id]
            tokens = torch.from_numpy(document.tokens).long().unsqueeze(0)
            labels = tokens.masked_fill(~torch.from_numpy(probe.counted(document)).unsqueeze(0), -100)
            with torch.no_grad():
                loss = model(input_ids=tokens, labels=labels).loss * int((labels[0, 1:] != -100).sum())
            assert float(effects.nats[row, effects.arms.index(arm)]) == pytest.approx(float(loss), rel=1e-4)
        for handle in handles:
            handle.remove()

    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["record"], row["site"]) for row in rows if row["set"]} == {
        ("step 2 at mlp.act", "mlp.act"),
        ("step 2 at attention.o", "attention.o"),
    }
    # Counts of other weights are not taken for those of the checkpoint.
    shutil.rmtree("run/checkpoints/step-000002")
    shutil.copytree("run/checkpoints/step-000001", "run/checkpoints/step-000002")
    capsys.readouterr()
    assert main([*ASKED, "name=other"]) == 2
    assert "nothing at attention.o of step 2" in capsys.readouterr().err


def test_sites_need_a_run_and_no_file_of_sets(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["model.source=builtin:demo", "sites=[mlp.up]", "group=unseen"]) == 2
    said = capsys.readouterr().err
    assert "sites: set, but there is no run that has counted there" in said
    assert "group: set, but there is no run that says what was trained" in said
    assert main([f"run={made}", "sites=[mlp.up]", "neurons=sets.safetensors"]) == 2
    assert "sites: set beside a file of neurons" in capsys.readouterr().err


def test_both_ends_and_the_unseen_languages(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = ActivationCounts.load(made / "neurons/step-000002.safetensors")
    trained = set(counts.trained_languages)
    assert main([f"run={made}", "step=ends", "group=unseen", "dry_run=true"]) == 0
    plan = capsys.readouterr().out
    unseen = [code for code in counts.languages if code not in trained | {counts.reference}]
    assert unseen == ["sw"]
    assert "step 0, step 2 of " in plan
    assert re.search(r"measured on +\d+ documents \(sw \d+\) of", plan)
    assert main([f"run={made}", "group=unseen", "languages=[en,zh]", "dry_run=true"]) == 2
    assert "group: unseen, and of those the run has sw" in capsys.readouterr().err
