"""Pairs of preference among the answers to a question, and why a question gives none.

MAPO (She et al. 2024) takes as winner an answer that is numerically right and as loser one that ranks lower; here what
is wrong ranks lower (its reward, by a translation model, is no part of this). A winner has to be whole: of a cut answer
nobody knows how it would have gone on. A loser need not be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from alignlab.preparation.answers import Question
from alignlab.recording.dealing import order_key

# Why a question gives no pair, in the order in which it is asked.
REASONS = {
    "no_number": "no number in the source's answer",
    "unusable": "no answer of which text is left",
    "all_wrong": "no answer that is left is right",
    "all_right": "no answer that is left is wrong",
    "right_cut": "the right ones were cut",
    "only_duplicates": "right and wrong ones have the same text",
    "over_limit": "pairs enough without it",
}


@dataclass(frozen=True)
class Sides:
    """The texts that may be chosen, and those that may be rejected: each once, none in both."""

    chosen: Sequence[str]
    rejected: Sequence[str]


@dataclass(frozen=True)
class Taken:
    """A pair that is taken, by the places of the question and of the texts in its sides."""

    question: int
    chosen: int
    rejected: int


def right_over_wrong(question: Question, *, clean: bool) -> Sides | str:
    """What may be chosen and rejected among the answers to a question; else why there is no pair, of `REASONS`.

    clean: take for each text what `cleaned` leaves of it. Answers are judged before.
    """
    verdicts = question.right()
    if verdicts is None:
        return "no_number"
    right: dict[str, bool] = {}  # by text: whether it is whole in any of its answers
    wrong: dict[str, None] = {}
    for answer, is_right in zip(question.answers, verdicts, strict=True):
        text = cleaned(answer.text) if clean else answer.text.strip()
        if not text or "\0" in text:  # no tokenizer and no reader of pairs takes a NUL
            continue
        if is_right:
            right[text] = right.get(text, False) or answer.ended
        else:
            wrong[text] = None
    if not right:
        return "all_wrong" if wrong else "unusable"
    if not wrong:
        return "all_right"
    whole = [text for text, ended in right.items() if ended]
    if not whole:
        return "right_cut"
    chosen, rejected = [text for text in whole if text not in wrong], [text for text in wrong if text not in right]
    return Sides(chosen, rejected) if chosen and rejected else "only_duplicates"


class Rule(Protocol):
    """What may be chosen and rejected among the answers to a question; else why there is no pair, of `REASONS`."""

    def __call__(self, question: Question, *, clean: bool) -> Sides | str: ...


RULES: dict[str, Rule] = {"right_over_wrong": right_over_wrong}  # by the `name` of their options


def cleaned(text: str) -> str:
    """An answer as MAPO keeps it: without <<...>> and all from #### on; empty where a line of it comes twice."""
    text = re.sub(r"<<.*?>>", "", text, flags=re.DOTALL).partition("####")[0].strip()
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return text if len(set(lines)) == len(lines) else ""


def take(
    names: Sequence[str], sides: Sequence[Sides], *, seed: int, most: int, most_per_question: int | None = None
) -> list[Taken]:
    """The pairs that are taken of a language, at most so many, in the order of its questions.

    The pairs of a question are in a seeded order; first each question's first is taken, then each one's second, and so
    on, so that few questions with many pairs do not crowd out the others.

    names: of each question, by which the order is made; parallel questions have the same.
    """
    found: list[tuple[int, bytes, Taken]] = []
    for place, (name, side) in enumerate(zip(names, sides, strict=True)):
        pairs = [(i, j) for i in range(len(side.chosen)) for j in range(len(side.rejected))]
        pairs.sort(key=lambda pair: order_key(seed, f"{name}\0{pair[0]}\0{pair[1]}"))
        turn = order_key(seed, name)
        found += [
            (rank, turn, Taken(place, *pair)) for rank, pair in enumerate(pairs[: min(most, most_per_question or most)])
        ]
    found.sort(key=lambda one: one[:2])
    return [one for _, _, one in sorted(found[:most], key=lambda one: (one[2].question, one[0]))]


def in_dev(ids: Sequence[str], every: int | None) -> set[str]:
    """The ids that are set apart: every so-manieth; none where `every` is None."""
    return set() if every is None else set(ids[every - 1 :: every])
