"""A question of multiple choice: texts of which a model is to find one the likeliest, and which one it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alignlab.errors import InputError


@dataclass(frozen=True, slots=True)
class Choice:
    """One question in one language, with O options.

    id: the same for the questions of all languages that say the same thing.
    contexts: O texts that are given, one an option. All the same, but where the options stand within the sentence and
        what follows them is scored (partial scoring, Trinh and Le 2018).
    continuations: O texts that are scored, each after its context, spaces between them included.
    options: O texts as they were written; their lengths are what likelihoods may be normalised by.
    gold: which option is right, from 0.
    cluster: what it shares with questions that are not independent of it; by default its id.
    where: file and line, for messages.
    """

    id: str
    language: str
    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    options: tuple[str, ...]
    gold: int
    cluster: str = ""
    where: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.cluster:
            object.__setattr__(self, "cluster", self.id)
        where, count = self.where or f"question {self.id!r}", len(self.options)
        if count < 2:
            raise InputError.of(where, f"{count} options", "two or more")
        if not len(self.contexts) == len(self.continuations) == count:
            found = f"{len(self.contexts)} contexts and {len(self.continuations)} continuations of {count} options"
            raise InputError.of(where, found, "one an option")
        if not 0 <= self.gold < count:
            raise InputError.of(where, f"the right option is number {self.gold}", f"0 to {count - 1}")
        if not all(text.strip() for text in self.continuations):
            raise InputError.of(where, "an option of which no text is scored", "text")


def continued(prompt: str, options: Sequence[str], gold: int, *, delimiter: str = " ", **about: str) -> Choice:
    """The question whose options follow the prompt. delimiter: between the two. about: id, language, cluster, where."""
    texts = tuple(options)
    return Choice(
        contexts=(prompt,) * len(texts),
        continuations=tuple(delimiter + text for text in texts),
        options=texts,
        gold=gold,
        **about,
    )


def filled_in(before: str, after: str, options: Sequence[str], gold: int, **about: str) -> Choice:
    """The question whose options fill a gap: the text before it and the option are given, the text after it is scored.

    about: id, language, cluster, where. Raises InputError where nothing follows the gap.
    """
    texts = tuple(options)
    return Choice(
        contexts=tuple(before + text for text in texts),
        continuations=(after,) * len(texts),
        options=texts,
        gold=gold,
        **about,
    )
