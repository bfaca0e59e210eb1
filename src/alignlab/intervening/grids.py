"""A grid of interventions: planned, measured on all ranks part by part, kept and told."""

from __future__ import annotations

from contextlib import ExitStack

from alignlab import console
from alignlab.begun_folder import Start
from alignlab.config import to_plain
from alignlab.errors import InputError
from alignlab.intervening.measuring import measure
from alignlab.intervening.model_grid import Grid
from alignlab.intervening.options import WITH_TEXTS, InterveneOptions
from alignlab.intervening.plan import GridPlan
from alignlab.intervening.plan_table import show_plan
from alignlab.intervening.results import show_results, write_about, write_table
from alignlab.models.distributed import broadcast, from_first, is_first, join, wait_for_all
from alignlab.recording.effects import Effects
from alignlab.recording.responses_file import check_answers
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings

_NAMES = ("folder", "name", "model.source", "run", "neurons")


def run(options: InterveneOptions) -> None:
    """Plan, measure, keep, and say what was found; show it where it is there already."""
    check_settings(to_plain(options), _NAMES)
    join()
    plan = GridPlan(options)
    plan.check_options()
    with ExitStack() as held:
        start: Start = from_first(lambda: _decide(plan, held))
        if start == "finished":
            if is_first() and not options.dry_run:
                plan.folder.clear_parts()  # where it was killed as it did so
            console.say(f"{plan.folder.path} holds this grid, all of it. Set name to make another.")
        else:
            plan.check()
            show_plan(plan, start)
            if options.dry_run:
                console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
                return
            _measure_all(plan, start)
        if is_first():
            show_results(plan)


def _decide(plan: GridPlan, held: ExitStack) -> Start:
    folder = plan.folder
    check_writable(folder.path, "folder")
    folder.check_ours()  # before the lock, which would leave a file in somebody else's folder
    if not plan.options.dry_run:
        held.enter_context(folder.locked())
    return folder.start(plan.document)


def _measure_all(plan: GridPlan, start: Start) -> None:
    """Measure what is not measured yet; rank zero writes."""
    folder = plan.folder
    made_from = from_first(plan.made_from)
    if start == "continue":
        for line in from_first(lambda: folder.check_continued(made_from)):
            console.say(f"note: {line}")
    for number, grid in enumerate(plan.grids):
        if broadcast(_is_there(plan, grid)):
            continue
        model = plan.loader.load(grid.subject.source)
        if start == "new" and not number:
            # Not before the model is there: a refusal until here leaves the folder as it was.
            from_first(lambda: folder.begin(plan.document, made_from))
        records = measure(plan, grid, model)
        if is_first():
            grid.sets.save(folder.sets(grid.subject))
            write_about(folder, grid, records.get("fallback"))
            for what, effects in records.items():
                effects.save(folder.effects(grid.subject, what))
        wait_for_all()
    if is_first():
        write_table(plan)
        folder.end()


def _is_there(plan: GridPlan, grid: Grid) -> bool:
    """Whether a killed process had written all that was measured of this model."""
    paths = plan.folder.of(grid.subject)
    if not all(path.is_file() for path in paths):
        return False
    try:
        for measured in plan.options.measures:
            effects = Effects.load(plan.folder.effects(grid.subject, measured))
            if measured in WITH_TEXTS:
                check_answers(plan.folder.texts(grid.subject, measured), effects.answers_checksum)
    except InputError as error:
        console.say(f"note: {error.problems[0]} It is measured again.")
        return False
    return True
