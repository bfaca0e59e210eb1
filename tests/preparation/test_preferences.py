"""Files of pairs against every combination of answers, made in the test; refused where nothing can be made of them."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alignlab.prepare
import alignlab.train
from alignlab.config import load
from alignlab.data.text_files import read_rows
from alignlab.options import TrainConfig
from alignlab.preparation.answers import Answer, Question
from alignlab.preparation.pairs import REASONS
from alignlab.preparation.responses_folder import ResponsesFolder

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_responses import make_responses

Command = Callable[..., tuple[int, str, str]]
LANGUAGES = ("de", "en", "zh")


def make_questions(count: int = 40) -> list[Question]:
    """Questions with the number 7 as answer, to which four answers each end with 5 to 8 and some are cut."""
    rng = np.random.default_rng(0)
    found = []
    for language in LANGUAGES:
        for number in range(count):
            answers = [
                Answer(f"[{rng.integers(3)}] {rng.integers(5, 9)}", 3, ended=bool(rng.random() < 0.8)) for _ in range(4)
            ]
            prompt = f'Question {number} in {language}: "=1+1" \u2028 </script>'
            found.append(Question(f"q{number}", language, f"t{number % 3}", prompt, "#### 7", answers))
    return found


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = alignlab.prepare.main(["preferences", "responses=made", *argv])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def pairs(name: str, folder: str = "made/preferences") -> list[dict[str, Any]]:
    return [dict(row.values) for row in read_rows(Path(folder, f"{name}.jsonl"))]  # type: ignore[misc]


def report(folder: str = "made/preferences") -> dict[str, dict[str, int]]:
    with Path(folder, "report.csv").open(encoding="utf-8", newline="") as file:
        return {row.pop("language"): {name: int(value) for name, value in row.items()} for row in csv.DictReader(file)}


def combinations(question: Question) -> set[tuple[str, str]]:
    """Every pair of texts of which the first ends, whole, with 7 and the second with another number."""
    sevens = {answer.text for answer in question.answers if answer.text.endswith("7") and answer.ended}
    others = {answer.text for answer in question.answers if not answer.text.endswith("7")}
    return set(product(sevens, others))


def test_every_pair_that_there_is_is_written_once(command: Command) -> None:
    questions = make_questions()
    make_responses(Path("made"), questions)
    status, _, complaint = command("cleaned=[]")
    assert (status, complaint) == (0, "")
    expected = {(one.language, one.id): combinations(one) for one in questions}
    written: dict[tuple[str, str], set[tuple[str, str]]] = {key: set() for key in expected}
    train, dev = pairs("train"), pairs("dev")
    for row in train + dev:
        written[row["language"], row["question"]].add((row["chosen"], row["rejected"]))
    assert written == expected
    assert len(train) + len(dev) == sum(map(len, expected.values())) > 100
    prompts = {(one.language, one.id): (one.prompt, one.cluster) for one in questions}
    assert all(prompts[row["language"], row["question"]] == (row["prompt"], row["cluster"]) for row in train + dev)
    assert {row["question"] for row in dev} <= {"q9", "q19", "q29", "q39"}
    assert not {row["question"] for row in train} & {"q9", "q19", "q29", "q39"}
    assert len({row["id"] for row in train + dev}) == len(train) + len(dev)  # no two languages share one


def test_the_next_command_trains_the_model_that_has_answered_as_it_was_asked(
    command: Command, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = tmp_path / "my # model"
    shutil.copytree(Path(str(resources.files("alignlab") / "assets" / "demo_model")), model)
    make_responses(Path("made"), make_questions(), json.dumps(str(model)))
    status, said, _ = command("folder=a b: #1")
    assert status == 0
    next_command = shlex.split(said.splitlines()[-1])
    assert next_command[:4] == ["Next:", "python", "-m", "alignlab.train"]
    few = ["probe.source.count=22", "probe.source.languages=[en,de]", "dry_run=true"]
    assert alignlab.train.main([*next_command[4:], *few]) == 0
    plan = capsys.readouterr().out
    assert f"{len(pairs('train', 'a b: #1'))} examples (" in plan
    config, _ = load(TrainConfig, next_command[4:])
    assert (config.model.source, config.data.prompts.template) == (str(model), "{prompt} ?")
    assert (config.method.name, config.data.train.cluster) == ("preference", "cluster")  # type: ignore[union-attr]
    # Answers to parallel questions are no translations: nothing takes them for such.
    assert alignlab.train.main([*next_command[4:], *few, "method.name=consistency"]) == 2
    complaint = capsys.readouterr().err
    assert "no id is that of pairs in two languages (there are de, en, zh)" in complaint
    assert "set method.name=preference for those" in complaint


def test_a_training_begins_with_no_adapter(command: Command, tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    make_responses(Path("made"), make_questions(), "adapter")
    status, said, _ = command()
    assert status == 0
    assert "adapter is an adapter, and a training begins with a model: merge it into its base first." in said
    assert "Next: python -m alignlab.train model.source=FOLDER method.name=preference" in said


def test_the_report_accounts_for_every_question(command: Command) -> None:
    questions = make_questions()
    make_responses(Path("made"), questions)
    status, said, _ = command("cleaned=[]", "pairs_per_language=12")
    assert status == 0
    found, taken = report(), Counter(row["language"] for row in pairs("train"))
    for language in LANGUAGES:
        row, own = found[language], [one for one in questions if one.language == language]
        assert row["questions"] == 40 == row["paired"] + sum(row[reason] for reason in REASONS)
        assert row["found"] == sum(len(combinations(one)) for one in own)
        assert row["train"] == taken[language]
        assert row["train"] + row["dev"] == 12 == row["paired"]  # of as many questions as there are
        assert row["over_limit"] == sum(bool(combinations(one)) for one in own) - 12 > 0
        ends = [[answer.text[-1] == "7" for answer in one.answers] for one in own]
        assert row["all_wrong"] == sum(not any(one) for one in ends)
        assert row["all_right"] == sum(all(one) for one in ends)
        assert row["right_cut"] == sum(
            any(one) and not all(one) and not combinations(question) for one, question in zip(ends, own, strict=True)
        )
        line = next(line for line in said.splitlines() if line.startswith(f"{language} ")).split()
        assert line[1:6] == [str(row[name]) for name in ("questions", "found", "train", "dev", "paired")]
    assert found["de"]["all_wrong"] > 0 < found["de"]["right_cut"]


def test_languages_change_neither_the_pairs_nor_what_is_set_apart(command: Command) -> None:
    make_responses(Path("made"), make_questions())
    assert command()[0] == 0
    whole = {name: pairs(name) for name in ("train", "dev")}
    assert command("languages=[zh]", "folder=some")[0] == 0
    for name, rows in whole.items():
        assert pairs(name, "some") == [row for row in rows if row["language"] == "zh"]
    assert command("dev_every=null", "folder=undivided")[0] == 0
    assert Path("undivided/dev.jsonl").read_bytes() == b""
    assert len(pairs("train", "undivided")) == sum(map(len, whole.values()))


def test_the_same_command_writes_the_same_bytes_and_another_seed_others(command: Command) -> None:
    make_responses(Path("made"), make_questions())
    for folder, seed in (("one", 0), ("two", 0), ("three", 1)):
        assert command(f"folder={folder}", "pairs_per_question=1", f"seed={seed}")[0] == 0
    assert Path("one/train.jsonl").read_bytes() == Path("two/train.jsonl").read_bytes()
    assert Path("one/train.jsonl").read_bytes() != Path("three/train.jsonl").read_bytes()
    counts = Counter((row["language"], row["question"]) for row in pairs("train", "one"))
    assert set(counts.values()) == {1}


def test_english_answers_are_cleaned_unless_told_otherwise(command: Command) -> None:
    texts = ("3 + 4 = <<3+4=7>>7\n#### 7", "3 + 4 = 8\n#### 8", "3 + 4 = 9\n3 + 4 = 9\n#### 9")
    answers = [Answer(text, 9, ended=True) for text in texts]
    make_responses(Path("made"), [Question("q", code, "t", "3 + 4?", "7", answers) for code in ("de", "en")])
    assert command("dev_every=null")[0] == 0
    found = [(row["language"], row["chosen"], row["rejected"]) for row in pairs("train")]
    assert sorted(found) == [
        ("de", texts[0], texts[1]), ("de", texts[0], texts[2]), ("en", "3 + 4 = 7", "3 + 4 = 8"),
    ]  # fmt: skip


def test_pairs_are_replaced_but_nothing_else_is(command: Command) -> None:
    make_responses(Path("made"), make_questions())
    assert command()[0] == 0
    assert command("pairs_per_language=5")[0] == 0
    assert report()["de"]["train"] <= 5
    Path("made/preferences/mine.txt").write_text("mine")
    status, _, complaint = command()
    assert status == 2
    assert "it also holds mine.txt, which alignlab did not write" in complaint
    Path("mine").mkdir()
    Path("mine/file").write_text("mine")
    assert "it holds something else" in command("folder=mine")[2]
    assert Path("mine/file").read_text() == "mine"


def test_a_dry_run_writes_nothing(command: Command) -> None:
    make_responses(Path("made"), make_questions())
    before = sorted(Path("made").rglob("*"))
    status, said, _ = command("dry_run=true")
    assert status == 0
    assert "40 questions in de, 40 questions in en, 40 questions in zh" in said
    assert sorted(Path("made").rglob("*")) == before


def refused(command: Command, *argv: str) -> str:
    status, _, complaint = command(*argv)
    assert status == 2
    assert complaint.count("\n") == 2
    return complaint


def test_what_cannot_be_used_is_refused_by_name(command: Command) -> None:
    assert "responses (made): there is no such folder; expected a folder of responses" in refused(command)
    questions = make_questions(2)
    made = make_responses(Path("made"), questions)
    assert "languages: the responses have none in fr; expected some of: de, en, zh." in refused(
        command, "languages=[fr]"
    )
    assert "languages is []; expected one language or more, or null." in refused(command, "languages=[]")
    made.responses.write_bytes(made.responses.read_bytes()[:-1])
    assert "made: responses.jsonl is not as it was written" in refused(command)
    unfinished = ResponsesFolder(Path("begun"))
    unfinished.begin("{}\n", {})
    assert "its answers are not all there yet; expected finished ones. Go on with: python -m" in refused(
        command, "responses=begun"
    )
    Path("else").mkdir()
    assert "it holds no responses" in refused(command, "responses=else")


def test_without_any_pair_it_says_why_and_writes_nothing(command: Command) -> None:
    answers = [Answer("7", 1, ended=True), Answer("so 7", 1, ended=True)]
    wrong = [Answer("8", 1, ended=True)]
    questions = [Question("a", "de", "t", "?", "7", answers), Question("b", "de", "t", "?", "7", wrong)]
    make_responses(Path("made"), questions)
    complaint = refused(command)
    assert "no pair for training (no answer that is left is right: 1; no answer that is left is wrong: 1)" in complaint
    assert not Path("made/preferences").exists()
