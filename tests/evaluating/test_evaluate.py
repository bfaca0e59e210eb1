"""The command `alignlab.evaluate` on a small run, from its plan to its table; its numbers are computed again here."""

from __future__ import annotations

import csv
import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file

from alignlab.config import shipped_configs
from alignlab.data.prompts import Prompts
from alignlab.data.sources.word_problems import WordProblems
from alignlab.evaluate import main
from alignlab.evaluating.folder import EvaluationFolder
from alignlab.models.load import DEMO_FOLDER
from alignlab.parts import Parts
from alignlab.recording.effects import Effects

sys.path.insert(0, str(Path(__file__).parents[1]))
import public_files

Command = Callable[..., tuple[int, str, str]]
TEXT = ["tasks.text.name=perplexity", "tasks.text.source.count=3", "tasks.text.source.languages=[en,zh]"]
SUMS = ["tasks.sums.name=problems", "tasks.sums.source.count=3", "tasks.sums.source.languages=[en,zh]",
        "tasks.sums.max_new_tokens=8"]  # fmt: skip
CHOICES = ["tasks.copa.name=multiple_choice", "tasks.copa.questions.name=choices",
           "tasks.copa.questions.languages=[en,zh]",
           "tasks.copa.questions.path=copa.{language}.jsonl", "tasks.copa.questions.options=[one,two]",
           "tasks.copa.questions.template={text}"]  # fmt: skip
QUESTIONS = {
    "en": [
        {"text": "Anna has 12 apples and buys 7 more. Now she has", "one": "19 apples", "two": "5 apples", "label": 0},
        {"text": "The house is green, and the street is", "one": "asleep", "two": "long", "label": 1},
        {
            "text": "A bus has 30 seats, and 4 are free. So there are",
            "one": "34 people",
            "two": "26 people",
            "label": 1,
        },
    ],
    "zh": [
        {"text": "小明有12个苹果，又买了7个。他现在有", "one": "19个苹果", "two": "5个苹果", "label": 0},
        {"text": "房子是绿色的，街道是", "one": "睡着的", "two": "长的", "label": 1},
        {"text": "公共汽车有30个座位，4个空着。车上有", "one": "34人", "two": "26人", "label": 1},
    ],
}


@pytest.fixture
def command(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command in a folder with the run and a file of questions a language."""
    shutil.copytree(made, tmp_path / "run")
    for code, questions in QUESTIONS.items():
        lines = "".join(f"{json.dumps(one, ensure_ascii=False)}\n" for one in questions)
        (tmp_path / f"copa.{code}.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(argv)
        return (status, *capsys.readouterr())

    return call


def rows(path: str | Path, **columns: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [row for row in csv.DictReader(file) if all(row[key] == value for key, value in columns.items())]


def record(folder: str | Path, label: str, task: str) -> Effects:
    held = json.loads((Path(folder) / "records.json").read_text())
    (one,) = [one for one in held if (one["record"], one["task"]) == (label, task)]
    return Effects.load(Path(folder) / one["file"])


def contents(folder: str | Path) -> dict[str, Any]:
    """What is in a folder: bytes; of safetensors, which write their header in any order, the tensors."""
    found: dict[str, Any] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix == ".safetensors":
            found[path.name] = {name: tensor.numpy().tobytes() for name, tensor in load_file(path).items()}
        elif path.is_file() and path.name not in ("manifest.json", ".lock", "config.yaml"):
            found[path.name] = path.read_bytes()
    return found


def checkpoint(step: int) -> Any:
    """The model of a step of the run, as transformers and PEFT load it."""
    model = transformers.AutoModelForCausalLM.from_pretrained(DEMO_FOLDER)
    if step:
        model = peft.PeftModel.from_pretrained(model, f"run/checkpoints/step-{step:06d}")
    return model.eval()


def summed_loss(model: Any, ids: list[int], first: int) -> float:
    """transformers' own loss of a text from a token on, times how many tokens these are."""
    labels = torch.tensor([[-100] * first + ids[first:]])
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([ids]), labels=labels).loss
    return float(loss) * (len(ids) - first)


def test_help_and_nothing(command: Command) -> None:
    status, said, _ = command()
    assert status == 0
    assert "run=runs/demo config=evaluate_demo" in said
    status, said, _ = command("--help", "tasks")
    assert status == 0
    for name in ("problems", "perplexity", "multiple_choice", "tasks.NAME.max_new_tokens"):
        assert name in said


