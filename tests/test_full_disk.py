"""A disk that is full in the middle: one message, exit 2, and afterwards the run goes on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ARGUMENTS = [
    "config=demo", "run.folder=run", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.max_texts=4",
    "probe.source.count=4", "probe.source.languages=[en,de]", "data.train.count=8", "data.examples_per_step=4",
    "wandb.mode=disabled", "evaluation=null",
]  # fmt: skip


def run(folder: Path, largest_file: int | None) -> subprocess.CompletedProcess[str]:
    """The job, in which no file can grow beyond so many bytes: to a writer a full disk."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return subprocess.run(
        [sys.executable, "-m", "alignlab.train", *ARGUMENTS], cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, preexec_fn=limit,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("largest_file", "what"),
    [(20_000, "the snapshot of step 0 could not be written"), (500_000, "the checkpoint could not be written")],
)
def test_a_full_disk_is_said_and_the_run_goes_on_when_there_is_room(
    largest_file: int, what: str, tmp_path: Path
) -> None:
    full = run(tmp_path, largest_file)
    assert full.returncode == 2, full.stderr[-2000:]
    assert what in full.stderr
    assert "Make room and give the same command again" in full.stderr
    assert "Traceback" not in full.stderr
    assert not list((tmp_path / "run").rglob("*.partial"))
    after = run(tmp_path, None)
    assert after.returncode == 0, after.stderr[-2000:]
    assert (tmp_path / "run" / "finished.json").is_file()
    assert (tmp_path / "run" / "checkpoints" / "step-000004" / "adapter_model.safetensors").is_file()
