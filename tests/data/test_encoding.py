"""Tokens, and which of them are the answer: against slow loops that never see the tokenizer's offsets."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import ByT5Tokenizer, PreTrainedTokenizerFast

from alignlab.data.encoding import Document, Encoded, check_vocabulary, encode, fingerprint, special_token_ids
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.errors import InputError

# Letters of one, two, three and four bytes; BPE merges of the fixture's sentences span some boundaries between them.
LETTERS = "Q:A Anna has 12 äpfel und kauft mehr apples 有12个苹果 яблок ภาษา 🍎🏽\n"
TEMPLATES = ("{prompt}", "{prompt} ", "{prompt}\n", "Q: {prompt}\nA:", "{prompt}\n\n  ")


def unigram() -> PreTrainedTokenizerFast:
    """A unigram tokenizer that writes a space as a metaspace and puts one in front, as sentencepiece does."""
    backend = Tokenizer(models.Unigram())
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    generator = random.Random(1)
    texts = ["".join(generator.choices(LETTERS, k=40)) for _ in range(200)] + [LETTERS] * 50 + list(LETTERS)
    special = ["<unk>", "<bos>", "<eos>"]
    trainer = trainers.UnigramTrainer(vocab_size=250, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(texts, trainer)
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>", model_max_length=2048
    )


def bytes_of_letters() -> dict[str, int]:
    """GPT-2's alphabet: printable Latin-1 letters stand for their own byte, the others come from 256 on, in order."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(hidden)}


def byte_starts(tokens: list[str], text: str) -> list[int]:
    """The number of the character in which each byte-level token begins."""
    alphabet = bytes_of_letters()
    character_of_byte = [number for number, letter in enumerate(text) for _ in letter.encode()]
    starts, position = [], 0
    for token in tokens:
        assert bytes(alphabet[letter] for letter in token) == text.encode()[position : position + len(token)]
        starts.append(character_of_byte[position])
        position += len(token)
    assert position == len(text.encode())
    return starts


def metaspace_starts(tokens: list[str], text: str) -> list[int]:
    """The number of the character in which each token begins; the metaspace in front belongs to the first."""
    starts, position = [], 0
    for number, token in enumerate(tokens):
        piece = token.replace("▁", " ")
        if number == 0:
            assert piece[0] == " "
            if text[0] != " ":  # else it stands for the text's own space: none is put in front of one
                piece = piece[1:]
        assert text[position : position + len(piece)] == piece
        starts.append(position)
        position += len(piece)
    assert position == len(text)
    return starts


def random_records(count: int, seed: int) -> list[Record]:
    generator = random.Random(seed)

    def text() -> str:
        return "".join(generator.choices(LETTERS, k=generator.randint(1, 12)))

    return [Record(str(number), "de", text(), text()) for number in range(count)]


def encoded_one(tokenizer: PreTrainedTokenizerFast, record: Record, prompts: Prompts, **changes: object) -> Document:
    options = {"max_length": 1000, "append_eos": False, "needs_answer": False, **changes}
    encoded = encode([record], tokenizer, prompts, **options)  # type: ignore[arg-type]
    assert (encoded.truncated, encoded.dropped) == (0, 0)
    (document,) = encoded.documents
    return document


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", ["byte-level BPE", "unigram"])
def test_the_answer_is_what_starts_at_or_past_the_boundary(
    tokenizer: PreTrainedTokenizerFast, kind: str, template: str
) -> None:
    starts_of: Callable[[list[str], str], list[int]] = byte_starts if kind == "byte-level BPE" else metaspace_starts
    own = tokenizer if kind == "byte-level BPE" else unigram()
    spanning = split_letters = 0
    for record in random_records(150, seed=len(template)):
        document = encoded_one(own, record, Prompts(template=template), append_eos=True)
        prompt = template.replace("{prompt}", record.prompt)
        tokens = own.convert_ids_to_tokens(document.tokens.tolist())
        assert (tokens[0], tokens[-1]) == ("<bos>", "<eos>")
        starts = starts_of(tokens[1:-1], prompt + record.answer)
        expected = [False, *(start >= len(prompt) for start in starts), True]
        assert document.answer.tolist() == expected, (record, tokens)
        ends = [*starts[1:], len(prompt + record.answer)]
        spanning += any(start < len(prompt) < end for start, end in zip(starts, ends, strict=True))
        split_letters += len(set(starts)) < len(starts)
    # Without such cases the loop above would say nothing of them.
    if template == "{prompt}":
        assert spanning > 5
    if kind == "byte-level BPE":
        assert split_letters > 50