def test_the_plan_is_told_and_nothing_is_written(command: Command, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status, said, complaint = command("run=run", *TEXT, *SUMS, *CHOICES, "dry_run=true")
    assert (status, complaint) == (0, "")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not Path("run/evaluations").exists()
    plan = {line.partition("  ")[0]: line.partition("  ")[2].strip() for line in said.splitlines()}
    assert plan["models"] == "3: step 0, step 1, step 2; 32-true on cpu, ranks 1"
    assert plan["task text"].startswith("6 items (en 3, zh 3) of 2 clusters; ")
    assert plan["task sums"].endswith(", up to 48 new tokens a model")
    assert plan["task copa"].endswith(", 12 forwards a model")
    assert plan["groups"] == "trained zh de; reference en"
    assert plan["to do"] == "9 of 9 records (model x task); 0 are there"
    assert plan["time"].startswith("about ")
    assert plan["folder"] == "run/evaluations/evaluation"


@pytest.mark.parametrize("name", [name for name in shipped_configs() if name.startswith("evaluate")])
def test_every_shipped_config_dry_runs(command: Command, tmp_path: Path, name: str) -> None:
    data = public_files.make(tmp_path / "data")
    asked = "run=run" if "intervention" in name else "models=[builtin:demo]"  # neurons that a run has counted
    status, said, complaint = command(asked, f"config={name}", f"data={data}", "dry_run=true")
    assert (status, complaint) == (0, "")
    assert "This was a dry run" in said


def test_public_tasks_are_run_from_the_shipped_config(command: Command, tmp_path: Path) -> None:
    data = public_files.make(tmp_path / "data")
    few = ["tasks.mgsm.max_new_tokens=4", "tasks.msvamp.max_new_tokens=4", "folder=out"]
    status, said, complaint = command("models=[builtin:demo]", "config=evaluate_real", f"data={data}", *few)
    assert (status, complaint) == (0, "")
    of = {"xcopa": 11, "xwinograd": 6, "mgsm": 11, "msvamp": 10}
    for task, languages in of.items():
        assert len({row["language"] for row in rows("out/table.csv", task=task, group="language")}) == languages
        assert f"{task.capitalize()}: right, " in said


def test_choices_are_those_of_transformers_own_loss_item_by_item(command: Command) -> None:
    status, said, complaint = command("run=run", "steps=[0,last]", *CHOICES)
    assert (status, complaint) == (0, "")
    folder = Path("run/evaluations/evaluation")
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    share: dict[tuple[int, str, str], float] = {}
    for step in (0, 2):
        model, effects = checkpoint(step), record(folder, f"step {step}", "copa")
        assert effects.option_nats is not None
        number = 0
        for code, questions in QUESTIONS.items():
            right = {"right": 0, "right by token": 0, "right by character": 0}
            for question in questions:
                sums, tokens = [], []
                for option in (str(question["one"]), str(question["two"])):
                    context = tokenizer(question["text"]).input_ids
                    ids = tokenizer(f"{question['text']} {option}").input_ids
                    ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
                    shared = next(i for i, (a, b) in enumerate(zip([*context, None], ids, strict=False)) if a != b)
                    sums.append(summed_loss(model, ids, shared))
                    tokens.append(len(ids) - shared)
                assert effects.option_nats[number, 0].tolist() == pytest.approx(sums, rel=1e-4)
                lengths = {"right": [1, 1], "right by token": tokens,
                           "right by character": [len(str(question["one"])), len(str(question["two"]))]}  # fmt: skip
                for measure, by in lengths.items():
                    scores = [one / length for one, length in zip(sums, by, strict=True)]
                    right[measure] += scores.index(min(scores)) == question["label"]
                number += 1
            for measure, count in right.items():
                share[step, code, measure] = count / 3
                (row,) = rows(folder / "table.csv", step=str(step), language=code, measure=measure, since="")
                assert float(row["value"]) == pytest.approx(count / 3)
                assert float(row["reference"]) == 0.5  # chance
    for (step, code, measure), value in share.items():
        if step:
            (row,) = rows(folder / "table.csv", language=code, measure=measure, since="step 0")
            assert float(row["value"]) == pytest.approx(value - share[0, code, measure])
    assert "chance" in said
    assert "0.500" in said
    assert "change since step 0" in said


def test_perplexity_is_that_of_transformers_own_loss(command: Command) -> None:
    status, said, complaint = command("run=run", "steps=[0,2]", *TEXT)
    assert (status, complaint) == (0, "")
    folder = Path("run/evaluations/evaluation")
    tokenizer = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER)
    records = WordProblems(split="test", count=3, languages=["en", "zh"]).load()
    found: dict[tuple[int, str], float] = {}
    for step in (0, 2):
        model = checkpoint(step)
        for code in ("en", "zh"):
            nats, tokens = 0.0, 0
            for one in records:
                if one.language == code:
                    text = Prompts().render(one, tokenizer).text
                    ids = tokenizer(text).input_ids
                    ids = ids[:-1] if ids[-1] == tokenizer.eos_token_id else ids
                    nats += summed_loss(model, ids, 1)
                    tokens += len(ids) - 1
            (row,) = rows(folder / "table.csv", step=str(step), language=code, measure="nats", since="")
            assert float(row["value"]) == pytest.approx(nats / tokens, rel=1e-4)
            assert int(row["denominator"]) == tokens
            (exp,) = rows(folder / "table.csv", step=str(step), language=code, measure="perplexity")
            assert float(exp["value"]) == pytest.approx(math.exp(float(row["value"])))
            found[step, code] = float(row["value"])
    for step in (0, 2):
        (row,) = rows(folder / "table.csv", step=str(step), group="all languages", measure="nats", since="")
        assert float(row["value"]) == pytest.approx((found[step, "en"] + found[step, "zh"]) / 2)
    (row,) = rows(folder / "table.csv", language="zh", measure="nats", since="step 0")
    assert float(row["value"]) == pytest.approx(found[2, "zh"] - found[0, "zh"], abs=1e-9)
    assert row["p"] != ""
    assert f"{float(row['value']):+z.3f}".replace("-", "−") in said


