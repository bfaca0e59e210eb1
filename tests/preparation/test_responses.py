"""Answers against a loop that draws token by token from plain forwards; stopped, continued, refused."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
import transformers

import alignlab.prepare
from alignlab.preparation import responses
from alignlab.preparation.responses_folder import ResponsesFolder

QUESTIONS = {
    "de": ["Anna hat 12 Äpfel. Wie viele?", "Wie lang ist die Straße?", "Kauft sie 7 dazu?"],
    "en": ["Anna has 12 apples. How many?", "How long is the street, how green the house?", "Does she buy 7 more?"],
}
SAMPLES, NEW = 3, 6
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, model_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Answers the questions in `questions`, in double precision, where batches change no number."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions").mkdir()
    for code, texts in QUESTIONS.items():
        rows = [{"text": text, "answer": f"#### {number}", "of": "a"} for number, text in enumerate(texts)]
        (tmp_path / f"questions/{code}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    usual = [
        f"model.source={model_folder}", "precision=64-true", "source.name=files", "source.path=questions",
        "source.prompt=text", "source.answer=answer", "source.cluster=of", f"samples={SAMPLES}",
        f"max_new_tokens={NEW}", "temperature=0.9", "top_p=0.95", "seed=5", "folder=out",
    ]  # fmt: skip

    def run(*argv: str) -> tuple[int, str, str]:
        set_by = {argument.partition("=")[0] for argument in argv}
        arguments = [argument for argument in usual if argument.partition("=")[0] not in set_by]
        capsys.readouterr()
        status = alignlab.prepare.main(["responses", *arguments, *argv])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def rows(folder: str = "out") -> list[dict[str, Any]]:
    text = Path(folder, "responses.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def answers(folder: str = "out") -> dict[tuple[str, str], list[str]]:
    return {(row["language"], row["id"]): [answer["text"] for answer in row["answers"]] for row in rows(folder)}


def contents(folder: str) -> dict[str, bytes]:
    """What was made, and whatever was left behind: not what names the folder or the machine."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.name in ("responses.jsonl", "table.csv") or path.suffix == ".partial"
    }


