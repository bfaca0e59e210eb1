"""What a study leaves and says: the long table, the same over seeds, the page, and a table on the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from alignlab import console
from alignlab.errors import InputError, some_of
from alignlab.reporting.page.plain import write_plain_page
from alignlab.reporting.wording import capital, interval, number, signed
from alignlab.studying.answers import moved_answers
from alignlab.studying.claims import findings_of, said_of
from alignlab.studying.configs import Study
from alignlab.studying.draws import draws_in, notes_of
from alignlab.studying.grid import JOIN, TRAIN, Cell
from alignlab.studying.page import about_of, leads_of, places_of, sections_of
from alignlab.studying.same_languages import Roles, roles_of
from alignlab.studying.summary import HEADER, Answers, Ends, Summary, collected, summarise
from alignlab.studying.table import write_rows, write_table

_MOST_LINES = 60  # of a table on the terminal
_OVER = {"over_both": "over both", "over_seeds": "over seeds", "over_documents": "over documents"}


@dataclass
class Results:
    """What was written: the rows over seeds, and the cells that they are of.

    left_out: finished cells whose files are damaged or gone, and what is wrong with them.
    """

    rows: list[Summary] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    left_out: dict[Cell, str] = field(default_factory=dict)

    def leave_out(self, cell: Cell, error: InputError) -> None:
        """Do without a cell; it is told of at the end."""
        self.left_out[cell] = str(error.problems[0])
        self.cells.remove(cell)


def write_results(study: Study) -> Results:
    """Write `study.csv`, `summary.csv` and `study.html` of all cells that are finished by now.

    One process at a time: the one that comes last has seen all that others have finished.
    """
    folder = study.folder
    with folder.locked():
        results = Results(cells=[cell for cell in study.grid.cells if study.state(cell) == "finished"])
        roles = _roles(study, results)
        numbers = write_table(study, [*results.cells], folder.table, results.leave_out)
        said = collected(numbers, lambda cell: _answers(study, cell))
        cells = results.cells
        analysed = [step.name for step in study.steps if step.verb == "analyze"]
        rows = summarise(
            study.grid, said, study.options.baseline, roles, lambda cell: draws_in(folder.cell(cell), analysed)
        )
        told = {
            one.source for of_levels in said.values() for one, ends in of_levels.items() if _has_error(ends.values())
        }
        notes = notes_of({cell.name: folder.cell(cell) for cell in cells}, [one for one in analysed if one in told])
        notes += _unknown_roles(study, roles)
        header = [*study.grid.axes, *HEADER]
        write_rows(folder.summary, header, [row.columns(study.grid.axes) for row in rows])
        left_out = {cell.name: why for cell, why in results.left_out.items()}
        about = [*about_of(study, left_out), *notes]
        write_plain_page(folder.page, study.options.study.name, about, sections_of(study, rows, left_out))
    for note in notes:
        console.note(f"note: {note}")
    return replace(results, rows=rows)


def _roles(study: Study, results: Results) -> dict[tuple[str, ...], Roles | None]:
    """The languages in training by levels, as any seed's cell tells; cells with damaged snapshots are left out."""
    found: dict[tuple[str, ...], Roles | None] = {}
    for cell in [*results.cells]:
        try:
            roles = roles_of(study.folder.cell(cell) / TRAIN)
        except InputError as error:
            fix = study.folder.made_anew(cell, study.steps[0])
            results.leave_out(cell, InputError(replace(error.problems[0], fix=fix)))
            continue
        found[cell.levels] = found.get(cell.levels) or roles
    return found


def _unknown_roles(study: Study, roles: Mapping[tuple[str, ...], Roles | None]) -> list[str]:
    """That the groups of some cells are compared with nothing."""
    unknown = [JOIN.join(levels) for levels, one in roles.items() if one is None]
    if not study.options.baseline or not unknown:
        return []
    return [
        f"{some_of(unknown)}: the snapshots are gone (run/neurons/step-*.safetensors), which tell what is trained; "
        "trained, reference and unseen languages are not compared with the baseline."
    ]


def _has_error(ends: Iterable[Ends]) -> bool:
    return any(one.last.se is not None for one in ends)


def _answers(study: Study, cell: Cell) -> Answers:
    """What problems move a cell's answers by; nothing where its records are damaged, which is told."""
    try:
        return moved_answers(study.folder.cell(cell) / TRAIN)
    except InputError as error:
        told = "its answers are not compared problem by problem"
        console.complain(f"note: {cell.name}: {told}: {error.problems[0]}")
        return {}


