"""A study: planned, its cells worked on, and what those that are done have left put into a table and a page."""

from __future__ import annotations

import os
import shutil
import signal
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from alignlab import console
from alignlab.callbacks.stopping import requeue
from alignlab.config import to_plain, to_yaml
from alignlab.console import size
from alignlab.errors import InputError, Problem
from alignlab.redaction import hide_all
from alignlab.reporting.estimates import existing
from alignlab.runs import check_writable
from alignlab.secret_settings import check_settings
from alignlab.signals import Stopped
from alignlab.studying.before import check_before, is_prepared, not_there_yet, prepare
from alignlab.studying.configs import Study, study_of
from alignlab.studying.cost import Cost, Group, check_disk, costs_of
from alignlab.studying.folder import State
from alignlab.studying.grid import Origins
from alignlab.studying.launched import check_devices
from alignlab.studying.options import StudyOptions
from alignlab.studying.remaining import remaining
from alignlab.studying.results import show_results, write_results
from alignlab.studying.running import Worker
from alignlab.studying.steps import Step

# How a study is worked on is no part of what it is.
HOW: dict[str, Any] = {"dry_run": False, "jobs": None, "devices": [], "retry": "nothing"}
_NAMES = ("study.name", "study.root", "models", "cell.config")


def run(options: StudyOptions, origins: Origins) -> list[str]:
    """Check all, plan, work on the cells, and say what was found; the cells that have failed, or are damaged.

    origins: where each key was set, as `alignlab.config.load` gives it.
    Raises InputError before the first cell is begun for all that is wrong with any, and Stopped where it was asked to.
    """
    check_settings(to_plain(options), _NAMES)
    _check_alone()
    _check_devices(options)
    study = study_of(options, origins)
    folder = study.folder
    check_writable(folder.path, "study.name")
    folder.check_ours()
    by_name = {cell.name: (cell, study.document(cell)) for cell in study.grid.cells}
    folder.check_continued(by_name, study.steps)
    check_before(study)
    states = Counter(study.state(cell) for cell in study.grid.cells)
    show_plan(study, states)
    if options.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return []
    folder.begin(to_yaml(options.model_copy(update=HOW), hide_all))
    worker = Worker(study)
    try:
        if not is_prepared(study):
            prepare(study)
            costs_of(study.grid.cells, study.configs)  # which could not be planned before
        worker.work()
    except Stopped as stopped:
        queued = requeue() if stopped.signal == signal.SIGUSR1 else ""
        raise Stopped(
            stopped.signal, "; ".join(filter(None, (f"with {stopped.done}" if stopped.done else "", queued)))
        ) from None
    results = write_results(study)
    show_results(study, results, worker.elsewhere, worker.stopped)
    failed = [cell for cell in study.grid.cells if study.state(cell) == "failed"]
    return [cell.name for cell in (*failed, *results.left_out)]


def _check_alone() -> None:
    """Refuse ranks: every process of a study begins cells of its own."""
    ranks = os.environ.get("WORLD_SIZE", "1")
    if ranks != "1":
        fix = "Start it without a launcher; cells have ranks by trainer.devices in cell.set."
        raise InputError(Problem("WORLD_SIZE", f"{ranks} ranks of one study", "processes that know of no others", fix))


def _check_devices(options: StudyOptions) -> None:
    """A dry run may be given elsewhere than the study itself: there it is told."""
    try:
        check_devices(options.devices)
    except InputError as error:
        if not options.dry_run:
            raise
        console.complain(f"note: {error.problems[0]}")


