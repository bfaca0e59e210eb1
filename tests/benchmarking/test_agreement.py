"""Identifiers side by side: to what `analyze` finds one by one, and to records of half of the documents."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from alignlab.analyze import main as analyze
from alignlab.benchmark import main as benchmark
from alignlab.benchmarking.agreement import AgreementConfig, compare, rows_of
from alignlab.benchmarking.agreement_options import NAMES
from alignlab.benchmarking.agreement_page import write_agreement_page
from alignlab.benchmarking.agreement_table import show_plan
from alignlab.benchmarking.halves import part_of
from alignlab.config import load
from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.marks import is_page
from alignlab.models.load import DEMO_FOLDER
from alignlab.models.sites import find_sites
from alignlab.neurons import NeuronSets
from alignlab.neurons.average_precision_identifier import average_precision
from alignlab.neurons.table import Row, read_csv
from alignlab.recording.means import record_means
from alignlab.recording.probes import Probe, ProbeConfig, build_probe
from alignlab.train import main as train

PROBE = ["probe.source.languages=[en,de,th]", "probe.source.count=12", "probe.source.split=probe", "probe.max_texts=12",
         "probe.shards=4"]  # fmt: skip
ONLY = ["ternary", "lape", "average_precision"]
WORDS = ["anna", "house", "green", "apples", "street", "seven", "asleep", "children", "buys", "more"]


def config(*changed: str) -> AgreementConfig:
    usual = [f"models=[{DEMO_FOLDER}]", "only=[ternary,lape,average_precision]", "size=9"]
    return load(AgreementConfig, [*PROBE, *usual, *changed], lambda _settings: None)[0]


def test_the_sets_are_those_of_analyze(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = config()
    questions = asked.questions()
    for _, recount in questions.values():
        recount.count()
    compared = compare(asked, questions)
    own = {"ternary": [], "lape": [], "average_precision": ["identifier.k=4"]}  # of either end, half of nine
    alone = {}
    for name in ONLY:
        settings = [f"identifier.name={name}", *own[name], f"folder={name}"]
        assert analyze([f"models=[{DEMO_FOLDER}]", *PROBE, *settings]) == 0
        alone[name] = NeuronSets.load(tmp_path / name / "sets.safetensors")
        (record,) = compared.records
        for language in ("en", "de", "th"):
            assert torch.equal(compared.found[record][name].sets[language], alone[name][language])
    rows = {
        (row.set, row.compared, row.language): row
        for row in rows_of(compared)
        if row.label == "identifiers" and row.language
    }
    for (first, second, language), row in rows.items():
        one, other = ({tuple(p) for p in alone[name][language].nonzero().tolist()} for name in (first, second))
        assert row.value == pytest.approx(len(one & other) / len(one | other))
        assert row.denominator == len(one | other)
    assert len(rows) == 3 * 3


def test_the_page_says_what_stands_in_the_place_of_languages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = config("labels.axis=a & b", "only=[ternary,lape]")
    questions = asked.questions()
    for _, recount in questions.values():
        recount.count()
    write_agreement_page(compare(asked, questions), tmp_path / "report.html")
    said = (tmp_path / "report.html").read_text()
    assert "What stands in the place of languages here is of another kind: a &amp; b." in said


def test_half_of_the_means_are_the_means_of_half(
    tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    """A record made anew of the documents of some shards finds the same, in clusters that are not whole shards."""
    records = [
        Record(f"{number}", language, "", f"{word} {language} {number}", cluster=f"cluster {number // 2}")
        for language in ("en", "de")
        for number, word in enumerate(WORDS)
    ]
    probe = build_probe(records, tokenizer, shards=4, scope="all")
    assert isinstance(probe, Probe)
    sites = find_sites(tiny_llama)
    whole = record_means(tiny_llama, sites, probe, tmp_path / "whole")
    taken = [1, 3]
    kept = {
        document.id
        for document, shard in zip(probe.documents["en"], probe.shards_of("en").tolist(), strict=True)
        if shard in taken
    }
    assert 0 < len(kept) < len(WORDS)
    half = build_probe([record for record in records if record.id in kept], tokenizer, shards=2, scope="all")
    again = record_means(tiny_llama, sites, half, tmp_path / "half")
    found, expected = (average_precision(one, 5) for one in (part_of(whole, 4, taken), again))
    for name in ("en", "de"):
        torch.testing.assert_close(
            found.scores[f"average precision {name}"], expected.scores[f"average precision {name}"]
        )


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ("models=[]", "nothing is set to compare on"),
        ("only=[ternary]", "one identifier (ternary), one model and one text"),
        ("only=[ternay,lape]", "Did you mean 'ternary'?"),
        ("run=nowhere", "there is no config.yaml in it"),
        ("size=6000", "size: 6,000; expected from 1 to 2,560"),
        ("identifiers.lape.top_rate=1e-9", "identifiers.lape.top_rate: 1e-09 of 2560 neurons"),
        ("identifiers.ternary.top_rate=0.2", "identifiers.ternary: other options than those of `identifier`"),
        ("models=[./nowhere]", "nowhere"),
        ("against.source.languages=[en,fr]", "against: its languages are en fr; expected those of probe: en de th"),
        (f"identifiers.hf_{'a1B2' * 8}.name=lape only=[ternary,hf_{'a1B2' * 8}]", "it holds a secret"),
        ("only=[ternary,plnd]", "Set identifiers.plnd.ffn."),
        ("reference=xx", "reference is 'xx'"),
    ],
)
def test_refused(changed: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as refused:
        config(*changed.split()).questions()
    assert told in str(refused.value)
    assert str(refused.value).count(told) == 1


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\x1b[31mred", "\u202ertl", "x" * 41])
def test_a_name_that_cannot_be_shown_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text(json.dumps({"identifiers": {name: {"name": "lape"}}}))
    with pytest.raises(InputError) as refused:
        config(f"config={tmp_path}/names.yaml").questions()
    assert [f"{problem.where}: {problem.found}" for problem in refused.value.problems] == [
        f"identifiers: the name {name!r}"
    ]


def test_sizes_follow_an_identifier_that_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many neurons as ternary finds, whether it is among those compared or not."""
    monkeypatch.chdir(tmp_path)
    with_it = [f"models=[{DEMO_FOLDER}]", "identifier.top_rate=0.2", "size=null"]
    found = []
    for only in ("[equal_size_lape,ternary]", "[equal_size_lape,lape]"):
        asked = config(*with_it, f"only={only}")
        questions = asked.questions()
        for _, recount in questions.values():
            recount.count()
        found.append(compare(asked, questions))
    (record,) = found[0].records
    sizes = [int(mask.sum()) for mask in found[0].found[record]["ternary"].sets.values()]
    wanted = round(sum(sizes) / len(sizes))
    assert wanted > 1
    assert [*found[1].found[record]] == ["equal_size_lape", "lape"]
    for one in found:
        assert {int(mask.sum()) for mask in one.found[record]["equal_size_lape"].sets.values()} == {wanted}


