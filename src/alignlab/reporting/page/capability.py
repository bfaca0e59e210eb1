"""What the page shows of a model's answers: as data, in words, and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from alignlab.analysis.capability import BOTH, RIGHT
from alignlab.neurons.corrections import ALPHA
from alignlab.neurons.table import Row
from alignlab.reporting.page.card import Caption, Card
from alignlab.reporting.page.data import STATUS_WORDS, VERDICTS, PageLanguage, frame
from alignlab.reporting.page.language_figures import ends_and_course
from alignlab.reporting.page.panels import GROUP_STYLE, listed
from alignlab.reporting.wording import interval, joined, number, signed

_WORDS: dict[str, Any] = {"groups": "groups of languages", "title": "share right", "unit": "right", "span": (0, 1)}
_PLACES = 3  # decimals of a share
_WHO = {"trained": "trained languages", "unseen": "unseen languages"}  # of the reference, its name


@dataclass(frozen=True)
class Said:
    """An answer. right, language: what was found in it; language None where none could be told."""

    step: int
    text: str
    right: bool
    language: str | None


@dataclass(frozen=True)
class SampleAnswer:
    """A problem and what the model answered, first and last."""

    language: str
    prompt: str
    expected: str
    said: Sequence[Said]


@dataclass(frozen=True)
class PageCapability:
    """What a run's model could do.

    rows: of the table `evaluation.csv`, at every step.
    languages: of the problems.
    samples: some problems of each language with their answers at the first and the last step.
    """

    rows: Sequence[Row]
    languages: Sequence[PageLanguage]
    samples: Sequence[SampleAnswer]

    @property
    def task(self) -> str:
        return self.rows[0].task

    @cached_property
    def table(self) -> pd.DataFrame:
        """The rows, see `page.data.frame`, without those of a part of the problems."""
        found = frame([row for row in self.rows if not row.label])
        return found.reset_index(drop=True)

    @cached_property
    def steps(self) -> list[int]:
        return sorted(set(self.table.step))

    def of(self, measure: str, *, is_change: bool = False) -> pd.DataFrame:
        """The shares, or their changes, by one measure."""
        return self.table[(self.table.measure == measure) & (self.table.is_change == is_change)]

    def apart(self, last: int) -> list[tuple[str, Any, Any]]:
        """Of the problems of clusters that are in training, and of others: label, group, share and change at a step."""
        found = {
            (row.label, row.group, row.is_change): row
            for row in self.rows
            if row.label and row.measure == RIGHT and row.step == last
        }
        return [(f"{label}, {group}", row, found.get((label, group, True))) for (label, group, change), row in
                found.items() if not change]  # fmt: skip


def helped(capability: PageCapability | None) -> str:
    """Whether training helped, in a sentence: for trained languages, unseen ones and the reference."""
    if capability is None:
        return ""
    first, last = capability.steps[0], capability.steps[-1]
    shares, changes = capability.of(RIGHT), capability.of(RIGHT, is_change=True)
    said = []
    for group in ("trained", "unseen", "reference"):
        members = [language for language in capability.languages if language.group == group]
        codes = " ".join(language.code for language in members)
        who = _WHO.get(group) or joined([language.name for language in members])
        at = shares[shares["group"] == group].set_index("step").value
        moved = changes[(changes["group"] == group) & (changes.step == last)]
        if last not in at.index:
            continue
        if first == last or moved.empty:
            said.append(f"{who} ({codes}) {number(at[last], _PLACES)}")
            continue
        (move,) = moved.itertuples(index=False)
        ends = interval(move.low, move.high, _PLACES, "+")
        course = f"{number(at[first], _PLACES)} to {number(at[last], _PLACES)}"
        sure = f", 95 % interval {ends}" if ends else ""
        said.append(f"{who} ({codes}): {_answer(move)}, {course} ({signed(move.value, _PLACES)}{sure})")
    if not said:
        return ""
    lead = "Did it help? Share of right answers" if first != last else f"Share of right answers at step {last:,}"
    return f"{lead}, {'; '.join(said)}."


def _answer(move: Any) -> str:
    if move.verdict == VERDICTS[True]:
        return "yes, it rose" if move.value > 0 else "no, it fell"
    if move.verdict != VERDICTS[False]:
        return STATUS_WORDS["too few"]
    # The interval beside it, which is of this number alone, may leave out 0 all the same.
    alone = move.p is not None and move.p < ALPHA
    return "no change beyond noise" + (", corrected for the groups asked together" if alone else "")


def card(capabilities: Sequence[PageCapability | None], names: Sequence[str]) -> Card:
    """The shares that are right: over the steps by group, and by language at the first and the last step.

    names: of the runs.
    """
    note = (
        "Left: hollow the first step, filled the last; circles are trained languages, squares the reference, diamonds "
        "unseen ones. Right: all problems of the languages of a group; bars are 95 % intervals."
    )
    made = Card("capability", "Right answers", note, ("run",))
    for place, (capability, name) in enumerate(zip(capabilities, names, strict=True)):
        if capability is None:
            made.missing.append(Caption("Not computed. To have it: set evaluation.source in the config.", place))
            continue
        right = capability.of(RIGHT)
        ends = {row["group"]: row["value"] for _, row in right[right.step == capability.steps[-1]].iterrows()}
        label = "Share of right answers at the last step: " + ", ".join(
            f"{group} {number(ends[group], _PLACES)}" for group in GROUP_STYLE if group in ends
        )
        made.add(str(place), partial(ends_and_course, right, capability.languages, **_WORDS), label, 2)
        made.captions.append(Caption(_basis(capability), place))
        made.tables[str(place)] = _table(capability, name)
    return made


def _basis(capability: PageCapability) -> str:
    right = capability.of(RIGHT)
    sizes = sorted(set(right[right["group"] == "language"].denominator.astype(int)))
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    over = joined([name for name in dict.fromkeys(right.over) if name]) or "documents"
    families = [name for name in dict.fromkeys(capability.of(RIGHT, is_change=True).correction) if name]
    corrected = f"; verdicts corrected within a family of questions ({joined(families)})" if families else ""
    return (
        f"Share of greedy answers whose last number is the expected one, of {each} problems a language "
        f"({capability.task}); intervals over {over} of problems, changes paired problem by problem{corrected}."
    )


def _table(capability: PageCapability, name: str) -> dict[str, Any]:
    columns = ["step", "measure", "group", "language", "value", "low", "high", "denominator", "since", "verdict"]
    found = capability.table
    ends = found.step.isin([capability.steps[0], capability.steps[-1]])
    found = found[(found["group"] != "language") | ends]
    found = found[found.measure.isin([RIGHT, BOTH])]
    # A share is compared with nothing.
    verdicts = found.verdict.where(found.is_change, "")
    found = found.assign(verdict=verdicts)
    lines = zip(*(listed(found[column]) for column in columns), strict=True)
    return {"columns": ["run", *columns], "rows": [[name, *line] for line in lines]}
