"""How records become examples: conversations against transformers' own masks, pairs and texts against slow loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from alignlab.data.encoding import fingerprint
from alignlab.data.examples import AnswerPairs, Answers, ParallelPairs, Texts
from alignlab.data.options import DataConfig
from alignlab.data.prompts import Prompts
from alignlab.data.records import Message, Record
from alignlab.data.sources import Files, Mixture, Pairs, Part
from alignlab.data.training import load_training
from alignlab.errors import InputError

TURNS = (
    Message("system", "Be brief."),
    Message("user", "Anna hat 12 Äpfel?"),
    Message("assistant", "12 Äpfel."),
    Message("user", "и 7?"),
    Message("assistant", " 19, also {{ 19 }}\n"),
)
CHATML = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# A turn that is not the last loses its text.
FORGETS = (
    "{% for m in messages %}{% if m.role == 'user' or loop.last %}[{{ m.role }}]{{ m.content }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}"
)
NO_END = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def with_template(tokenizer: PreTrainedTokenizerFast, template: str) -> Any:
    own = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    own.chat_template = template
    return own


def conversation(*turns: Message) -> Record:
    return Record("1", "de", "", messages=turns)


@pytest.mark.parametrize("count", [3, 5])
def test_the_mask_of_a_conversation_is_transformers_own(tokenizer: PreTrainedTokenizerFast, count: int) -> None:
    chat = with_template(tokenizer, CHATML)
    turns = [message._asdict() for message in TURNS[:count]]
    own = chat.apply_chat_template(turns, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    assert 0 < sum(own["assistant_masks"]) < len(own["input_ids"])
    (found,) = Answers().of([conversation(*TURNS[:count])], chat, Prompts(), max_length=500).examples
    assert found.tokens.tolist() == own["input_ids"]
    assert found.answer.tolist() == [bool(mark) for mark in own["assistant_masks"]]


def test_what_the_assistant_says_is_learnt_and_an_eos_where_the_template_has_none(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    chat = with_template(tokenizer, NO_END)
    (found,) = Answers().of([conversation(*TURNS)], chat, Prompts(), max_length=500).examples
    assert chat.decode(found.tokens[found.answer]) == "12 Äpfel. 19, also {{ 19 }}<eos>"
    (unanswered,) = Texts().of([conversation(*TURNS[:4])], chat, Prompts(), max_length=500).examples
    assert unanswered.tokens[-1] != chat.eos_token_id  # nobody has ended a text that waits for an answer


def test_the_system_message_of_the_prompts_stands_where_a_conversation_has_none(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    chat, prompts = with_template(tokenizer, NO_END), Prompts(system="Short!")
    for turns, start in ((TURNS, "[system]Be brief."), (TURNS[1:], "[system]Short!\n[user]")):
        (found,) = Answers().of([conversation(*turns)], chat, prompts, max_length=500).examples
        assert chat.decode(found.tokens).startswith(start)


def test_a_template_that_writes_turns_otherwise_later_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = with_template(tokenizer, FORGETS)
    Answers().of([conversation(*TURNS[1:3])], chat, Prompts(), max_length=500)
    with pytest.raises(InputError, match=r"a turn otherwise once the conversation goes on \(document '1', turn 2"):
        Answers().of([conversation(*TURNS[1:])], chat, Prompts(), max_length=500)


def test_a_conversation_that_answers_nothing_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    chat = with_template(tokenizer, NO_END)
    with pytest.raises(InputError, match="the conversation of document '1' begins with the assistant"):
        Answers().of([conversation(*TURNS[2:])], chat, Prompts(), max_length=500)


def test_conversations_without_a_template_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(InputError, match=r"the tokenizer has no chat template; expected one\. Conversations .a column"):
        Answers().of([conversation(*TURNS)], tokenizer, Prompts(), max_length=500)


def test_a_conversation_without_an_answer_is_left_out(tokenizer: PreTrainedTokenizerFast) -> None:
    found = Answers().of([conversation(*TURNS[:2])], with_template(tokenizer, NO_END), Prompts(), max_length=500)
    assert (found.examples, found.dropped) == ([], 1)


def test_conversations_come_from_a_column(tmp_path: Path) -> None:
    turns = [message._asdict() for message in TURNS]
    (tmp_path / "de.jsonl").write_text(json.dumps({"chat": turns}) + "\n")
    (record,) = Files(path=str(tmp_path), messages="chat").load()
    assert (record.messages, record.prompt, record.answer) == (TURNS, "", "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("text", "column 'chat' holds str; expected a list of turns such as {role: user, content: ...}."),
        ([], "column 'chat' holds an empty list; expected a list of turns such as {role: user, content: ...}."),
        ([3], "turn 1 of column 'chat' holds int; expected an object with role and content."),
        ([{"rol": "user"}], "turn 1 of column 'chat' holds keys rol; expected an object with role and content."),
        (
            [{"role": "asistant", "content": "x"}],
            "the role of turn 1 of column 'chat' is 'asistant'; expected one of system, user, assistant. "
            "Did you mean 'assistant'?",
        ),
        ([{"role": "user", "content": " "}], "the content of turn 1 of column 'chat' is ' '; expected text."),
    ],
)
def test_what_is_no_conversation_is_refused_by_its_line(tmp_path: Path, value: object, said: str) -> None:
    (tmp_path / "de.jsonl").write_text(json.dumps({"chat": value}) + "\n")
    with pytest.raises(InputError) as refused:
        Files(path=str(tmp_path), messages="chat").load()
    assert str(refused.value) == f"{tmp_path}/de.jsonl:1: {said}"


def test_of_a_text_every_token_is_learnt(tokenizer: PreTrainedTokenizerFast) -> None:
    records = [Record("1", "de", "Anna hat 12", "Äpfel"), Record("2", "de", "7")]
    first, second = Texts().of(records, tokenizer, Prompts(template="{prompt}"), max_length=500).examples
    assert tokenizer.decode(first.tokens) == "<bos>Anna hat 12Äpfel<eos>"
    assert tokenizer.decode(second.tokens) == "<bos>7<eos>"
    assert first.answer.all()
    assert Texts().weight(first) == len(first) - 1  # the first token is predicted from nothing


def pairs_file(folder: Path, *rows: dict[str, object]) -> Pairs:
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pairs(path=str(folder / "pairs.jsonl"))


ROW = {"id": "q1-1", "question": "q1", "language": "de", "prompt": "12?", "chosen": "12", "rejected": "7, oder 19"}


def test_pairs_are_read_and_lie_chosen_above_rejected(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    source = pairs_file(tmp_path, ROW, {**ROW, "language": "sw"}, {**ROW, "id": "q2-1", "chosen": "zwölf"})
    records = source.model_copy(update={"cluster": "question", "limit": 1}).load()
    assert [(one.id, one.language, one.cluster, one.answer, one.rejected) for one in records] == [
        ("q1-1", "de", "q1", "12", "7, oder 19"),
        ("q1-1", "sw", "q1", "12", "7, oder 19"),
    ]
    pairs = AnswerPairs().of(source.load(), tokenizer, Prompts(), max_length=500).examples
    assert [pair.language for pair in pairs] == ["de", "sw", "de"]
    batch = AnswerPairs().collate(pairs, pad_id=2)
    texts = [
        tokenizer.decode(row[mask == 1]) for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert texts == [f"<bos>12?\n{answer}<eos>" for answer in ("12", "12", "zwölf", *["7, oder 19"] * 3)]
    learnt = [tokenizer.decode(row[mask]) for row, mask in zip(batch["input_ids"], batch["answer"], strict=True)]
    assert learnt == [f"{answer}<eos>" for answer in ("12", "12", "zwölf", *["7, oder 19"] * 3)]
    assert len(pairs[0]) == 2 * batch["input_ids"].shape[1]
    assert sum(map(AnswerPairs().weight, pairs)) == 3


def test_a_pair_of_which_an_answer_is_cut_off_is_left_out(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    records = pairs_file(tmp_path, ROW, {**ROW, "id": "x", "prompt": "12? " * 20}).load()
    found = AnswerPairs().of(records, tokenizer, Prompts(), max_length=12)
    assert ([pair.id for pair in found.examples], found.dropped) == (["q1-1"], 1)


def test_pairs_of_one_id_are_parallel_in_each_two_languages(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    rows = [{**ROW, "id": name, "language": code, "chosen": f"{name} {code}"} for name, code in (
        ("1", "sw"), ("2", "de"), ("2", "sw"), ("3", "zh"), ("4", "zh"), ("4", "de"), ("4", "sw"))]  # fmt: skip
    found = ParallelPairs().of(pairs_file(tmp_path, *rows).load(), tokenizer, Prompts(), max_length=500)
    assert [(pair.id, pair.language) for pair in found.examples] == [
        ("2", "sw+de"), ("4", "sw+de"), ("4", "sw+zh"), ("4", "de+zh"),
    ]  # fmt: skip
    assert found.dropped == 2  # 1 and 3 are in one language only
    batch = ParallelPairs().collate(found.examples[:2], pad_id=2)
    learnt = [tokenizer.decode(row[mask]) for row, mask in zip(batch["input_ids"], batch["answer"], strict=True)]
    wrong = ["7, oder 19<eos>"] * 2
    assert learnt == ["2 sw<eos>", "4 sw<eos>", *wrong, "2 de<eos>", "4 de<eos>", *wrong]
    assert len(found.examples[0]) == 4 * max(len(text) for text in found.examples[0].documents)
    assert [ParallelPairs().weight(pair) for pair in found.examples] == [1] * 4


def test_pairs_that_share_no_id_are_not_parallel(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    source = pairs_file(tmp_path, ROW, {**ROW, "id": "2", "language": "sw"})
    said = (
        r"^data.train: no id is that of pairs in two languages \(there are de, sw\); expected pairs that say the same"
    )
    with pytest.raises(InputError, match=said):
        load_training(DataConfig(train=source), tokenizer, ParallelPairs(), seed=0)


def test_all_mistakes_in_a_file_of_pairs_are_told(tmp_path: Path) -> None:
    source = pairs_file(
        tmp_path, ROW, ROW, {**ROW, "id": "2", "rejected": "12"}, {**ROW, "id": "3", "language": "xx"}, {"prompt": "x"}
    )
    with pytest.raises(InputError) as refused:
        source.load()
    assert [str(problem).removeprefix(f"{tmp_path}/pairs.jsonl") for problem in refused.value.problems] == [
        f":2: the id 'q1-1' is that of another document in 'de', at {tmp_path}/pairs.jsonl:1; expected an id of its "
        "own. Documents that share an id say the same in different languages. Leave id out to number the documents.",
        ":3: columns 'chosen' and 'rejected' hold the same text; expected two answers. A pair of equals teaches "
        "nothing: leave it out.",
        ":4: 'xx' is no language code; expected an ISO 639 code.",
        ":5: there is no column 'language'; expected one of: prompt.",
    ]


def test_records_without_a_rejected_answer_are_no_pairs(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (tmp_path / "de.tsv").write_text("12?\t7\n")
    files = Files(path=str(tmp_path), answer=1)
    said = r"1 of 1 records have no rejected answer \(the first: '1'\); expected pairs .*name: pairs"
    with pytest.raises(InputError, match=f"^data.train: {said}"):
        load_training(DataConfig(train=files), tokenizer, AnswerPairs(), seed=0)
    mixture = Mixture(parts={"a": Part(source=pairs_file(tmp_path, ROW)), "b": Part(source=files)})
    with pytest.raises(InputError, match=f"^data.train.parts.b: {said}"):
        load_training(DataConfig(train=mixture), tokenizer, AnswerPairs(), seed=0)


def test_each_part_of_a_mixture_has_its_own_prompts(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (tmp_path / "de.tsv").write_text("12?\t7\n")
    files = Files(path=str(tmp_path), answer=1)
    parts = {"a": Part(source=files, prompts=Prompts(template="A {prompt}|")), "b": Part(source=files, weight=2)}
    data = load_training(
        DataConfig(train=Mixture(parts=parts), prompts=Prompts(template="B {prompt}|")), tokenizer, Answers(), seed=0
    )
    assert [tokenizer.decode(text.tokens) for text in data.documents] == ["<bos>A 12?|7<eos>", "<bos>B 12?|7<eos>"]
    assert [(part.name, part.size, part.weight) for part in data.parts] == [("a", 1, 1), ("b", 1, 2)]


def test_the_order_of_the_parts_in_a_config_changes_nothing(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    (tmp_path / "de.tsv").write_text("12?\t7\n")
    first = Part(source=Files(path=str(tmp_path), answer=1))
    parts = {"b": first, "a": Part(source=pairs_file(tmp_path, ROW))}
    one, other = (
        load_training(DataConfig(train=Mixture(parts=dict(order))), tokenizer, Answers(), seed=0)
        for order in (parts.items(), reversed(parts.items()))
    )
    assert [part.name for part in one.parts] == [part.name for part in other.parts] == ["a", "b"]
    assert fingerprint(one.documents) == fingerprint(other.documents)
