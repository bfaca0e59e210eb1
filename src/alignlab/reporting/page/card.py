"""A figure of the page with its captions: the form that all of them have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignlab.neurons.table import ANCHORED, REESTIMATED
from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.panels import Panels

THRESHOLDS = (ANCHORED, REESTIMATED)

Table = dict[str, Any]  # {"columns": [...], "rows": [[...], ...]}


@dataclass(frozen=True)
class Caption:
    """A line under a figure, shown for a run and for thresholds (None: for any)."""

    text: str
    run: int | None = None
    thresholds: str | None = None


@dataclass
class Card:
    """A figure in all its variants, how to read it, what its numbers are, and what stands in place of what is missing.

    by: the parts of the page's state that choose a variant, such as ("run", "thresholds"); keys join their values
        with "|".
    parts: of the counts that are its table (see `frame`); or `tables`, by run.
    every_run: the table holds the rows of all runs.
    narrow_below: pixels of the figure, under which its narrow layout is taken.
    variants: figures in wide layout and narrow one, by key. labels: what they show, for those who cannot see it.
    """

    name: str
    title: str
    note: str
    by: tuple[str, ...]
    parts: tuple[str, ...] = ()
    every_run: bool = False
    narrow_below: int = 440
    variants: dict[str, tuple[Panels, Panels]] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    captions: list[Caption] = field(default_factory=list)
    missing: list[Caption] = field(default_factory=list)

    def add(self, key: str, build: Callable[[int], Panels], label: str, wide: int, narrow: int = 1) -> None:
        """A variant: `build` is given the number of columns."""
        self.variants[key] = build(wide), build(narrow)
        self.labels[key] = label

    def encoded(self) -> dict[str, Any]:
        """For the page's script; what all variants share is stored once."""
        traces = {key: wide.data for key, (wide, _) in self.variants.items()}
        shared = [
            _common([found[number] for found in traces.values() if len(found) > number])
            for number in range(max(map(len, traces.values()), default=0))
        ]
        layouts = [_common([both[side].layout for both in self.variants.values()]) for side in range(2)]
        own = {
            key: {
                "traces": [_rest(trace, common) for trace, common in zip(traces[key], shared, strict=False)],
                "layouts": [_rest(figure.layout, common) for figure, common in zip(both, layouts, strict=True)],
                "label": self.labels[key],
            }
            for key, both in self.variants.items()
        }
        return {
            "by": self.by,
            "traces": shared,
            "layouts": layouts,
            "own": own,
            "parts": self.parts,
            "tables": self.tables,
            "everyRun": self.every_run,
            "narrowBelow": self.narrow_below,
        }


# By what points of languages are told apart.
MARKERS = "Circles: trained languages; squares: the reference; diamonds: unseen ones."


def first_and_last(runs: Sequence[PageRun]) -> str:
    """How the two are told apart; of single snapshots there is one, drawn as the first is."""
    if all(len(run.steps) == 1 for run in runs):
        return "Hollow: the only snapshot."
    return "Hollow: first step; filled: last step."


def letters(runs: Sequence[PageRun]) -> dict[str, PageRun]:
    """The runs by the short labels that figures have: A, B ... for several, the name for one."""
    return {runs[0].name: runs[0]} if len(runs) == 1 else dict(zip("ABCD", runs, strict=False))


def grouped(texts: Mapping[str, str], runs: int) -> list[str]:
    """Each text once, behind the labels of the runs that it holds for; without labels for a single run."""
    if runs == 1:
        return list(texts.values())
    labels = {text: ", ".join(label for label, said in texts.items() if said == text) for text in texts.values()}
    return [f"{found}: {text}" for text, found in labels.items()]


def _common(dictionaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entries that all have alike."""
    first = dictionaries[0] if dictionaries else {}
    return {name: value for name, value in first.items() if all(_same(one.get(name), value) for one in dictionaries)}


def _rest(dictionary: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in dictionary.items() if name not in common}


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)
