"""How a run ends on the terminal: its table, what it wrote, and the next command."""

from __future__ import annotations

import shlex

from alignlab import console
from alignlab.runs import RunFolder


def show_closing(folder: RunFolder) -> None:
    """Say what the run wrote and what to do next."""
    snapshots = folder.snapshots()
    checkpoints = folder.checkpoint_steps()
    rows = [
        ("config", str(folder.config)),
        (
            "numbers",
            f"{folder.metrics} (every step), {folder.table} (neurons by kind, language, layer, degree)",
        ),
        ("snapshots", f"{len(snapshots)} in {folder.neurons}"),
    ]
    if checkpoints:
        rows.append(
            (
                "checkpoints",
                f"{len(checkpoints)} in {folder.checkpoints}; the last is {folder.checkpoint(checkpoints[-1])}",
            )
        )
    offline = sorted((folder.path / "wandb").glob("offline-run-*"))
    if offline:
        rows.append(("W&B", f"offline in {folder.path / 'wandb'}"))
    console.say()
    console.heading("Written")
    console.table(rows)
    if offline:
        console.say("\nTo see it on W&B, log in with `wandb login`, then:")
        console.say(f"    wandb sync {shlex.quote(str(offline[-1]))}")
    console.say(
        f"\nNext: ask the snapshots again, e.g. python -m alignlab.analyze run={shlex.quote(str(folder.path))} "
        "identifier.name=lape"
    )
