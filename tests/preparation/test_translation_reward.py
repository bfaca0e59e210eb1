"""Rewards and pairs against MAPO's formula, each through transformers' own loss; stopped, continued, refused."""

from __future__ import annotations

import csv
import functools
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import alignlab.prepare
from alignlab.preparation import reward_texts, translation_rule
from alignlab.preparation.answers import Answer, Question
from alignlab.preparation.rewards_folder import RewardsFolder

sys.path.insert(0, str(Path(__file__).parents[1]))
from made_responses import make_responses
from tiny_translators import SIZES, make_nllb, save

Command = Callable[..., tuple[int, str, str]]
CODES = {"de": "deu_Latn", "en": "eng_Latn", "ja": "jpn_Jpan", "zh": "zho_Hans"}
SAID = {
    "de": "Anna hat {} Äpfel <<1+1=2>> und kauft {} dazu.\nSie hat also {}",
    "en": "Anna has {} apples <<1+1=2>> and buys {} more.\nSo she has {}",
    "ja": "りんごが{}個あります。{}個買いました。\n全部で{}",
    "zh": "小明有{}个苹果，又买了{}个。\n一共{}",
}
MOST = 40


def make_questions(count: int = 10, languages: tuple[str, ...] = ("de", "en", "ja")) -> list[Question]:
    """Questions with the number 7 as answer, and answers with all that is to be cleaned, cut or left out."""
    rng = np.random.default_rng(0)
    found = []
    for code in languages:
        for number in range(count):
            answers = []
            for _ in range(3):
                text = SAID[code].format(*rng.integers(3, 6, 2), rng.integers(6, 9))
                text += str(rng.choice(["", f"\n#### {rng.integers(6, 9)}", " " + "12 " * 40 + "7"], p=[0.4, 0.5, 0.1]))
                answers.append(Answer(text, 9, ended=bool(rng.random() < 0.8)))
            answers.append(Answer(answers[0].text.replace("<<1+1=2>>", ""), 9, ended=True))
            answers.append(Answer(str(rng.choice(["", "#### 7", "7\0", "7\n7"])), 9, ended=True))
            if code == "en" and number == 3:
                answers = [Answer("7\n7", 9, ended=True)]  # of which nothing is left
            found.append(Question(f"q{number}", code, f"t{number % 3}", f"Question {number}?", "#### 7", answers))
    return found


@pytest.fixture(scope="session")
def nllb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_nllb(tmp_path_factory.mktemp("translators") / "nllb")


@pytest.fixture
def command(tmp_path: Path, nllb: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Makes pairs by rewards in double precision, where batches change no number; pieces are small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reward_texts, "_TEXTS_OF_A_PIECE", 5)
    usual = [
        "responses=made", "rule.name=translation_reward", f"rule.model.source={nllb}", "rule.precision=64-true",
        f"rule.max_tokens={MOST}", "rule.max_tokens_per_batch=500",
    ]  # fmt: skip

    def run(*argv: str) -> tuple[int, str, str]:
        set_by = {argument.partition("=")[0] for argument in argv}
        arguments = [argument for argument in usual if argument.partition("=")[0] not in set_by]
        capsys.readouterr()
        status = alignlab.prepare.main(["preferences", *arguments, *argv])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pairs each call of the model's losses was of."""
    numbers: list[int] = []
    losses = translation_rule.translation_losses

    def count(model: Any, encoded: Any, decoded: Any, pairs: Any, **options: Any) -> Any:
        numbers.append(len(pairs))
        return losses(model, encoded, decoded, pairs, **options)

    monkeypatch.setattr(translation_rule, "translation_losses", count)
    return numbers