def test_a_token_that_spans_the_boundary_is_prompt(tokenizer: PreTrainedTokenizerFast) -> None:
    document = encoded_one(tokenizer, Record("1", "en", "7 app", "les?"), Prompts(template="{prompt}"))
    assert tokenizer.convert_ids_to_tokens(document.tokens.tolist()) == ["<bos>", "7", "Ġapples", "?"]
    assert document.answer.tolist() == [False, False, False, True]


def test_all_tokens_of_a_letter_are_on_its_side(tokenizer: PreTrainedTokenizerFast) -> None:
    document = encoded_one(tokenizer, Record("1", "en", "🍎", "🏽"), Prompts(template="{prompt}"))
    assert document.answer.tolist() == [False, *[False] * 4, *[True] * 4]


def test_tokens_of_the_tokenizer_are_no_answer_even_where_nothing_is_before_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    document = encoded_one(tokenizer, Record("1", "en", "", "7"), Prompts(template="{prompt}"), append_eos=True)
    assert tokenizer.convert_ids_to_tokens(document.tokens.tolist()) == ["<bos>", "7", "<eos>"]
    assert document.answer.tolist() == [False, True, True]


def post_processed(tokenizer: PreTrainedTokenizerFast, template: str) -> PreTrainedTokenizerFast:
    own = copy.deepcopy(tokenizer)
    ids = [(name, own.convert_tokens_to_ids(name)) for name in ("<bos>", "<eos>") if name in template]
    own.backend_tokenizer.post_processor = processors.TemplateProcessing(single=template, special_tokens=ids)
    return own


@pytest.mark.parametrize(
    ("template", "answer"),
    [
        ("$A", "7"),
        ("<bos> $A", "7"),
        ("$A <eos>", "7"),
        ("<bos> $A <eos>", "7"),
        ("$A", "7<eos>"),
        ("<bos> $A", "7<eos>"),
    ],
)
def test_one_eos_ends_the_answer_whoever_puts_it_there(
    tokenizer: PreTrainedTokenizerFast, template: str, answer: str
) -> None:
    own = post_processed(tokenizer, template)
    record = Record("1", "en", "12?", answer)
    document = encoded_one(own, record, Prompts(), append_eos=True)
    tokens = own.convert_ids_to_tokens(document.tokens.tolist())
    assert tokens.count("<eos>") == 1
    assert tokens[-1] == "<eos>"
    assert tokens.count("<bos>") == ("<bos>" in template)
    assert own.decode(document.tokens[document.answer]) == "7<eos>"


@pytest.mark.parametrize("template", ["$A", "<bos> $A <eos>"])
def test_without_append_eos_the_tokens_are_the_tokenizers(tokenizer: PreTrainedTokenizerFast, template: str) -> None:
    own = post_processed(tokenizer, template)
    document = encoded_one(own, Record("1", "en", "12?", "7"), Prompts())
    assert document.tokens.tolist() == own("12?\n7").input_ids
    assert own.decode(document.tokens[document.answer]) == "7"


def test_special_tokens_are_flagged_also_where_a_template_writes_them(tokenizer: PreTrainedTokenizerFast) -> None:
    own = copy.deepcopy(tokenizer)
    own.add_tokens([AddedToken("<|user|>", special=True), AddedToken("<word>", special=False)])
    template = "<|user|> {prompt}<pad><word>\n<eos>"
    document = encoded_one(own, Record("1", "en", "12?", "7"), Prompts(template=template), append_eos=True)
    flagged = own.convert_ids_to_tokens(document.tokens[document.special].tolist())
    assert flagged == ["<bos>", "<|user|>", "<pad>", "<eos>", "<eos>"]
    assert special_token_ids(own) == set(own.convert_tokens_to_ids(["<bos>", "<eos>", "<pad>", "<|user|>"]))


def test_truncation_and_loss_are_counted(tokenizer: PreTrainedTokenizerFast) -> None:
    # One token a digit or letter, none of them merged: "<bos>" + prompt + "\n" + answer + "<eos>".
    records = [Record(str(n), "en", "q" * prompt, "z" * answer) for n, (prompt, answer) in enumerate(SIZES)]
    lengths = [1 + prompt + 1 + answer + 1 for prompt, answer in SIZES]
    whole = encode(records, tokenizer, Prompts(), max_length=100, append_eos=True, needs_answer=False)
    assert [len(document) for document in whole.documents] == lengths
    for limit in range(2, 14):
        for needs_answer in (True, False):
            encoded = encode(
                records, tokenizer, Prompts(), max_length=limit, append_eos=True, needs_answer=needs_answer
            )
            kept = [
                n for n, (prompt, answer) in enumerate(SIZES) if not needs_answer or (answer and limit > prompt + 2)
            ]
            assert [document.id for document in encoded.documents] == [str(n) for n in kept]
            assert encoded.dropped == len(records) - len(kept)
            assert encoded.truncated == sum(length > limit for length in lengths)
            for document in encoded.documents:
                full = whole.documents[int(document.id)]
                assert document.tokens.tolist() == full.tokens[:limit].tolist()
                assert document.answer.tolist() == full.answer[:limit].tolist()
                assert document.special.tolist() == full.special[:limit].tolist()