def test_answers_are_those_of_generate(command: Command) -> None:
    status, said, complaint = command("run=run", "steps=[2]", *SUMS)
    assert (status, complaint) == (0, "")
    folder = Path("run/evaluations/evaluation")
    tokenizer, model = transformers.AutoTokenizer.from_pretrained(DEMO_FOLDER), checkpoint(2)
    (path,) = (folder / "records").glob("*.jsonl")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]
    assert len(lines) == 6
    for line in lines:
        ids = torch.tensor([tokenizer(line["prompt"], add_special_tokens=False).input_ids])
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        assert line["tokens"] == out[0, ids.shape[1] :].tolist()
    (row,) = rows(folder / "table.csv", language="zh", measure="right")
    assert float(row["value"]) == sum(line["right"] for line in lines if line["language"] == "zh") / 3
    (row,) = rows(folder / "table.csv", analysis="consistency", measure="same answer")
    assert (row["group"], row["language"], row["other"], row["denominator"]) == ("pair", "en", "zh", "3")
    assert "The same number in two languages, right or wrong: " in said


def test_drawn_answers_are_those_of_their_seed(command: Command) -> None:
    drawn = [*SUMS, "tasks.sums.temperature=2"]
    for name, more in {"one": [], "two": ["max_tokens_per_batch=60"], "three": ["tasks.sums.seed=1"]}.items():
        assert command("models=[builtin:demo]", *drawn, *more, f"folder={name}")[0] == 0
    one, two, three = (
        [json.loads(line)["tokens"] for path in Path(name).glob("records/*.jsonl") for line in path.open()]
        for name in ("one", "two", "three")
    )
    assert one == two
    assert one != three


def test_two_models_are_compared_pair_by_pair(command: Command) -> None:
    status, said, complaint = command(
        "models=[builtin:demo,run/checkpoints/step-000002]", *TEXT, *CHOICES, "folder=out"
    )
    assert (status, complaint) == (0, "")
    first, second = record("out", "builtin:demo", "text"), record("out", "step-000002", "text")
    assert first.nats is not None
    assert second.nats is not None
    assert first.counted is not None
    (row,) = rows(
        "out/table.csv", record="step-000002", group="language", language="zh", measure="nats", since="builtin:demo"
    )
    of = [number for number, item in enumerate(first.items) if item.language == "zh"]
    change = (second.nats - first.nats)[of, 0].sum() / first.counted[of].sum()
    assert float(row["value"]) == pytest.approx(float(change))
    assert float(row["low"]) < float(row["value"]) < float(row["high"])
    assert row["p_adjusted"] != ""
    assert "trained zh de; reference en" in said  # as the checkpoint itself says


