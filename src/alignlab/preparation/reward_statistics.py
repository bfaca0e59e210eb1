"""What the rewards of a language are, and whether they tell right answers from wrong ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from alignlab import console
from alignlab.preparation.answers import Question
from alignlab.preparation.rewards_folder import QuestionRewards

Measured = dict[str, float | int | None]


def measured(questions: Sequence[Question], rewards: Mapping[str, QuestionRewards]) -> Measured:
    """Numbers of the answers that have a reward, each as often as it was given; None where there is none.

    scored: such answers.  pivots: mean number of the pivot's answers that each was scored with.
    reward, reward_sd: mean and standard deviation (of the sample) of their rewards.
    reward_right, reward_wrong: mean of those to questions with a number that are right, and that are wrong.
    comparisons: pairs of a right and a wrong answer to the same question.
    right_higher: share of these in which the right one's reward is the higher, equal ones counted as half.
    """
    found: list[float] = []
    pivots: list[int] = []
    right: list[float] = []
    wrong: list[float] = []
    comparisons, higher = 0, 0.0
    for question in questions:
        of_question = rewards[question.id]
        verdicts: Sequence[bool | None] = question.right() or [None] * len(question.answers)
        both: dict[bool | None, list[float]] = {True: [], False: [], None: []}
        for value, verdict in zip(of_question.rewards, verdicts, strict=True):
            if value is not None:
                both[verdict].append(value)
                found.append(value)
                pivots.append(len(of_question.nats[0]))
        right += both[True]
        wrong += both[False]
        difference = np.subtract.outer(np.array(both[True]), np.array(both[False]))
        comparisons += difference.size
        higher += float((difference > 0).sum() + (difference == 0).sum() / 2)
    return {
        "scored": len(found),
        "pivots": _mean(pivots),
        "reward": _mean(found),
        "reward_sd": float(np.std(found, ddof=1)) if len(found) > 1 else None,
        "reward_right": _mean(right),
        "reward_wrong": _mean(wrong),
        "comparisons": comparisons,
        "right_higher": higher / comparisons if comparisons else None,
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def show(of_languages: Sequence[tuple[str, Measured]], pivot: str) -> None:
    """Print them. pivot: the name of the language by whose answers the others are ranked."""
    console.say()
    console.heading("Rewards")
    header = ("language", "scored", pivot, "reward", "sd", "right", "wrong", "comparisons", "right higher")
    rows = [
        [
            code,
            f"{one['scored']:,}",
            _cell(one["pivots"], ".1f"),
            *(_cell(one[name], ".4f") for name in ("reward", "reward_sd", "reward_right", "reward_wrong")),
            f"{one['comparisons']:,}",
            _cell(one["right_higher"], ".1%"),
        ]
        for code, one in of_languages
    ]
    console.table(rows, header, "l" + "r" * len(header))
    console.say(
        f"scored: answers with a reward. {pivot}: mean number of {pivot} answers each was scored with. reward, sd, "
        "right, wrong: of these answers, each as often as it was given. right higher: share of all comparisons of a "
        "right with a wrong answer to the same question in which the right one has the higher reward; 50 % is chance."
    )


def _cell(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)
