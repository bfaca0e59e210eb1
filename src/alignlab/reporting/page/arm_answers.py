"""What the page shows of the texts of answers with neurons changed, beside those with nothing changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# What changing a set's neurons did to the answer to a problem, told first what tells most.
Changed = Literal["right or wrong, or language", "words only", "nothing"]
CHANGES: tuple[Changed, ...] = ("right or wrong, or language", "words only", "nothing")
COLUMNS = (
    "changed", "language", "what_changed", "problems", "of", "id", "prompt", "expected", "answer", "right",
    "answer_language", "answer_changed", "right_changed", "answer_language_changed", "control", "answer_control",
    "right_control", "answer_language_control",
)  # fmt: skip


@dataclass(frozen=True)
class ArmAnswer:
    """An answer under an arm. right, language: what was found in it; language None where none could be told."""

    text: str
    right: bool
    language: str | None


@dataclass(frozen=True)
class SampleUnderArms:
    """A problem, and what was answered with nothing changed, with a set's neurons changed, and with those of a control.

    set, done: whose neurons, and what was done to them, such as `zero`.
    changed: how the answer with the set's neurons changed differs from that with nothing changed.
    count, among: of how many of the language's problems that is so.
    control: the arm's name; empty where the set has none.
    """

    set: str
    done: str
    language: str
    changed: Changed
    count: int
    among: int
    id: str
    prompt: str
    expected: str
    plain: ArmAnswer
    under: ArmAnswer
    control: str = ""
    controlled: ArmAnswer | None = None


@dataclass(frozen=True)
class PageAnswers:
    """Some answers of a model under arms.

    record: of which model.  file: path of all answers.
    samples: see `reporting.arm_answers.read_samples`.  left_out: how many more there were.
    """

    record: str
    file: str
    samples: Sequence[SampleUnderArms]
    left_out: int = 0

    def first(self, most: int) -> PageAnswers:
        """The same with at most so many samples: first what tells most of every set, in the order of the sets."""
        by_worth = sorted(range(len(self.samples)), key=lambda place: CHANGES.index(self.samples[place].changed))
        kept = [self.samples[place] for place in sorted(by_worth[:most])]
        return PageAnswers(self.record, self.file, kept, self.left_out + len(self.samples) - len(kept))

    @property
    def rule(self) -> str:
        """How the samples were chosen, in words."""
        left = f" {self.left_out:,} more are left out, to keep this page small." if self.left_out else ""
        return (
            f"Answers of {self.record}. Of each set, to the problems of its own language: the first problem, in the "
            "order of the file, in which changing its neurons made a right answer wrong, a wrong one right, or changed "
            "the language of the answer; the first in which only words changed; and the first in which nothing did. "
            "With each stands how many of the problems these are: they are no random sample. Of several operations it "
            "is the first, at its largest strength; the control is the first draw of the matched one, else of the "
            f"random one.{left} All answers: {self.file}."
        )


def lines(answers: PageAnswers) -> list[list[Any]]:
    """The samples as lines of a table, in `COLUMNS`."""

    def told(one: ArmAnswer | None) -> list[Any]:
        return [None, None, None] if one is None else [one.text, one.right, one.language]

    return [
        [
            f"{one.done} {one.set}", one.language, one.changed, one.count, one.among, one.id, one.prompt, one.expected,
            *told(one.plain), *told(one.under), one.control, *told(one.controlled),
        ]
        for one in answers.samples
    ]  # fmt: skip