def show_plan(study: Study, states: Mapping[State, int]) -> None:
    """Print what the study will do, what that costs, and what of it is done."""
    options, grid, folder = study.options, study.grid, study.folder
    number = len(grid.cells)
    parts = [f"{len(levels)} {axis} ({', '.join(levels)})" for axis, levels in options.axes.items()]
    if options.models:
        parts = [f"models {', '.join(cell.name for cell in grid.cells)}"]
    else:
        parts.append(
            f"{len(options.seeds)} seed{'s' * (len(options.seeds) != 1)} ({', '.join(map(str, options.seeds))})"
        )
    skipped = f", less {grid.skipped} skipped" if grid.skipped else ""
    rows = [("cells", f"{number:,}: {' x '.join(parts)}{skipped}")]
    todo = [cell for cell in grid.cells if study.state(cell) != "finished"]
    rows += [(step.name, f"first, once for all cells: alignlab.prepare {step.kind}") for step in study.before]
    if study.configs and todo:
        groups = costs_of(grid.cells, study.configs, later=not_there_yet(study))
        check_disk(groups, set(todo), shutil.disk_usage(existing(folder.path)).free)
        rows += cost_rows(groups) if groups else []
        unknown = number - sum(len(group.cells) for group in groups)
        if unknown:
            rows.append(("not counted", f"{unknown:,} cells, until {study.before[-1].name} is prepared"))
    for step in study.steps[1:] if study.configs else study.steps:
        asked = sum(map(step.is_of, grid.cells))
        of = "every cell" if asked == number else f"{asked:,} cell{'s' * (asked != 1)}{_which(study, step)}"
        rows.append((step.name, f"of {of}: alignlab.{step.verb}{f' config={step.config}' if step.config else ''}"))
    if options.baseline:
        told = ", ".join(f"{axis} {level}" for axis, level in options.baseline.items())
        there = {cell.levels for cell in grid.cells}
        compared = any(grid.baseline_of(cell, options.baseline) in there for cell in grid.cells)
        how = "others are compared with it seed by seed" if compared else "skipped, so nothing is compared with it"
        rows.append(("baseline", f"{told}; {how}"))
    rows.append(("done", _done(study, states)))
    rows += _left_rows(study)
    jobs = Worker(study).jobs
    given = f" on devices {', '.join(options.devices)}" if options.devices else ""
    rows += [
        ("processes", f"{'one after another' if jobs == 1 else f'{jobs} side by side'}{given}"),
        ("folder", str(folder.path)),
    ]
    console.heading(f"Plan of {options.study.name}")
    console.table(rows)


def _which(study: Study, step: Step) -> str:
    """Of which levels a step is asked."""
    limits = [(axis, of) for axis, of in zip(study.grid.axes, step.levels, strict=False) if of]
    told = "; ".join(f"{axis} {', '.join(level for level in study.levels(axis) if level in of)}" for axis, of in limits)
    return f" ({told})"


def cost_rows(groups: list[Group]) -> list[tuple[str, str]]:
    """What one cell of each model and method costs, those that cost the same in one line, and all together."""
    rows = []
    alike: dict[Cost, list[Group]] = defaultdict(list)  # such as two learning rates
    for group in groups:
        alike[group.cost].append(group)
    for cost, of_cost in alike.items():
        number, name = sum(len(group.cells) for group in of_cost), of_cost[0].planned.name
        what = f"{cost.steps:,} steps, about {_many(cost.tokens)} tokens{_flops(cost.flops)}, {size(cost.disk)} of disk"
        like = f"{number:,} cells like {name}" if number > 1 else f"the cell {name}"
        rows.append(("each", f"{what}, {size(cost.memory)} of memory ({like})"))
    totals = [(len(group.cells), group.cost) for group in groups]
    flops = [number * cost.flops for number, cost in totals if cost.flops is not None]
    counted = _flops(sum(flops) if len(flops) == len(totals) else None)
    steps, tokens = (sum(number * getattr(cost, name) for number, cost in totals) for name in ("steps", "tokens"))
    disk = sum(number * cost.disk for number, cost in totals)
    beside = "beside snapshots and answers, which each cell's own plan tells"
    rows.append(("in all", f"{steps:,} steps, about {_many(tokens)} tokens{counted}, {size(disk)} of disk; {beside}"))
    return rows


def _many(number: float) -> str:
    return f"{number:,.0f}" if number < 1e7 else f"{number:.2e}"


def _flops(flops: float | None) -> str:
    return "" if flops is None else f", {flops:.1e} FLOP"


def _done(study: Study, states: Mapping[State, int]) -> str:
    """How far the cells are; of what is left, how long it takes as far as those that are done tell."""
    text = f"{states['finished']:,} of {len(study.grid.cells):,} cells"
    text += f", {states['begun']:,} begun" if states["begun"] else ""
    if states["failed"]:
        text += f", {states['failed']:,} failed"
        text += " (retry=failed begins them again)" if study.options.retry == "nothing" else ", which are begun again"
    return text


def _left_rows(study: Study) -> list[tuple[str, str]]:
    """The processes that are left, and how long they take as far as those that are done tell."""
    again = ("failed",) if study.options.retry == "failed" else ()
    todo = [cell for cell in study.grid.cells if study.state(cell) in ("open", "begun", *again)]
    left = remaining(study.folder, study.steps, study.grid.cells, todo)
    before = 0 if is_prepared(study) else len(study.before)
    processes = ", ".join(filter(None, [f"{before} alignlab.prepare" if before else "", left.processes]))
    if not processes:
        return []
    says = left.says(Worker(study).jobs)
    unknown = "told once the first process of each kind is done; what is not training has no estimate before"
    return [("to run", processes), ("time", f"{says}, by those that are done" if says else unknown)]
