"""Bad input to `alignlab.evaluate`: one message that says where, what and what to do; exit 2; nothing is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from alignlab.evaluate import main

RUN, DEMO = ["run=run"], ["models=[builtin:demo]"]
TEXT = ["tasks.text.name=perplexity", "tasks.text.source.count=2", "tasks.text.source.languages=[en,zh]"]
FILES = ["tasks.q.name=multiple_choice", "tasks.q.questions.name=choices", "tasks.q.questions.languages=[en]",
         "tasks.q.questions.path=q.jsonl", "tasks.q.questions.options=[one,two]",
         "tasks.q.questions.template={text}"]  # fmt: skip


@dataclass
class Case:
    """argv: what the user typed.  says: what the message has.  make: changes the folder first, in which `run` lies."""

    argv: list[str]
    says: list[str]
    make: Callable[[Path], Any] = lambda folder: None


def questions(**changed: object) -> Callable[[Path], Any]:
    line = {"text": "Two and two are", "one": "four", "two": "five", "label": 0} | changed
    return lambda folder: (folder / "q.jsonl").write_text(json.dumps(line) + "\n")


def spoil(folder: Path) -> None:
    path = folder / "run/checkpoints/step-000002/adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def strange_folder(folder: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/notes.txt").write_text("mine")


def without_number(folder: Path) -> None:
    (folder / "en.tsv").write_text("How many?\tmany\n")


CASES = {
    "nothing set": Case(TEXT, ["neither a run nor models are set; expected one of them. Write run=runs/demo"]),
    "no task": Case(DEMO, ["tasks: none; expected one or more. Write tasks.text.name=perplexity"]),
    "both at once": Case(["name=x"], ["neither a run nor models are set", "tasks: none"]),
    "an unknown kind of task": Case(
        [*DEMO, "tasks.text.name=perplexitiy"], ["tasks.text.name is 'perplexitiy'", "Did you mean 'perplexity'?"]
    ),
    "a task without a kind": Case([*DEMO, "tasks.text.max_texts=3"], ["tasks.text.name: not set", "perplexity"]),
    "a key of another kind": Case(
        [*DEMO, *TEXT, "tasks.text.max_new_tokens=3"], ["there is no key 'tasks.text.max_new_tokens'"]
    ),
    "an unknown key": Case([*DEMO, *TEXT, "step=2"], ["there is no key 'step' (set to 2). Did you mean 'steps'?"]),
    "a task with a strange name": Case(
        [*DEMO, "tasks.a/b.name=perplexity"], ["tasks: one is called 'a/b'; expected letters, digits, _ and -"]
    ),
    "no such run": Case(["run=rum", *TEXT], ["run (rum): there is no such folder; expected the folder of a run. Did you mean 'run'"]),
    "a file as run": Case(["run=run/config.yaml", *TEXT], ["it is a file; expected the folder of a run"]),
    "a folder without a run": Case(["run=run/neurons", *TEXT], ["which says the model and the text"]),
    "no such step": Case([*RUN, *TEXT, "steps=[0,7,9]"], ["no checkpoint of step 7; expected one of: 0, 1, 2, last", "step 9"]),
    "a step twice": Case([*RUN, *TEXT, "steps=[1,1]"], ["expected steps from 0, or last, each once"]),
    "steps without a run": Case([*DEMO, *TEXT, "steps=[0]"], ["steps: set, and there is no run"]),
    "a model twice": Case(["models=[builtin:demo,builtin:demo]", *TEXT], ["expected models, each once"]),
    "no such model": Case(["models=[./nowhere]", *TEXT], ["nowhere"]),
    "a damaged checkpoint": Case([*RUN, *TEXT], ["adapter_model.safetensors", "expected a checkpoint as it was written"], spoil),
    "no such file of questions": Case([*DEMO, *FILES], ["tasks.q: q.jsonl: there is no such file"]),
    "a label that is none": Case([*DEMO, *FILES], ["q.jsonl:1", "what is right is '7'; expected one of: 0, 1"], questions(label=7)),
    "a column that there is not": Case([*DEMO, *FILES], ["q.jsonl:1", "'two'"], questions(two=None)),
    "no source of questions": Case([*DEMO, "tasks.q.name=multiple_choice"], ["tasks.q.questions"]),
    "an unknown source": Case(
        [*DEMO, "tasks.q.name=multiple_choice", "tasks.q.questions.name=xkopa"], ["tasks.q.questions.name is 'xkopa'", "Did you mean 'xcopa'?"]
    ),
    "mistakes in two tasks": Case(
        [*DEMO, *FILES, *TEXT[:1], "tasks.text.source.name=files", "tasks.text.source.path=none.txt", "tasks.text.source.languages=[en]"],
        ["q.jsonl: there is no such file", "none.txt"],
    ),
    "data that was not given": Case([*DEMO, "config=evaluate_real"], ["data"]),
    "problems without a number": Case(
        [*DEMO, "tasks.p.name=problems", "tasks.p.source.name=files", "tasks.p.source.path=en.tsv",
         "tasks.p.source.languages=[en]", "tasks.p.source.answer=1"],
        ["tasks.p.source: 1 of 1 records whose answer has no number", "Name the column of the answers in tasks.p.source.answer"],
        without_number,
    ),
    "answers longer than the model reads": Case(
        [*DEMO, "tasks.p.name=problems", "tasks.p.source.count=1", "tasks.p.max_new_tokens=100000"],
        ["tasks.p.max_new_tokens", "Set a smaller tasks.p.max_new_tokens"],
    ),
    "text without answers": Case(
        [*DEMO, "tasks.t.name=perplexity", "tasks.t.source.name=files", "tasks.t.source.path=en.tsv",
         "tasks.t.source.languages=[en]", "tasks.t.scope=response"],
        ["tasks.t.source: no token counts in 'en'; expected one or more in every language. Give answers, or set tasks.t.scope=all."],
        without_number,
    ),
    "an unknown language": Case([*DEMO, *TEXT, "languages=[en,xx]"], ["expected ISO 639 codes"]),
    "a language that is not measured": Case([*DEMO, *TEXT, "languages=[en,fr]"], ["languages: no task has fr; expected some of: en, zh"]),
    "no document": Case([*DEMO, *TEXT, "tasks.text.max_texts=0"], ["tasks.text.max_texts is 0; expected an integer, at least 1"]),
    "a temperature below 0": Case([*DEMO, "tasks.p.name=problems", "tasks.p.temperature=-1"], ["tasks.p.temperature is -1"]),
    "a name with a slash": Case([*DEMO, *TEXT, "name=a/b"], ["name is 'a/b'; expected a name without /"]),
    "somebody else's folder": Case([*DEMO, *TEXT, "folder=out"], ["folder (out): it holds something else"], strange_folder),
    "a run's folder": Case([*DEMO, *TEXT, "folder=run"], ["folder (run): it holds files of the kind run"]),
    "a precision that there is not": Case([*DEMO, *TEXT, "precision=8-true"], ["precision is '8-true'"]),
    "a secret as name": Case([*DEMO, *TEXT, "name=hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"], ["name: <token hidden>: it holds a secret"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(
    name: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = CASES[name]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, "run")
    case.make(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    capsys.readouterr()
    status = main(case.argv)
    said = capsys.readouterr().err
    assert status == 2, said
    for one in case.says:
        assert one in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_there_are_thirty() -> None:
    assert len(CASES) >= 30
