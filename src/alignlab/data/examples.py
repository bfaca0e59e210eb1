"""What a method is trained on: how records become examples, lie side by side in a batch, and weigh in a step's loss."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from torch import Tensor

from alignlab.data.batching import pad
from alignlab.data.encoding import Document, encode
from alignlab.data.prompts import Prompts
from alignlab.data.records import Record
from alignlab.errors import InputError

E = TypeVar("E")


class Example(Protocol):
    """What a step is made of: never parted among micro-batches.

    language: code of its texts'; where they are in two, both.  documents: the texts that it holds.
    Its length is the tokens that it takes in a batch.
    """

    @property
    def id(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def cluster(self) -> str: ...
    @property
    def documents(self) -> tuple[Document, ...]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Found(Generic[E]):
    """Examples, and what was lost on the way to `max_length` tokens.

    truncated: texts that lost tokens at the end.  dropped: records left out, as what the kind `needs` did not remain.
    """

    examples: list[E]
    truncated: int
    dropped: int


class Examples(Protocol[E]):
    """A kind of examples.

    unit: what their weights count, by which a step's summed loss is divided.  needs: what a record has to have.
    """

    unit: str
    needs: str

    def of(self, records: Sequence[Record], tokenizer: Any, prompts: Prompts, *, max_length: int) -> Found[E]:
        """The examples of records. Raises InputError for records that this kind cannot use."""
        ...

    def collate(self, examples: Sequence[E], pad_id: int) -> dict[str, Tensor]:
        """Examples side by side: tensors by name, as the method's `loss_sum` reads them."""
        ...

    def weight(self, example: E) -> int:
        """Units of an example."""
        ...


class Answers:
    """Documents of which the answer is learnt: those of records, or what the assistant says in a conversation."""

    unit = "answer tokens"
    needs = "an answer"

    def of(self, records: Sequence[Record], tokenizer: Any, prompts: Prompts, *, max_length: int) -> Found[Document]:
        encoded = encode(records, tokenizer, prompts, max_length=max_length, append_eos=True, needs_answer=True)
        return Found(encoded.documents, encoded.truncated, encoded.dropped)

    def collate(self, examples: Sequence[Document], pad_id: int) -> dict[str, Tensor]:
        batch = pad(examples, pad_id)
        return {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask, "answer": batch.answer}

    def weight(self, example: Document) -> int:
        # The first token has no prediction, so it is never part of a loss.
        return int(example.answer[1:].sum())


class Texts(Answers):
    """Documents of which every token is learnt, with the final EOS."""

    unit = "tokens"
    needs = "a text"

    def of(self, records: Sequence[Record], tokenizer: Any, prompts: Prompts, *, max_length: int) -> Found[Document]:
        encoded = encode(records, tokenizer, prompts, max_length=max_length, append_eos=True, needs_answer=False)
        texts = [replace(text, answer=np.ones(len(text), dtype=bool)) for text in encoded.documents if len(text) > 1]
        return Found(texts, encoded.truncated, len(encoded.documents) - len(texts))


class _SeveralTexts:
    """An example of several texts, which are rows of one length in a batch; it is named by the first of them."""

    __slots__ = ()

    @property
    @abstractmethod
    def documents(self) -> tuple[Document, ...]: ...

    @property
    def id(self) -> str:
        return self.documents[0].id

    @property
    def cluster(self) -> str:
        return self.documents[0].cluster

    def __len__(self) -> int:
        return len(self.documents) * max(map(len, self.documents))


@dataclass(frozen=True, slots=True)
class Pair(_SeveralTexts):
    """Two answers to the same prompt, of which one is chosen."""

    chosen: Document
    rejected: Document

    @property
    def language(self) -> str:
        return self.chosen.language

    @property
    def documents(self) -> tuple[Document, ...]:
        return (self.chosen, self.rejected)


class AnswerPairs:
    """Pairs of a chosen and a rejected answer. In a batch of P pairs the first P rows are the chosen ones."""

    unit = "pairs"
    needs = "two answers"

    def of(self, records: Sequence[Record], tokenizer: Any, prompts: Prompts, *, max_length: int) -> Found[Pair]:
        if bare := [record for record in records if not record.rejected]:
            raise InputError.of(
                "data.train",
                f"{len(bare):,} of {len(records):,} records have no rejected answer (the first: {bare[0].id!r})",
                "pairs of a chosen and a rejected answer",
                "Take them from a file of pairs (name: pairs), or another method.",
            )
        worse = [replace(record, answer=record.rejected) for record in records]
        chosen, rejected = (
            encode(answers, tokenizer, prompts, max_length=max_length, append_eos=True, needs_answer=False)
            for answers in (records, worse)
        )
        both = map(Pair, chosen.documents, rejected.documents)
        pairs = [pair for pair in both if all(document.answer[1:].any() for document in pair.documents)]
        return Found(pairs, chosen.truncated + rejected.truncated, len(records) - len(pairs))

    def collate(self, examples: Sequence[Pair], pad_id: int) -> dict[str, Tensor]:
        chosen, rejected = [pair.chosen for pair in examples], [pair.rejected for pair in examples]
        return Answers().collate([*chosen, *rejected], pad_id)

    def weight(self, example: Pair) -> int:
        return 1


@dataclass(frozen=True, slots=True)
class ParallelPair(_SeveralTexts):
    """Pairs that say the same in two languages: question, chosen and rejected answer."""

    first: Pair
    second: Pair

    @property
    def language(self) -> str:
        return f"{self.first.language}+{self.second.language}"

    @property
    def documents(self) -> tuple[Document, ...]:
        return (*self.first.documents, *self.second.documents)


class ParallelPairs:
    """Pairs of the same id in two languages: each two that there are, in the order of the languages in the data.

    In a batch of Q of them the Q chosen answers in the first language come first, then the Q rejected ones, then those
    of the second language.
    """

    unit = "parallel pairs"
    needs = "two answers, in two languages"

    def of(
        self, records: Sequence[Record], tokenizer: Any, prompts: Prompts, *, max_length: int
    ) -> Found[ParallelPair]:
        pairs = AnswerPairs().of(records, tokenizer, prompts, max_length=max_length)
        found = list(_parallel(pairs.examples))
        if not found and pairs.examples:
            languages = ", ".join(dict.fromkeys(pair.language for pair in pairs.examples))
            raise InputError.of(
                "data.train",
                f"no id is that of pairs in two languages (there are {languages})",
                "pairs that say the same in two languages, under one id",
                "Give translations of a question and both its answers the same id; a model's own answers to parallel "
                "questions, as alignlab.prepare pairs them, are none: set method.name=preference for those.",
            )
        alone = len(pairs.examples) - len(
            {(one.language, one.id) for each in found for one in (each.first, each.second)}
        )
        return Found(found, pairs.truncated, pairs.dropped + alone)

    def collate(self, examples: Sequence[ParallelPair], pad_id: int) -> dict[str, Tensor]:
        sides = zip(*(example.documents for example in examples), strict=True)
        return Answers().collate([document for side in sides for document in side], pad_id)

    def weight(self, example: ParallelPair) -> int:
        return 1


def _parallel(pairs: Sequence[Pair]) -> Iterator[ParallelPair]:
    places = {code: place for place, code in enumerate(dict.fromkeys(pair.language for pair in pairs))}
    by_id: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_id.setdefault(pair.id, []).append(pair)
    for same in by_id.values():
        for first, second in combinations(sorted(same, key=lambda pair: places[pair.language]), 2):
            yield ParallelPair(first, second)