def drawn_slowly(model: Any, tokenizer: Any, text: str, name: str, temperature: float, top_p: float) -> list[int]:
    """An answer, a token at a time: the first whose share of the sorted-out probabilities reaches the number."""
    key = int.from_bytes(hashlib.sha256(f"5\0{name}".encode()).digest()[:16], "little")
    generator = np.random.Philox(key=key)
    ids, new = tokenizer(f"{text}\n")["input_ids"], []
    while len(new) < NEW and (not new or new[-1] != tokenizer.eos_token_id):
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids + new]), use_cache=False).logits[0, -1]
        shares = torch.softmax(logits / temperature, -1).tolist()
        order = sorted(range(len(shares)), key=lambda token: -shares[token])
        above = [0.0, *itertools.accumulate(shares[token] for token in order)]
        kept = {token for token, before in zip(order, above, strict=False) if before < top_p}
        sums = list(itertools.accumulate(share if token in kept else 0.0 for token, share in enumerate(shares)))
        new.append(bisect.bisect_right(sums, int(generator.random_raw()) // 2**12 / 2**52 * sums[-1]))
    return new


def test_every_answer_is_drawn_from_the_models_probabilities(
    command: Command, session_llama: Any, tokenizer: Any, tiny_llama: Any
) -> None:
    status, said, complaint = command("max_tokens_per_batch=60")
    assert (status, complaint) == (0, "")
    assert [(row["language"], row["id"], row["cluster"]) for row in rows()] == [
        (code, str(number), "a") for code in ("de", "en") for number in (1, 2, 3)
    ]
    model, cut = tiny_llama.double(), 0
    for row in rows():
        place = int(row["id"]) - 1
        assert row["prompt"] == QUESTIONS[row["language"]][place]
        assert row["reference"] == f"#### {place}"
        for number, answer in enumerate(row["answers"]):
            name = f"{row['language']}\0{row['id']}\0{number}"
            tokens = drawn_slowly(model, tokenizer, row["prompt"], name, 0.9, 0.95)
            text = tokenizer.decode(tokens, skip_special_tokens=True)
            assert answer == {"text": text, "tokens": len(tokens), "ended": tokens[-1] == tokenizer.eos_token_id}
            cut += not answer["ended"]
    assert len({text for texts in answers().values() for text in texts}) > 12
    total = 2 * 3 * SAMPLES
    mean = sum(answer["tokens"] for row in rows() for answer in row["answers"]) / total
    assert f"{2 * 3:,} in de en" in said
    assert "python -m alignlab.prepare preferences responses=out" in said
    table = Path("out/table.csv").read_text().splitlines()
    assert table[0] == "language,questions,answers,judged,right,tokens,cut,distinct"
    numbers = np.array([list(map(int, line.split(",")[1:])) for line in table[1:]])
    assert [line.split(",")[0] for line in table[1:]] == ["de", "en"]
    assert numbers.sum(0)[[0, 1, 2, 5]].tolist() == [6, total, total, cut]
    assert numbers.sum(0)[4] == round(mean * total)


def test_neither_batches_nor_other_questions_change_an_answer(command: Command) -> None:
    assert command()[0] == 0
    whole = answers()
    assert command("folder=small", "max_tokens_per_batch=1")[0] == 0
    assert answers("small") == whole
    assert command("folder=german", "languages=[de]")[0] == 0
    assert answers("german") == {key: texts for key, texts in whole.items() if key[0] == "de"}
    assert command("folder=more", "samples=5")[0] == 0
    assert {key: texts[:SAMPLES] for key, texts in answers("more").items()} == whole
    assert command("folder=other", "seed=6")[0] == 0
    assert answers("other") != whole


def test_at_temperature_zero_it_is_transformers_greedy_answer(
    command: Command, model_folder: Path, tokenizer: Any, tiny_llama: Any
) -> None:
    assert command("temperature=0", "samples=1", "precision=32-true")[0] == 0
    config = transformers.GenerationConfig(do_sample=False, max_new_tokens=NEW, pad_token_id=2, eos_token_id=1)
    for (language, number), (text,) in answers().items():
        ids = tokenizer(QUESTIONS[language][int(number) - 1] + "\n", return_tensors="pt")["input_ids"]
        greedy = tiny_llama.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)
        assert text == tokenizer.decode(greedy[0, ids.shape[1] :], skip_special_tokens=True)


def test_an_adapter_answers_on_the_base_that_it_names(
    command: Command, model_folder: Path, tokenizer: Any, tiny_llama: Any
) -> None:
    config = peft.LoraConfig(r=4, target_modules=["gate_proj", "q_proj"], init_lora_weights=False)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        adapted = peft.get_peft_model(tiny_llama, config).double()
    adapted.peft_config["default"].base_model_name_or_path = str(model_folder)
    adapted.save_pretrained("adapter")
    assert command("folder=base", "languages=[de]")[0] == 0
    assert command("model.source=adapter", "languages=[de]")[0] == 0
    assert answers() != answers("base")
    for (language, number), texts in answers().items():
        text = QUESTIONS[language][int(number) - 1]
        slow = [drawn_slowly(adapted, tokenizer, text, f"{language}\0{number}\0{n}", 0.9, 0.95) for n in range(SAMPLES)]
        assert texts == [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in slow]


@pytest.mark.parametrize("written", [0, 1, 4])
def test_stopped_and_continued_it_ends_with_the_same_bytes(
    command: Command, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    small = "max_tokens_per_batch=60"
    assert command("folder=whole", small)[0] == 0
    parts: list[int] = []
    write = ResponsesFolder.write_part

    def stop(self: ResponsesFolder, batch: int, *rest: Any) -> None:
        if len(parts) == written:
            raise KeyboardInterrupt
        parts.append(batch)
        write(self, batch, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(ResponsesFolder, "write_part", stop)
        status, _, complaint = command(small)
    assert (status, complaint) == (130, "\nStopped by SIGINT. The same command goes on from what is done.\n")
    assert len(list(Path("out").glob("parts/part-*.jsonl"))) == written
    asked = responses.generate

    def ask(model: Any, prompts: Any, **options: Any) -> Any:
        parts.append(len(prompts))
        return asked(model, prompts, **options)

    monkeypatch.setattr(responses, "generate", ask)
    status, said, complaint = command(small)
    assert (status, complaint) == (0, "")
    assert (f", {written} of them done" in said) == (written > 0)
    batches = int(said.partition("batches")[2].split()[0].strip(",;"))
    assert len(parts) == batches  # none twice
    assert contents("out") == contents("whole")
    assert not Path("out/parts").exists()


def test_what_a_killed_process_left_is_made_again(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    small = "max_tokens_per_batch=60"
    assert command("folder=whole", small)[0] == 0
    with monkeypatch.context() as patched:
        patched.setattr(ResponsesFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command(small)[0] == 130
    first, second, third, *_ = sorted(Path("out/parts").iterdir())
    first.write_bytes(first.read_bytes()[:-20])  # torn
    second.write_bytes(second.read_bytes().replace(b'"tokens": ', b'"tokens": 1', 1))  # valid JSON, other numbers
    third.write_bytes(Path("out/parts/part-000003.jsonl").read_bytes())  # of other answers
    Path("out/responses.jsonl.0a1b2c-999999-0.partial").write_text("half")
    Path("out/parts/part-000001.jsonl.0a1b2c-999999-0.partial").write_text("half")
    status, said, complaint = command(small)
    assert (status, complaint) == (0, "")
    assert said.count("is damaged; its answers are made again") == 3
    assert contents("out") == contents("whole")


def test_finished_answers_are_shown_and_left_alone(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    status, first, _ = command()
    before = {path: path.stat().st_mtime_ns for path in Path("out").iterdir() if path.name != ".lock"}
    monkeypatch.setattr(responses, "generate", None)
    Path("out/parts").mkdir()
    Path("out/parts/part-000000.jsonl").write_text("of a process that was killed as it removed it")
    status, again, complaint = command()
    assert (status, complaint) == (0, "")
    assert "holds these answers, all of them" in again
    assert again.partition("\nAnswers\n")[2] == first.partition("\nAnswers\n")[2] != ""
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not Path("out/parts").exists()


def test_a_dry_run_writes_nothing(command: Command, tmp_path: Path) -> None:
    status, said, complaint = command("dry_run=true")
    assert (status, complaint) == (0, "")
    assert (
        f"{6 * SAMPLES}: {SAMPLES} to each, drawn at temperature 0.9, top_p 0.95; at most {6 * SAMPLES * NEW}" in said
    )
    assert [path.name for path in tmp_path.iterdir()] == ["questions"]


def test_too_long_questions_are_left_out_and_counted(command: Command, tokenizer: Any) -> None:
    lengths = {code: [len(tokenizer(f"{text}\n")["input_ids"]) for text in texts] for code, texts in QUESTIONS.items()}
    longest = max(length for of_language in lengths.values() for length in of_language)
    status, said, _ = command(f"max_prompt_tokens={longest - 1}")
    assert status == 0
    code = next(code for code in lengths if longest in lengths[code])
    assert f"longer than {longest - 1} tokens: 1 in {code}" in said
    assert len(rows()) == 5


def test_text_is_kept_as_it_is(command: Command) -> None:
    text = 'Look: [bold]=1+1[/bold] {prompt} <b> \u2028 \x1b[2J "quoted" \\ end\n\nnew'
    row = {"text": text, "answer": "1", "of": "a"}
    Path("questions/en.jsonl").write_text(json.dumps(row) + "\n")
    Path("questions/de.jsonl").unlink()
    status, said, _ = command()
    assert status == 0
    assert rows()[0]["prompt"] == text
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["temperature=0"], "command line: temperature: 0, and samples is 3; expected one answer: the likeliest"),
        (["languages=[fr,en]"], "command line: languages: the source has none in fr; expected some of: de, en."),
        (["languages=[]"], "command line: languages is []; expected one language or more, or null."),
        (["max_prompt_tokens=1"], "max_prompt_tokens: all 6 questions are of more than 1 tokens"),
        (["max_new_tokens=3000"], "for a model of 2048 positions; expected 2048 together at most. Set a smaller"),
        (["top_p=0"], "command line: top_p is 0; expected a number, above 0 and at most 1."),
        (["temprature=1"], "Did you mean 'temperature'?"),
        (["model.source=nowhere/at/all"], "there is no folder nowhere/at/all"),
        (["folder=questions"], "folder (questions): it holds something else; expected a new folder"),
        (["folder=questions/de.jsonl"], "folder: questions/de.jsonl cannot be written to (Not a directory)"),
        (["source.path=nothing"], "nothing: there is no such file or folder"),
        (["folder=ghp_0123456789abcdefghijABCDEFGHIJ012345"], "it holds a secret"),
    ],
)
def test_bad_input_gets_one_message(command: Command, tmp_path: Path, argv: list[str], message: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, said, complaint = command(*argv)
    assert status == 2
    assert message in complaint
    assert complaint.count("\n") == 2  # an empty line and the message
    assert "Answering" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_answers_of_other_makings_are_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ResponsesFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command()[0] == 130
    status, _, complaint = command("seed=7", "top_p=0.5")
    assert status == 2
    different = "top_p (0.95 there, 0.5 here); seed (5 there, 7 here)"
    assert f"it holds the answers of another config; different are {different}; expected the same config" in complaint
    path = Path("questions/de.jsonl")
    path.write_text(path.read_text().replace("Wie lang", "Wie breit"))
    status, _, complaint = command()
    assert status == 2
    assert "source: the questions, as tokenised, changed since out began (" in complaint
    assert complaint.count("\n") == 2


def test_damaged_answers_are_refused_by_name(command: Command) -> None:
    assert command()[0] == 0
    path = Path("out/responses.jsonl")
    path.write_bytes(path.read_bytes().replace(b"Anna", b"Hans", 1))
    status, _, complaint = command()
    assert status == 2
    assert "out: responses.jsonl is not as it was written" in complaint


def test_other_weights_are_refused(command: Command, model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(model_folder, "model")
    with monkeypatch.context() as patched:
        patched.setattr(ResponsesFolder, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command("model.source=model")[0] == 130
    model = transformers.AutoModelForCausalLM.from_pretrained("model")
    model.lm_head.weight.data[0, 0] += 1
    model.save_pretrained("model")
    status, _, complaint = command("model.source=model")
    assert status == 2
    assert "model.source: the weights of the model changed since out began (" in complaint


def test_a_model_that_cannot_be_loaded_leaves_nothing_behind(command: Command, model_folder: Path) -> None:
    shutil.copytree(model_folder, "model")
    weights = Path("model/model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-100])
    status, _, complaint = command("model.source=model")
    assert status == 2
    assert "model.source: the weights of model are damaged" in complaint
    assert not Path("out").exists()
