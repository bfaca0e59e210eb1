"""The main job with W&B: every number and the counts of a real training, online, offline, and with a dying server."""

from __future__ import annotations

import base64
import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from alignlab.analysis.snapshots import summarise
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.reporting.counts_table import scalars
from alignlab.reporting.wandb_charts import CHARTS
from alignlab.reporting.wandb_media import DEGREES, LAYERS, LAYERS_OVER_STEPS, MEDIA, TABLE
from alignlab.reporting.wandb_run import ARTIFACT_TYPE

from ..reporting.wandb_server import Forks, WandbServer, bare_environment

WANDB = Path(sys.executable).with_name("wandb")
SMALL = (
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=2", "probe.max_texts=6", "probe.source.count=6",
    "probe.source.languages=[en,de,sw]", "data.train.count=18", "data.examples_per_step=6", "run.folder=run",
    "evaluation=null",
)  # fmt: skip

# A process trains; one that is to be killed is, at the beginning of a micro-batch.
TRAINING = """
import os, signal
import alignlab.train
import alignlab.command
from alignlab.methods.base import AlignmentModule

def work(job, kill_at):
    step = AlignmentModule.training_step
    def training_step(self, batch, batch_idx):
        if int(batch["number"]) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(self, batch, batch_idx)
    AlignmentModule.training_step = training_step
    alignlab.command.end(alignlab.train.main(job["arguments"]))  # as the command does
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
        first = first or snapshot
        values[step] |= scalars(snapshot)
    with (folder / "metrics.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["key"].startswith("train/"):
                values[int(row["step"])][row["key"]] = float(row["value"])
    assert {"train/loss", "train/learning_rate", "train/gradient_norm", "train/tokens"} <= values[6].keys()
    assert len(values[6]) > 30
    return values


def without_own(row: dict[str, Any]) -> dict[str, Any]:
    """A row of history without what W&B adds, figures and tables, and what depends on the clock."""
    own = ("_step", "_timestamp", "_runtime", *MEDIA)
    timed = ("speed/",)
    return {key: value for key, value in row.items() if key.partition(".")[0] not in own and not key.startswith(timed)}


def path_of(row: dict[str, Any], key: str) -> str:
    """Of a figure or table, in a row as the server has it or as W&B's own reader flattens it."""
    return str(row[key]["path"] if key in row else row[f"{key}.path"])


def artifacts_of(server: WandbServer, kind: str) -> dict[int, Any]:
    """By their number; W&B makes artifacts of tables too."""
    return {number: item for number, item in enumerate(server.artifacts) if item.type == kind}


def check_model(server: WandbServer, number: int, checkpoint: Path) -> None:
    """The files that W&B has are those of the checkpoint that load the model, with the weights that were trained."""
    artifact = server.artifacts[number]
    assert artifact.committed
    assert {checkpoint.name} <= {*artifact.aliases} <= {"latest", checkpoint.name}
    place = f"/storage/artifacts/{number}/"
    files = {path.removeprefix(place): content for path, content in server.uploads.items() if path.startswith(place)}
    files.pop("wandb_manifest.json", None)
    own = {"trainer.ckpt", "logged.json", "manifest.json"}
    assert files == {path.name: path.read_bytes() for path in checkpoint.iterdir() if path.name not in own}
    weights = safetensors.torch.load(files["adapter_model.safetensors"])
    trained = torch.load(checkpoint / "trainer.ckpt", weights_only=True)["state_dict"]
    assert len(weights) == len(trained) > 10
    for name, weight in weights.items():
        stem, _, kind = name.rpartition(".")
        assert torch.equal(weight, trained[f"model.{stem}.default.{kind}"])


@pytest.mark.slow
def test_checkpoints_of_an_offline_training_are_uploaded_later(forks: Forks, tmp_path: Path) -> None:
    """Those that stay: `keep_last` removes that of step 3, at which there is no snapshot."""
    arguments = [*SMALL, "wandb.checkpoints=true", "checkpoints.every_n_steps=3", "checkpoints.keep_last=1"]
    job = forks.start(tmp_path, {}, [None], arguments=arguments).end()
    assert (job.statuses, job.complaints) == ([0], "")
    (tmp_path / "run/checkpoints/step-000006/mine.safetensors").write_bytes(b"x")
    (run,) = (tmp_path / "run/wandb").glob("offline-run-*")
    server = WandbServer()
    environment = bare_environment() | server.environment | {"HOME": str(tmp_path / "home")}
    subprocess.run([WANDB, "sync", run], cwd=tmp_path, env=environment, capture_output=True, check=True)
    server.die()
    ((number, artifact),) = artifacts_of(server, "model").items()
    assert artifact.metadata["step"] == 6
    (tmp_path / "run/checkpoints/step-000006/mine.safetensors").unlink()
    check_model(server, number, tmp_path / "run/checkpoints/step-000006")


