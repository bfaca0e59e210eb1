"""The micro-batches of a run, dealt to ranks, and the loader that starts anywhere."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from alignlab.data.batching import StepPlan
from alignlab.data.encoding import Document
from alignlab.data.examples import Answers
from alignlab.data.options import DataConfig
from alignlab.data.prompts import Prompts
from alignlab.data.sources import Files, WordProblems
from alignlab.data.training import MicroBatches, load_training, training_loader
from alignlab.errors import InputError

PAD = 99


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    """Document i begins with token i, so that a row of a batch tells which document it is."""
    generator = random.Random(0)
    made = []
    for number in range(60):
        size = generator.randint(2, 25)
        answer = np.array([generator.random() < 0.5 for _ in range(size)])
        tokens = np.array([number, *(generator.randint(60, 98) for _ in range(size - 1))], dtype=np.int32)
        made.append(Document(str(number), "de", tokens, answer, np.zeros(size, dtype=bool)))
    return made


def micro_batches(documents: list[Document], *, rank: int = 0, ranks: int = 1, accumulation: int = 1) -> MicroBatches:
    plan = StepPlan(tuple(len(document) for document in documents), 12, total_steps=8, seed=3)
    return MicroBatches(documents, Answers(), plan, accumulation=accumulation, rank=rank, ranks=ranks, pad_id=PAD)


def numbers(batch: dict[str, Any]) -> list[int]:
    return [int(row[0]) for row in batch["input_ids"]]


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 1), (2, 1), (1, 3), (2, 3), (4, 3), (3, 4)])
def test_ranks_and_accumulation_part_every_step(documents: list[Document], ranks: int, accumulation: int) -> None:
    whole = micro_batches(documents)
    own = [micro_batches(documents, rank=rank, ranks=ranks, accumulation=accumulation) for rank in range(ranks)]
    assert {len(part) for part in own} == {8 * accumulation}
    for step in range(8):
        parts = [part[step * accumulation + i] for part in own for i in range(accumulation)]
        assert all(len(part["input_ids"]) for part in parts)
        assert sorted(n for part in parts for n in numbers(part)) == sorted(numbers(whole[step]))
        for part in parts:
            assert int(part["step_weight"]) == int(whole[step]["step_weight"])
        lengths = [int(row.sum()) for part in parts for row in part["attention_mask"]]
        learnt = sum(int(row[1:].sum()) for part in parts for row in part["answer"])
        for part in parts:
            assert part["step_size"].tolist() == [sum(lengths), sum(length**2 for length in lengths), learnt]
            assert part["examples_seen"].tolist() == [12 * (step + 1), len(documents)]


def test_ranks_get_batches_of_like_length_at_the_same_time(documents: list[Document]) -> None:
    """Or all would wait for the one with the longest documents, in every micro-batch."""
    own = [micro_batches(documents, rank=rank, ranks=3, accumulation=4) for rank in range(3)]
    for step in range(8):
        times = [[part[step * 4 + i]["attention_mask"].sum(1) for part in own] for i in range(4)]
        for now, later in pairwise(times):
            assert max(int(lengths.max()) for lengths in now) <= min(int(lengths.min()) for lengths in later)


def test_rows_are_the_documents_padded(documents: list[Document]) -> None:
    data = micro_batches(documents, ranks=2, rank=1, accumulation=2)
    for number in range(len(data)):
        batch = data[number]
        assert int(batch["number"]) == number
        longest = 0
        for row, document_number in enumerate(numbers(batch)):
            document, size = documents[document_number], len(documents[document_number])
            longest = max(longest, size)
            assert batch["input_ids"][row, :size].tolist() == document.tokens.tolist()
            assert batch["answer"][row, :size].tolist() == document.answer.tolist()
            assert batch["attention_mask"][row].tolist() == [1] * size + [0] * (batch["input_ids"].shape[1] - size)
            assert (batch["input_ids"][row, size:] == PAD).all()
            assert not batch["answer"][row, size:].any()
        assert batch["input_ids"].shape[1] == longest


def test_the_weight_of_a_step_is_the_answer_tokens_that_are_predicted(documents: list[Document]) -> None:
    assert any(document.answer[0] for document in documents)  # one such token is in no loss
    data = micro_batches(documents)
    for step in range(8):
        slow = 0
        for number in numbers(data[step]):
            for position in range(1, len(documents[number])):
                slow += bool(documents[number].answer[position])
        assert int(data[step]["step_weight"]) == slow


def test_fewer_examples_than_micro_batches_are_refused(documents: list[Document]) -> None:
    micro_batches(documents, ranks=4, accumulation=3)
    with pytest.raises(InputError, match="12 examples for 5 ranks x 3 accumulated micro-batches; expected 15 or more"):
        micro_batches(documents, ranks=5, accumulation=3)


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("first", [0, 1, 7, 15, 16])
def test_a_loader_gives_exactly_the_rest(documents: list[Document], first: int) -> None:
    data = micro_batches(documents, accumulation=2)
    loader = training_loader(data, first=first, workers=0, pin_memory=False)
    assert len(loader) == 16  # of the whole run: Lightning counts by it
    batches = list(loader)
    assert [int(batch["number"]) for batch in batches] == list(range(first, 16))
    assert all(same(batch, data[first + i]) for i, batch in enumerate(batches))


def test_workers_give_the_same_batches(documents: list[Document]) -> None:
    data = micro_batches(documents, accumulation=2)
    alone = list(training_loader(data, first=5, workers=0, pin_memory=False))
    loader = training_loader(data, first=5, workers=2, pin_memory=False)
    together = list(loader)
    assert len(alone) == len(together) == 11
    assert all(same(one, other) for one, other in zip(alone, together, strict=True))


def test_training_texts_end_with_eos_and_have_an_answer(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (tmp_path / "de.tsv").write_text(f"12?\t7\n12?\t\n{'q' * 30}\t7\n")
    config = DataConfig(train=Files(path=str(tmp_path), answer=1), prompts=Prompts(), max_length=20)
    data = load_training(config, tokenizer, Answers(), seed=0)
    (document,) = data.documents
    assert tokenizer.decode(document.tokens) == "<bos>12?\n7<eos>"
    assert (data.truncated, data.dropped) == (1, 2)


def test_training_data_without_answers_is_refused(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    (tmp_path / "de.txt").write_text("12?\n")
    (tmp_path / "sw.txt").write_text("12?\n")
    config = DataConfig(train=Files(path=str(tmp_path)), max_length=20)
    with pytest.raises(InputError, match="of 2 records none has an answer within 20 tokens") as refused:
        load_training(config, tokenizer, Answers(), seed=0)
    assert refused.value.problems[0].where == "data.train"


def test_the_default_is_the_built_in_problems() -> None:
    assert isinstance(DataConfig().train, WordProblems)
