"""Fallback: languages are switched off one after another, and the answers fall back to others.

At every step, also the first, where none is off, the languages of the answers are recorded. The order is fixed, or
adaptive: the next to be switched off is the one that most answers are in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alignlab.errors import Problem, did_you_mean, refuse_any
from alignlab.evaluation.accuracy import Accuracy, accuracy


@dataclass(frozen=True)
class FallbackStep:
    """What the answers are in while some languages are off.

    off: languages, in the order in which they were switched off.
    answers: (n,) the language of each answer; None where it cannot be told.
    """

    off: tuple[str, ...]
    answers: tuple[str | None, ...]

    @property
    def counts(self) -> Counter[str]:
        """Answers by language; those whose language cannot be told are in none."""
        return Counter(language for language in self.answers if language is not None)

    @property
    def abstained(self) -> int:
        """Answers whose language cannot be told."""
        return sum(language is None for language in self.answers)

    def leading(self, languages: Sequence[str]) -> str | None:
        """The one of these languages that most answers are in, the first of equals; None where no answer is in one."""
        counts = self.counts
        most = max((counts[language] for language in languages), default=0)
        return next((language for language in languages if counts[language] == most), None) if most else None

    def share(self, language: str, clusters: Sequence[str]) -> Accuracy:
        """The share of all answers that are in a language. clusters: (n,) names."""
        return accuracy([answer == language for answer in self.answers], clusters)


def fallback(
    answer: Callable[[tuple[str, ...]], Sequence[str | None]],
    languages: Sequence[str],
    order: Sequence[str] | None = None,
) -> list[FallbackStep]:
    """Switch languages off, cumulatively, and record what the answers fall back to.

    answer: given the languages that are off, the language of each answer to the same prompts, None where it cannot be
        told. It is asked once a step.
    languages: those that can be switched off.
    order: that in which it is done; None for the adaptive one, which ends where no answer is in a language that is
        still on, or all are off.

    Returns the steps, the first with none off. Raises InputError for languages that are not known or there twice.
    """
    refuse_any(_problems(languages, order))
    steps = [FallbackStep((), tuple(answer(())))]
    waiting = list(order) if order is not None else []
    while True:
        on = [language for language in languages if language not in steps[-1].off]
        following = next(iter(waiting), None) if order is not None else steps[-1].leading(on)
        if following is None:
            return steps
        waiting = waiting[1:]
        off = (*steps[-1].off, following)
        steps.append(FallbackStep(off, tuple(answer(off))))


def path(steps: Sequence[FallbackStep], languages: Sequence[str]) -> list[str | None]:
    """The language that most answers are in, at each step; None where none can be told."""
    return [step.leading(languages) for step in steps]


def _problems(languages: Sequence[str], order: Sequence[str] | None) -> list[Problem]:
    problems = [] if languages else [Problem("languages", "none", "those that can be switched off")]
    for where, names in (("languages", languages), ("order", order or ())):
        twice = [name for name, count in Counter(names).items() if count > 1]
        problems += [Problem(where, f"{name!r} twice", "each language once") for name in twice]
    problems += [
        Problem("order", f"{name!r}", f"some of: {', '.join(languages)}", did_you_mean(name, languages))
        for name in order or ()
        if name not in languages
    ]
    return problems
