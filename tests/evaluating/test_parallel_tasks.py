"""Translation and MEXA by the command: its numbers are computed again with transformers and sacrebleu alone."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from safetensors.torch import load_file

from alignlab.config import load
from alignlab.evaluate import main
from alignlab.evaluating.options import EvaluateOptions
from alignlab.evaluating.task import Measured, Measuring
from alignlab.evaluating.tasks import build
from alignlab.models.edits import Arm, NeuronEdit
from alignlab.models.load import DEMO_FOLDER
from alignlab.parts import Parts
from alignlab.recording.counting import Origin
from alignlab.recording.effects import BASELINE, ArmLabel, Effects
from alignlab.recording.kept import Kept

sys.path.insert(0, str(Path(__file__).parent))
from parallel_texts import LINES, make, source

Command = Callable[..., tuple[int, str, str]]
OUT = ["tasks.out.name=translation", *source("out"), "tasks.out.max_new_tokens=6"]
BACK = ["tasks.back.name=translation", *source("back", "cluster_lines=2"), "tasks.back.max_new_tokens=6",
        "tasks.back.direction=into_reference", "tasks.back.template={source}>{target}: {text}"]  # fmt: skip
MEXA = ["tasks.near.name=mexa", *source("near")]
ASK = [*OUT, *BACK, *MEXA, "max_tokens_per_batch=150"]
BOTH = ["models=[builtin:demo,other]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("parallel"))


@pytest.fixture
def command(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(folder)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(argv)
        return (status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def said(folder: Path) -> str:
    """What the command says of both models, whose results are in `whole`."""
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        out: list[str] = []
        patched.setattr(sys.stdout, "write", out.append)
        assert main([*BOTH, *ASK, "folder=whole"]) == 0
    return "".join(out)


def rows(folder: Path, **columns: str) -> list[dict[str, str]]:
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def held(folder: Path, label: str, task: str) -> Path:
    found = json.loads((folder / "records.json").read_text())
    (one,) = [one for one in found if (one["record"], one["task"]) == (label, task)]
    return folder / str(one["file"])


def contents(folder: Path) -> dict[str, Any]:
    """Bytes of what is in a folder; of safetensors, which write their header in any order, the tensors."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".safetensors":
            found[path.name] = {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
        elif path.is_file() and path.name not in ("manifest.json", ".lock", "config.yaml"):
            found[path.name] = path.read_bytes()
    return found


NAMES = {"de": "German", "en": "English", "zh": "Chinese"}


def request(task: str, code: str, line: str) -> tuple[str, str]:
    """What is asked about a line of a language other than English, and its translation."""
    number = LINES[code].index(line)
    if task == "out":
        asked = f"Translate the following sentences from English to {NAMES[code]}.\n{LINES['en'][number]}\n"
        return asked, line
    return f"{NAMES[code]}>English: {line}", LINES["en"][number]


@pytest.mark.parametrize("task", ["out", "back"])
def test_translations_are_those_of_generate_and_scores_those_of_sacrebleu(folder: Path, said: str, task: str) -> None:
    scores: dict[tuple[str, str, str], float] = {}
    for label, path in (("builtin:demo", DEMO_FOLDER), ("other", folder / "other")):
        model = transformers.AutoModelForCausalLM.from_pretrained(path).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(path)
        told = held(folder / "whole", label, task).with_suffix(".jsonl").read_text(encoding="utf-8").split("\n")[:-1]
        lines = {(one["language"], int(one["id"])): one for one in map(json.loads, told)}
        assert len(lines) == 10
        for code in ("de", "zh"):
            texts, expected = [], []
            for number, line in enumerate(LINES[code], start=1):
                asked, translation = request(task, code, line)
                ids = tokenizer(asked, return_tensors="pt").input_ids
                ids = ids[:, :-1] if ids[0, -1] == tokenizer.eos_token_id else ids
                out = model.generate(
                    input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False
                )
                answer = tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
                texts.append(next((one.strip() for one in answer.splitlines() if one.strip()), ""))
                expected.append(translation)
                one = lines[code, number]
                assert (one["prompt"], one["text"]) == (tokenizer.decode(ids[0]), answer)
                assert (one["translation"], one["expected"]) == (texts[-1], translation)
            bleu = BLEU(tokenize="zh" if (task, code) == ("out", "zh") else "13a", force=True)
            for name, metric in (("chrF++", CHRF(word_order=2)), ("BLEU", bleu)):
                scores[label, code, name] = metric.corpus_score(texts, [expected]).score
                (row,) = rows(folder / "whole", task=task, record=label, language=code, measure=name, since="")
                assert float(row["value"]) == pytest.approx(scores[label, code, name])
                assert row["unit"] == f"{name} {metric.get_signature()}"
                assert f"{name} {metric.get_signature()}" in said
    for name in ("chrF++", "BLEU"):
        (row,) = rows(folder / "whole", task=task, record="other", group="all languages", measure=name, since="")
        assert float(row["value"]) == pytest.approx(np.mean([scores["other", code, name] for code in ("de", "zh")]))
        (row,) = rows(folder / "whole", task=task, language="zh", measure=name, since="builtin:demo")
        change = scores["other", "zh", name] - scores["builtin:demo", "zh", name]
        assert float(row["value"]) == pytest.approx(change)
        assert row["over"] in ("", "clusters" if task == "back" else "documents")
    assert f"Translated {'from' if task == 'out' else 'into'} English; BLEU " in said


def test_mexa_is_that_of_transformers_hidden_states(folder: Path, said: str) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "other").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "other")

    def states(text: str) -> list[np.ndarray]:
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True).hidden_states
        places = np.arange(1, hidden[0].shape[1] + 1)
        return [(one[0].double().numpy() * places[:, None]).sum(axis=0) / places.sum() for one in hidden]

    of = {code: [states(line) for line in lines] for code, lines in LINES.items()}
    means = []
    for code in ("de", "zh"):
        shares = []
        for state in range(len(of["en"][0])):
            one, other = (np.stack([found[state] for found in of[name]]) for name in (code, "en"))
            cosines = (one @ other.T) / np.linalg.norm(one, axis=1)[:, None] / np.linalg.norm(other, axis=1)[None]
            hits = [
                all(cosines[i, i] > cosines[i, j] and cosines[i, i] > cosines[j, i] for j in range(5) if j != i)
                for i in range(5)
            ]
            (row,) = rows(
                folder / "whole",
                task="near",
                record="other",
                language=code,
                measure="MEXA by state",
                layer=str(state),
                since="",
            )
            assert float(row["value"]) == np.mean(hits)
            assert float(row["reference"]) == 1 / 9
            shares.append(np.mean(hits))
        (row,) = rows(folder / "whole", task="near", record="other", language=code, measure="MEXA", since="")
        assert float(row["value"]) == pytest.approx(np.mean(shares))
        means.append(np.mean(shares))
        (row,) = rows(
            folder / "whole", task="near", record="other", language=code, measure="MEXA, highest state", since=""
        )
        assert float(row["value"]) == max(shares)
    assert len(set(means)) > 1
    assert "Near: MEXA, 5 items a language" in said
    assert f"Of the {len(of['en'][0])} states (0 is what the first layer reads)" in said


