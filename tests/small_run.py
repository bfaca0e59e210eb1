"""A run of a few steps on a few problems, for tests of the commands that come after it."""

from __future__ import annotations

from pathlib import Path

from alignlab.train import main as train

SMALL = [
    "config=demo", "trainer.max_steps=2", "tracker.every_n_steps=1", "probe.source.count=12", "probe.max_texts=12",
    "probe.source.languages=[en,zh,de,sw]", "data.train.count=8", "data.examples_per_step=4", "wandb.mode=disabled",
    "probe.shards=6", "evaluation.source.count=2", "evaluation.source.languages=[en,zh]", "evaluation.max_new_tokens=8",
]  # fmt: skip


def make(folder: Path, *more: str) -> Path:
    """The run, finished, with snapshots and checkpoints of steps 0, 1 and 2."""
    assert train([*SMALL, f"run.folder={folder}", *more]) == 0
    return folder
