"""A run whose model answers problems, as a user runs it: plan, files, refusals, and what Python reads back."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

import alignlab.report
import alignlab.train
from alignlab import load_run
from alignlab.data.records import Record
from alignlab.data.sources import WordProblems
from alignlab.errors import InputError
from alignlab.neurons.table import Row, csv_text
from alignlab.runs import RunFolder

SMALL = (
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4", "probe.source.count=4",
    "probe.source.languages=[en,zh,sw]", "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled",
    "evaluation.source.count=3", "evaluation.source.languages=[en,zh,sw]", "evaluation.max_new_tokens=9",
    "run.folder=run",
)  # fmt: skip
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`alignlab.train` with the given arguments, in an empty folder: exit status, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        status = alignlab.train.main([*SMALL, *argv])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def test_a_run_leaves_its_answers_beside_its_snapshots(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    status, printed, complaints = command("data.train.without_templates=[bus,garden,bakery,age,hat,buys]")
    assert (status, complaints) == (0, "")
    assert "problems: 9 problems in 3 languages" in printed
    assert "answered 3 times" in printed
    assert "up to 81 written (9 an answer), 243 in all" in printed
    folder = Path("run")
    run = load_run(folder)
    assert {path.name for path in (folder / "evaluation").iterdir()} == {
        f"step-{step:06d}.{suffix}" for step in (0, 2, 4) for suffix in ("safetensors", "jsonl", "csv")
    }
    last = run.effects()
    assert (last.step, last.trained_languages, last.reference) == (4, ("zh", "de"), "en")
    assert run.effects(2).step == 2
    table = run.evaluation
    row = table[(table.step == 4) & (table.measure == "right") & (table.language == "zh") & table.since.isna()]
    right = [bool(hit) for item, hit in zip(last.items, last.right, strict=True) if item.language == "zh"]
    assert row.value.tolist() == [sum(right) / 3]
    with Path("run/metrics.csv").open(encoding="utf-8", newline="") as file:
        logged = {line["key"]: float(line["value"]) for line in csv.DictReader(file) if line["step"] == "4"}
    assert logged["capability/right/zh"] == sum(right) / 3
    assert logged["capability/step"] == 4
    # In the end summary the last table again, and where the answers are.
    summary = printed[printed.rindex("Answers at step 4") :]
    assert "3 in run/evaluation" in summary
    environment = json.loads(Path("run/environment.json").read_text())
    assert environment["evaluation_fingerprint"] == last.data_fingerprint
    with pytest.raises(InputError, match=r"the run has no answers of step 3; expected one of: 0, 2, 4"):
        run.effects(3)

    assert alignlab.report.main(["run=run", "intervals=none"]) == 0
    page = Path("run/report.html").read_text(encoding="utf-8")
    lead = page[page.index('<p class="lead">') :].split("</p>")[0]
    assert lead.startswith('<p class="lead">Did it help? Share of right answers, trained languages (zh): ')
    assert "; English (en): " in lead
    capsys.readouterr()

    # Found finished, what is damaged is named.
    answers = Path("run/evaluation/step-000002.jsonl")
    answers.write_text(
        answers.read_text(encoding="utf-8").replace('"right": false', '"right": true', 1), encoding="utf-8"
    )
    Path("run/evaluation/step-000004.jsonl").unlink()
    status, printed, complaints = command("data.train.without_templates=[bus,garden,bakery,age,hat,buys]")
    assert status == 0
    assert "holds this run, finished" in printed
    assert f"{answers}: it is damaged" in complaints
    assert "step-000004.jsonl: there is no such file" in complaints


def test_problems_that_are_trained_on_are_refused_and_named(command: Command) -> None:
    status, _, complaints = command("evaluation.source.split=train", "data.train.without_templates=[]")
    assert status == 2
    assert "evaluation.source: 3 problems are in the training data too: train-0-000000, train-0-000001" in complaints
    assert not Path("run").exists()


def test_every_source_is_read_once(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    own, read = WordProblems.load, []

    def load(self: WordProblems) -> list[Record]:
        read.append(self.model_dump_json())
        return own(self)

    monkeypatch.setattr(WordProblems, "load", load)
    assert command("dry_run=true")[0] == 0
    assert len(read) == len(set(read)) == 3  # of the training, the probe and the evaluation


def test_the_plan_says_what_of_the_problems_is_in_the_training_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = " ".join(f"word{number}" for number in range(20))
    training = [f"Translate: {long}", "Wie viel ist 3 + 4?", "Sonst nichts."]
    asked = {"en": [long.upper() + " 7", "What else, 5?"], "de": ["Wie viel ist 3+4", "Kurz, 2?"]}
    (tmp_path / "train.tsv").write_text("".join(f"{text}\t{text} 1\n" for text in training), encoding="utf-8")
    (tmp_path / "asked").mkdir()
    for code, questions in asked.items():
        lines = "".join(f"{question}\t3\n" for question in questions)
        (tmp_path / f"asked/{code}.tsv").write_text(lines, encoding="utf-8")
    arguments = ["config=demo", "dry_run=true", "wandb.mode=disabled", "data.train.name=files", "data.train.answer=1"]
    arguments += [f"data.train.path={tmp_path / 'train.tsv'}", "data.train.languages=[zh]", "probe.source.count=2"]
    arguments += ["evaluation.source.name=files", f"evaluation.source.path={tmp_path / 'asked'}"]
    arguments += ["evaluation.source.answer=1", f"run.folder={tmp_path / 'run'}"]
    assert alignlab.train.main(arguments) == 0
    said = " ".join(capsys.readouterr().out.split())
    expected = "whole problems 1 of 4; of those that are as long, with a run of 13 words that is in the training text: "
    assert f"in training {expected}en 1 of 1, none of the others" in said


def test_other_problems_than_the_run_began_with_are_refused(command: Command) -> None:
    assert command("trainer.max_time=00:00:00:01", "trainer.max_steps=2000")[0] == 0
    environment = json.loads(Path("run/environment.json").read_text())
    Path("run/environment.json").write_text(json.dumps(environment | {"evaluation_fingerprint": "0123456789abcdef"}))
    status, _, complaints = command("trainer.max_steps=2000")
    assert status == 2
    assert "evaluation: the problems of the evaluation, as tokenised, changed since" in complaints


def test_a_replaced_run_leaves_no_answers_of_the_first(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin("seed: 0\n")
    table = csv_text([Row(analysis="capability", step=0, value=0.5)])
    for name, text in (("evaluation.csv", table), ("evaluation/step-000000.csv", table), ("evaluation/notes.txt", "")):
        (folder.path / name).parent.mkdir(exist_ok=True)
        (folder.path / name).write_text(text, encoding="utf-8")
    line = {"language": "en", "id": "0", "prompt": "?", "tokens": [1]}
    (folder.evaluation / "step-000000.jsonl").write_text(json.dumps(line), encoding="utf-8")
    (folder.evaluation / "step-000000.jsonl.partial-0").write_text("", encoding="utf-8")
    assert folder.start("seed: 0\n", resume="auto", overwrite=True) == "new"
    folder.clear()
    assert {path.name for path in folder.evaluation.iterdir()} <= {"notes.txt", "step-000000.jsonl.partial-0"}
    assert not folder.evaluation_table.exists()
    # What somebody else has put there under such a name is not removed.
    folder.begin("seed: 0\n")
    (folder.evaluation / "step-000002.jsonl").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"step-000002\.jsonl, which alignlab did not write"):
        folder.start("seed: 0\n", resume="auto", overwrite=True)


def test_a_dry_run_says_what_the_answers_cost_and_what_is_wrong(command: Command) -> None:
    status, printed, _ = command("dry_run=true", "evaluation.every_n_steps=1")
    assert status == 0
    assert "answered 5 times" in printed
    assert not Path("run").exists()
    status, _, complaints = command("dry_run=true", "evaluation.max_new_tokens=100000")
    assert status == 2
    assert "evaluation.max_new_tokens" in complaints