@pytest.mark.slow
def test_stopped_and_continued_it_ends_with_the_same(
    command: Command, folder: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, int]] = []
    write = Parts.write

    def stop(self: Parts, number: int, part: Any) -> None:
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append((self.work, number))
        write(self, number, part)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        assert command(*BOTH, *ASK, "folder=killed")[0] == 130

    def count(self: Parts, number: int, part: Any) -> None:
        done.append((self.work, number))
        write(self, number, part)

    monkeypatch.setattr(Parts, "write", count)
    status, _, complaint = command(*BOTH, *ASK, "folder=killed")
    assert (status, complaint) == (0, "")
    assert len(done) == len(set(done)) > 6
    assert contents(folder / "killed") == contents(folder / "whole")
    # What is there is asked of no model again, whatever the task is called.
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_args, **_options: 1 / 0)
    again = [one.replace("tasks.near", "tasks.n") for one in MEXA]
    status, asked, complaint = command(*BOTH, *again, "folder=killed", "languages=[zh]")
    assert (status, complaint) == (0, "")
    assert "0 of 2 records (model x task); 2 are there" in asked
    assert {row["language"] for row in rows(folder / "killed")} == {"zh", ""}


def test_an_arm_is_measured_as_a_model_that_is_changed_so(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeroed neurons are zeroed columns of the projection behind them."""
    monkeypatch.chdir(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    options, _ = load(EvaluateOptions, [*BOTH, *OUT, *MEXA])
    layers, neurons = torch.arange(4).repeat_interleave(630), torch.arange(630).repeat(4)
    off = NeuronEdit(layers, neurons, torch.zeros(2520), torch.zeros(2520))

    def measured(name: str, arms: dict[ArmLabel, Arm]) -> Measured:
        kept = Kept(tmp_path / str(len(list(tmp_path.iterdir()))), "demo")
        on = Measuring(
            model,
            Origin("demo"),
            nullcontext,
            400,
            kept,
            lambda *_done, **_kept: None,
            tuple(arms),
            tuple(arms.values()),
        )
        return build(name, options.tasks[name], tokenizer, "en").measure(on)

    both = {name: measured(name, {BASELINE: (), ArmLabel("off"): (off,)}) for name in ("out", "near")}
    plain = {name: measured(name, {BASELINE: ()}) for name in ("out", "near")}
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, :630] = 0
    changed = {name: measured(name, {BASELINE: ()}) for name in ("out", "near")}
    for name in ("out", "near"):
        values = both[name].effects.measured("values")
        assert torch.equal(values[:, :1], plain[name].effects.measured("values"))
        assert torch.equal(values[:, 1:], changed[name].effects.measured("values"))
        assert not torch.equal(values[:, 0], values[:, 1])
        assert both[name].effects.arms == ("none", "off")
    texts = [
        [json.loads(line)["text"] for line in one["out"].answers.split("\n")[:-1]] for one in (plain, changed, both)
    ]
    assert texts[2] == texts[0] + texts[1]
    assert isinstance(both["out"].effects, Effects)
