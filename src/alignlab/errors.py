"""Refusals: what is said when the input, and not alignlab, is at fault.

A refusal is raised as an :class:`InputError` that carries every :class:`Problem` found, so that a user mends all of
them in one go. The commands turn it into text and exit status 2; anything else that is raised is our own bug and keeps
its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

from alignlab.redaction import hide

MOST = 20  # problems that are told; of the others only their number
_LONGEST = 2000  # characters of a part of a message: names in files may have millions


@dataclass(frozen=True)
class Problem:
    """One mistake in the input.

    where: file and line, config key with the layer it was set in, or command-line flag.
    found: what is there.
    expected: what should be there.
    fix: what to do about it, if that does not follow from `expected`.

    As text its secrets are hidden.
    """

    where: str
    found: str
    expected: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{_cut(self.where)}: {_cut(self.found)}"
        if self.expected:
            text += f"; expected {_cut(self.expected)}"
        text += "" if text.endswith((".", "?", "!")) else "."
        return f"{text} {_cut(self.fix)}" if self.fix else text


class InputError(Exception):
    """Input that alignlab refuses, with all its problems.

    >>> import torch
    >>> from alignlab import InputError, ternary
    >>> try:
    ...     ternary(torch.rand(2, 1, 4).double(), top_rate=2, languages=["en", "de"])
    ... except InputError as refused:
    ...     print(refused)
    top_rate: 2; expected a share of all neurons, over 0 and at most 1.
    """

    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))

    @classmethod
    def of(cls, where: str, found: str, expected: str = "", fix: str = "") -> Self:
        """The refusal of one problem."""
        return cls(Problem(where, found, expected, fix))


def refuse_any(problems: Collection[Problem], kind: type[InputError] = InputError) -> None:
    """Raises InputError, or one of that kind, with all the problems, if there are any; of very many with the first."""
    if problems:
        more = [Problem("...", f"and {len(problems) - MOST:,} more")] if len(problems) > MOST else []
        raise kind(*islice(problems, MOST), *more)


def _cut(text: str) -> str:
    # Hidden before it is cut, since a secret that the cut goes through would not be known; and cut before it is hidden
    # too, as a text may have megabytes.
    text = hide(text[: 2 * _LONGEST])
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


class UnsupportedModelError(InputError):
    """A model whose neurons cannot be found or counted exactly.

    >>> import torch
    >>> from alignlab import UnsupportedModelError
    >>> from alignlab.models.sites import find_sites
    >>> try:
    ...     find_sites(torch.nn.Linear(2, 2))
    ... except UnsupportedModelError as refused:
    ...     print(refused.problems[0].found)
    Linear has no configuration of transformers
    """


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`Did you mean 'x'?` for the choice nearest to `word`, or an empty string."""
    known = list(choices)
    near = [one for one in known if one.casefold() == word.casefold()]
    near += difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"Did you mean {near[0]!r}?" if near else ""


def some_of(names: Sequence[str], most: int = 3) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"
