"""`analyze texts...=`: which neurons, what is read and kept, what is shown, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.analysis import driving
from alignlab.analyze import main
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.most_specific import most_specific
from alignlab.recording.driving_texts import DrivingTexts
from alignlab.train import main as train

from ..conftest import SENTENCES

SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.source.name=files", "wandb.mode=disabled",
    "data.train.count=12", "data.examples_per_step=4", "probe.shards=2", "evaluation=null", "probe.scope=all",
    "tracker.statistics=[maximum]",
]  # fmt: skip
ASK = ["run=run", "texts.highest=3", "texts.neurons=2", "folder=out"]
KINDS = ["identifier.top_rate=0.2", "identifier.bar=0.5"]  # texts of so few words tell few neurons apart
SETS = ["identifier.name=activation_frequency"]  # which makes no page, and is quicker
# A sentence of each language, so that there is something to tell apart.
OF = {"en": SENTENCES[1], "zh": SENTENCES[3], "de": SENTENCES[2]}
COLUMNS = {"prompt": "text", "id": "id", "language": "language"}
# What a document may hold: markup, controls, overrides of direction, joiners, secrets.
TEXTS = (
    "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'> {n}",
    "Anna \x1b[31mhas\x07 {n} apples \u202eand\u202c eats 7. می\u200cخواهم {n} 👩\u200d👧",
    "The password=hunter2-of-{n}x and hf_{k} are mine; the house is green.",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("driving")
    lines = [
        {
            "id": f"<i>{number}-{place}",
            "language": code,
            "text": f"{OF[code]} {text} {OF[code]}".replace("{n}", str(number)).replace("{k}", "abcdefgh" * 5),
        }
        for code in ("en", "zh", "de")
        for number in range(3)
        for place, text in enumerate(TEXTS)
    ]
    (folder / "texts.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    columns = [f"probe.source.{name}={column}" for name, column in COLUMNS.items()]
    probe = [f"probe.source.path={folder / 'texts.jsonl'}", *columns]
    assert train([*SMALL, *probe, f"run.folder={folder / 'run'}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path / "run"


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_most_specific_neurons_of_the_last_record_are_read(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *KINDS, "neurons=['2.17','0.5']", "analyses=[single_neuron_profile]"]) == 0
    printed = capsys.readouterr().out
    texts = DrivingTexts.load(Path("out/texts.safetensors"))
    counts = ActivationCounts.load(run / "neurons/step-000002.safetensors")
    assert (texts.step, texts.data_fingerprint, texts.k) == (2, counts.data_fingerprint, 3)
    assert texts.languages == counts.languages
    sets = NeuronSets.load(Path("out/sets.safetensors"))
    specific = most_specific(sets, counts.languages, counts.probabilities(), 2)
    wanted = {(2, 17), (0, 5), *(one for found in specific.values() for one in found)}
    assert len(wanted) > 5
    assert set(map(tuple, texts.neurons.tolist())) == wanted
    # The model is that of the last checkpoint: the highest are the maxima that the tracker has recorded.
    assert counts.maximum is not None
    layers, neurons = texts.neurons.T
    assert torch.equal(texts.activations[:, :, 0], counts.maximum[:, layers, neurons])
    assert all(f"{layer}.{neuron} " in printed for layer, neuron in wanted)
    page = Path("out/report.html").read_text()
    for language in counts.languages:
        assert f"Most specific neurons of {language}" in page
    assert "Neurons asked by name, in every language" in page


def test_what_documents_hold_is_text_and_secrets_stay(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = ",".join(f"'3.{neuron}'" for neuron in range(20))
    assert main([*ASK, *KINDS, "texts.highest=20", f"neurons=[{named}]", "texts.around=200"]) == 0
    printed = capsys.readouterr().out
    page, stored = (
        Path("out/report.html").read_text(),
        Path("out/texts.safetensors").read_bytes().decode(errors="replace"),
    )
    for secret in ("hunter2", "abcdefghabcdefgh"):
        assert secret not in page + printed + stored
    assert "hidden&gt;" in page
    assert "<img" not in page.partition("<main>")[2].partition("</main>")[0]
    assert "&lt;img" in page
    assert "<i>" not in page.partition("<main>")[2].partition("</main>")[0]
    assert not any(
        control in page.partition("<main>")[2].partition("</main>")[0] + printed for control in "\x1b\x07\u202e"
    )
    assert "\\x1b[31m" in page
    assert "\\u202e" in page
    assert "👩\u200d👧" in page
    assert "می\u200cخواهم" in page.replace("<mark>", "").replace("</mark>", "")


@pytest.mark.slow
def test_it_is_read_once_and_a_stopped_one_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = [*ASK, *SETS]
    real, passes = driving.record_driving_texts, []

    def stops_at_first(*args: Any, **options: Any) -> DrivingTexts:
        passes.append(options["origin"].step)
        if len(passes) == 1:
            raise KeyboardInterrupt
        return real(*args, **options)

    monkeypatch.setattr(driving, "record_driving_texts", stops_at_first)
    assert main(argv) == 130
    assert not Path("out").exists()
    assert not list((run / "analysis").rglob("*.safetensors"))
    assert main(argv) == 0
    (kept,) = (run / "analysis/texts").iterdir()
    first = kept.read_bytes()
    assert Path("out/texts.safetensors").read_bytes() == first
    assert main(argv) == 0
    assert passes == [2, 2]
    # A torn file is made again, the same; another question has a place of its own.
    kept.write_bytes(first[:-9])
    assert main(argv) == 0
    assert (len(passes), kept.read_bytes()) == (3, first)
    assert main([*argv, "texts.around=null"]) == 0
    assert len(passes) == 4
    assert len(list((run / "analysis/texts").iterdir())) == 2
    assert DrivingTexts.load(Path("out/texts.safetensors")).texts == []
    assert b"green" not in Path("out/texts.safetensors").read_bytes()
    assert b"green" in first


@pytest.mark.slow
def test_models_without_a_run(run: Path, finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = [f"probe.source.{name}={column}" for name, column in COLUMNS.items()]
    probe = ["probe.source.name=files", f"probe.source.path={finished / 'texts.jsonl'}", *columns, "probe.scope=all"]
    asked = [
        "models=[builtin:demo,run/checkpoints/step-000001]",
        *probe,
        *ASK[1:],
        *SETS,
    ]
    assert main(asked) == 0
    printed = capsys.readouterr().out
    assert "Texts that drive neurons" in printed
    assert DrivingTexts.load(Path("out/texts.safetensors")).model.endswith("step-000001")
    assert not Path("out/report.html").exists()  # sets only, and so no page


def test_the_plan_says_what_it_costs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, "dry_run=true"]) == 0
    printed = shown(capsys)
    assert (
        "the 3 highest activations of at most 6 neurons in each language, 60 characters of text on each side" in printed
    )
    assert "step 2 reads" in printed
    assert "216 B held" in printed  # 6 neurons x 3 x 12 bytes
    assert not (run / "analysis").exists()


def test_named_neurons_alone_are_read_where_no_others_are_asked(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ASK, *SETS, "texts.neurons=0", "neurons=['2.17','2.17','0.3']"]) == 0
    assert "note: no neuron" not in capsys.readouterr().out
    assert DrivingTexts.load(Path("out/texts.safetensors")).neurons.tolist() == [[0, 3], [2, 17]]
    assert main([*ASK, *SETS, "texts.neurons=0"]) == 0  # nothing is asked: nothing is read, and that is no fault
    assert not Path("out/texts.safetensors").exists()
    assert "Texts that drive" not in capsys.readouterr().out


BAD: list[tuple[list[str], str]] = [
    (["texts.highest=0"], "texts.highest"),
    (["texts.highest=101"], "texts.highest"),
    (["texts.highest=five"], "texts.highest"),
    (["texts.neurons=-1"], "texts.neurons"),
    (["texts.around=-5"], "texts.around"),
    (["texts.around=1e9"], "texts.around"),
    (["texts.arround=5"], "around"),
    (["texts=yes"], "texts"),
    (["neurons=['9.0']"], "no neuron 0 in layer 9"),
    (["neurons=['0.640']"], "no neuron 640 in layer 0"),
    (["neurons=['9.0','8.1']"], "layer 8"),
    (["neurons=['x']"], "layers and neurons from 0"),
    (["show_languages=[xx]"], "xx"),
    (["wandb.mode=disabled", "log=true"], "log"),
]


@pytest.mark.parametrize(("more", "said"), BAD, ids=[" ".join(more) for more, _ in BAD])
def test_what_cannot_be_asked_is_refused_before_a_model_is_loaded(
    more: list[str], said: str, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alignlab.models.adapters.ModelLoader.load", lambda *_: pytest.fail("a model was loaded"))
    assert main([*ASK, *more]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_run_that_lacks_what_is_to_be_read_is_refused(
    run: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("alignlab.models.adapters.ModelLoader.load", lambda *_: pytest.fail("a model was loaded"))

    def refused(*more: str) -> str:
        assert main([*ASK, *more]) == 2
        return " ".join(capsys.readouterr().err.split())

    counts = run / "neurons/step-000002.safetensors"
    capsys.readouterr()
    assert main([f"counts={counts}", "texts.highest=2", "folder=out"]) == 2
    assert "neither model nor text" in capsys.readouterr().err
    texts = (finished / "texts.jsonl").read_text()
    other = run.parent / "other.jsonl"
    other.write_text(texts.replace("green", "blue"))
    assert "texts that were counted" in refused(f"probe.source.path={other}")
    assert "texts that were counted" in refused("probe.scope=response", "probe.source.answer=text")
    shutil.rmtree(run / "checkpoints/step-000002")
    assert "the run has no checkpoint of step 2, its last snapshot" in refused()
    (run / "config.yaml").unlink()
    assert "which says the model and the probe" in refused()
