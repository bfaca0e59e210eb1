"""What an evaluation says: rows of every record, and the tables that people read on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from alignlab import console
from alignlab.evaluating.arm_rows import OVER_CONTROL, arm_rows
from alignlab.evaluating.interventions import Under
from alignlab.evaluating.plan import EvaluationPlan, Work, named
from alignlab.evaluating.task import BuiltTask, apart, selected
from alignlab.neurons.table import Row
from alignlab.recording.effects import Effects
from alignlab.reporting.wording import capital, interval, number, signed

_GROUPS = ("trained", "reference", "unseen", "all languages")
_MOST_RECORDS, _MOST_LANGUAGES = 6, 24  # with lines on the terminal


def rows_of(plan: EvaluationPlan) -> list[Row]:
    """The numbers of every task and model, their changes since the first model, and those under interventions."""
    rows = []
    for name in plan.options.tasks:
        works = [work for work in plan.works if work.task.name == name and work.under is None]
        first: Effects | None = None
        for work in works:
            stored = plan.folder.load(work.digest)
            assert stored is not None
            effects = selected(named(stored, plan, work), plan.options.languages)
            if effects is None:  # the task is in none of these languages
                break
            since = works[0].model.label
            compared = first if first is not None and work.task.compares(effects, first) else None
            rows += work.task.rows(effects, compared, work.model.label, since)
            rows += work.task.rows_of_answers(effects, plan.folder.answers(work.digest), work.model.label)
            if first is not None and compared is None:
                console.note(f"note: {name}: {work.model.label} cuts texts into other tokens than {since}: no changes")
            first = effects if first is None else first
            rows += _under_rows(plan, work, stored)
    return rows


def _under_rows(plan: EvaluationPlan, base: Work, stored: Effects) -> list[Row]:
    """The numbers of a model and task under its interventions."""
    # Those of which the same items are left out are one question.
    alike: dict[tuple[frozenset[str], frozenset[str]], list[tuple[Under, Work]]] = {}
    for work in plan.works:
        if work.under is not None and (work.model, work.task) == (base.model, base.task):
            alike.setdefault(work.left_out, []).append((work.under, work))
    rows: list[Row] = []
    for left_out, members in alike.items():
        now = _compared(plan, base, stored, left_out)
        if now is None:
            continue
        under = []
        for one, work in members:
            record = plan.folder.load(work.digest)
            assert record is not None
            effects = _compared(plan, work, record, left_out)
            assert effects is not None
            under.append((one, effects))
        answers = {one.name: plan.folder.answers(work.digest) for one, work in members}
        rows += arm_rows(base.task, now, under, answers, label=base.model.label)
    return rows


def _compared(
    plan: EvaluationPlan, work: Work, record: Effects, left_out: tuple[frozenset[str], frozenset[str]]
) -> Effects | None:
    """The items that are compared, under the names of now; None where there are none in the languages asked for."""
    asked = selected(named(record, plan, work), plan.options.languages)
    return None if asked is None else apart(asked, *left_out)


def show_results(plan: EvaluationPlan, rows: Sequence[Row]) -> None:
    """Print a table of each task, the paths and the next command."""
    for task in plan.tasks:
        labels = [model.label for model in plan.models]
        of_task = [row for row in rows if row.task == task.name]
        plain = [row for row in of_task if not row.label and not row.set]
        if plain:
            _show_task(task, plain, labels)
        elif any(row.label for row in of_task):
            # Such as tasks of the harness behind one name that have only numbers of a whole corpus.
            said = "no number of the whole task; those of its parts are in table.csv"
            console.note(f"\n{capital(task.name)}: {said}")
        changed = [row for row in of_task if row.set]
        if changed:
            _show_interventions(task, changed, labels, plan.options.seeds)
    folder = plan.folder
    console.say()
    console.heading("Written")
    console.table(
        [
            ("numbers", f"{folder.table} (every measure, with intervals, paired changes and verdicts)"),
            ("records", f"{folder.path / 'records'} (every item; records.json says which is which)"),
            ("question", str(folder.config)),
        ]
    )
    options = plan.options
    asked = f"run={options.run} " if options.run else ""
    codes = list(dict.fromkeys(code for task in plan.tasks for code in task.items))
    other = "languages=null" if options.languages else f"languages=[{','.join(codes[:2])}]"
    console.say(f"\nNext: python -m alignlab.evaluate {asked}config={folder.config} {other}")


def _show_task(task: BuiltTask, rows: Sequence[Row], labels: Sequence[str]) -> None:
    lead = [row for row in rows if row.measure == task.lead]
    changed = any(row.is_change for row in lead)
    there = [label for label in labels if any(row.record == label for row in lead)]
    shown = there if len(there) <= _MOST_RECORDS else [there[0], *there[1 - _MOST_RECORDS :]]
    console.say()
    console.heading(f"{capital(task.name)}: {task.lead}{_sizes(task)}")
    header = ["", "", task.lead, "95 %"]
    chance = next((row.reference for row in lead if row.reference is not None and not row.is_change), None)
    header += ["chance"] if chance is not None else []
    since = next((row.since for row in lead if row.is_change), "")
    header += [f"change since {since}", "95 %", ""] if changed else []
    lines = [
        _line(lead, label, group, "", header)
        for label in shown
        for group in _GROUPS
        if any(row.record == label and row.group == group for row in lead)
    ]
    languages = list(dict.fromkeys(row.language for row in lead if row.language))
    last = shown[-1]
    lines += [_line(lead, last, "language", code, header) for code in languages[:_MOST_LANGUAGES]]
    console.table(lines, header, "ll" + "r" * (len(header) - 2))
    if len(there) > len(shown):
        console.say(f"and {len(there) - len(shown)} more models in table.csv")
    if said := task.sentence([row for row in rows if row.record == last]):
        console.note(f"{said}{f' ({last})' if changed else ''}")
    over = sorted({row.over for row in lead if row.over})
    paired = "; changes are paired item by item, and verdicts corrected for what is asked together" if changed else ""
    console.note(f"{capital(task.reads_as)} Intervals are over {' and '.join(over) or 'nothing'}{paired}.")


def _show_interventions(task: BuiltTask, rows: Sequence[Row], labels: Sequence[str], seeds: int) -> None:
    """What each intervention does at the last model: to the groups, and to the languages that it changes the most."""
    last = next(label for label in reversed(labels) if any(row.record == label for row in rows))
    lead = [row for row in rows if row.record == last and row.measure in (task.lead, f"{task.lead} {OVER_CONTROL}")]
    if not lead:
        return
    control = next((name for name in ("matched", "random") if any(row.control == name for row in lead)), "")
    header = ["", "", task.lead, "change", "95 %", ""]
    header += [f"over {control}", "95 %", ""] if control else []
    lines = []
    for name in dict.fromkeys(row.set for row in lead):
        of = [row for row in lead if row.set == name]
        places = [(group, "") for group in _GROUPS if any(row.group == group for row in of)]
        codes = list(dict.fromkeys(row.language for row in of if row.language and not row.other))
        places += [("language", code) for code in codes[:_MOST_LANGUAGES]]
        lines += [_line_under(of, name, group, code, control) for group, code in places]
    console.say()
    console.heading(f"{capital(task.name)} under interventions ({last}): {task.lead}")
    console.table(lines, header, "ll" + "r" * (len(header) - 2))
    said = "Changes are since the same model with nothing changed, paired item by item."
    which = [label for label in dict.fromkeys(row.label for row in lead) if label]
    if which:
        said += f" Items: {' and '.join(which)}."
    if control == "matched" and seeds > 1:
        said += f" Beyond control: more than one more draw of {seeds} matched controls would do, corrected."
    else:
        said += " Whether other neurons would do as much is not tested: that takes two or more matched controls."
    if any(row.status == "floor" for row in lead):
        said += " (floor): under .2 with nothing changed, so it can hardly fall."
    console.note(said)


def _line_under(rows: Sequence[Row], name: str, group: str, language: str, control: str) -> list[str]:
    of = [row for row in rows if (row.group, row.language, row.other) == (group, language, "")]
    now = next((row for row in of if not row.is_change), None)
    moved = next((row for row in of if row.is_change and not row.control), None)
    over = next((row for row in of if row.control == control and row.measure.endswith(OVER_CONTROL)), None)
    cells = [name, language or group, "" if now is None else _value(now)]
    cells += ["", "", ""] if moved is None else [signed(moved.value, 3), interval(moved.low, moved.high, 3, "+"),
                                                 _verdict(moved)]  # fmt: skip
    if control:
        cells += ["", "", ""] if over is None else [signed(over.value, 3), interval(over.low, over.high, 3, "+"),
                                                    _beyond(over)]  # fmt: skip
    return cells


def _beyond(over: Row) -> str:
    if over.status == "diverged":
        return "diverged"
    return "no verdict" if over.beyond_control is None else f"{'beyond' if over.beyond_control else 'within'} control"


def _line(rows: Sequence[Row], label: str, group: str, language: str, header: Sequence[str]) -> list[str]:
    def row(*, change: bool) -> Row | None:
        here = (one for one in rows if (one.record, one.group, one.language) == (label, group, language))
        return next((one for one in here if one.is_change == change), None)

    now, moved = row(change=False), row(change=True)
    assert now is not None
    cells = [label, language or group, _value(now), interval(now.low, now.high, 3)]
    if "chance" in header:
        cells.append(number(now.reference, 3))
    if len(header) > len(cells):
        cells += ["", "", ""] if moved is None else [signed(moved.value, 3), interval(moved.low, moved.high, 3, "+"),
                                                   _verdict(moved)]  # fmt: skip
    return cells


def _value(row: Row) -> str:
    return "diverged" if row.status == "diverged" else number(row.value, 3)


def _verdict(row: Row) -> str:
    if row.status == "diverged":
        return "diverged"
    if row.status == "floor":
        return f"(floor) {'beyond' if row.beyond_noise else 'within'} noise"
    return "too few to tell" if row.beyond_noise is None else f"{'beyond' if row.beyond_noise else 'within'} noise"


def _sizes(task: BuiltTask) -> str:
    sizes = sorted(set(task.items.values()))
    each = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    return f", {each} items a language"
