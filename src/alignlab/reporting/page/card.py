"""A figure of the page with its captions: the form that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.payload import PageFigure

THRESHOLDS = (ANCHORED, REESTIMATED)


@dataclass(frozen=True)
class Caption:
    """A line under a figure, shown for a run and for thresholds (None: for any)."""

    text: str
    run: int | None = None
    thresholds: str | None = None


@dataclass
class Card:
    """A figure with its name, how to read it, what its numbers are, and what stands in place of what is missing."""

    name: str
    title: str
    note: str
    figure: PageFigure
    captions: list[Caption] = field(default_factory=list)
    missing: list[Caption] = field(default_factory=list)


def letters(runs: Sequence[PageRun]) -> dict[str, PageRun]:
    """The runs by the short labels that figures have: A, B ... for several, the name for one."""
    return {runs[0].name: runs[0]} if len(runs) == 1 else dict(zip("ABCD", runs, strict=False))


def grouped(texts: Mapping[str, str], runs: int) -> list[str]:
    """Each text once, behind the labels of the runs that it holds for; without labels for a single run."""
    if runs == 1:
        return list(texts.values())
    labels: dict[str, list[str]] = {}
    for label, text in texts.items():
        labels.setdefault(text, []).append(label)
    return [f"{', '.join(found)}: {text}" for text, found in labels.items()]


def lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]
