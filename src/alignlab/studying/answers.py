"""What each cluster of problems moves a share of right answers by: with it cells are compared problem by problem."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alignlab.analysis.capability import measured
from alignlab.evaluation.estimates import influences
from alignlab.neurons.groups import group_languages
from alignlab.neurons.probabilities import Floats
from alignlab.recording.effects import Effects
from alignlab.runs import RunFolder, snapshot_files, step_of


@dataclass(frozen=True)
class Moved:
    """What each cluster moves a mean by, (m,), which sums to 0.

    names: of the clusters.
    problems: of each language, changes with its problems and their clusters; only what is of the same ones is compared.
    size: how many problems each language has; None where they do not have as many.
    """

    by: Floats
    names: tuple[str, ...]
    problems: frozenset[str]
    size: int | None

    def less(self, other: Moved | None) -> Moved | None:
        """What they move the difference of two means by; None where these are of other problems."""
        if other is None or other.problems != self.problems:
            return None
        return replace(self, by=self.by - other.by)


def mean_of(moved: Sequence[Moved]) -> Moved | None:
    """What they move the mean of some languages by; None where these have other clusters, or not as many problems."""
    first = moved[0]
    if any((one.names, one.size) != (first.names, first.size) for one in moved) or first.size is None:
        return None
    by = np.mean([one.by for one in moved], axis=0)
    return Moved(by, first.names, frozenset().union(*(one.problems for one in moved)), first.size)


Place = tuple[str, str, str]  # group, language, measure


def moved_answers(run: Path) -> dict[int, dict[Place, Moved]]:
    """Of the first and the last evaluation of a run, by step, group, language and measure; empty where there is none.

    Raises InputError for a record that is damaged.
    """
    files = {step_of(path): path for path in snapshot_files(RunFolder(run).evaluation, "safetensors")}
    ends = dict.fromkeys([min(files), max(files)]) if files else {}
    return {step: dict(_moved(Effects.load(files[step]))) for step in ends}


def _moved(effects: Effects) -> Iterator[tuple[Place, Moved]]:
    languages = np.array([item.language for item in effects.items])
    clusters = np.array([item.cluster for item in effects.items])
    there = tuple(dict.fromkeys(languages.tolist()))
    groups = group_languages(there, effects.trained_languages, effects.reference or None)
    digests = {code: _digest(effects, code) for code in there}
    asked: list[tuple[str, str, tuple[str, ...]]] = [("language", code, (code,)) for code in there]
    asked += [(group, "", members) for group, members in groups.items()]
    for group, language, members in asked:
        taken = np.isin(languages, members)
        names, of_cluster = np.unique(clusters[taken], return_inverse=True)
        sizes = np.bincount(of_cluster).astype(np.float64)
        problems = frozenset(digests[code] for code in members)
        counts = {int((languages == code).sum()) for code in members}
        size = counts.pop() if len(counts) == 1 else None
        for measure, values in measured(effects).items():
            numbers = values[taken].astype(np.float64)
            if np.isfinite(numbers).all() and len(names) > 1:
                _, by = influences(np.bincount(of_cluster, weights=numbers).astype(np.float64), sizes)
                yield (group, language, measure), Moved(by, tuple(names.tolist()), problems, size)


def _digest(effects: Effects, language: str) -> str:
    told = [f"{item.language} {item.id} {item.cluster}" for item in effects.items if item.language == language]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]
