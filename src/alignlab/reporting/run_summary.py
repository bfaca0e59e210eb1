"""The summary at the end of a run, on the terminal: what it wrote, and the next command."""

from __future__ import annotations

import json
import shlex

from alignlab import console
from alignlab.errors import InputError, Problem
from alignlab.neurons.table import read_csv
from alignlab.regular_files import read_regular
from alignlab.reporting.capability_table import show
from alignlab.runs import RunFolder, snapshot_files, step_of


def show_run_summary(folder: RunFolder) -> None:
    """Say what the run wrote and what to do next."""
    steps, offline = folder.checkpoint_steps(), sorted((folder.path / "wandb").glob("offline-run-*"))
    rows = [
        ("config", str(folder.config)),
        ("numbers", f"{folder.metrics} (every step), {folder.table} (neurons by kind, language, layer, degree)"),
        ("snapshots", f"{len(folder.snapshots())} in {folder.neurons}"),
    ]
    if evaluations := sorted(snapshot_files(folder.evaluation, "csv"), key=step_of):
        # A run that was killed before it wrote its tables has none; they are made again when it goes on.
        show(read_csv(evaluations[-1]))
        rows.insert(
            2, ("answers", f"{len(evaluations)} in {folder.evaluation}; shares right: {folder.evaluation_table}")
        )
    if steps:
        last = folder.checkpoint(steps[-1])
        rows.append(("checkpoints", f"{len(steps)} in {folder.checkpoints}; the last is {last}"))
    rows += _end(folder)
    if offline:
        rows.append(("W&B", f"offline in {folder.path / 'wandb'}"))
    console.say()
    console.heading("Written")
    console.table(rows)
    if offline:
        console.say("\nTo see it on W&B, log in with `wandb login`, then:")
        console.say(f"    wandb sync {shlex.quote(str(offline[-1]))}")
    run = f"run={shlex.quote(str(folder.path))}"
    console.say(f"\nNext: its page: python -m alignlab.report {run}")
    console.say(f"or ask the snapshots again, e.g. python -m alignlab.analyze {run} identifier.name=lape")


def _end(folder: RunFolder) -> list[tuple[str, str]]:
    """Why the run ended before its planned end, and its best checkpoint, as it wrote them down.

    Raises InputError where that is damaged.
    """
    if not folder.finished.is_file():
        return []
    rows = []
    try:
        end = json.loads(read_regular(folder.finished))
        for part in end.get("stages", [end]):
            if (stopped := part.get("stopped")) is not None:
                what = f"stopped {part['name']}" if "name" in part else "stopped"
                rows.append((what, f"after step {part['step']} of {part['planned_steps']}: {stopped['rule']}"))
        if (best := end.get("best")) is not None:
            chosen = f"{best['monitor']} {best['value']:.4g}, optimistic as it was chosen by it"
            rows.append(("best checkpoint", f"{folder.checkpoint(best['step'])} ({chosen})"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found = "it is damaged"
        fix = "Restore it from a copy, or remove it and give the same command again."
        raise InputError(Problem(str(folder.finished), found, "what the run wrote at its end", fix)) from None
    return rows
