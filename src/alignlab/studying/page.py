"""The page of a study: a section for each measure, with its intervals over seeds, over documents and over both."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from alignlab.analysis.over_seeds import OverSeeds
from alignlab.redaction import hide
from alignlab.reporting.page.panels import Panels, plain
from alignlab.reporting.page.plain import Section, without_empty
from alignlab.reporting.page.theme import LIGHT
from alignlab.reporting.wording import capital, interval, number, signed
from alignlab.studying.claims import claim_sections
from alignlab.studying.configs import Study
from alignlab.studying.grid import JOIN
from alignlab.studying.groups import GROUPS
from alignlab.studying.summary import Summary, What
from alignlab.studying.table import DEGREE

# Measures of a training that come first, and of what is asked of it those that its command shows.
_LEADS = (("neurons", "specific neurons"), ("neurons", "related neurons"), ("neurons", "general neurons"),
          ("neurons", "loss"), ("capability", "right"), ("capability", "in language"))  # fmt: skip
_SOURCES = {"neurons": "Neurons as the training counted them", "capability": "Answers while training"}
_WHATS: dict[What, str] = {"value": "mean", "change": "change", "difference": "from baseline"}
_NOTES = (
    "Over seeds: other trainings, these very documents. Over documents: other documents, these very models. "
    "Over both: what a verdict on the training takes.",
    "Empty where nothing tells: one seed, or seeds that all gave the same number, or numbers without an error.",
    "Changes are since the beginning of each training. A difference from the baseline is of the same seed and the same "
    "languages, whatever group they are in there. Answers are compared problem by problem; counts that "
    "alignlab.analyze intervals=ends made, in the same resamples of the documents. The error over documents of other "
    "differences is as if the two had seen other documents, so too large rather than too small.",
)


def leads_of(rows: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """Source, task and measure of what is shown first; of what was asked of cells the first measure of each task."""
    there = dict.fromkeys((row.question.source, row.question.task, row.question.measure) for row in rows)
    found = [one for source, measure in _LEADS for one in there if (one[0], one[2]) == (source, measure)]
    known = {source for source, _ in _LEADS}
    first: dict[tuple[str, str], tuple[str, str, str]] = {}
    plain = {
        (row.question.source, row.question.task, row.question.measure)
        for row in rows
        if row.question.group in GROUPS and not row.question.set
    }
    for one in there:
        if one[0] not in known and one in plain:
            first.setdefault(one[:2], one)
    return [*found, *first.values()]


def places_of(rows: Sequence[Summary]) -> list[tuple[str, str]]:
    """Groups, then languages, of which there are numbers."""
    there = dict.fromkeys((row.question.group, row.question.language) for row in rows)
    groups = [(group, "") for group in GROUPS if (group, "") in there]
    return groups + sorted(one for one in there if one[1])


def about_of(study: Study, left_out: Mapping[str, str]) -> list[str]:
    """What the page is of, in sentences. left_out: cells that are done, and what is wrong with their files."""
    cells = study.grid.cells
    states = [study.state(cell) for cell in cells]
    said = [f"{states.count('finished'):,} of {len(cells):,} cells are done, {states.count('failed'):,} have failed."]
    said += [f"Of {len(left_out):,} that are done the files are damaged; they are left out."] if left_out else []
    said += [f"{capital(axis)}: {', '.join(levels)}." for axis, levels in study.options.axes.items()]
    said += [] if study.options.models else [f"Seeds: {', '.join(map(str, study.options.seeds))}."]
    return [" ".join(said)]


def sections_of(study: Study, rows: Sequence[Summary], left_out: Mapping[str, str]) -> list[Section]:
    """The claims; then a section for each measure, the leading ones, then all others, closed; then the cells.

    left_out: see `about_of`.
    """
    claims = claim_sections(study.options, study.grid.axes, rows)
    rows = [row for row in rows if row.question.layer is None]
    leads = leads_of(rows)
    rest = dict.fromkeys(
        (row.question.source, row.question.task, row.question.measure)
        for row in rows
        if not row.question.measure.startswith(DEGREE)  # a dozen, which a claim shows together
    )
    shown = [measure_section(study, rows, *one) for one in leads]
    others = [replace(measure_section(study, rows, *one), closed=True) for one in rest if one not in leads]
    return [*claims, *shown, *others, _cells(study, left_out)]


def measure_section(study: Study, rows: Sequence[Summary], source: str, task: str, measure: str) -> Section:
    """The table of a measure: a line for each combination of levels and group or language, with all its intervals."""
    asked = [
        one for one in rows if (one.question.source, one.question.task, one.question.measure) == (source, task, measure)
    ]
    whats = [what for what in _WHATS if any(row.what == what for row in asked)]
    sets = any(row.question.set for row in asked)
    header = [*study.grid.axes, *(["neurons", "control"] if sets else []), "of", "seeds"]
    for what in whats:
        header += [_WHATS[what], "over seeds", "over documents", "over both"]
    lines: dict[tuple[object, ...], list[str]] = {}
    by_place = {(row.levels, row.question, row.what): row for row in asked}
    order = {levels: place for place, levels in enumerate(study.combinations)}
    places = {place: at for at, place in enumerate(places_of(asked))}

    def place(row: Summary) -> tuple[int, int]:
        return order[row.levels], places.get((row.question.group, row.question.language), len(places))

    for row in sorted((row for row in asked if row.what == "value"), key=place):
        about = [*row.levels]
        if sets:
            about += [" ".join(filter(None, (row.question.set, row.question.operation))), row.question.control]
        about += [row.question.language or row.question.group, str(row.seeds)]
        for what in whats:
            about += _cells_of(by_place.get((row.levels, row.question, what)))
        lines[row.levels, row.question] = about
    unit = asked[0].question.unit
    steps = sorted({row.step for row in asked if row.step is not None})
    at = f" At step {', '.join(map(str, steps))}." if steps else ""
    said = [
        f"{_SOURCES.get(source, f'What {source} measured')}{f', in {unit}' if unit not in ('', 'neurons') else ''}.{at}"
    ]
    told = ", ".join(filter(None, (task, source if source not in _SOURCES else "")))
    title = f"{capital(measure)}{f' ({told})' if told else ''}"
    header, shown = without_empty(header, list(lines.values()))
    return Section(
        title, said, figure_of(study.combinations, asked, whats[-1], unit), header, shown, _NOTES, folded=True
    )


def figure_of(combinations: Sequence[tuple[str, ...]], rows: Sequence[Summary], what: What, unit: str) -> Panels | None:
    """A panel for each group of languages: of each combination of levels the change, or the difference, with the widest
    of its intervals that is known; None where there is one combination.
    """
    drawn = [row for row in rows if row.what == what and row.over is not None and not row.question.set]
    groups = [group for group in GROUPS if any(row.question.group == group for row in drawn)]
    if len(combinations) < 2 or not groups:
        return None
    known = {JOIN.join(row.levels) for row in drawn if row.question.group in groups}  # none of a baseline's differences
    names = [name for levels in combinations if (name := JOIN.join(levels)) in known]
    figure = Panels([f"<b>{plain(group)}</b>" for group in groups], 3, 26 * len(names) + 24)
    for panel, group in enumerate(groups):
        of_group = {JOIN.join(row.levels): row.over for row in drawn if row.question.group == group and row.over}
        there = [name for name in names if name in of_group]
        ends = [_widest(of_group[name]) for name in there]
        values = [of_group[name].value for name in there]
        bars = {
            "type": "data",
            "symmetric": False,
            "array": [high - value for value, (_, high) in zip(values, ends, strict=True)],
            "arrayminus": [value - low for value, (low, _) in zip(values, ends, strict=True)],
        }
        marker = {"color": LIGHT["muted"], "size": 8}
        figure.add("scatter", panel, x=values, y=there, mode="markers", marker=marker, error_x=bars, name=group)
        figure.x(panel, " ".join(filter(None, (_WHATS[what], f"({unit})" if unit else ""))), zeroline=what != "value")
        figure.y(panel, categoryorder="array", categoryarray=names[::-1], automargin=True)
    return figure


def _widest(over: OverSeeds) -> tuple[float, float]:
    """The ends of the interval over both, else over seeds, else over documents; the value where none is known."""
    known = (one for one in (over.over_both, over.over_seeds, over.over_documents) if not math.isnan(one.low))
    found = next(known, None)
    return (over.value, over.value) if found is None else (found.low, found.high)


def _cells_of(row: Summary | None) -> list[str]:
    if row is None:
        return [""] * 4
    if row.over is None:
        return ["diverged", "", "", ""]
    places, sign = 1 if row.question.unit == "neurons" else 3, "" if row.what == "value" else "+"
    value = number(row.over.value, places) if row.what == "value" else signed(row.over.value, places)
    ends = (row.over.over_seeds, row.over.over_documents, row.over.over_both)
    return [value, *(interval(one.low, one.high, places, sign) for one in ends)]


def _cells(study: Study, left_out: Mapping[str, str]) -> Section:
    folder, lines = study.folder, []
    for cell in study.grid.cells:
        failure = folder.failure(cell)
        state = study.state(cell)
        why = f"{failure.step}: {failure.says}" if failure is not None and state == "failed" else ""
        if cell.name in left_out:
            why = f"left out: {left_out[cell.name]}"
        lines.append([cell.name, state, hide(why)])
    return Section("Cells", [], None, ["cell", "state", "why"], lines)