def show_results(study: Study, results: Results, elsewhere: Sequence[Cell], stopped: Sequence[Cell]) -> None:
    """Print a table of each leading measure, the cells that are not done, the paths and the next command."""
    rows = results.rows
    for claim in study.options.claims.values():
        found, both = findings_of(claim, study.grid.axes, rows)
        console.say()
        console.heading(claim.title)
        console.note(claim.says)
        console.note(said_of(claim, found, both, rows))
    rows = [row for row in rows if row.question.layer is None]
    for question in leads_of(rows):
        _show(study, rows, *question)
    folder = study.folder
    console.say()
    states = {cell: study.state(cell) for cell in study.grid.cells}
    for cell in [cell for cell, state in states.items() if state == "failed"]:
        failure = folder.failure(cell)
        assert failure is not None
        console.complain(f"{cell.name} has failed at {failure.step}: {failure.says}\n    {folder.log(cell)}")
    if elsewhere:
        many = f"{len(elsewhere)} cell{'s are' if len(elsewhere) > 1 else ' is'}"
        console.say(f"{many} worked on by other processes; whoever ends last has them in the table.")
    for cell in stopped:
        console.say(f"{cell.name} was stopped before its end.")
    for cell, why in results.left_out.items():
        console.complain(f"{cell.name} is done, and left out of the tables: {why}")
    console.heading("Written")
    finished = len(results.cells)
    console.table(
        [
            ("numbers", f"{folder.table} (every number of {finished:,} of {len(states):,} cells)"),
            ("over seeds", f"{folder.summary} (intervals over seeds, documents, and both)"),
            ("page", str(folder.page)),
            ("cells", str(folder.cells)),
        ]
    )
    again = [name for name, state in states.items() if state == "failed"]
    left = [name for name, state in states.items() if state in ("open", "begun")]
    if again:
        console.say(f"\nNext: python -m alignlab.study config={folder.config} retry=failed")
    elif left:
        console.say("\nThe same command goes on with what is left.")
    elif study.configs and finished:
        some = folder.cell(study.grid.cells[-1]) / "run"
        console.say(f"\nNext: the page of one run: python -m alignlab.report run={some}")


def _show(study: Study, rows: Sequence[Summary], source: str, task: str, measure: str) -> None:
    axes = study.grid.axes
    asked = [
        row for row in rows if (row.question.source, row.question.task, row.question.measure) == (source, task, measure)
    ]
    what = f" ({task})" if task else ""
    console.say()
    console.heading(f"{capital(measure)}{what}, {source}, at the end of each training")
    compared = any(row.what == "difference" for row in asked)
    shown = [row for row in asked if row.what == ("difference" if compared else "change") and not row.question.language]
    of_mean = _told(row for row in asked if row.what == "value" and not row.question.language)
    of_moved = _told(shown)
    places = places_of(asked)
    lines = []
    for levels in study.combinations:
        for group, language in places:
            if language:
                continue
            now, change, other = (
                next(
                    (row for row in asked if (row.what, row.levels, row.question.group) == (kind, levels, group)), None
                )
                for kind in ("value", "change", "difference")
            )
            if now is None:
                continue
            last = other if compared else change
            cells = [
                *levels,
                group,
                _value(now),
                _interval(now, of_mean),
                _value(last),
                _interval(last, of_moved),
            ]
            lines.append(cells)
    moved = "from baseline" if compared else "change"
    header = [*axes, "", "mean", f"95 % {_OVER[of_mean]}", moved, f"95 % {_OVER[of_moved]}"]
    console.table(lines[:_MOST_LINES], header, "l" * (len(axes) + 1) + "rrrr")
    if len(lines) > _MOST_LINES:
        console.say(f"and {len(lines) - _MOST_LINES:,} more lines in summary.csv")
    seeds = sorted({row.seeds for row in asked})
    many = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    said = (
        f"Means over {many} seeds{'' if seeds[-1] > 1 else ': one tells nothing of others, so there are no intervals'}."
    )
    console.say(f"{said} Over both: over seeds and documents. The page has all three intervals.")


def _told(rows: Iterable[Summary]) -> str:
    """The interval that a column shows: over both where that is known of any, else over seeds, else over documents."""
    known = [row.over for row in rows if row.over is not None]
    return next(
        (name for name in _OVER if any(not math.isnan(getattr(over, name).low) for over in known)), "over_seeds"
    )


def _value(row: Summary | None) -> str:
    if row is None:
        return ""
    if row.over is None:
        return "diverged"
    places = 1 if row.question.unit == "neurons" else 3
    return number(row.over.value, places) if row.what == "value" else signed(row.over.value, places)


def _interval(row: Summary | None, over: str) -> str:
    if row is None or row.over is None:
        return ""
    found, places = getattr(row.over, over), 1 if row.question.unit == "neurons" else 3
    return interval(found.low, found.high, places, "" if row.what == "value" else "+")