def check_media(row: dict[str, Any], read: Callable[[str], bytes], folder: Path, step: int) -> None:
    """The figures and the table of a snapshot, as W&B holds them, against the run's own table."""
    with (folder / f"neurons/step-{step:06d}.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    table = json.loads(read(path_of(row, TABLE)))
    used = [name for name in lines[0] if any(line[name] for line in lines)]
    assert table["columns"] == used
    assert [["" if cell is None else str(cell) for cell in line] for line in table["data"]] == [
        [line[name] for name in used] for line in lines
    ]
    lines = [line for line in lines if not line["since"]]
    at = {
        (line["kind"], int(line["layer"])): float(line["value"])
        for line in lines
        if line["layer"] and line["thresholds"] == "anchored"
    }
    bars = json.loads(read(path_of(row, LAYERS)))["data"]
    specific = next(bar for bar in bars if bar["type"] == "bar" and bar["meta"]["kind"] == "specific")
    assert numbers(specific["y"]) == [at["specific", layer] for layer in range(4)]
    heat = json.loads(read(path_of(row, LAYERS_OVER_STEPS)))["data"]
    assert [numbers(line)[-1] for line in heat[0]["z"]] == [at["specific", layer] for layer in range(4)]
    assert len(heat[0]["x"]) == step // 2 + 1
    degrees = {
        int(line["degree"]): float(line["value"])
        for line in lines
        if line["degree"] not in ("", "0") and (line["convention"], line["thresholds"]) == ("selection", "anchored")
    }
    shown = json.loads(read(path_of(row, DEGREES)))["data"]
    now = next(bar for bar in shown if bar["name"] == f"step {step}")
    assert dict(zip(numbers(now["x"]), numbers(now["y"]), strict=True)) == degrees


def numbers(values: Any) -> list[float]:
    """A list of a figure; plotly may have packed it."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), dtype=values["dtype"]).tolist()
    return [float(value) for value in values]


@pytest.mark.slow
def test_an_online_training_delivers_all_its_numbers_and_counts(forks: Forks, tmp_path: Path, reference: Path) -> None:
    server = WandbServer()
    job = forks.start(
        tmp_path, server.environment, [None], arguments=[*SMALL, "wandb.artifact=all", "wandb.checkpoints=true"]
    ).end()
    server.die()
    assert (job.statuses, job.complaints) == ([0], "")
    folder = tmp_path / "run"
    (run,) = server.runs.values()
    expected = documented(folder)
    assert [row["_step"] for row in run.history] == list(range(7))
    for row in run.history:
        assert without_own(row) == pytest.approx(expected[row["_step"]])
    for step in (0, 2, 4, 6):
        row = run.history[step]
        check_media(row, lambda path: server.uploads[f"/storage/{run.name}/{path}"], folder, step)
    assert not set(MEDIA) & set(run.history[1])
    assert run.exit_codes == [0]
    assert run.values["trainer"]["max_steps"] == 6
    counts = artifacts_of(server, ARTIFACT_TYPE)
    assert [artifact.metadata["step"] for artifact in counts.values()] == [0, 2, 4, 6]
    for number, artifact in counts.items():
        name = f"step-{artifact.metadata['step']:06d}"
        assert artifact.committed
        assert name in artifact.aliases
        assert (
            server.uploads[f"/storage/artifacts/{number}/{name}.safetensors"]
            == (folder / f"neurons/{name}.safetensors").read_bytes()
        )
    assert (folder / "metrics.csv").read_bytes() == (reference / "metrics.csv").read_bytes()
    models = artifacts_of(server, "model")
    assert [artifact.metadata["step"] for artifact in models.values()] == [2, 4, 6]
    for number, artifact in models.items():
        check_model(server, number, folder / f"checkpoints/step-{artifact.metadata['step']:06d}")
    # Of copies that wandb made on the way nothing is left, here or at home.
    assert {path.name for path in (folder / "wandb").iterdir()} <= {
        "run_id.txt", next((folder / "wandb").glob("run-*")).name, "debug.log", "debug-internal.log", "latest-run"
    }  # fmt: skip
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]


@pytest.mark.slow
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
    for step in (0, 2, 4, 6):
        check_media(rows[step], lambda path: (run / "files" / path).read_bytes(), tmp_path / "run", step)
    metrics = [record["metric"] for record in records if record["type"] == "metric"]
    axes = {metric["glob_name"]: metric["step_metric"] for metric in metrics if "glob_name" in metric}
    step = "trainer/global_step"
    assert axes == {"train/*": step, "speed/*": step, "neurons/*": "neurons/step"}
    for row in rows[1:]:
        assert row["speed/tokens_per_second"] > 0
        assert row["speed/peak_memory_gb"] > 0
    # About ten charts at first sight; what else is logged is hidden.
    hidden = {metric.get("name") or metric["glob_name"]: metric.get("options", {}).get("hidden") for metric in metrics}
    charts = [key for key, is_hidden in hidden.items() if not is_hidden]
    assert sorted(charts) == sorted(CHARTS)
    assert 8 <= len(charts) <= 12 < len(expected[6])
    assert set(charts) <= expected[6].keys()
    assert (hidden["train/*"], hidden["speed/*"], hidden["neurons/*"]) == (True, True, True)
    made_with = json.loads((tmp_path / "run/environment.json").read_text(encoding="utf-8"))
    assert any(made_with["data_fingerprint"] in line and "made_with" in line for line in read.stdout.splitlines())
    artifacts = [
        record["artifact"]
        for record in records
        if record["type"] == "artifact" and record["artifact"]["type"] == ARTIFACT_TYPE
    ]
    assert [json.loads(artifact["metadata"])["step"] for artifact in artifacts] == [6]  # the last by default


@pytest.mark.slow
def test_a_server_that_dies_changes_no_number_and_costs_seconds(forks: Forks, tmp_path: Path, reference: Path) -> None:
    server = WandbServer()
    job = forks.start(tmp_path, server.environment, [None], arguments=[*SMALL, "wandb.finish_timeout=2"])
    end = time.monotonic() + 60
    while not (tmp_path / "run/neurons/step-000000.safetensors").is_file():
        assert time.monotonic() < end
        time.sleep(0.02)
    server.die()
    job.end()
    assert job.statuses == [0], job.complaints
    assert "Traceback" not in job.complaints
    assert job.complaints.count("wandb sync --include-online") == 1
    assert (tmp_path / "run/finished.json").is_file()
    for name in ("metrics.csv", "neurons.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (reference / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("artifact", ["last", "all", "none"])
def test_a_killed_training_goes_on_as_the_same_run(artifact: str, forks: Forks, tmp_path: Path) -> None:
    """Killed in its fourth step, it goes on from its second; every number and the counts are there once."""
    server = WandbServer()
    arguments = [*SMALL, f"wandb.artifact={artifact}", f"wandb.checkpoints={'false' if artifact == 'none' else 'true'}"]
    job = forks.start(tmp_path, server.environment, [3, None], arguments=arguments).end()
    server.die()
    assert job.statuses == [signal.SIGKILL, 0]
    assert job.complaints == ""
    (run,) = server.runs.values()
    expected = documented(tmp_path / "run")
    assert [row["_step"] for row in run.history] == list(range(7))
    for row in run.history:
        assert without_own(row) == pytest.approx(expected[row["_step"]])
    counts = artifacts_of(server, ARTIFACT_TYPE).values()
    steps = [item.metadata["step"] for item in counts]
    assert set(steps) == {"last": {6}, "all": {0, 2, 4, 6}, "none": set()}[artifact]
    # The first process was killed while it sent that of step 0; the second sent it again.
    assert {item.metadata["step"] for item in counts if item.committed} == set(steps)
    models = artifacts_of(server, "model")
    last = {item.metadata["step"]: number for number, item in models.items()}
    assert sorted(last) == ([] if artifact == "none" else [2, 4, 6])
    for step, number in last.items():
        check_model(server, number, tmp_path / f"run/checkpoints/step-{step:06d}")
