"""What is wrong with tasks of translation, MEXA and the harness: told with its key before a model is there; exit 2."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from alignlab.evaluate import main

sys.path.insert(0, str(Path(__file__).parent))
from parallel_texts import LINES, source

TR = ["tasks.t.name=translation", *source("t")]
MEXA = ["tasks.m.name=mexa", *source("m")]
LM = ["tasks.h.name=harness", "tasks.h.task=xcopa_{language}", "tasks.h.languages=[zh,sw]"]


def no_change(_folder: Path) -> None:
    """The files as they are."""


def other_lines(folder: Path) -> None:
    for code in LINES:
        (folder / f"{code}.jsonl").write_text(json.dumps({"text": "A house.", "id": code}) + "\n")


def long_line(folder: Path) -> None:
    for code in LINES:
        (folder / f"{code}.txt").write_text("A house.\n" + "word " * 2100 + "\n")


def conversations(folder: Path) -> None:
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    for code in LINES:
        (folder / f"{code}.jsonl").write_text(json.dumps({"talk": turns, "id": "1"}) + "\n")


# What is typed, and what the message says.
CASES: dict[str, tuple[list[str], list[str], Callable[[Path], Any]]] = {
    "a reference without text": (
        [*TR, "tasks.t.source.languages=[de,zh]"],
        ["tasks.t.source: text in de, zh; expected some in 'en' too, the reference. Name it among"],
        no_change,
    ),
    "one language": (
        [*MEXA, "tasks.m.source.languages=[en]"],
        ["tasks.m.source: text in en alone; expected another"],
        no_change,
    ),
    "sentences that are not parallel, in two tasks": (
        [
            *(one.replace(".txt", ".jsonl") for one in (*TR, *MEXA)),
            "tasks.t.source.prompt=text",
            "tasks.t.source.id=id",
            "tasks.m.source.prompt=text",
            "tasks.m.source.id=id",
        ],
        [
            "tasks.t.source: 0 of the sentences are in every language (de 1, en 1, zh 1); expected two or more",
            "tasks.m.source: 0 of the sentences are in every language",
        ],
        other_lines,
    ),
    "conversations": (
        [*(one.replace(".txt", ".jsonl") for one in MEXA), "tasks.m.source.messages=talk", "tasks.m.source.id=id"],
        ["tasks.m.source: conversations: 1, 1, 1; expected sentences"],
        conversations,
    ),
    "no such file": ([*TR, "tasks.t.source.languages=[de,en,fr]"], ["tasks.t: fr.txt"], no_change),
    "a template without the sentence": (
        [*TR, "tasks.t.template=Translate:"],
        ["tasks.t.template", "a text with {text} in it"],
        no_change,
    ),
    "an unknown direction": (
        [*TR, "tasks.t.direction=both"],
        ["tasks.t.direction", "from_reference", "into_reference"],
        no_change,
    ),
    "an unknown tokenizer": (
        [*TR, "tasks.t.tokenizer=13b"],
        ["tasks.t: tokenizer: '13b'; expected one of sacrebleu's", "Did you mean '13a'"],
        no_change,
    ),
    "answers longer than the model reads": (
        [*TR, "tasks.t.max_new_tokens=100000"],
        ["Set a smaller tasks.t.max_new_tokens, or take shorter sentences."],
        no_change,
    ),
    "one sentence": (
        [*MEXA, "tasks.m.max_texts=1"],
        ["tasks.m.max_texts is 1; expected an integer, at least 2"],
        no_change,
    ),
    "a sentence longer than the model reads": (
        MEXA,
        ["tasks.m.source: a text of", "for a model of 2048 positions; expected 2048 at most. Take shorter sentences."],
        long_line,
    ),
    "no language of a task of the harness": (
        ["tasks.h.name=harness", "tasks.h.task=copa", "tasks.h.languages=[]"],
        ["tasks.h.languages is []; expected one language or more"],
        no_change,
    ),
    "an unknown pooling": ([*MEXA, "tasks.m.pooling=mean"], ["tasks.m.pooling", "weighted", "last"], no_change),
    "a task without a name": (["tasks.h.name=harness", "tasks.h.languages=[en]"], ["tasks.h.task: not set"], no_change),
    "all that is wrong with a task of the harness": (
        [*LM, "tasks.h.task=xcopa_zh", "tasks.h.spelled={th: tha}", "tasks.h.folder=nowhere", "tasks.h.chat=true"],
        [
            "tasks.h.task: 'xcopa_zh' for 2 languages; expected {language} in it, or one language",
            "tasks.h.spelled: 'th'; expected some of the languages: zh, sw",
            "tasks.h.folder: there is no folder nowhere",
            "tasks.h.chat: true, but the tokenizer has no chat template",
            "pip install 'alignlab[lmeval]'",
        ],
        no_change,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    argv, says, change = CASES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # as where the extra is not installed
    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_args, **_options: 1 / 0)
    for code, lines in LINES.items():
        (tmp_path / f"{code}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    change(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    status = main(["models=[builtin:demo]", *argv])
    said = capsys.readouterr().err
    assert status == 2, said
    for one in says:
        assert one in said
    assert "Traceback" not in said
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
