"""The main job with W&B: every number and the counts of a real training, online, offline, and with a dying server."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.reporting.snapshots import scalars, summarise

from ..reporting.wandb_server import Forks, WandbServer

WANDB = Path(sys.executable).with_name("wandb")
SMALL = (
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=2", "probe.max_texts=6", "probe.source.count=6",
    "probe.source.languages=[en,de,sw]", "data.train.count=18", "data.examples_per_step=6", "run.folder=run",
)  # fmt: skip

# A process trains; one that is to be killed is, at the beginning of a micro-batch.
TRAINING = """
import os, signal
import alignlab.train
from alignlab.methods.base import AlignmentModule

def work(job, kill_at):
    step = AlignmentModule.training_step
    def training_step(self, batch, batch_idx):
        if int(batch["number"]) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, batch_idx)
    AlignmentModule.training_step = training_step
    return alignlab.train.main(job["arguments"])
"""


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    forks = Forks(TRAINING)
    yield forks
    forks.end()


@pytest.fixture(scope="module")
def reference(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training without W&B."""
    folder = tmp_path_factory.mktemp("reference")
    forks.start(folder, {}, [None], arguments=[*SMALL, "wandb.mode=disabled"]).end()
    return folder / "run"


def documented(folder: Path) -> dict[int, dict[str, float]]:
    """All that a run logs at each step: a snapshot's scalars from its file, loss and rate from `metrics.csv`."""
    values: dict[int, dict[str, float]] = {step: {"trainer/global_step": step} for step in range(7)}
    first = None
    for step in (0, 2, 4, 6):
        counts = ActivationCounts.load(folder / f"neurons/step-{step:06d}.safetensors")
        snapshot = summarise(counts, TernaryConfig(top_rate=0.1), {"zh", "de"}, first)
        first = first or snapshot.result
        values[step] |= scalars(snapshot)
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["key"].startswith("train/"):
                values[int(row["step"])][row["key"]] = float(row["value"])
    assert {"train/loss", "train/learning_rate"} <= values[6].keys()
    assert len(values[6]) > 30
    return values


def without_own(row: dict[str, Any]) -> dict[str, Any]:
    """A row of history without what W&B adds."""
    return {key: value for key, value in row.items() if key not in ("_step", "_timestamp", "_runtime")}


def test_an_online_training_delivers_all_its_numbers_and_counts(forks: Forks, tmp_path: Path, reference: Path) -> None:
    server = WandbServer()
    job = forks.start(tmp_path, server.environment, [None], arguments=[*SMALL, "wandb.artifact=all"]).end()
    server.die()
    assert (job.statuses, job.complaints) == ([0], "")
    folder = tmp_path / "run"
    (run,) = server.runs.values()
    expected = documented(folder)
    assert [row["_step"] for row in run.history] == list(range(7))
    for row in run.history:
        assert without_own(row) == pytest.approx(expected[row["_step"]])
    assert run.exit_codes == [0]
    assert run.values["trainer"]["max_steps"] == 6
    assert [artifact.metadata["step"] for artifact in server.artifacts] == [0, 2, 4, 6]
    for number, artifact in enumerate(server.artifacts):
        name = f"step-{artifact.metadata['step']:06d}"
        assert artifact.committed
        assert name in artifact.aliases
        assert (
            server.uploads[f"/storage/artifacts/{number}/{name}.safetensors"]
            == (folder / f"neurons/{name}.safetensors").read_bytes()
        )
    assert (folder / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()


def test_an_offline_training_holds_every_documented_key(forks: Forks, tmp_path: Path) -> None:
    job = forks.start(tmp_path, {}, [None], arguments=list(SMALL)).end()
    assert (job.statuses, job.complaints) == ([0], "")
    (run,) = (tmp_path / "run/wandb").glob("offline-run-*")
    read = subprocess.run([WANDB, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in read.stdout.splitlines()]
    rows = [record["history"]["item"] for record in records if record["type"] == "history"]
    expected = documented(tmp_path / "run")
    assert len(rows) == 7
    for step, row in enumerate(rows):
        assert without_own(row) == pytest.approx(expected[step])
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    axes = {metric["glob_name"]: metric["step_metric"] for metric in metrics if "glob_name" in metric}
    assert axes == {"train/*": "trainer/global_step", "neurons/*": "neurons/step"}
    artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
    assert [json.loads(artifact["metadata"])["step"] for artifact in artifacts] == [6]  # the last by default


def test_a_server_that_dies_changes_no_number_and_costs_seconds(forks: Forks, tmp_path: Path, reference: Path) -> None:
    server = WandbServer()
    job = forks.start(tmp_path, server.environment, [None], arguments=[*SMALL, "wandb.finish_timeout=2"])
    end = time.monotonic() + 60
    while not (tmp_path / "run/neurons/step-000000.safetensors").is_file():
        assert time.monotonic() < end
        time.sleep(0.02)
    server.die()
    job.end()
    assert job.statuses == [0]
    assert "Traceback" not in job.complaints
    assert job.complaints.count("wandb sync --include-online") == 1
    assert (tmp_path / "run/finished.json").is_file()
    for name in ("metrics.csv", "neurons.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (reference / name).read_bytes()


@pytest.mark.parametrize("artifact", ["last", "all", "none"])
def test_a_killed_training_goes_on_as_the_same_run(artifact: str, forks: Forks, tmp_path: Path) -> None:
    """Killed in its fourth step, it goes on from its second; every number and the counts are there once."""
    server = WandbServer()
    arguments = [*SMALL, f"wandb.artifact={artifact}"]
    job = forks.start(tmp_path, server.environment, [3, None], arguments=arguments).end()
    server.die()
    assert job.statuses == [signal.SIGKILL, 0]
    assert job.complaints == ""
    (run,) = server.runs.values()
    expected = documented(tmp_path / "run")
    assert [row["_step"] for row in run.history] == list(range(7))
    for row in run.history:
        assert without_own(row) == pytest.approx(expected[row["_step"]])
    steps = [item.metadata["step"] for item in server.artifacts]
    assert set(steps) == {"last": {6}, "all": {0, 2, 4, 6}, "none": set()}[artifact]
    # The first process was killed while it sent that of step 0; the second sent it again.
    assert {item.metadata["step"] for item in server.artifacts if item.committed} == set(steps)