def test_models_of_other_shapes_are_refused_before_they_read(
    tiny_llama: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_llama.save_pretrained("other")
    tokenizer.save_pretrained("other")
    with pytest.raises(InputError) as refused:
        config(f"models=[{DEMO_FOLDER},other]").questions()
    layers, width = tiny_llama.config.num_hidden_layers, tiny_llama.config.intermediate_size
    assert f"models (other): {layers} layers of {width}; expected 4 layers of 640" in str(refused.value)


def test_the_plan_has_every_record_and_the_tokens_of_either_tokenizer(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one shape, with another tokenizer; importance by three measures is three records."""
    shutil.copytree(DEMO_FOLDER, tmp_path / "other", ignore=lambda _, names: [n for n in names if "token" in n])
    tokenizer.save_pretrained(tmp_path / "other")
    only = "only=[attribution,plnd]"
    asked = config(f"models=[{DEMO_FOLDER},{tmp_path}/other]", only, "identifiers.plnd.ffn=9",
                   "identifiers.plnd.attention=9")  # fmt: skip
    questions = asked.questions()
    show_plan(asked, questions)
    told = " ".join(capsys.readouterr().out.split())
    assert "reading importance by attribution attribution: 2 of 2" in told
    assert "reading importance by removal plnd: 2 of 2" in told
    _, recount = questions["plnd"]
    of = [sum(len(one) for ones in recount.probe(model, "").documents.values() for one in ones)
          for model in recount.models]  # fmt: skip
    assert of[0] != of[1]
    assert f"{of[0]:,} and {of[1]:,} tokens" in told


def test_texts_are_tokenised_once_for_all_identifiers(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    build = ProbeConfig.build
    monkeypatch.setattr(ProbeConfig, "build", lambda probe, tokenizer: built.append(1) or build(probe, tokenizer))
    assert len(config().questions()) == 3
    assert built == [1]


def test_the_same_folder_for_the_same_question() -> None:
    assert config().results == config("dry_run=true").results
    assert config().results != config("size=8").results


@pytest.mark.slow
def test_the_command_on_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Base and last checkpoint, with the run's own identifier; what was recorded is not recorded again."""
    monkeypatch.chdir(tmp_path)
    small = ["trainer.max_steps=2", "tracker.every_n_steps=1", "data.train.count=12", "data.examples_per_step=4",
             "wandb.mode=disabled", "evaluation=null", "run.folder=run", "identifier.top_rate=0.2"]  # fmt: skip
    assert train(["config=demo", *PROBE, *small]) == 0
    asked = ["agreement", "run=run", "config=agreement_demo", "size=9", "folder=out"]
    capsys.readouterr()
    assert benchmark([*asked, "dry_run=true"]) == 0
    assert "2: step 0, step 2" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert benchmark(asked) == 0
    told = capsys.readouterr().out
    assert "Next: one of them in full" in told
    rows = read_csv(tmp_path / "out/table.csv")
    sizes = {(row.record, row.set, row.language) for row in rows if row.measure == "size"}
    assert len(sizes) == 2 * len(NAMES) * 3
    assert is_page(tmp_path / "out/report.html")
    _check_figure(_data(tmp_path / "out/report.html"), rows)
    ternary = NeuronSets.load(_sets(tmp_path))
    row = next(row for row in rows if (row.record, row.set, row.language, row.measure)
               == ("step 2", "ternary", "de", "size"))  # fmt: skip
    assert row.value == int(ternary["de"].sum())
    assert benchmark(asked) == 0
    assert "0 of 2 records have to be made" in capsys.readouterr().out


def _data(page: Path) -> dict[str, Any]:
    data = page.read_text(encoding="utf-8").partition('<script type="application/json" id="data">')[2]
    read: dict[str, Any] = json.loads(data.partition("</script>")[0])
    return read


def _check_figure(data: dict[str, Any], rows: list[Row]) -> None:
    """Overlaps above the diagonal, chance below it; every identifier is named, and in the dark the numbers are seen."""
    drawn = data["figures"]["1"]
    (trace,) = drawn["data"]
    pairs = {
        (row.set, row.compared): row
        for row in rows
        if (row.record, row.label, row.group) == ("step 2", "identifiers", "all languages")
    }
    names = [name.split()[0] for name in trace["y"]]
    assert sorted(names) == sorted(NAMES)
    for (row, one), (column, other) in itertools.product(enumerate(names), repeat=2):
        value = trace["z"][row][column]
        if row == column:
            assert value is None
        elif value is not None:
            assert value == (pairs[one, other].value if row < column else pairs[other, one].reference)
    assert [drawn["layout"][axis]["dtick"] for axis in ("xaxis", "yaxis")] == [1, 1]
    assert trace["textfont"]["color"] in dict(data["dark"])


def _sets(folder: Path) -> Path:
    """What `analyze` finds at the last step with the options of the run."""
    assert analyze(["run=run", "models=['2']", "folder=alone"]) == 0  # its own thresholds, not those of the base
    return folder / "alone/sets.safetensors"