def rows(path: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n")[:-1]]


def near(found: list[float | None], expected: list[float | None], far: float) -> bool:
    """Whether numbers differ by no more than that share of them, and are missing in the same places."""
    return [one is None for one in found] == [one is None for one in expected] and np.allclose(
        [one for one in found if one is not None], [one for one in expected if one is not None], rtol=far, atol=0
    )


def english(answers: Any) -> list[str]:
    """MAPO's English answers: without marks, each once, none with a line twice."""
    texts = [re.sub("<<.*?>>", "", answer.text).split("####")[0].strip() for answer in answers]
    kept = [text for text in dict.fromkeys(texts) if len(set(text.split("\n"))) == len(text.split("\n"))]
    return [text for text in kept if text and "\0" not in text]


def loss_of(model: Any, tokenizer: Any, first: str, second: str, codes: tuple[str, str]) -> float:
    """transformers' mean loss of the second text given the first, both padded, padding masked and labelled -100."""
    tokenizer.src_lang = codes[0]
    ids = tokenizer(first, return_tensors="pt", truncation=True, max_length=MOST, padding="max_length")
    tokenizer.src_lang = codes[1]
    labels = tokenizer(second, return_tensors="pt", truncation=True, max_length=MOST, padding="max_length")["input_ids"]
    labels[labels == tokenizer.pad_token_id] = -100
    with torch.no_grad():
        return float(model(**ids, labels=labels).loss)


@functools.cache
def rewards_slowly(folder: Path, side: str) -> dict[tuple[str, str], list[float | None]]:
    """The reward of every answer to `make_questions()`, one pair after another."""
    questions = make_questions()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).double().eval()
    pivots = {one.id: english(one.answers) for one in questions if one.language == "en"}
    known: dict[tuple[str, ...], float] = {}
    found: dict[tuple[str, str], list[float | None]] = {}
    for one in questions:
        if one.language == "en":
            continue
        of_question: list[float | None] = []
        for answer in one.answers:
            text = re.sub("<<.*?>>", "", answer.text).split("####")[0].strip()
            if not text or "\0" in text or not pivots[one.id]:
                of_question.append(None)
                continue
            losses = []
            for other in pivots[one.id]:
                given, codes = (text, other), (CODES[one.language], CODES["en"])
                if side == "answer":
                    given, codes = given[::-1], codes[::-1]
                if (*given, *codes) not in known:
                    known[*given, *codes] = loss_of(model, tokenizer, *given, codes)
                losses.append(known[*given, *codes])
            of_question.append(float(np.mean([1 / loss for loss in losses])))
        found[one.language, one.id] = of_question
    return found


def pairs_slowly(
    questions: list[Question], rewards: dict[tuple[str, str], list[float | None]]
) -> dict[tuple[str, str], dict[tuple[str, str], tuple[float, float]]]:
    """MAPO's pairs of each question: down the ranking, each right answer over every lower one of other text."""
    found = {}
    for one in questions:
        if one.language == "en":
            continue
        ranked = [
            (round(value, 12), answer) for value, answer in zip(rewards[one.language, one.id], one.answers, strict=True)
            if value is not None
        ]  # fmt: skip
        ranked.sort(key=lambda pair: -pair[0])
        pairs = {}
        for place, (value, answer) in enumerate(ranked):
            numbers = re.findall(r"\d+", answer.text)
            if not answer.ended or not numbers or abs(float(numbers[-1]) - 7) > 1e-3:
                continue
            for lower, other in ranked[place + 1 :]:
                if lower != value and other.text.strip() != answer.text.strip():
                    pairs[answer.text.strip(), other.text.strip()] = (value, lower)
        found[one.language, one.id] = pairs
    return found


