"""Pairs of preference among the answers to a question, and why a question gives none.

MAPO (She et al. 2024) takes as winner an answer that is numerically right and as loser one that ranks lower: by its
reward under a translation model (`translation_reward`), or because it is wrong (`right_over_wrong`). A winner has to be
whole: of a cut answer nobody knows how it would have gone on. A loser need not be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alignlab.preparation.answers import Question
from alignlab.recording.dealing import order_key

# Why a question gives no pair, in the order in which it is asked.
REASONS = {
    "no_number": "no number in the source's answer",
    "unusable": "no answer of which text is left",
    "no_reward": "no answer has a reward, or none to the question in the pivot language is left",
    "all_wrong": "no answer that is left is right",
    "all_right": "no answer that is left is wrong",
    "right_cut": "the right ones were cut",
    "lowest": "no answer ranks below a right one",
    "only_duplicates": "right and wrong ones have the same text",
    "over_limit": "pairs enough without it",
}


@dataclass(frozen=True)
class Sides:
    """The texts that may be chosen, each once, and those that may be rejected, each once.

    rewards: of each text, where a rule ranks them: a pair is then one of a higher and a lower reward, and a text may be
        on both sides. Empty where every pair of the sides is one.
    """

    chosen: Sequence[str]
    rejected: Sequence[str]
    rewards: Mapping[str, float] = field(default_factory=dict)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Places of the chosen and the rejected text of every pair."""
        return [
            (i, j)
            for i, better in enumerate(self.chosen)
            for j, worse in enumerate(self.rejected)
            if not self.rewards or self.rewards[better] > self.rewards[worse]
        ]


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


def translation_reward(question: Question, *, clean: bool, rewards: Sequence[float | None] | None) -> Sides | str:
    """The same by MAPO's rewards: a right answer may be chosen over any, right or wrong, of a lower reward.

    rewards: of each answer, of its text alone; None where it has none, and for all where nothing was scored.
    """
    verdicts = question.right()
    if verdicts is None:
        return "no_number"
    ranked: dict[str, float] = {}
    right: dict[str, bool] = {}  # by text: whether it is whole in any of its answers
    wrong: set[str] = set()
    texts = 0
    given = rewards if rewards is not None else [None] * len(question.answers)
    for answer, is_right, reward in zip(question.answers, verdicts, given, strict=True):
        text = cleaned(answer.text) if clean else answer.text.strip()
        if not text or "\0" in text:
            continue
        texts += 1
        if reward is None:
            continue
        ranked[text] = reward
        if is_right:
            right[text] = right.get(text, False) or answer.ended
        else:
            wrong.add(text)
    if not ranked:
        return "no_reward" if texts else "unusable"
    if not right:
        return "all_wrong"
    whole = [text for text, ended in right.items() if ended]
    if not whole:
        return "right_cut"
    chosen = [text for text in whole if text not in wrong]
    if not chosen:
        return "only_duplicates"
    lowest, highest = min(ranked.values()), max(ranked[text] for text in chosen)
    chosen = [text for text in chosen if ranked[text] > lowest]
    rejected = [text for text, reward in ranked.items() if reward < highest]
    return Sides(chosen, rejected, ranked) if chosen else "lowest"


def cleaned(text: str) -> str:
    """An answer as MAPO keeps it: without <<...>> and all from #### on; empty where a line of it comes twice."""
    text = without_marks(text)
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    return text if len(set(lines)) == len(lines) else ""


def without_marks(text: str) -> str:
    """An answer without <<...>> and all from #### on."""
    return re.sub(r"<<.*?>>", "", text, flags=re.DOTALL).partition("####")[0].strip()


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
        pairs = sorted(side.pairs, key=lambda pair: order_key(seed, f"{name}\0{pair[0]}\0{pair[1]}"))
        turn = order_key(seed, name)
        found += [
            (rank, turn, Taken(place, *pair)) for rank, pair in enumerate(pairs[: min(most, most_per_question or most)])
        ]
    found.sort(key=lambda one: one[:2])
    return [one for _, _, one in sorted(found[:most], key=lambda one: (one[2].question, one[0]))]


def in_dev(ids: Sequence[str], every: int | None) -> set[str]:
    """The ids that are set apart: every so-manieth; none where `every` is None."""
    return set() if every is None else set(ids[every - 1 :: every])
