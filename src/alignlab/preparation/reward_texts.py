"""What a translation model is given of answers: which texts, which pairs of them, and in which pieces."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np

from alignlab.preparation.answers import Question
from alignlab.preparation.options import TranslationReward
from alignlab.preparation.pairs import cleaned, without_marks
from alignlab.preparation.rewards_folder import QuestionRewards
from alignlab.preparation.translator_names import Names, Tokens

_TEXTS_OF_A_PIECE = 64  # that go through the encoder: with twenty answers of the pivot 1,280 pairs


@dataclass(frozen=True)
class Scored:
    """Texts of a question: of each answer (None where none is left), and the pivot's answers, each once."""

    id: str
    answers: Sequence[str | None]
    pivots: Sequence[str]


def pivots_of(questions: Iterable[Question]) -> dict[str, list[str]]:
    """The pivot's answers to each question, by its id: cleaned as MAPO does, each once."""
    found: dict[str, list[str]] = {}
    for question in questions:
        texts = dict.fromkeys(cleaned(answer.text) for answer in question.answers)
        found[question.id] = [text for text in texts if text and "\0" not in text]
    return found


def scored_of(question: Question, pivots: Mapping[str, Sequence[str]]) -> Scored:
    """What is scored of a question in another language: its answers without <<...>> and all from #### on."""
    texts = [without_marks(answer.text) for answer in question.answers]
    return Scored(
        question.id,
        [text if text and "\0" not in text else None for text in texts],
        pivots.get(question.id, []),
    )


def fingerprint(questions: Sequence[Scored]) -> str:
    """Changes with any text that is scored, or with its place."""
    digest = hashlib.sha256()
    for one in questions:
        digest.update(json.dumps([one.id, list(one.answers), list(one.pivots)]).encode())
    return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Work:
    """All that is scored of a language.

    places: by question and answer the place of its tokens among the question's; None where it has none.
    answers: tokens of the answers, those of each question one after another, each once: (A) texts.
    pivots: tokens of the pivot's answers, of each question one after another: (E) texts.
    sizes: of each question how many of both it has; the pairs are all of an answer and a pivot's answer of a question.
    answers_encoded: whether the answers are encoded, and the pivot's are what is scored; else the other way round.
    cut: texts that were longer than the limit.
    """

    ids: Sequence[str]
    places: Sequence[Sequence[int | None]]
    answers: Sequence[Tokens]
    pivots: Sequence[Tokens]
    sizes: Sequence[tuple[int, int]]
    answers_encoded: bool
    cut: int

    @property
    def encoded(self) -> Sequence[Tokens]:
        return self.answers if self.answers_encoded else self.pivots

    @property
    def decoded(self) -> Sequence[Tokens]:
        return self.pivots if self.answers_encoded else self.answers

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """Places of the encoded and the decoded text: question by question, answer by answer."""
        found: list[tuple[int, int]] = []
        first_answer = first_pivot = 0
        for answers, pivots in self.sizes:
            those = range(first_answer, first_answer + answers), range(first_pivot, first_pivot + pivots)
            found += [pair if self.answers_encoded else pair[::-1] for pair in product(*those)]
            first_answer, first_pivot = first_answer + answers, first_pivot + pivots
        return found

    @cached_property
    def pieces(self) -> list[list[int]]:
        """The numbers of the pairs that are scored together: of encoded texts of like length, none in two pieces."""
        by_text: dict[int, list[int]] = {}
        for number, (text, _) in enumerate(self.pairs):
            by_text.setdefault(text, []).append(number)
        order = sorted(by_text, key=lambda text: (len(self.encoded[text]), text))
        return [
            [number for text in order[start : start + _TEXTS_OF_A_PIECE] for number in by_text[text]]
            for start in range(0, len(order), _TEXTS_OF_A_PIECE)
        ]

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens that the encoder reads, each text once, and those that are scored, of all pairs."""
        read = {text for text, _ in self.pairs}
        return sum(len(self.encoded[text]) for text in read), sum(len(self.decoded[text]) for _, text in self.pairs)

    @property
    def longest(self) -> int:
        return max(map(len, (*self.answers, *self.pivots)), default=0)

    @property
    def highest(self) -> int:
        """The highest token id; -1 where there is no text."""
        return max((int(text.max()) for text in (*self.answers, *self.pivots) if len(text)), default=-1)

    @property
    def fingerprint(self) -> str:
        """Changes with any token, or with what is paired with what."""
        digest = hashlib.sha256(json.dumps([self.answers_encoded, self.sizes]).encode())
        for text in (*self.answers, *self.pivots):
            digest.update(np.array([len(text)], dtype=np.int64).tobytes() + text.tobytes())
        return digest.hexdigest()[:16]

    def with_losses(self, losses: Sequence[float]) -> Iterator[QuestionRewards]:
        """What each question's answers got. losses: of all pairs."""
        start = 0
        for name, places, (answers, pivots) in zip(self.ids, self.places, self.sizes, strict=True):
            rows = [list(losses[start + row * pivots : start + (row + 1) * pivots]) for row in range(answers)]
            start += answers * pivots
            yield QuestionRewards(name, places if pivots else [None] * len(places), rows if pivots else [])


def work_of(questions: Sequence[Scored], language: str, names: Names, rule: TranslationReward) -> Work:
    """Tokenise what is scored of a language."""
    encodes_answers = rule.scored == "pivot"
    texts = [text for one in questions for text in one.answers if text is not None]
    tokens, cut = names.encode(texts, language, target=not encodes_answers, most=rule.max_tokens)
    others = [text for one in questions for text in one.pivots]
    pivots, cut_too = names.encode(others, rule.pivot, target=encodes_answers, most=rule.max_tokens)
    answers: list[Tokens] = []
    places: list[list[int | None]] = []
    sizes: list[tuple[int, int]] = []
    given = iter(tokens)
    for one in questions:
        seen: dict[bytes, int] = {}  # the same tokens are scored once, so that they have the same reward
        of_question: list[int | None] = []
        for text in one.answers:
            if text is None:
                of_question.append(None)
                continue
            found = next(given)
            key = found.tobytes()
            if key not in seen:
                seen[key] = len(seen)
                answers.append(found)
            of_question.append(seen[key])
        places.append(of_question)
        sizes.append((len(seen), len(one.pivots)))
    return Work([one.id for one in questions], places, answers, pivots, sizes, encodes_answers, cut + cut_too)