@pytest.mark.parametrize("side", ["pivot", "answer"])
def test_rewards_pairs_and_splits_are_mapos(command: Command, nllb: Path, side: str) -> None:
    questions = make_questions()
    make_responses(Path("made"), questions)
    status, _, complaint = command(f"rule.scored={side}", "dev_every=3")
    assert (status, complaint) == (0, "")
    expected = rewards_slowly(nllb, side)
    for code in ("de", "ja"):
        for row in rows(f"made/rewards/{code}/rewards.jsonl"):
            assert near(row["rewards"], expected[code, row["id"]], 1e-6)  # NLLB's places are float32
    slow = pairs_slowly(questions, expected)
    written: dict[tuple[str, str], dict[tuple[str, str], tuple[float, float]]] = {key: {} for key in slow}
    parts = {part: rows(f"made/preferences/{part}.jsonl") for part in ("train", "dev")}
    for row in parts["train"] + parts["dev"]:
        values = row["chosen_reward"], row["rejected_reward"]
        written[row["language"], row["question"]][row["chosen"], row["rejected"]] = values
    assert {key: set(found) for key, found in written.items()} == {key: set(found) for key, found in slow.items()}
    for key, found in written.items():
        for pair, values in found.items():
            assert values == pytest.approx(slow[key][pair], rel=1e-6)
    assert sum(map(len, written.values())) == len(parts["train"] + parts["dev"]) > 30
    assert {"q2"} <= {row["question"] for row in parts["dev"]} <= {"q2", "q5", "q8"}
    assert not {row["question"] for row in parts["train"]} & {"q2", "q5", "q8"}
    assert {row["language"] for row in parts["train"]} == {"de", "ja"}
    # Right answers are rejected too, which no rule of right and wrong would do.
    assert any(row["rejected"].endswith("7") for row in parts["train"])
    assert written["de", "q3"] == {}


def test_the_report_has_what_the_rewards_are(command: Command, nllb: Path) -> None:
    questions = make_questions()
    make_responses(Path("made"), questions)
    status, said, _ = command()
    assert status == 0
    expected = rewards_slowly(nllb, "pivot")
    with Path("made/preferences/report.csv").open(encoding="utf-8", newline="") as file:
        report = {row["language"]: row for row in csv.DictReader(file)}
    for code in ("de", "ja"):
        row, both = report[code], {True: [], False: []}  # type: ignore[var-annotated]
        higher = comparisons = 0.0
        for one in questions:
            if one.language != code:
                continue
            of_question: dict[bool, list[float]] = {True: [], False: []}
            for value, answer in zip(expected[code, one.id], one.answers, strict=True):
                if value is not None:
                    of_question[re.findall(r"\d+", answer.text)[-1] == "7"].append(round(value, 12))
            for first in of_question[True]:
                for second in of_question[False]:
                    comparisons += 1
                    higher += 1.0 if first > second else 0.5 if first == second else 0.0
            for verdict, values in of_question.items():
                both[verdict] += values
        every = both[True] + both[False]
        assert (int(row["scored"]), int(row["comparisons"])) == (len(every), comparisons)
        numbers = {
            "reward": np.mean(every), "reward_sd": np.std(every, ddof=1), "reward_right": np.mean(both[True]),
            "reward_wrong": np.mean(both[False]), "right_higher": higher / comparisons,
        }  # fmt: skip
        for name, number in numbers.items():
            assert float(row[name]) == pytest.approx(number, rel=1e-5)
        reasons = ("no_number", "unusable", "no_reward", "all_wrong", "right_cut", "lowest", "only_duplicates")
        assert int(row["paired"]) + sum(int(row[reason]) for reason in reasons) == 10
        assert int(row["no_reward"]) == 1
        line = next(line for line in said.partition("\nRewards\n")[2].splitlines() if line.startswith(f"{code} "))
        assert line.split()[1] == row["scored"]
        assert line.split()[-1] == f"{higher / comparisons:.1%}"