def test_asked_again_no_model_is_loaded_and_other_languages_are_another_table(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = ["run=run", "steps=[0,2]", *TEXT, *SUMS]
    status, first, _ = command(*ask)
    assert status == 0
    folder = Path("run/evaluations/evaluation")
    before = contents(folder)

    def refuse(*_args: Any, **_options: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    status, again, complaint = command(*ask)
    assert (status, complaint) == (0, "")
    assert "0 of 4 records (model x task); 4 are there" in again
    assert again.partition("Text: nats")[2] == first.partition("Text: nats")[2]
    assert contents(folder) == before
    status, _, complaint = command(*ask, "languages=[zh]", "trained=[]")
    assert (status, complaint) == (0, "")
    assert {row["language"] for row in rows(folder / "table.csv")} == {"zh", ""}
    assert {row["group"] for row in rows(folder / "table.csv")} == {"language", "unseen", "all languages"}
    # Another name of a task, or of a model with the same weights, is no other record.
    status, said, _ = command("models=[builtin:demo]", *(one.replace("tasks.text", "tasks.other") for one in TEXT),
                              f"folder={folder}", "precision=32-true")  # fmt: skip
    assert status == 0
    assert "0 of 1 records" in said


@pytest.mark.parametrize(
    "written", [pytest.param(0, marks=pytest.mark.slow), 2, pytest.param(5, marks=pytest.mark.slow)]
)
def test_stopped_and_continued_it_ends_with_the_same(
    command: Command, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    ask = ["run=run", "steps=[0,2]", *TEXT, *SUMS, *CHOICES, "max_tokens_per_batch=120", "tasks.sums.temperature=1"]
    assert command(*ask, "name=whole")[0] == 0
    done: list[tuple[str, int]] = []
    write = Parts.write

    def stop(self: Parts, number: int, part: Any) -> None:
        if len(done) == written:
            raise KeyboardInterrupt
        done.append((str(self.path), number))
        write(self, number, part)

    with monkeypatch.context() as patched:
        patched.setattr(Parts, "write", stop)
        status, _, complaint = command(*ask, "name=killed")
    assert (status, complaint) == (130, "\nStopped by SIGINT. The same command goes on from what is done.\n")

    def count(self: Parts, number: int, part: Any) -> None:
        done.append((str(self.path), number))
        write(self, number, part)

    monkeypatch.setattr(Parts, "write", count)
    status, _, complaint = command(*ask, "name=killed")
    assert (status, complaint) == (0, "")
    assert len(done) == len(set(done)) > 6  # no part twice
    assert contents("run/evaluations/killed") == contents("run/evaluations/whole")
    assert not Path("run/evaluations/killed/parts").exists()


def test_what_is_damaged_is_measured_again(command: Command) -> None:
    ask = ["models=[builtin:demo]", *TEXT, *SUMS, "folder=out"]
    assert command(*ask)[0] == 0
    before = contents("out")
    (answers,) = Path("out/records").glob("*.jsonl")
    text = next(path for path in Path("out/records").glob("*.safetensors") if path.stem != answers.stem)
    answers.write_text(answers.read_text(encoding="utf-8").replace('"ended": ', '"ended":  ', 1), encoding="utf-8")
    data = bytearray(text.read_bytes())
    data[-8] ^= 1
    text.write_bytes(bytes(data))
    (Path("out") / "table.csv.0a1b2c-999999-0.partial").write_text("half")
    status, said, complaint = command(*ask)
    assert (status, complaint) == (0, "")
    assert said.count("It is measured again.") == 2
    assert contents("out") == before


def test_a_record_that_is_whole_stays_when_another_task_stops(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = EvaluationFolder.save

    def stop(self: EvaluationFolder, digest: str, measured: Any) -> None:
        if measured.effects.task == "sums":
            raise KeyboardInterrupt
        save(self, digest, measured)

    with monkeypatch.context() as patched:
        patched.setattr(EvaluationFolder, "save", stop)
        assert command("models=[builtin:demo]", *TEXT, *SUMS, "folder=out")[0] == 130
    status, said, _ = command("models=[builtin:demo]", *TEXT, *SUMS, "folder=out", "dry_run=true")
    assert status == 0
    assert "1 of 2 records (model x task); 1 are there" in said
    assert "batches are kept" in said


@pytest.mark.slow
def test_two_ranks_measure_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ask = ["models=[builtin:demo]", *TEXT, *SUMS, "tasks.sums.temperature=1", "max_tokens_per_batch=120"]
    assert main([*ask, "folder=one"]) == 0
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run([*launch, "-m", "alignlab.evaluate", *ask, "folder=two"], check=True, capture_output=True)
    assert contents("two") == contents("one")
