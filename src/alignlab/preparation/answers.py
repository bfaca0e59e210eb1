"""A question with a model's answers to it, which of them are right, and how many of a language's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from alignlab.evaluation.answers import is_right, last_number


@dataclass(frozen=True)
class Answer:
    """tokens: of the answer, the EOS included.  ended: by an EOS; else it was cut."""

    text: str
    tokens: int
    ended: bool


@dataclass(frozen=True)
class Question:
    """A question in one language with the answers to it.

    id, cluster: as of a record; parallel questions share them.  reference: the right answer, as the source has it.
    """

    id: str
    language: str
    cluster: str
    prompt: str
    reference: str
    answers: Sequence[Answer]

    @property
    def expected(self) -> Fraction | None:
        """The number that is right; None where the reference has none."""
        return last_number(self.reference, self.language)

    def right(self) -> list[bool] | None:
        """Which answers end with the expected number; None where there is none."""
        expected = self.expected
        if expected is None:
            return None
        return [is_right(answer.text, expected, self.language) for answer in self.answers]


@dataclass(frozen=True)
class Tally:
    """What the answers of a language are.

    judged: answers to questions whose reference has a number.  right: of these, those that end with it.
    cut: answers that no EOS ended.  distinct: answers but those that repeat another to the same question.
    """

    language: str
    questions: int
    answers: int
    judged: int
    right: int
    tokens: int
    cut: int
    distinct: int

    @classmethod
    def of(cls, language: str, questions: Iterable[Question]) -> Tally:
        """The tally of a language's questions."""
        number = answers = judged = right = tokens = cut = distinct = 0
        for question in questions:
            verdicts = question.right()
            number += 1
            answers += len(question.answers)
            judged += len(verdicts or ())
            right += sum(verdicts or ())
            tokens += sum(answer.tokens for answer in question.answers)
            cut += sum(not answer.ended for answer in question.answers)
            distinct += len({answer.text for answer in question.answers})
        return cls(language, number, answers, judged, right, tokens, cut, distinct)
