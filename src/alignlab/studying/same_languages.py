"""The languages of a group in a cell and in its baseline: what is trained in the one may be unseen in the other.

Which languages a number of a group is of is told by the table: those that the same source tells the same measure of. A
task may ask other languages than are counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from alignlab.neurons.counts_file import read_header
from alignlab.neurons.groups import group_languages
from alignlab.runs import RunFolder, snapshot_files, step_of

if TYPE_CHECKING:
    from alignlab.studying.summary import Ends, Question

_GROUPS = ("trained", "reference", "unseen", "all languages")


@dataclass(frozen=True)
class Roles:
    """The languages in training, whether any is counted or not, and the reference, if there is one."""

    trained: tuple[str, ...] = ()
    reference: str | None = None


def roles_of(run: Path) -> Roles | None:
    """Of a run, as its last snapshot says; None where it has none any more. Without a run nothing is trained.

    Raises InputError for a snapshot that is damaged.
    """
    files = sorted(snapshot_files(RunFolder(run).neurons, "safetensors"), key=step_of)
    if not files:
        return None if run.is_dir() else Roles()
    header = read_header(files[-1])
    return Roles(tuple(header.trained_languages), header.reference or None)


class Spoken:
    """What the cells of one combination of levels say, with the languages of its groups.

    roles: None where they are not known.
    """

    def __init__(self, said: Mapping[Question, Mapping[int | None, Ends]], roles: Roles | None) -> None:
        self.said, self.roles = said, roles
        self._there: dict[Question, list[str]] = {}
        for question in said:
            if question.group == "language":
                self._there.setdefault(question._replace(language=""), []).append(question.language)

    def languages(self, question: Question) -> tuple[str, ...]:
        """Those that the number of a group is of; none where no language has a number of that measure."""
        there = sorted(self._there.get(question._replace(group="language"), ()))
        roles = self.roles or Roles()
        found = {str(group): of for group, of in group_languages(there, roles.trained, roles.reference).items()}
        return found.get(question.group, ())

    def of_language(self, question: Question, language: str) -> Mapping[int | None, Ends]:
        """What they say of a language, by seed."""
        return self.said.get(question._replace(group="language", language=language), {})

    def has_means(self, question: Question) -> bool:
        """Whether the groups of that measure have the mean of their languages, in each cell.

        They have not where languages have not as many problems, nor of a perplexity, which is that of a mean.
        """
        for group in _GROUPS:
            asked = question._replace(group=group)
            each = [self.of_language(asked, code) for code in self.languages(asked)]
            for seed, ends in self.said.get(asked, {}).items():
                if not all(seed in one for one in each):
                    return False
                mean = sum(one[seed].last.value for one in each) / len(each) if each else math.nan
                value = ends.last.value
                if math.isfinite(value) and not math.isclose(value, mean, rel_tol=1e-9, abs_tol=1e-12):
                    return False
        return True


def compared(question: Question, ours: Spoken, theirs: Spoken) -> tuple[str, ...] | None:
    """Of which languages the baseline's number has to be a mean; empty where it is the same group's, None for nothing.

    A mean of languages stands for the group's number only where those of both sides are such means.
    """
    if question.language or question.group not in _GROUPS:
        return ()
    if question.group != "all languages" and (ours.roles is None or theirs.roles is None):
        return None
    languages = ours.languages(question)
    if not languages:  # of numbers of groups alone nothing tells of which languages they are
        return () if question.group == "all languages" or ours.roles == theirs.roles else None
    if languages == theirs.languages(question):
        return ()
    means = len(languages) == 1 or (ours.has_means(question) and theirs.has_means(question))
    return languages if means else None
