"""What a grid leaves: the table of all its numbers, and what people read on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields

from alignlab import console
from alignlab.analysis.arm_outcomes import NATS, outcomes
from alignlab.analysis.effect_contrasts import own_language_rows
from alignlab.analysis.effect_fallback import fallback_rows
from alignlab.analysis.effect_forcing import forcing_rows
from alignlab.analysis.effect_matrices import matrix_rows
from alignlab.analysis.effect_rows import SetOf
from alignlab.analysis.effect_shifts import AWAY, is_shift, shift_rows
from alignlab.analysis.effect_strengths import Better, strength_rows
from alignlab.atomic import write_text
from alignlab.intervening import falling
from alignlab.intervening.folder import GridFolder
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.options import WITH_TEXTS
from alignlab.intervening.plan import GridPlan
from alignlab.intervening.subjects import Subject
from alignlab.neurons.table import Row, read_csv, write_csv
from alignlab.recording.effects import Effects
from alignlab.regular_files import read_regular
from alignlab.reporting.effects_table import Matrix, matrices, matrix_lines, sentences
from alignlab.reporting.fallback_table import Path, path_lines, path_sentences, paths
from alignlab.reporting.wording import capital

_MOST_MATRICES = 8
_HARM = {"nats": 1.0}  # where more is worse; of shares that are right less is


def write_about(folder: GridFolder, grid: Grid, path: Effects | None = None) -> None:
    """Write what the sets are, how far their controls are from them, and how many neurons of these are general.

    path: the record of a fallback, of whose steps it is written what controls have in common.
    """
    options, chosen = grid.plan.options, grid.chosen
    about: dict[str, dict[str, object]] = {
        name: {
            "language": whole if (whole := grid.parts[name].whole) in grid.measured.languages else "",
            "matrix": grid.each if whole not in options.sets else "",
            "part": grid.parts[name].words,
            "site": grid.site,
            "scope": options.scope,
            "neurons": chosen.sets.sizes()[name],
            "gaps": [],
            "shared": {
                control: chosen.shared(name, control, options.seeds)
                for control in options.controls
                if options.seeds > 1
            },
            "general": [],
        }
        for name in chosen.named
    }
    drawn = {(label.set, label.control, label.seed): label for label in grid.labels if label.control}
    for label in drawn.values():
        told = {"gaps": chosen.gap(label) if chosen.probabilities else None, "general": chosen.general_in(label)}
        for name, value in told.items():
            found = about[label.set][name]
            assert isinstance(found, list)
            found += [] if value is None else [[label.control, label.seed, value]]
    for step, shared in falling.shared_at(grid, path.labels if path else ()).items():
        about.setdefault(step, {})["shared"] = shared  # the first step is called as the set that it is
    write_text(folder.about(grid.subject), json.dumps(about, ensure_ascii=False, indent=2) + "\n")


def read_about(folder: GridFolder, subject: Subject) -> dict[str, SetOf]:
    """What `write_about` wrote. The folder has been looked at: its files are as they were written."""
    about = json.loads(read_regular(folder.about(subject)))
    names = {field.name for field in fields(SetOf)}
    found = {}
    for name, of in about.items():
        gaps = {(control, seed): gap for control, seed, gap in of.get("gaps", ())}
        found[name] = SetOf(**{key: value for key, value in of.items() if key in names} | {"gaps": gaps})
    return found


def rows_of(effects: Effects, sets: Mapping[str, SetOf], label: str = "") -> list[Row]:
    """Every number of a record: what each arm did to each language, over its controls, and over other languages.

    label: of the record; by default its step.
    """
    rows = [*matrix_rows(effects, sets, label=label), *own_language_rows(effects, sets, label=label)]
    rows += [*forcing_rows(effects, sets, label=label), *shift_rows(effects, sets, label=label)]
    strengths = {one.strength for one in effects.labels if one.strength is not None}
    if len(strengths) > 1:
        for outcome in outcomes(effects):
            better: Better = "low" if outcome.name == NATS else "high"
            rows += strength_rows(effects, sets, outcome, better=better, label=label)
    return rows


def write_table(plan: GridPlan) -> None:
    """Write the rows of all models, from the records alone."""
    rows = []
    for subject in plan.subjects:
        sets = read_about(plan.folder, subject)
        for measure in plan.options.measures:
            effects = Effects.load(plan.folder.effects(subject, measure))
            made = fallback_rows if measure == "fallback" else rows_of
            rows += made(effects, sets, label=subject.label if subject.site else "")
    write_csv(plan.folder.table, rows)


def show_results(plan: GridPlan) -> None:
    """Print the matrices, what they answer, the paths and the next command."""
    rows = read_csv(plan.folder.table)
    for path in paths(rows):
        _show_path(plan, path)
    found = matrices(rows)
    records = [plan.folder.effects(subject, one) for subject in plan.subjects for one in plan.options.measures]
    reference = Effects.load(records[0]).reference
    for matrix in found[:_MOST_MATRICES]:
        _show_matrix(plan, matrix, reference)
    if len(found) > _MOST_MATRICES:
        console.say(f"and {len(found) - _MOST_MATRICES} more: {plan.folder.table}")
    console.say()
    console.heading("Written")
    texts = [plan.folder.texts(of, one) for of in plan.subjects for one in plan.options.measures if one in WITH_TEXTS]
    texts = [path for path in texts if path.is_file()]  # earlier versions kept none
    console.table(
        [
            ("numbers", f"{plan.folder.table} (every change with its interval, control and verdict)"),
            ("effects", f"{', '.join(map(str, records))} (every document or problem under every arm)"),
            *([("answers", f"{', '.join(map(str, texts))} (a line of JSON each, under every arm)")] if texts else []),
            ("neurons", f"{', '.join(str(plan.folder.sets(subject)) for subject in plan.subjects)}"),
            ("question", str(plan.folder.config)),
        ]
    )
    if plan.options.run:
        console.say(f"\nNext: its page: python -m alignlab.report run={plan.options.run}")
        console.say(f"or ask otherwise, e.g. {_another(plan)}")
    else:
        console.say(f"\nNext: {_another(plan)}")


def _show_path(plan: GridPlan, path: Path) -> None:
    console.say()
    console.heading(f"Language of the answers ({path.operation}), at {path.record}, on {path.task}")
    header, lines = path_lines(path, plan.options.show_languages)
    console.table(lines, header, "rl" + "r" * (len(header) - 2), keep=2)
    console.note(
        "A line a step, at which one more language is off; shares of all answers. untold: answers "
        "whose language cannot be told; matched: the share in the language just switched off with control neurons "
        "changed; * beyond it."
    )
    for sentence in path_sentences(path):
        console.note(sentence)


def _show_matrix(plan: GridPlan, matrix: Matrix, reference: str) -> None:
    unit = next(iter(matrix.changes.values())).unit
    how = f"with neurons changed ({matrix.what}), at {matrix.record}, on {matrix.task}"
    console.say()
    console.heading(f"{capital(matrix.title)} ({unit}), {how}")
    header, lines = matrix_lines(matrix, plan.options.show_languages)
    console.table(lines, header, "l" + "r" * (len(header) - 1), keep=1)
    columns = "language that is measured"
    own = "matched: the own language with control neurons changed; over matched: how much more."
    if is_shift(matrix.measure):
        other = "objects" if AWAY in matrix.measure or "another" in matrix.measure else "prompts"
        columns = f"language of the {other}"
        own = "N/A: not defined for the language itself."
    console.note(
        f"A line for each set that is changed, a column for each {columns}. [own language]; * beyond the matched "
        f"control; {own}"
    )
    if any(row.status == "floor" for row in matrix.changes.values()):
        console.note("f: of so few that are right with nothing changed (under .2), little can be lost.")
    for sentence in sentences(matrix, reference, harm=_HARM.get(matrix.measure, -1.0)):
        console.note(sentence)


def _another(plan: GridPlan) -> str:
    options = plan.options
    source = f"run={options.run}" if options.run else f"config={plan.folder.config}"
    if options.operations == ["zero"]:
        return f"python -m alignlab.intervene {source} operations=[scale] strengths=[0.5,2] name=amplification"
    return f"python -m alignlab.intervene {source} operations=[zero] name=deactivation"
