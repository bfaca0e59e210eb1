"""Sentences of a paper beside what the cells say: a section each, with a verdict on every number that tells of it.

A verdict is over seeds and documents, corrected by Holm over all numbers of its claim. Where nothing is known of
documents it is over seeds alone, which the section says: on these very documents.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from alignlab.analysis.over_seeds import Interval
from alignlab.errors import some_of
from alignlab.neurons.corrections import ALPHA, adjusted
from alignlab.reporting.page.panels import Panels, plain
from alignlab.reporting.page.plain import Section, without_empty
from alignlab.reporting.page.theme import LIGHT
from alignlab.reporting.wording import interval, number, signed
from alignlab.studying.options import ClaimOptions, Expectation, StudyOptions
from alignlab.studying.summary import Summary

Verdict = Literal["as claimed", "the opposite", "above 0", "below 0", "not told", "too few to tell", ""]
_FIRM = ("as claimed", "the opposite", "above 0", "below 0")
_WHATS = {"value": "at the end", "change": "change", "difference": "from baseline"}
# What a number says that is told from 0: above it, and below.
_VERDICTS: dict[Expectation | None, tuple[Verdict, Verdict]] = {
    "rises": ("as claimed", "the opposite"),
    "falls": ("the opposite", "as claimed"),
    "nothing": ("the opposite", "the opposite"),
    None: ("above 0", "below 0"),
}
_DIRECTED = "{as claimed} as claimed, {the opposite} the opposite, {not told} not told"
# How many numbers have which verdict, in words.
_COUNTED: dict[Expectation | None, str] = {
    "rises": _DIRECTED,
    "falls": _DIRECTED,
    "nothing": "{the opposite} tell of a change, {not told} do not, which shows no absence of one",
    None: "{above 0} above 0, {below 0} below, {not told} not told",
}
_MOST = 60  # lines of a figure


@dataclass(frozen=True)
class Finding:
    """A number that tells of a claim.

    interval: over seeds and documents, or over seeds alone where nothing is known of documents.
    p: two-sided, of 0, corrected over the claim; NaN where nothing tells.
    verdict: "" where nothing is asked: of values that are shown and of which nothing is claimed.
    """

    row: Summary
    interval: Interval
    p: float
    verdict: Verdict


def findings_of(claim: ClaimOptions, axes: Sequence[str], rows: Iterable[Summary]) -> tuple[list[Finding], bool]:
    """The numbers of a claim in the order of the rows; and whether their intervals are over documents too."""
    asked = [row for row in rows if _is_of(claim, axes, row)]
    over = [row.over for row in asked if row.over is not None]
    both = any(not math.isnan(one.over_both.low) for one in over)
    intervals = [
        Interval(math.nan, math.nan, math.nan)
        if row.over is None
        else (row.over.over_both if both else row.over.over_seeds)
        for row in asked
    ]
    if claim.expect is None and claim.what == "value":
        return [Finding(row, one, math.nan, "") for row, one in zip(asked, intervals, strict=True)], both
    corrected: Sequence[float] = adjusted([one.p for one in intervals], "holm").tolist() if intervals else []
    return [
        Finding(row, found, float(p), verdict_of(claim.expect, row.over.value if row.over else math.nan, float(p)))
        for row, found, p in zip(asked, intervals, corrected, strict=True)
    ], both


def verdict_of(expect: Expectation | None, value: float, p: float) -> Verdict:
    """What a number says of a claim; p: corrected, of 0."""
    if math.isnan(p) or math.isnan(value):
        return "too few to tell"
    if p >= ALPHA:
        return "not told"
    above, below = _VERDICTS[expect]
    return above if value > 0 else below


def _is_of(claim: ClaimOptions, axes: Sequence[str], row: Summary) -> bool:
    asked = row.question
    told = (asked.source, asked.control, row.what)
    same = told == (claim.source, claim.control, claim.what) and _named(claim).fullmatch(asked.measure) is not None
    same = same and claim.task in (None, asked.task) and claim.set in (None, asked.set)
    here = (asked.language or asked.group) in claim.groups and (asked.layer is not None) == claim.by_layer
    levels = zip(axes, row.levels, strict=True)
    return same and here and all(level in claim.levels.get(axis, [level]) for axis, level in levels)


def _named(claim: ClaimOptions) -> re.Pattern[str]:
    """The measures that a claim means; its groups are what stands for each *."""
    return re.compile("(.*)".join(map(re.escape, claim.measure.split("*"))))


def _about(claim: ClaimOptions, row: Summary) -> list[str]:
    """What a number is of, in the columns of `_about_header`."""
    named = _named(claim).fullmatch(row.question.measure)
    which = [" ".join(named.groups())] if named and named.groups() else []
    layer = [str(row.question.layer)] if claim.by_layer else []
    return [*row.levels, *which, row.question.language or row.question.group, *layer]


def _about_header(claim: ClaimOptions, axes: Sequence[str]) -> list[str]:
    return [*axes, *([claim.measure] if "*" in claim.measure else []), "of", *(["layer"] if claim.by_layer else [])]


def claim_sections(options: StudyOptions, axes: Sequence[str], rows: Sequence[Summary]) -> list[Section]:
    """A section for each claim, in their order."""
    return [_section(claim, axes, rows) for claim in options.claims.values()]


def said_of(claim: ClaimOptions, found: Sequence[Finding], both: bool, rows: Iterable[Summary] = ()) -> str:
    """What was found, in a sentence. rows: all of the study, of which some may have been meant."""
    if not found:
        there = dict.fromkeys(row.question.measure for row in rows if row.question.source == claim.source)
        named = f"; measures of {claim.source} are: {some_of(list(there), 8)}" if there else ""
        return f"Found: no number of {claim.measure} ({claim.what}){named}."
    over = "seeds and documents" if both else "seeds, on these very documents"
    if claim.expect is None and claim.what == "value":
        return f"Found: {len(found)} numbers, with their intervals over {over}."
    return f"Found: of {len(found)} numbers {counted(claim, found)} (95 %, over {over}, by Holm over these)."


def _brief(claim: ClaimOptions, found: Sequence[Finding]) -> str:
    told = counted(claim, found)
    return f"of {len(found)}, {told}" if found and told else "" if found else "no number"


def counted(claim: ClaimOptions, found: Sequence[Finding]) -> str:
    """How many numbers have which verdict, in words."""
    counts: Counter[str] = Counter(one.verdict for one in found)
    if claim.expect is None and claim.what == "value":
        return ""
    told = _COUNTED[claim.expect].format_map(counts)
    too_few = f", {counts['too few to tell']} too few to tell" if counts["too few to tell"] else ""
    return told + too_few


def _section(claim: ClaimOptions, axes: Sequence[str], rows: Sequence[Summary]) -> Section:
    found, both = findings_of(claim, axes, rows)
    header = [*_about_header(claim, axes), "seeds", "before", "after", _WHATS[claim.what]]
    header += ["over seeds", "over both", "p", "found"]
    ends = {(row.levels, row.question): row for row in rows if row.what == "value"} if claim.what == "change" else {}
    lines = [_line(claim, one, both, ends.get((one.row.levels, one.row.question))) for one in found]
    header, lines = without_empty(header, lines)
    said = [claim.says, said_of(claim, found, both, rows)]
    notes = ["Means over seeds. p is two-sided, of 0, corrected by Holm over the numbers of this section."]
    return Section(claim.title, said, _figure(claim, found), header, lines, notes, _brief(claim, found))


def _line(claim: ClaimOptions, one: Finding, both: bool, end: Summary | None) -> list[str]:
    """end: of a change, the number after it."""
    row, over = one.row, one.row.over
    about = _about(claim, row)
    if over is None:
        return [*about, str(row.seeds), "", "", "diverged", "", "", "", one.verdict]
    places, sign = 1 if row.question.unit == "neurons" else 3, "" if claim.what == "value" else "+"
    value = number(over.value, places) if claim.what == "value" else signed(over.value, places)
    ends = interval(over.over_both.low, over.over_both.high, places, sign) if both else ""
    p = "" if math.isnan(one.p) else "< .001" if one.p < 0.001 else f"{one.p:.3f}"
    seeds = interval(over.over_seeds.low, over.over_seeds.high, places, sign)
    before = after = ""
    if end is not None and end.over is not None and end.seeds == row.seeds:
        before, after = number(end.over.value - over.value, places), number(end.over.value, places)
    return [*about, str(row.seeds), before, after, value, seeds, ends, p, one.verdict]


def _figure(claim: ClaimOptions, found: Sequence[Finding]) -> Panels | None:
    """Every number with its interval, over 0; filled where it is told from 0."""
    drawn = [one for one in found if one.row.over is not None][:_MOST]
    if not drawn:
        return None
    figure = Panels([f"<b>{plain(claim.measure)}</b>"], 1, 22 * len(drawn) + 24)
    values = [one.row.over.value for one in drawn if one.row.over is not None]
    known = [one.interval if not math.isnan(one.interval.low) else None for one in drawn]
    above = [round(one.high - value, 6) if one is not None else 0 for one, value in zip(known, values, strict=True)]
    below = [round(value - one.low, 6) if one is not None else 0 for one, value in zip(known, values, strict=True)]
    firm = [one.verdict in _FIRM for one in drawn]
    colours = [LIGHT["specific"] if one.verdict != "the opposite" else LIGHT["related"] for one in drawn]
    names = [plain(" ".join(_about(claim, one.row))) for one in drawn]
    figure.add(
        "scatter",
        0,
        x=[round(value, 6) for value in values],
        y=list(range(len(drawn))),
        error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below,
                 "color": LIGHT["text"], "thickness": 1.5, "width": 0},
        mode="markers",
        marker={"size": 9, "color": colours, "symbol": ["circle" if one else "circle-open" for one in firm]},
        customdata=[": ".join(filter(None, (name, one.verdict))) for name, one in zip(names, drawn, strict=True)],
        hovertemplate="%{customdata}, %{x:.3f}<extra></extra>",
    )  # fmt: skip
    figure.y(0, tickvals=list(range(len(drawn))), ticktext=names, range=[len(drawn) - 0.4, -0.8], showgrid=False)
    zero = {"zeroline": claim.what != "value", "zerolinecolor": LIGHT["muted"], "zerolinewidth": 1}
    zero |= {} if claim.what == "value" else {"rangemode": "tozero"}
    figure.x(0, f"{_WHATS[claim.what]}, {found[0].row.question.unit}", **zero)
    return figure
