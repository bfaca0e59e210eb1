"""Bad input: one message that says where, what was found, what was expected and what to do; exit 2; nothing written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
import transformers

import alignlab.train
from alignlab.models.load import DEMO_FOLDER

PAIRS = {"de": ["eins", "zwei", "drei"], "zh": ["一", "二", "三"]}


@dataclass
class Case:
    """A kind of bad input.

    argv: what the user typed, after `config=user.yaml`.
    says: the message, as a regular expression that has to match from its start to its end.
    make: changes the folder first.
    """

    argv: list[str]
    says: str
    make: Callable[[Path], Any] = field(default=lambda folder: None)


def write(name: str, text: str | bytes) -> Callable[[Path], Any]:
    """A change of the folder: that file with that text."""

    def change(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())

    return change


def model(name: str, config: transformers.PretrainedConfig, **keep: Any) -> Callable[[Path], Any]:
    """A model folder with random weights and the demo model's tokenizer."""

    def change(folder: Path) -> None:
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder / name)
        for part in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(DEMO_FOLDER / part, folder / name / part)

    return change


def only_config(name: str, **changes: Any) -> Callable[[Path], Any]:
    """A folder with the demo model's config, changed, and its tokenizer, but no weights."""

    def change(folder: Path) -> None:
        shutil.copytree(DEMO_FOLDER, folder / name, ignore=shutil.ignore_patterns("*.safetensors"))
        config = json.loads((DEMO_FOLDER / "config.json").read_text())
        (folder / name / "config.json").write_text(json.dumps(config | changes))

    return change


def pickles_only(folder: Path) -> None:
    only_config("pickled")(folder)
    torch.save({}, folder / "pickled" / "pytorch_model.bin")


def hub_like(folder: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["c", "d"]}).to_json(str(folder / "set" / "train.jsonl"))