def test_each_pair_is_scored_once_and_a_second_run_computes_nothing(
    command: Command, nllb: Path, scored: list[int], tmp_path: Path
) -> None:
    questions = make_questions()
    make_responses(Path("made"), questions)
    shutil.copytree(nllb, "model")
    status, said, _ = command("rule.model.source=model", "dry_run=true")
    assert (status, scored) == (0, [])
    assert not Path("made/rewards").exists()
    planned = int(re.search(r"to score +([\d,]+) pairs", said)[1].replace(",", ""))  # type: ignore[index]
    assert re.search(r"tokens read, [\d,]+ scored; about [\d.]+e[+]\d+ FLOP", said)
    assert command("rule.model.source=model", "languages=[ja]")[0] == 0
    first = sum(scored)
    assert command("rule.model.source=model")[0] == 0
    tokenizer = transformers.AutoTokenizer.from_pretrained(nllb)
    distinct = {"de": 0, "ja": 0}
    for one in questions:
        if one.language != "en":
            texts = [re.sub("<<.*?>>", "", answer.text).split("####")[0].strip() for answer in one.answers]
            kept = [text for text in texts if text and "\0" not in text]
            tokens = {tuple(tokenizer(text, truncation=True, max_length=MOST)["input_ids"]) for text in kept}
            others = next(two for two in questions if (two.language, two.id) == ("en", one.id))
            distinct[one.language] += len(tokens) * len(english(others.answers))
    assert (first, sum(scored), planned) == (distinct["ja"], sum(distinct.values()), sum(distinct.values()))
    shutil.rmtree("model")  # which nobody needs any more
    before = {path: path.stat().st_mtime_ns for path in Path("made/rewards").rglob("*.*")}
    scored.clear()
    status, said, complaint = command("rule.model.source=model", "seed=3", "rule.max_tokens_per_batch=64")
    assert (status, complaint, scored) == (0, "", [])
    assert "the rewards of de ja: nothing is scored again" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize(
    "written", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(5, marks=pytest.mark.slow)]
)
def test_stopped_and_continued_it_ends_with_the_same_bytes(
    command: Command, scored: list[int], monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    make_responses(Path("made"), make_questions(5))
    assert command("rule.folder=whole", "folder=pairs")[0] == 0
    pieces = list(scored)
    scored.clear()
    parts: list[int] = []
    write = RewardsFolder.write_part

    def stop(self: RewardsFolder, number: int, *rest: Any) -> None:
        if len(parts) == written:
            raise KeyboardInterrupt
        parts.append(number)
        write(self, number, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(RewardsFolder, "write_part", stop)
        status, _, complaint = command()
    assert (status, complaint) == (130, "\nStopped by SIGINT. The same command goes on from what is done.\n")
    assert not Path("made/preferences").exists()
    scored.pop()  # what was not written
    status, _, complaint = command()
    assert (status, complaint) == (0, "")
    assert sorted(scored) == sorted(pieces)
    assert len(pieces) > 5
    for code in ("de", "ja"):
        name = f"{code}/rewards.jsonl"
        assert Path("made/rewards", name).read_bytes() == Path("whole", name).read_bytes()
        assert not Path("made/rewards", code, "parts").exists()
    for part in ("train", "dev"):
        assert Path(f"made/preferences/{part}.jsonl").read_bytes() == Path(f"pairs/{part}.jsonl").read_bytes()


def interrupted(command: Command, monkeypatch: pytest.MonkeyPatch, *argv: str) -> None:
    """Leave all parts of the first language, as a process does that is killed before it ends."""
    with monkeypatch.context() as patched:
        patched.setattr(RewardsFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command(*argv)[0] == 130


def test_what_a_killed_process_left_damaged_is_scored_again(
    command: Command, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_responses(Path("made"), make_questions(5))
    assert command("rule.folder=whole", "folder=pairs")[0] == 0
    interrupted(command, monkeypatch)
    first, second, third, *_ = sorted(Path("made/rewards/de/parts").iterdir())
    third.write_bytes(second.read_bytes())  # of other pairs
    first.write_bytes(first.read_bytes()[:-20])
    second.write_bytes(second.read_bytes().replace(b'"nats": [', b'"nats": [1', 1))
    Path("made/rewards/de/rewards.jsonl.0a1b2c-999999-0.partial").write_text("half")
    status, said, complaint = command()
    assert (status, complaint) == (0, "")
    assert said.count("is damaged; its pairs are scored again") == 3
    assert Path("made/rewards/de/rewards.jsonl").read_bytes() == Path("whole/de/rewards.jsonl").read_bytes()
    assert not list(Path("made").rglob("*.partial"))


def test_the_size_of_batches_changes_no_reward(command: Command) -> None:
    make_responses(Path("made"), make_questions(4))
    for most in (64, 100_000):
        assert command(f"rule.max_tokens_per_batch={most}", f"rule.folder=r{most}", f"folder=p{most}")[0] == 0
    for one, other in zip(rows("r64/ja/rewards.jsonl"), rows("r100000/ja/rewards.jsonl"), strict=True):
        assert near(one["rewards"], other["rewards"], 1e-9)
        assert one["places"] == other["places"]


def test_other_makings_are_refused(
    command: Command, nllb: Path, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    questions = make_questions(5)
    make_responses(Path("made"), questions)
    shutil.copytree(nllb, "model")
    model = "rule.model.source=model"
    interrupted(command, monkeypatch, model)
    complaint = refused(command, model, "rule.scored=answer")
    assert "rule.folder (made/rewards/de): it holds the rewards of another config; different are scored" in complaint
    assert "Set rule.folder to another folder." in complaint
    make_nllb(Path("model"), seed=1)
    complaint = refused(command, model)
    assert "rule.model.source: the weights of the translation model changed since made/rewards/de began" in complaint
    shutil.rmtree("model")
    shutil.copytree(nllb, "model")
    assert command(model)[0] == 0
    scored.clear()
    shutil.rmtree("made/preferences")
    rewards = Path("made/rewards")
    rewards.rename("rewards")
    shutil.rmtree("made")
    make_responses(Path("made"), questions[1:])
    Path("rewards").rename(rewards)
    complaint = refused(command, model)
    assert "rule.folder (made/rewards/de): it holds rewards of other answers" in complaint
    path = rewards / "ja/rewards.jsonl"
    path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    assert "rewards.jsonl is not as it was written" in refused(command, model)
    assert scored == []


def refused(command: Command, *argv: str) -> str:
    status, _, complaint = command(*argv)
    assert status == 2
    assert complaint.count("\n") == 2
    return complaint


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["rule.name=translation"], "rule.name is 'translation'; expected one of 'right_over_wrong', 'translation"),
        (["rule.model.source=nowhere/at/all"], "rule.model.source: there is no folder nowhere/at/all"),
        (["rule.model.source=builtin:demo"], "rule.model.source: builtin:demo (LlamaConfig) is no encoder-decoder"),
        (["rule.model.source=decoder"], "is no encoder-decoder; expected a translation model, such as facebook/nllb"),
        (["rule.model.source=unpadded"], "has no decoder_start_token_id; expected one, for what the decoder is given"),
        (["rule.model.source=weightless"], "rule.model.source: weightless holds no model.safetensors"),
        (["rule.model.source=torn"], "rule.model.source: torn/tokenizer.json cannot be read"),
        (["rule.model.source=small"], "the tokenizer gives token id"),
        (["rule.pivot=fr"], "rule.pivot: the responses have none in fr; expected some of: de, en, ja."),
        (["rule.pivot=english"], "rule.pivot is 'english'; expected ISO 639 codes"),
        (["languages=[en,de]"], "languages: en, by whose answers the others are ranked; expected other languages."),
        (["languages=[fr]"], "languages: the responses have none in fr"),
        (["rule.scored=both"], "rule.scored is 'both'; expected"),
        (["rule.codes={de: germ_Latn}"], "rule.codes.de: German: the tokenizer has no token 'germ_Latn'"),
        (["rule.codes={xx: deu_Latn}"], "'xx'"),
        (["rule.max_tokens=4000"], "rule.max_tokens: 4000, for a model of 128 positions; expected at most 128."),
        (["rule.max_tokens=1"], "rule.max_tokens is 1; expected an integer, at least 4"),
        (["rule.max_tokens_per_batch=0"], "rule.max_tokens_per_batch is 0; expected an integer, at least 1"),
        (["rule.precision=half"], "rule.precision is 'half'; expected"),
        (["rule.folder=made"], "rule.folder (made/de): it holds something else"),
        (["rule.folder=made/responses.jsonl"], "cannot be written to (Not a directory)"),
        (["rule.folder=ghp_0123456789abcdefghijABCDEFGHIJ012345"], "it holds a secret"),
        (["rule.modell.source=x"], "Did you mean 'rule.model.source'?"),
    ],
)
def test_bad_input_gets_one_message_before_the_model_is_loaded(
    command: Command, nllb: Path, model_folder: Path, scored: list[int], argv: list[str], message: str
) -> None:
    make_responses(Path("made"), make_questions(2))
    shutil.copytree(model_folder, "decoder")
    for folder in ("unpadded", "weightless", "torn", "small"):
        shutil.copytree(nllb, folder)
    for folder, name, value in (("unpadded", "decoder_start_token_id", None), ("small", "vocab_size", 100)):
        path = Path(folder, "config.json")
        path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    Path("weightless/model.safetensors").unlink()
    Path("torn/tokenizer.json").write_text("{")
    Path("made/de").mkdir()
    Path("made/de/mine").write_text("mine")
    before = sorted(Path().rglob("*"))
    complaint = refused(command, *argv)
    assert message in complaint
    assert scored == []
    assert sorted(Path().rglob("*")) == before


def test_answers_that_cannot_be_compared_are_refused(command: Command) -> None:
    make_responses(Path("made"), [one for one in make_questions(2) if one.language == "en"])
    assert "responses: all answers are in en; expected answers in other languages too" in refused(command)
    elsewhere = Question("elsewhere", "de", "t", "?", "7", [Answer("7", 1, ended=True)])
    make_responses(Path("other"), [*make_questions(2, ("en",)), elsewhere])
    complaint = refused(command, "responses=other")
    assert "rule.pivot: no question has both German and English answers of which text is left" in complaint
    assert "Questions that say the same have the same id in all languages." in complaint
    make_responses(Path("without"), make_questions(2, ("de", "ja")))
    assert "rule.pivot: the responses have none in en" in refused(command, "responses=without")


def test_a_language_that_the_model_has_not_is_named(command: Command) -> None:
    questions = [Question("q0", code, "t", "?", "7", [Answer("7", 1, ended=True)]) for code in ("en", "la", "br")]
    make_responses(Path("made"), questions)
    status, _, complaint = command()
    assert status == 2
    assert "rule.codes.la: Latin: the tokenizer has no token for it; expected one that it knows." in complaint
    assert "Name its token in rule.codes, such as rule.codes={br: br_XX}, or leave the language out." in complaint


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(command: Command, nllb: Path) -> None:
    make_responses(Path("made"), make_questions(2))
    shutil.copytree(nllb, "model")
    weights = Path("model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    assert "rule.model.source: the weights of model are damaged" in refused(command, "rule.model.source=model")
    assert not Path("made/rewards").exists()


def test_languages_are_not_scored_by_two_models(command: Command, nllb: Path, scored: list[int]) -> None:
    """The path is the same; what lies there is not."""
    make_responses(Path("made"), make_questions(4))
    shutil.copytree(nllb, "model")
    assert command("rule.model.source=model", "languages=[de]")[0] == 0
    shutil.rmtree("model")
    make_nllb(Path("model"), seed=1)
    scored.clear()
    complaint = refused(command, "rule.model.source=model")
    assert "rule.folder (made/rewards/de): it holds rewards by other weights of the translation model" in complaint
    assert scored == []
    assert not Path("made/rewards/ja").exists()
    shutil.rmtree("model")
    shutil.copytree(nllb, "model")
    assert command("rule.model.source=model")[0] == 0


def test_a_tokenizer_without_its_vocabulary_is_refused(command: Command, nllb: Path, scored: list[int]) -> None:
    """transformers makes one of it to which all is unknown: all rewards would be the same."""
    make_responses(Path("made"), make_questions(2))
    shutil.copytree(nllb, "model")
    Path("model/tokenizer.json").unlink()
    complaint = refused(command, "rule.model.source=model")
    assert "rule.model.source: the tokenizer of model knows nothing of the texts in de: all is unknown" in complaint
    assert scored == []


LENGTHS = {"max_encoder_position_embeddings": 128, "max_decoder_position_embeddings": 32, "attention_window": 8}
OTHERS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "a start that there is not": (
        transformers.MarianConfig, {"decoder_start_token_id": 9999}, "has decoder_start_token_id 9999, the model",
    ),
    "padding of -1": (transformers.M2M100Config, {"pad_token_id": -1}, "has pad_token_id -1, the model"),
    "lengths of each side": (transformers.LEDConfig, LENGTHS, "rule.max_tokens: 40, for a model of 32 positions"),
    "a decoder that wants its own input": (
        transformers.FSMTConfig, {"langs": ["en", "de"]}, "FSMTForConditionalGeneration takes no encoded text",
    ),
    "experts": (
        transformers.NllbMoeConfig, {"num_experts": 2, "encoder_sparse_step": 1, "decoder_sparse_step": 1},
        "is a mixture of experts",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(OTHERS))
def test_models_that_cannot_be_asked_are_refused_before_their_weights_are_read(
    command: Command, tokenizer: Any, scored: list[int], name: str
) -> None:
    make_responses(Path("made"), make_questions(2, ("de", "en")))
    kind, settings, says = OTHERS[name]
    ids = {"pad_token_id": tokenizer.pad_token_id, "decoder_start_token_id": 2, "eos_token_id": 2}
    vocabulary = {"src_vocab_size": len(tokenizer), "tgt_vocab_size": len(tokenizer)}
    own = SIZES | ids | (vocabulary if kind is transformers.FSMTConfig else {"vocab_size": len(tokenizer)}) | settings
    if "max_encoder_position_embeddings" in own:
        del own["max_position_embeddings"]
    kind(**own).save_pretrained("model")
    tokenizer.save_pretrained("model")
    Path("model/model.safetensors").write_bytes(b"never read")
    assert says in refused(command, "rule.model.source=model", "languages=[de]")
    assert scored == []
    assert not Path("made/rewards").exists()


def test_likelihoods_that_are_no_numbers_are_refused(command: Command, nllb: Path) -> None:
    make_responses(Path("made"), make_questions(2))
    shutil.copytree(nllb, "model")
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained("model")
    model.model.decoder.layers[0].fc1.weight.data.fill_(float("nan"))
    model.save_pretrained("model")
    complaint = refused(command, "rule.model.source=model")
    assert "rule.model.source: model gives a likelihood that is no number, or 1; expected losses over 0." in complaint


def one_direction(folder: Path, tokenizer: Any) -> Path:
    return save(folder, transformers.MarianConfig, tokenizer, decoder_start_token_id=tokenizer.pad_token_id)


def test_a_model_without_names_translates_one_language(command: Command, tokenizer: Any) -> None:
    questions = make_questions(4)
    make_responses(Path("made"), questions)
    folder = one_direction(Path("marian"), tokenizer)
    model = f"rule.model.source={folder}"
    complaint = refused(command, model)
    assert "languages: 2 languages (de, ja), and the model has no names for any; expected one, for a model" in complaint
    complaint = refused(command, model, "languages=[de]", "rule.codes={de: de}")
    assert "rule.codes: names of languages, but" in complaint
    status, said, complaint = command(model, "languages=[de]")
    assert (status, complaint) == (0, "")
    assert "no names: a model of one direction, for de" in said
    loaded = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).double().eval()
    of_id = {one.id: one for one in questions if one.language == "de"}
    others = {one.id: english(one.answers) for one in questions if one.language == "en"}
    for row in rows("made/rewards/de/rewards.jsonl"):
        text = re.sub("<<.*?>>", "", of_id[row["id"]].answers[0].text).split("####")[0].strip()
        ids = tokenizer(text, truncation=True, max_length=MOST, return_tensors="pt")["input_ids"]
        losses = []
        for other in others[row["id"]]:
            labels = tokenizer(other, truncation=True, max_length=MOST, return_tensors="pt")["input_ids"]
            with torch.no_grad():
                losses.append(float(loaded(input_ids=ids, labels=labels).loss))
        if losses:
            assert row["rewards"][0] == pytest.approx(np.mean([1 / loss for loss in losses]), rel=1e-6)


def test_a_tokenizer_that_is_told_in_the_text_is_refused(command: Command, tokenizer: Any) -> None:
    make_responses(Path("made"), make_questions(2))
    folder = one_direction(Path("marian"), tokenizer)
    changed = transformers.AutoTokenizer.from_pretrained(folder)
    changed.add_tokens([">>deu<<"])
    changed.save_pretrained(folder)
    complaint = refused(command, f"rule.model.source={folder}", "languages=[de]")
    assert "its tokenizer wants the language to translate into as a word in the text, such as >>deu<<" in complaint
