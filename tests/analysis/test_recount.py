"""Counting again: to the tracker's numbers, never twice, and on from where it was stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers
from sklearn.metrics import average_precision_score

from alignlab.analysis import beside, recount
from alignlab.analyze import base_of, main
from alignlab.config import load
from alignlab.data.wordproblems import generate
from alignlab.intervene import main as intervene
from alignlab.models.adapters import ModelLoader
from alignlab.models.load import DEMO_FOLDER
from alignlab.neurons import ActivationCounts, NeuronSets
from alignlab.neurons.importance import Importance
from alignlab.question import AnalyzeConfig
from alignlab.recording.means import ActivationMeans
from alignlab.train import main as train

SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.source.count=4", "probe.max_texts=4",
    "probe.source.languages=[en,zh,de]", "data.train.count=12", "data.examples_per_step=4", "wandb.mode=disabled",
    "probe.shards=2", "method.lora.dropout=0.3", "evaluation=null",
]  # fmt: skip
PROBE = ["probe.source.count=3", "probe.source.languages=[en,sw]", "probe.shards=3", "probe.scope=all"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recount") / "run"
    assert train([*SMALL, f"run.folder={folder}"]) == 0
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def counted(folder: Path) -> dict[int | None, ActivationCounts]:
    return {counts.step: counts for counts in map(ActivationCounts.load, folder.glob("*.safetensors"))}


def same(one: ActivationCounts, other: ActivationCounts) -> bool:
    assert one.loss_sum is not None
    assert other.loss_sum is not None
    return torch.equal(one.firings.long(), other.firings.long()) and torch.equal(one.loss_sum, other.loss_sum)


def test_a_run_counted_again_gives_the_trackers_counts(run: Path) -> None:
    assert main(["run=run", "recount=true"]) == 0
    again = counted(run / "analysis/counts")
    assert sorted(again) == [0, 1, 2]
    for step, counts in again.items():
        tracked = ActivationCounts.load(run / f"neurons/step-{step:06d}.safetensors")
        assert same(counts, tracked)
        assert counts.trained_languages == tracked.trained_languages == ("zh", "de")
        assert counts.data_fingerprint == tracked.data_fingerprint
    assert not same(again[1], again[2])
    config, _ = load(AnalyzeConfig, ["run=run", "recount=true"], base_of)
    recount_ = config.recounting()
    assert recount_ is not None
    assert recount_.shape() == again[0].shape


def test_the_plan_tells_how_clusters_are_dealt(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    templates = len({record.cluster for record in generate(["en"], 40, split="probe")})
    probe = ["probe.source.count=40", "probe.max_texts=40", "probe.source.languages=[en,sw]"]
    for shards, told in ((3, ""), (50, ", not 50, of which some would be empty")):
        argv = ["run=run", "recount=true", *probe, f"probe.shards={shards}", "dry_run=true"]
        assert main(argv) == 0
        number = min(shards, templates)
        line = f"shards {templates} clusters (templates): {number} shards a language{told}"
        assert line in " ".join(capsys.readouterr().out.split())
        config, _ = load(AnalyzeConfig, argv, base_of)
        recount_ = config.recounting()
        assert recount_ is not None
        assert recount_.shape()[1] == number


@pytest.mark.slow
def test_nothing_is_counted_twice_and_a_stopped_one_goes_on(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    argv = ["run=run", "recount=true", *PROBE]
    real, models = recount.count_firings, []

    def stops_at_the_second(model: Any, *args: Any, **options: Any) -> ActivationCounts:
        models.append(options["origin"].step)
        if len(models) == 2:
            raise KeyboardInterrupt
        return real(model, *args, **options)

    monkeypatch.setattr(recount, "count_firings", stops_at_the_second)
    assert main(argv) == 130
    assert models == [0, 1]
    assert list(counted(run / "analysis/counts")) == [0]
    assert main(argv) == 0
    assert models == [0, 1, 1, 2]
    before = {path.name: path.read_bytes() for path in (run / "analysis/counts").iterdir()}
    assert main([*argv, "identifier.name=lape"]) == 0
    assert len(models) == 4
    # Of a torn file, one with a flipped bit, one of another step and of a changed model the counts are made again.
    torn = min(before)
    (run / "analysis/counts" / torn).write_bytes(before[torn][:100])
    assert main(argv) == 0
    assert len(models) == 5
    (run / "analysis/counts" / torn).write_bytes(before[torn][:-1] + bytes([before[torn][-1] ^ 1]))
    assert main(argv) == 0
    assert len(models) == 6
    (run / "analysis/counts" / torn).write_bytes(before[max(before)])
    assert main(argv) == 0
    assert len(models) == 7
    assert (run / "analysis/counts" / torn).read_bytes() == before[torn]
    assert {path.name for path in (run / "analysis/counts").iterdir()} == set(before)
    assert set(counted(run / "analysis/counts")) == {0, 1, 2}
    shutil.copytree(run / "checkpoints/step-000001", run / "checkpoints/step-000002", dirs_exist_ok=True)
    assert main(argv) == 0
    assert models[7:] == [2]


@pytest.mark.slow
def test_another_site_is_counted_beside_the_first(run: Path, tmp_path: Path) -> None:
    argv = ["run=run", "recount=true", *PROBE, "intervals=ends", "resamples=5"]
    assert main([*argv, "folder=out"]) == 0
    before = counted(run / "analysis/counts")
    assert main([*argv, "probe.site=mlp.up", "folder=up"]) == 0
    records = [ActivationCounts.load(path) for path in (run / "analysis/counts").glob("*.safetensors")]
    assert sorted((counts.site, counts.step) for counts in records) == [
        (site, step) for site in ("mlp.act", "mlp.up") for step in (0, 1, 2)
    ]
    (up,) = [counts for counts in records if (counts.site, counts.step) == ("mlp.up", 2)]
    assert up.shape == before[2].shape
    assert not torch.equal(up.firings.long(), before[2].firings.long())
    assert "Site mlp.up, scope all" in (tmp_path / "up/report.html").read_text()


def test_models_are_compared_without_a_run(run: Path, tmp_path: Path) -> None:
    """An adapter, and the full model that it is merged into: the same neurons fire but for rounding."""
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    adapter = run / "checkpoints/step-000002"
    merged = peft.PeftModel.from_pretrained(model, adapter).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(DEMO_FOLDER / name, tmp_path / "merged")
    argv = [f"models=[builtin:demo,{adapter},./merged]", "trained=[de]", *PROBE]
    assert main([*argv, "folder=out"]) == 0
    records = [ActivationCounts.load(path) for path in (tmp_path / "runs/analysis/counts").glob("*.safetensors")]
    by_model = {Path(counts.model).name: counts for counts in records}
    assert set(by_model) == {"builtin:demo", "step-000002", "merged"}
    assert all(counts.trained_languages == ("de",) for counts in records)
    assert len({counts.revision for counts in records}) == 3
    base, lora, full = (by_model[name].totals() for name in ("builtin:demo", "step-000002", "merged"))
    assert (lora - base).abs().sum() > 100
    assert (lora - full).abs().sum() < 0.02 * (lora - base).abs().sum()


def test_a_model_on_two_probes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["models=[builtin:demo]", *PROBE, "against.source.count=3", "against.source.languages=[en,sw]"]
    assert main([*argv, "against.shards=3", "against.scope=all", "against.source.split=test", "folder=out"]) == 0
    records = [ActivationCounts.load(path) for path in (tmp_path / "runs/analysis/counts").glob("*.safetensors")]
    assert len({counts.data_fingerprint for counts in records}) == len(records) == 2
    table = (tmp_path / "out/table.csv").read_text()
    assert 'overlap_ratio,"builtin:demo, against"' in table
    assert "change: since builtin:demo, probe, at its tau, lambda and score" in " ".join(
        capsys.readouterr().out.split()
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run", "runs"]  # nothing beside them


def test_an_adapter_names_its_base(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adapter = run / "checkpoints/step-000001"
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "manifest.json").unlink()  # as somebody else's adapter
    for base, message in ((None, "it names no base model"), ("./gone", "there is no folder ./gone")):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": base}))
        capsys.readouterr()
        assert main([f"models=[{adapter}]", *PROBE]) == 2
        assert message in capsys.readouterr().err
    # With model.source it stands on that.
    given = [f"models=[{adapter}]", "model.source=builtin:demo", *PROBE, "dry_run=true"]
    capsys.readouterr()
    assert main(given) == 0
    assert "top_rate=0.01 selects 26 of 2,560 neurons" in " ".join(capsys.readouterr().out.split())
    assert main([*given, "identifier.top_rate=0.1"]) == 0
    assert "warning" not in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("responses", ["generated_once", "regenerated"])
def test_models_answer_the_probe_themselves(responses: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = [f"probe.responses={responses}", "probe.max_new_tokens=6"]
    assert train([*SMALL, *answer, "run.folder=answering"]) == 0
    assert main(["run=answering", "recount=true"]) == 0
    again = counted(Path("answering/analysis/counts"))
    assert sorted(again) == [0, 1, 2]
    for step, counts in again.items():
        assert same(counts, ActivationCounts.load(Path(f"answering/neurons/step-{step:06d}.safetensors")))
    kept = list(Path("answering/analysis/counts/responses").iterdir())
    assert len(kept) == (1 if responses == "generated_once" else 3)
    monkeypatch.setattr(recount, "count_firings", lambda *_args, **_options: pytest.fail("counted again"))
    assert main(["run=answering", "recount=true"]) == 0


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_all_damaged_checkpoints_are_named_before_anything_is_counted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recount, "count_firings", lambda *_args, **_options: pytest.fail("counted"))
    first, second = run / "checkpoints/step-000001", run / "checkpoints/step-000002"
    for folder in (first, second):
        flip(folder / "adapter_model.safetensors")
    assert main(["run=run", "recount=true"]) == 2
    said = capsys.readouterr().err
    for folder in (first, second):
        line = (
            "adapter_model.safetensors is not as it was written; expected a checkpoint as it was written. Restore it."
        )
        assert f"{folder.relative_to(run.parent)}: {line}" in said
    # One of another size is seen at once, with what only checksums tell of the other.
    (second / "tokenizer.json").unlink()
    assert main(["run=run", "recount=true", "dry_run=true"]) == 2
    said = capsys.readouterr().err
    assert "step-000001: adapter_model.safetensors is not as it was written;" in said
    assert "step-000002: adapter_model.safetensors is not as it was written; tokenizer.json is missing;" in said
    (first / "manifest.json").write_text("{", encoding="utf-8")
    assert main([f"models=[{first},{second}]"]) == 2
    said = capsys.readouterr().err
    assert f"{first / 'manifest.json'}: it is not the list of files" in said
    assert f"{second}: adapter_model.safetensors is not as it was written; tokenizer.json is missing" in said
    assert not (run / "analysis").exists()
    assert not Path("runs").exists()


def test_an_adapter_without_weights_is_named(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("mine", "pickled"):
        shutil.copytree(run / "checkpoints/step-000001", name)
        (Path(name) / "manifest.json").unlink()
        (Path(name) / "adapter_model.safetensors").unlink()
    Path("pickled/adapter_model.bin").write_bytes(b"x")
    assert main(["models=[mine,pickled]", *PROBE, "dry_run=true"]) == 2
    said = capsys.readouterr().err
    assert "mine: the adapter has no adapter_model.safetensors; expected its weights as safetensors.\n" in said
    assert "pickled: the adapter has no adapter_model.safetensors, only adapter_model.bin; expected" in said
    assert "convert it with save_pretrained" in said


def header_of(options: list[str]) -> tuple[tuple[str, ...], str]:
    """The languages in training, and their reference, that counts of these models would name."""
    config, _ = load(AnalyzeConfig, options, base_of)
    found = config.recounting()
    assert found is not None
    return found.trained, found.reference


def test_a_checkpoint_says_on_which_languages_it_was_trained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Wherever it is copied to: by default they are the trained languages of models without a run."""
    shutil.copytree(run / "checkpoints/step-000002", "copy")
    assert json.loads(Path("copy/alignlab.json").read_text(encoding="utf-8")) == {
        "trained_languages": ["zh", "de"], "reference": "en"
    }  # fmt: skip
    argv = ["models=[builtin:demo,copy]", "probe.source.count=3", "probe.source.languages=[en,sw,de]"]
    assert main([*argv, "folder=out"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "trained zh de, as copy says" in said
    assert "trained: mean a language of de; reference: en; unseen (no prompts in training): of sw" in said
    assert all(
        ActivationCounts.load(path).trained_languages == ("zh", "de") for path in Path("runs/analysis/counts").iterdir()
    )
    assert header_of([*argv, "trained=[sw]"]) == (("sw",), "en")
    assert header_of([*argv, "trained=[]"]) == ((), "en")
    assert header_of([*argv, "reference=sw"]) == (("zh", "de"), "sw")
    assert header_of(["models=[builtin:demo]"]) == ((), "en")


def test_checkpoints_of_different_trainings_are_not_mixed(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, told in {
        "same": {"trained_languages": ["de", "zh"], "reference": "en"},
        "other": {"trained_languages": ["sw"], "reference": ""},
        "damaged": {"trained_languages": "zh", "reference": "en"},
    }.items():
        shutil.copytree(run / "checkpoints/step-000002", name)
        (Path(name) / "manifest.json").unlink()
        (Path(name) / "alignlab.json").write_text(json.dumps(told), encoding="utf-8")
    ours = run / "checkpoints/step-000002"
    assert header_of([f"models=[same,{ours}]"]) == (("de", "zh"), "en")
    assert header_of([f"models=[{ours},other]", "trained=[sw]"]) == (("sw",), "en")
    assert main([f"models=[builtin:demo,{ours},same,other]"]) == 2
    said = capsys.readouterr().err
    assert f"models: {ours} was trained on zh de towards en, other on sw towards no reference; expected" in said
    assert "Set trained=[...] and reference=..." in said
    assert main(["models=[damaged]"]) == 2
    assert "damaged/alignlab.json: it does not say the languages of a training; expected" in capsys.readouterr().err


@pytest.mark.slow
def test_means_are_recorded_once_and_told_apart_by_language(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [
        "run=run",
        "identifier.name=average_precision",
        "identifier.k=9",
        "analyses=[kinds]",
        *PROBE,
        "probe.source.languages=[en,sw,zh]",
    ]
    real, steps = beside.record_means, []

    def stops_at_the_second(model: Any, *args: Any, **options: Any) -> ActivationMeans:
        steps.append(options["origin"].step)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return real(model, *args, **options)

    monkeypatch.setattr(beside, "record_means", stops_at_the_second)
    assert main([*argv, "dry_run=true"]) == 0
    assert "means of 9 documents, about 92.2 kB a model" in " ".join(capsys.readouterr().out.split())
    assert main(argv) == 130
    assert steps == [0, 1]

    # The sets of the last record, of its own means, by scikit-learn; then of two of the three languages.
    for languages in (["en", "sw", "zh"], ["zh", "sw"]):
        assert main([*argv, f"classify_languages=[{','.join(languages)}]", "folder=out"]) == 0
        assert steps == [0, 1, 1, 2]
        assert sorted(counted(run / "analysis/counts")) == [0, 1, 2]
        records = {means.step: means for means in map(ActivationMeans.load, (run / "analysis/means").iterdir())}
        assert sorted(records) == [0, 1, 2]
        sets = NeuronSets.load("out/sets.safetensors")
        assert (sets.names, sets.statistic) == (tuple(languages), "mean activation of documents")
        scores = precisions(records[2], "sw", languages)
        lowest = sorted(range(len(scores)), key=lambda n: (scores[n], n))[:9]
        highest = sorted(range(len(scores)), key=lambda n: (-scores[n], n))[:9]
        assert {*sets["sw"].flatten().nonzero().flatten().tolist()} == {*lowest, *highest}

    # Of a torn record the means are made again; one whose size is right and whose content is not is refused by name.
    folder = records[1].folder
    file = folder / "layer-001.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    assert main([*argv, "folder=out"]) == 0
    assert steps[4:] == [1]
    again = file.read_bytes()
    assert again[-1000:] == whole[-1000:]
    file.write_bytes(again[:-1] + bytes([again[-1] ^ 1]))
    capsys.readouterr()
    assert main([*argv, "folder=out"]) == 2
    assert f"{file.relative_to(run.parent)}: its checksum does not fit" in capsys.readouterr().err


def precisions(means: ActivationMeans, language: str, languages: list[str]) -> list[float]:
    """By flat index, rounded: what differs by less has no order."""
    labels = np.repeat([name == language for name in languages], [len(means.documents[name]) for name in languages])
    found = []
    for layer in range(means.shape[0]):
        scores = np.concatenate([means.layer(layer, name).numpy() for name in languages])
        found += [round(float(average_precision_score(labels, scores[:, n])), 12) for n in range(means.shape[1])]
    return found


def test_what_means_cannot_answer_is_refused_at_once(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = "identifier.name=average_precision"
    argv = ["run=run", named, "shards=[0]", "intervals=ends", "analyses=[survival]", "log=true"]
    assert main(argv) == 2
    complaints = capsys.readouterr().err
    for where in ("shards: [0], but average_precision reads means of documents", "intervals: ", "analyses: ", "log: "):
        assert where in complaints
    stored = run / "neurons/step-000000.safetensors"
    assert main([f"counts={stored}", named]) == 2
    assert "it reads means, but what is here are counts" in (complaints := capsys.readouterr().err)
    assert "Set run=FOLDER, or models=[...]" in complaints
    for name, option in (("average_precision", "k"), ("equal_size_lape", "size")):
        assert main(["run=run", "recount=true", f"identifier.name={name}", f"identifier.{option}=2561"]) == 2
        assert f"identifier.{option}: 2,561; expected from 1 to 2,560" in capsys.readouterr().err
    assert intervene(["run=run", named]) == 2
    assert "set neurons=FILE and text.source" in capsys.readouterr().err
    for name in ("average_precision", "equal_size_lape", "activation_frequency"):
        assert train([*SMALL, "run.folder=other", f"identifier.name={name}"]) == 2
        assert f"identifier {name}: it " in capsys.readouterr().err
    assert not (run / "analysis").exists()
    assert not Path("other").exists()


PLND = ["identifier.name=plnd", "identifier.ffn=100", "identifier.attention=40", "analyses=[kinds]", *PROBE]


@pytest.mark.slow
def test_importance_is_recorded_once_for_all_sites_and_numbers(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["run=run", *PLND, "probe.source.languages=[en,sw,zh]"]
    real, steps = beside.record_importance, []

    def stops_at_the_second(model: Any, *args: Any, **options: Any) -> Importance:
        steps.append(options["origin"].step)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return real(model, *args, **options)

    monkeypatch.setattr(beside, "record_importance", stops_at_the_second)
    assert main([*argv, "dry_run=true"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "importance by removal at mlp.act, attention.q, attention.k, attention.v, attention.o: 9 documents" in said
    assert "TFLOP and 438 kB a model" in said
    assert steps == []
    assert main(argv) == 130
    assert main([*argv, "folder=out"]) == 0
    assert steps == [0, 1, 1, 2]
    said = capsys.readouterr().out.partition("Neurons of each language in step 2, by site\n")[2].partition("\n\n")[0]
    shown = {line.split()[0]: [int(size) for size in line.split()[1:]] for line in said.splitlines()[1:]}
    records = {one.step: one for one in map(Importance.load, (run / "analysis/importance").iterdir())}
    last = records[2]
    for site, k in {"mlp.act": 100, **{f"attention.{name}": 40 for name in "qkvo"}}.items():
        sets = NeuronSets.load("out/sets.safetensors" if site == "mlp.act" else f"out/sets-{site}.safetensors")
        assert (sets.site, sets.statistic, sets.names) == (site, "importance", ("en", "sw", "zh"))
        needed = {name: last.worst_rank(site, name).max(dim=0).values < k for name in sets.names}
        common = needed["en"] & needed["sw"] & needed["zh"]
        for name in sets.names:
            assert torch.equal(sets[name], needed[name] & ~common)
        assert shown[site] == [int((needed[name] & ~common).sum()) for name in sets.names]
        assert any(sets.sizes().values())
    # Other numbers, fewer languages, one shard, and another site to analyse: no importance is recorded again.
    others = ["identifier.ffn=30", "classify_languages=[zh,en]", "shards=[1]", "probe.site=attention.k"]
    assert main([*argv, *others, "folder=part"]) == 0
    assert steps == [0, 1, 1, 2]
    part = NeuronSets.load("part/sets-mlp.act.safetensors")
    needed = {name: last.worst_rank("mlp.act", name)[1] < 30 for name in ("zh", "en")}
    assert part.names == ("zh", "en")
    assert torch.equal(part["zh"], needed["zh"] & ~needed["en"])
    assert NeuronSets.load("part/sets.safetensors").site == "attention.k"
    # And its sets are switched off by name.
    text = ["text.source.split=train", "text.source.count=2", "same_documents=true"]
    capsys.readouterr()
    assert intervene(["run=run", "neurons=out/sets-attention.k.safetensors", *text, "controls=[]", "dry_run=true"]) == 0
    assert "at attention.k" in " ".join(capsys.readouterr().out.split())


def test_what_plnd_cannot_do_is_refused_before_a_model_is_loaded(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ModelLoader, "load", lambda *_: pytest.fail("a model was loaded"))
    stored = run / "neurons/step-000000.safetensors"
    cases = {
        "identifier.ffn: 641; expected from 1 to 640": ["run=run", *PLND, "identifier.ffn=641"],
        "identifier.attention: 161; expected from 1 to 160": ["run=run", *PLND, "identifier.attention=161"],
        "probe.site: mlp.up, where plnd removes no neurons": ["run=run", *PLND, "probe.site=mlp.up"],
        "probe.site: mlp.act, where plnd removes no": ["run=run", *PLND, "identifier.sites=[attention.q]"],
        "it reads importance, but what is here are counts": [f"counts={stored}", "identifier.name=plnd"],
        "intervals: ": ["run=run", *PLND, "intervals=ends"],
        "log: ": ["run=run", *PLND, "log=true"],
        "analyses: survival": ["run=run", *PLND, "analyses=[survival]"],
        "identifier.sites": ["run=run", *PLND, "identifier.sites=[mlp.act,mlp.act]"],
        "identifier.ffn is 0": ["run=run", *PLND, "identifier.ffn=0"],
        "identifier.top_rate": ["run=run", *PLND, "identifier.top_rate=.01"],
        "nothing is set to analyse": PLND,
    }
    for message, argv in cases.items():
        assert main(argv) == 2, message
        said = capsys.readouterr().err
        assert message in said
        assert "Traceback" not in said
    assert train([*SMALL, "run.folder=new", "identifier.name=plnd"]) == 2
    assert "plnd: it reads importance, but what is here are counts" in capsys.readouterr().err
    assert intervene(["run=run", "identifier.name=plnd"]) == 2
    assert "set neurons=FILE" in capsys.readouterr().err