def interrupted_run(spoil: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """A run that stopped after its first checkpoint, then spoiled."""

    def change(folder: Path) -> None:
        assert alignlab.train.main(["config=user.yaml", "trainer.max_steps=2", "tracker.every_n_steps=1"]) == 0
        run = folder / "runs" / "user"
        (run / "finished.json").unlink()
        shutil.rmtree(run / "checkpoints" / "step-000002")
        spoil(run)

    return change


def truncate(name: str) -> Callable[[Path], Any]:
    def spoil(run: Path) -> None:
        (run / name).write_bytes((run / name).read_bytes()[:100])

    return spoil


FILES = ["probe.source.name=files", "probe.source.path=texts", "probe.source.languages=", "probe.scope=all"]
HUB = ["data.train.name=hub", "data.train.path=set", "data.train.languages=[de]"]
CASES = {
    # the configuration
    "misspelt key": Case(["tracker.every_n_step=3"], r"command line: there is no key 'tracker.every_n_step' .*Did you mean 'tracker.every_n_steps'\?"),
    "key elsewhere": Case(["rank=3"], r"command line: there is no key 'rank' .*Did you mean 'method.lora.rank'\?"),
    "several at once": Case(["seed=-1", "method.lora.rank=0"], r"command line: seed is -1; expected an integer, at least 0 and below 4294967296\.\ncommand line: method.lora.rank is 0; expected an integer, at least 1 and at most 65536\."),
    "out of range in a file": Case([], r".*user.yaml:\d+: method.lora.rank is 0; expected an integer, at least 1 and at most 65536\.", write("user.yaml", "base: mine.yaml\nmethod:\n  lora: {rank: 0}\n")),
    "wrong type": Case(["tracker.every_n_steps=often"], r"command line: tracker.every_n_steps is 'often'; expected an integer, at least 1 \(optimiser steps\), or null\."),
    "no equals sign": Case(["data.root"], r"command line: .*data\.root.*data\.root=VALUE.*"),
    "dashes": Case(["--seed=3"], r"command line: .*--seed.*seed=3.*"),
    "unknown config": Case(["config=demoo"], r".*demoo.*Did you mean '?demo'?.*"),
    "broken YAML": Case([], r".*user.yaml:3:1: not valid YAML: .*", write("user.yaml", "base: mine.yaml\nseed: [1\n")),
    "key twice": Case([], r".*user.yaml:3.*seed.*", write("user.yaml", "base: mine.yaml\nseed: 1\nseed: 2\n")),
    "circular base": Case([], r".*user.yaml.*other.yaml.*", lambda f: (write("user.yaml", "base: other.yaml\n")(f), write("other.yaml", "base: user.yaml\n")(f))),
    "code in YAML": Case([], r".*user.yaml:2.*python/object.*", write("user.yaml", "base: mine.yaml\nseed: !!python/object/apply:os.system [ls]\n")),
    "unknown language": Case(["probe.source.languages=[en,jp]"], r"command line: probe.source.languages is \['en', 'jp'\]; .*did you mean 'ja'.*"),
    "false is no language": Case(["probe.source.languages=[en,false]"], r"command line: probe.source.languages.*"),
    "unknown variant": Case(["method.name=dpo"], r"command line: method.name is 'dpo'; expected one of 'supervised', 'question_translation', 'causal', 'preference', 'consistency'\."),
    "no validation": Case(["data.validation.every_n_steps=5"], r"command line: data\.validation: nothing is set; expected one of share, examples, source\."),
    "two validations": Case(["data.validation.share=0.1", "data.validation.examples=5"], r"command line: data\.validation: share and examples is set; expected one of share, examples, source\."),
    "an empty mixture": Case(["data.train.name=mixture", "data.train.parts={}"], r".*data\.train\.parts: no source; expected one or more, each by a name of its own\."),
    "smoothing of ipo": Case(["method.name=preference", "method.loss=ipo", "method.label_smoothing=0.1"], r"(command line|.*user\.yaml:\d+): method: label_smoothing is 0\.1 and loss is ipo; expected 0, as only dpo has it\."),
    "unknown trainer argument": Case(["trainer.max_step=3"], r"command line: there is no key 'trainer.max_step' .*Did you mean 'trainer.max_steps'\?"),
    "reserved trainer argument": Case(["trainer.logger=false"], r"command line: there is no key 'trainer.logger' .*"),
    "null in a path": Case(["data.root=", "data.train.source=${data.root}/a.{language}"], r"command line: .*data\.root.*"),
    "template without the prompt": Case(["data.prompts.template=Translate!"], r"command line: data.prompts.template is 'Translate!'; expected a text with \{prompt\} in it.*"),
    # the training text
    "no such file": Case(["data.train.source=text/a.{language}"], r"text/a\.de: there is no such file; expected a text file\. .*\ntext/a\.zh: .*"),
    "unaligned files": Case([], r"text/zh\.en:3: the file ends before line 3; expected as many lines as text/zh\.zh has \(3\)\.", write("text/zh.en", "one\ntwo\n")),
    "empty counterpart": Case([], r"text/de\.en:2: the line is empty; expected the counterpart of text/de\.de:2\. The files are not aligned\.", write("text/de.en", "one\n\nthree\n")),
    "empty file": Case([], r"text/de\.de: the file is empty; expected one document a line\.", write("text/de.de", "\n\n")),
    "not UTF-8": Case([], r"text/de\.de:2: byte 0xfc is not UTF-8; expected UTF-8 text\. Convert the file: .*", write("text/de.de", "eins\nfünf\n".encode("latin1"))),
    "nothing left": Case(["data.max_length=2"], r"command line: data\.max_length .*|.*data\.train: of 6 records none has an answer within 2 tokens; .*"),
    "missing column of a data set": Case([*HUB, "data.train.prompt=txt", "data.train.answer=label"], r"set \(train\): there is no column 'txt'; expected one of: text, label\. Did you mean 'text'\?", hub_like),
    "missing data set": Case([*HUB, "data.train.path=nobody/nothing"], r"nobody/nothing: (it cannot be loaded \(.*\)|it is not here and the Hub cannot be reached); expected a data set of the Hub or a local folder\. .*"),
    # the probe
    "JSON that is none": Case([*FILES, "probe.source.prompt=q"], r"texts/en\.jsonl:2: not JSON \(.*\); expected one JSON object a line\.", write("texts/en.jsonl", '{"q": "a"}\n{"q": }\n')),
    "missing field": Case([*FILES, "probe.source.prompt=question"], r"texts/en\.jsonl:2: there is no column 'question'; expected one of: queston\. Did you mean 'queston'\?", write("texts/en.jsonl", '{"question": "a"}\n{"queston": "b"}\n')),
    "field of another type": Case([*FILES, "probe.source.prompt=q"], r"texts/en\.jsonl:1: column 'q' holds list; expected text or a number\.", write("texts/en.jsonl", '{"q": ["a"]}\n')),
    "missing column number": Case([*FILES, "probe.source.prompt=2"], r"texts/en\.tsv:1: there is no column 2; expected one of: 0, 1\. Name the column in the source's prompt\.", write("texts/en.tsv", "a\tb\n")),
    "no files named by a code": Case(FILES, r"texts: 1 text files, none named by a code; expected .*", write("texts/english.txt", "a\n")),
    "missing file of a language": Case([*FILES, "probe.source.languages=[en,de]"], r"texts: there is no file de\.\*; expected one of: en\.", write("texts/en.txt", "a\n")),
    "two files of a language": Case(FILES, r"texts: en\.txt lies beside en\.jsonl; expected one file a language\. Move one away, .*texts/\{language\}\.txt", lambda f: (write("texts/en.jsonl", '{"q": "a"}\n')(f), write("texts/en.txt", "a\n")(f))),
    "one file, no language": Case([*FILES, "probe.source.path=texts/all.txt"], r"texts/all\.txt: one file, but not which language it is in; .*", write("texts/all.txt", "a\n")),
    "nothing to count": Case(FILES[:3], r".*probe \(scope response\): language 'en' has no token to count in 1 documents; expected one or more\. Give answers, or set probe\.scope=all\.", write("texts/en.txt", "a\n")),
    "one probe language": Case(["probe.source.languages=[en]"], r"command line: probe: one language \(en\); expected two or more: kinds compare languages\."),
    "no chat template": Case(["data.prompts.chat=true"], r".*prompts\.chat: true, but the tokenizer has no chat template; .*"),
    # the model
    "no such model folder": Case(["model.source=./modell"], r"command line: model\.source: there is no folder \./modell; expected a model folder\."),
    "no config.json": Case(["model.source=./empty"], r"command line: model\.source: \./empty holds no config\.json; .*", lambda f: (f / "empty").mkdir()),
    "an adapter": Case(["model.source=./adapter"], r".*holds no config\.json; .*It is a PEFT adapter: give the folder of its base model\.", write("adapter/adapter_config.json", "{}")),
    "pickles only": Case(["model.source=./pickled"], r".*\./pickled holds no model\.safetensors, only pytorch_model\.bin; expected weights as safetensors\. Pickles can execute code.*", pickles_only),
    "model with code of its own": Case(["model.source=./coded"], r".*\./coded needs code of its own, which alignlab does not run; .*", only_config("coded", model_type="new", auto_map={"AutoConfig": "c.C", "AutoModelForCausalLM": "c.M"})),
    "unknown kind of model": Case(["model.source=./odd"], r".*\./odd cannot be loaded \(.*\); expected .*", only_config("odd", model_type="nonesuch")),
    "Hub not reached": Case(["model.source=nobody/nothing"], r"command line: model\.source: nobody/nothing .*"),
    "experts without sites": Case(["model.source=./moe"], r".*model\.source.*", model("moe", transformers.MixtralConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, vocab_size=2000, num_local_experts=2))),
    "tokenizer of another model": Case(["model.source=./small"], r".*model\.source: the tokenizer gives token id \d+, the model has 40 embeddings; expected ids below 40\. .*", model("small", transformers.LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, vocab_size=40))),
    "a damaged tokenizer": Case(["model.source=./torn"], r"command line: model\.source: torn/tokenizer\.json cannot be read \(.*\); expected a tokenizer\. Download or copy it again\.", lambda f: (only_config("torn")(f), write("torn/tokenizer.json", "{}")(f))),
    "adapter targets": Case(["method.lora.targets=[q_prj]"], r"command line: method\.lora\.targets: the model has no module 'q_prj'; expected some of: all-linear, .*Did you mean 'q_proj'\?"),
    "too large a model": Case(["model.source=./huge"], r"memory: this machine has .* of memory, weights, gradients and Adam take .*; expected room for them\. .*", only_config("huge", intermediate_size=4_000_000, hidden_size=4096, num_attention_heads=32, num_key_value_heads=32, head_dim=128)),
    # the machine and the trainer
    "no GPU": Case(["trainer.accelerator=cuda"], r"command line: trainer.*CUDA.*not available.*"),
    "precision": Case(["trainer.precision=bf17"], r"command line: trainer\.precision is 'bf17'; expected one of '32-true', .* Did you mean 'bf16'\?"),
    "processes": Case(["trainer.devices=999", "trainer.strategy=ddp"], r"command line: trainer\.devices: 999 processes on \d+ CPU cores; expected at most one a core\."),
    "no end": Case(["trainer.max_steps=0"], r"command line: trainer.*max_steps is 0 .*"),
    "fewer examples than micro-batches": Case(["data.examples_per_step=2", "trainer.accumulate_grad_batches=4"], r".*data\.examples_per_step: 2 for 1 ranks x 4 micro-batches; expected at least one example for each\."),
    "too small a disk": Case(["probe.shards=1000", "trainer.max_steps=1000000", "tracker.every_n_steps=1"], r"disk of runs/user: the disk has .* free, snapshots and checkpoints take .*; expected room for them\. .*"),
    # the run folder
    "a folder of other things": Case(["run.folder=mine"], r"command line: .*run\.folder \(mine\): the folder holds other things and no run of alignlab; .*", write("mine/thesis.tex", "x")),
    "a run of another config": Case(["seed=7"], r".*run\.folder \(runs/user\): it holds a run with another config; different are seed \(0 there, 7 here\); .*overwrite=true.*", interrupted_run(lambda run: None)),
    "an unfinished run": Case(["resume=never", "trainer.max_steps=2", "tracker.every_n_steps=1"], r".*it holds an unfinished run; .*resume=auto.*", interrupted_run(lambda run: None)),
    "a torn checkpoint": Case(["trainer.max_steps=2", "tracker.every_n_steps=1"], r"runs/user/checkpoints/step-000001: trainer\.ckpt is not as it was written; expected a whole checkpoint\. Remove the folder .*", interrupted_run(truncate("checkpoints/step-000001/trainer.ckpt"))),
    "a torn snapshot": Case(["trainer.max_steps=2", "tracker.every_n_steps=1"], r"runs/user/neurons/step-000000\.safetensors: .*", interrupted_run(truncate("neurons/step-000000.safetensors"))),
    "a place that cannot be written": Case(["run.folder=/proc/run"], r"command line: run\.folder: /proc cannot be written to \(.*\); .*"),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder: a config, and parallel text in two languages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for code, lines in PAIRS.items():
        write(f"text/{code}.{code}", "\n".join(lines))(tmp_path)
        write(f"text/{code}.en", "one\ntwo\nthree")(tmp_path)
    write(
        "user.yaml",
        "run: {name: user}\nwandb: {mode: disabled}\ndata:\n  examples_per_step: 4\n"
        "  train: {name: parallel_text, source: 'text/{language}.{language}', target: 'text/{language}.en', "
        "languages: [de, zh]}\n"
        "probe: {source: {count: 3, split: probe, languages: [en, de]}}\nidentifier: {top_rate: 0.1}\n"
        "trainer: {max_steps: 2}\n",
    )(tmp_path)
    shutil.copy(tmp_path / "user.yaml", tmp_path / "mine.yaml")
    return tmp_path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and what is in it; the lock of a run is no part of what was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = CASES[name]
    case.make(folder)
    before = tree(folder)
    capsys.readouterr()
    argv = (
        case.argv if any(argument.startswith("config=") for argument in case.argv) else ["config=user.yaml", *case.argv]
    )
    status = alignlab.train.main(argv)
    message = capsys.readouterr().err.strip()
    assert re.fullmatch(case.says, message, re.DOTALL), message
    assert status == 2
    assert "Traceback" not in message
    assert tree(folder) == before


def test_there_are_at_least_forty_kinds() -> None:
    assert len(CASES) >= 40
    assert len({case.says for case in CASES.values()}) >= 40


def test_the_same_command_without_a_mistake_is_not_refused(folder: Path) -> None:
    """What the cases change is why they are refused."""
    assert alignlab.train.main(["config=user.yaml"]) == 0


@pytest.mark.parametrize("language", ["no", "nb"])
def test_norwegian_is_a_language(language: str, folder: Path) -> None:
    """In YAML 1.1 `no` would be false."""
    write(f"texts/{language}.txt", "en to tre\n")(folder)
    write("texts/en.txt", "one two three\n")(folder)
    assert (
        alignlab.train.main(["config=user.yaml", *FILES, f"probe.source.languages=[en,{language}]", "dry_run=true"])
        == 0
    )
