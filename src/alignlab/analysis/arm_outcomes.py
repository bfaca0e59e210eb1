"""What each arm of a record of effects did to each language, summed by cluster of documents.

Axes of a record are ``(item, arm)``; sums of a language are ``(arm, cluster)``. No model is needed, and of a
record only what `ArmRecord` names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.probabilities import Floats


class ArmLike(Protocol):
    """What was done to the model: an operation on a set, or on a control of it; all empty for the model as it is.

    control: empty for the set itself, else `random` or `matched`, drawn with `seed`.
    """

    @property
    def name(self) -> str: ...
    @property
    def set(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def strength(self) -> float | None: ...
    @property
    def control(self) -> str: ...
    @property
    def seed(self) -> int | None: ...


class ItemLike(Protocol):
    """A document or problem. Items of one cluster are not independent, whatever their languages."""

    @property
    def id(self) -> str: ...
    @property
    def language(self) -> str: ...
    @property
    def cluster(self) -> str: ...


class ArmRecord(Protocol):
    """I items under A arms.

    nats: (I, A) float64, a document's summed negative log-likelihood, and counted: (I,), its tokens; None of a task.
    right, output_language: (I, A), as in `alignlab.recording.effects.Effects`; None of a probe.
    clusters: what clusters are, such as `templates`; empty where each document is one.
    """

    @property
    def items(self) -> Sequence[ItemLike]: ...
    @property
    def labels(self) -> Sequence[ArmLike]: ...
    @property
    def languages(self) -> Sequence[str]: ...
    @property
    def nats(self) -> Tensor | None: ...
    @property
    def counted(self) -> Tensor | None: ...
    @property
    def right(self) -> Tensor | None: ...
    @property
    def output_language(self) -> Tensor | None: ...
    @property
    def task(self) -> str: ...
    @property
    def step(self) -> int | None: ...
    @property
    def clusters(self) -> str: ...


@dataclass(frozen=True)
class PartOfRecord:
    """Some items of a record under some of its arms, without its tensors: outcomes are made beside it."""

    items: Sequence[ItemLike]
    labels: Sequence[ArmLike]
    languages: Sequence[str]
    task: str
    step: int | None
    clusters: str
    nats: Tensor | None = None
    counted: Tensor | None = None
    right: Tensor | None = None
    output_language: Tensor | None = None


@dataclass(frozen=True)
class Outcome:
    """A number of every item under every arm, of which a language has the ratio of sums.

    values: (I, A).  sizes: (I,), units of each item: tokens, or 1 of what is counted by item.
    """

    name: str
    unit: str
    values: Floats
    sizes: Floats

    @cached_property
    def is_yes_or_no(self) -> bool:
        """Whether each item either is so or is not, and counts once."""
        return bool((self.sizes == 1).all() and np.isin(self.values, (0, 1)).all())


@dataclass(frozen=True)
class LanguageSums:
    """An outcome of one language, by cluster.

    clusters: (m,) names, sorted.  sums: (A, m).  sizes: (m,), above 0.
    """

    clusters: tuple[str, ...]
    sums: Floats
    sizes: Floats


NATS, RIGHT, BOTH, IN_LANGUAGE = "nats", "right", "right in language", "in language"


def outcomes(record: ArmRecord) -> list[Outcome]:
    """What the record has of: `nats` a token of documents; of tasks `right`, `right in language`, and `in language`."""
    found = []
    if record.nats is not None and record.counted is not None:
        found.append(Outcome(NATS, "nats a token", _array(record.nats), _array(record.counted)))
    ones = np.ones(len(record.items))
    within = None
    if record.output_language is not None:
        places = [record.languages.index(item.language) for item in record.items]
        within = _array(record.output_language) == np.array(places)[:, None]
    if record.right is not None:
        right = _array(record.right)
        found.append(Outcome(RIGHT, "share", right, ones))
        found += [Outcome(BOTH, "share", right * within, ones)] if within is not None else []
    found += [Outcome(IN_LANGUAGE, "share", within.astype(np.float64), ones)] if within is not None else []
    return found


def answered_in(record: ArmRecord, language: str) -> Outcome:
    """Of all items, in whatever language, whether the answer is in this one: the measure of language forcing.

    Raises InputError for a language that answers were not told apart by, and for a record without answers.
    """
    if record.output_language is None or language not in record.languages:
        raise InputError(Problem("language", repr(language), f"one of those told apart: {' '.join(record.languages)}"))
    there = _array(record.output_language) == list(record.languages).index(language)
    return Outcome(f"answers in {language}", "share", there.astype(np.float64), np.ones(len(record.items)))


def by_language(record: ArmRecord, outcome: Outcome, items: np.ndarray | None = None) -> dict[str, LanguageSums]:
    """The sums of every language in the order of the items, of the items of a mask (I,), by default all.

    Clusters without units, such as those whose documents have no token that counts, are left out, and languages without
    clusters. Costs one pass over the values.
    """
    languages = np.array([item.language for item in record.items])
    clusters = np.array([item.cluster for item in record.items])
    chosen = np.ones(len(languages), dtype=np.bool_) if items is None else items
    found = {}
    for language in dict.fromkeys(languages[chosen].tolist()):
        of = chosen & (languages == language)
        names, place = np.unique(clusters[of], return_inverse=True)
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(len(names)))
        sizes = np.add.reduceat(outcome.sizes[of][order], starts)
        sums = np.add.reduceat(outcome.values[of][order], starts, axis=0).T
        there = sizes > 0
        if there.any():
            found[language] = LanguageSums(tuple(names[there].tolist()), sums[:, there], sizes[there])
    return found


def _array(tensor: Tensor) -> Floats:
    return np.asarray(tensor.numpy(), dtype=np.float64)