SIZES = [(1, 1), (3, 2), (5, 0), (2, 6), (8, 1), (1, 9)]


def test_a_record_without_answer_is_not_trained_on(tokenizer: PreTrainedTokenizerFast) -> None:
    records = [Record("1", "en", "12?"), Record("2", "en", "12?", "7")]
    encoded = encode(records, tokenizer, Prompts(), max_length=50, append_eos=True, needs_answer=True)
    assert [document.id for document in encoded.documents] == ["2"]
    assert (encoded.truncated, encoded.dropped) == (0, 1)
    document = encoded_one(tokenizer, records[0], Prompts(), append_eos=True)
    assert document.tokens[-1] == tokenizer.eos_token_id
    assert not document.answer.any()


def test_many_records_are_encoded_as_each_alone(tokenizer: PreTrainedTokenizerFast) -> None:
    records = random_records(2100, seed=3)
    together = encode(records, tokenizer, Prompts(), max_length=20, append_eos=True, needs_answer=False)
    assert [document.id for document in together.documents] == [record.id for record in records]
    for number in (0, 1, 999, 1000, 1001, 1999, 2000, 2099):
        alone = encode([records[number]], tokenizer, Prompts(), max_length=20, append_eos=True, needs_answer=False)
        assert together.documents[number].tokens.tolist() == alone.documents[0].tokens.tolist()
        assert together.documents[number].answer.tolist() == alone.documents[0].answer.tolist()
    nothing = encode([], tokenizer, Prompts(), max_length=20, append_eos=True, needs_answer=True)
    assert nothing == Encoded([], 0, 0)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="ByT5Tokenizer gives no character offsets; expected a model with a fast"):
        encode([], ByT5Tokenizer(), Prompts(), max_length=9, append_eos=False, needs_answer=False)


def test_a_tokenizer_without_eos_is_refused_where_one_is_needed(tokenizer: PreTrainedTokenizerFast) -> None:
    own = copy.deepcopy(tokenizer)
    own.eos_token = None
    assert encode([], own, Prompts(), max_length=9, append_eos=False, needs_answer=False).documents == []
    with pytest.raises(InputError, match="its tokenizer has no EOS token; expected one, to end the answers with"):
        encode([], own, Prompts(), max_length=9, append_eos=True, needs_answer=False)


def document(*tokens: int) -> Document:
    size = len(tokens)
    return Document("1", "de", np.array(tokens, dtype=np.int32), np.zeros(size, dtype=bool), np.zeros(size, dtype=bool))


def test_ids_beyond_the_embeddings_are_refused() -> None:
    documents = [document(3, 9, 1), document(), document(5)]
    check_vocabulary(documents, 10)
    check_vocabulary(documents, 5000)
    check_vocabulary([], 0)
    with pytest.raises(InputError, match="the tokenizer gives token id 9, the model has 9 embeddings"):
        check_vocabulary(documents, 9)


def flipped(mask: np.ndarray, at: int) -> np.ndarray:
    changed = mask.copy()
    changed[at] = not changed[at]
    return changed


def test_the_fingerprint_changes_with_each_ingredient() -> None:
    first, second = document(*range(9)), replace(document(4, 5, 6), id="2", language="sw")
    variants = [
        [first, second],
        [second, first],
        [first],
        [first, second, second],
        [],
        [replace(first, id="3"), second],
        [replace(first, language="fr"), second],
        [document(0, 1, 2, 3, 4, 5, 6, 7, 9), second],
        [replace(first, answer=flipped(first.answer, 0)), second],
        [replace(first, answer=flipped(first.answer, 8)), second],
        [replace(first, special=flipped(first.special, 8)), second],
        # The same numbers, divided otherwise among documents.
        [document(*range(8)), replace(document(8, 4, 5, 6), id="2", language="sw")],
    ]
    prints = [fingerprint(documents) for documents in variants]
    assert len(set(prints)) == len(variants)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints)
    assert fingerprint(iter([first, second])) == prints[0]
