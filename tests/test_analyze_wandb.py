"""An analysis in W&B: on a server on the loopback, or offline, beside the run that it is of."""

from __future__ import annotations

import copy
import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alignlab.reporting.wandb_media import MEDIA

from .reporting.page_intervention_data import switched_off, write_folder
from .reporting.wandb_server import KEY, WandbServer, bare_environment

SMALL = [
    "config=demo", "trainer.max_steps=4", "tracker.every_n_steps=2", "probe.source.count=6", "probe.max_texts=6",
    "probe.source.languages=[en,zh,de,sw]", "data.train.count=24", "data.examples_per_step=6", "probe.shards=3",
    "evaluation=null",
]  # fmt: skip
pytestmark = pytest.mark.slow


def alignlab(verb: str, *argv: str, server: WandbServer | None, folder: Path) -> str:
    environment = bare_environment() | (server.environment if server else {}) | {"HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-m", f"alignlab.{verb}", *argv],
        cwd=folder, env={**environment, "OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr
    return done.stdout


def test_an_analysis_is_a_run_of_its_own_that_names_the_run(tmp_path: Path) -> None:
    server = WandbServer()
    alignlab("train", *SMALL, "run.folder=run", "wandb.project=mine", server=server, folder=tmp_path)
    (trained,) = server.runs.values()
    before = copy.deepcopy(trained)
    artifacts = len(server.artifacts)

    said = alignlab(
        "analyze", "run=run", "identifier.name=lape", "folder=out", "log=true", server=server, folder=tmp_path
    )
    assert trained == before
    (analysis,) = (run for run in server.runs.values() if run is not trained)
    assert analysis.exit_codes == [0]
    start = analysis.upserts[0]
    assert (start["jobType"], start["project"]) == ("reclassify", "mine")
    assert analysis.name in said
    assert analysis.values["source_run"] == trained.name
    assert analysis.values["identifier"]["name"] == "lape"
    assert any(trained.name in (upsert.get("notes") or "") for upsert in analysis.upserts)

    with (tmp_path / "out/table.csv").open(encoding="utf-8", newline="") as file:
        table = [
            row for row in csv.DictReader(file) if row["analysis"] == "kinds" and not row["since"] + row["since_before"]
        ]
    assert [row["_step"] for row in analysis.history] == [0, 2, 4]
    for row in analysis.history:
        assert row["neurons/record"] == f"step {row['_step']}"
        assert set(MEDIA) <= set(row)
        for kind in ("specific", "related", "unassigned"):
            (count,) = (
                line["value"]
                for line in table
                if (line["step"], line["group"], line["layer"], line["kind"], line["thresholds"])
                == (str(row["_step"]), "all", "", kind, "anchored")
            )
            assert row[f"neurons/{kind}"] == float(count)
    sent = {
        number: item for number, item in enumerate(server.artifacts)
        if number >= artifacts and item.type == "neuron-analysis"
    }  # fmt: skip
    ((number, artifact),) = sent.items()
    assert artifact.committed
    for name in ("table.csv", "sets.safetensors", "report.html", "config.yaml"):
        assert server.uploads[f"/storage/artifacts/{number}/{name}"] == (tmp_path / "out" / name).read_bytes()

    # So is a page of the run, with the tables of its interventions.
    artifacts = len(server.artifacts)
    write_folder(tmp_path / "run", "off", switched_off())
    alignlab("report", "run=run", "intervals=none", "log=true", server=server, folder=tmp_path)
    assert trained == before
    (page,) = (run for run in server.runs.values() if run is not trained and run is not analysis)
    assert (page.upserts[0]["jobType"], page.exit_codes) == ("report", [0])
    assert page.values["source_run"] == trained.name
    [row] = page.history
    assert {"interventions/off/table", "interventions/off/matrix"} <= set(row)
    assert (row["interventions/off/table"]["nrows"], row["interventions/off/table"]["_type"]) == (9, "table-file")
    ((number, artifact),) = (
        (number, item)
        for number, item in enumerate(server.artifacts)
        if number >= artifacts and item.type == "neuron-analysis"
    )
    assert artifact.committed
    assert server.uploads[f"/storage/artifacts/{number}/report.html"] == (tmp_path / "run/report.html").read_bytes()

    # The same question again is another run; nothing of the first is written over.
    held = copy.deepcopy(analysis)
    alignlab("analyze", "run=run", "identifier.name=lape", "folder=out", "log=true", server=server, folder=tmp_path)
    assert (trained, analysis) == (before, held)
    assert len(server.runs) == 4
    server.die()


def test_offline_it_lies_beside_and_is_uploaded_by_the_line_that_is_printed(tmp_path: Path) -> None:
    alignlab("train", *SMALL, "run.folder=run", "wandb.mode=offline", server=None, folder=tmp_path)
    (trained,) = (tmp_path / "run/wandb").glob("offline-run-*")
    said = alignlab("analyze", "run=run", "log=true", server=None, folder=tmp_path)
    (found,) = re.findall(r"Upload it later: wandb sync (\S+)", " ".join(said.split()))
    assert (tmp_path / found).parent == tmp_path / "run/analysis/wandb"
    assert [path.name for path in (tmp_path / "run/wandb").glob("offline-run-*")] == [trained.name]
    server = WandbServer()
    environment = bare_environment() | server.environment | {"HOME": str(tmp_path / "home")}
    wandb = Path(sys.executable).with_name("wandb")
    subprocess.run([wandb, "sync", found], cwd=tmp_path, env=environment, capture_output=True, check=True)
    (run,) = server.runs.values()
    assert [row["_step"] for row in run.history] == [0, 2, 4]
    assert run.values["source_run"] == (tmp_path / "run/wandb/run_id.txt").read_text().strip()
    server.die()
