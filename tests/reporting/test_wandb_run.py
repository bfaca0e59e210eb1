"""W&B: what an online run delivers, what a continued one adds, and that no outage stops or slows anything.

Processes of W&B's own client, on a server on the loopback; offline runs are read back, or uploaded, by W&B's own tools.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from alignlab.neurons import ActivationCounts
from alignlab.reporting.wandb_config import WandbConfig, run_id
from alignlab.reporting.wandb_run import WandbRun
from alignlab.runs import RunFolder

from .wandb_server import KEY, Forks, Job, WandbServer, bare_environment, silent_server

WANDB = Path(sys.executable).with_name("wandb")

# A process logs the steps from `done` on, as training does, and then ends or is killed.
PROCESSES = """
import os, signal, time
from pathlib import Path
from alignlab.reporting.metrics_csv import MetricsCsv
from alignlab.reporting.wandb_config import WandbConfig
from alignlab.runs import RunFolder

def work(job, process):
    done, last, end = process
    folder = RunFolder(Path("run"))
    csv = MetricsCsv(folder.metrics, done)
    wandb = WandbConfig(**job["options"]).build(folder, "mine", {"seed": 3, "nested": {"rank": 16}}, done)
    for step in range(done + 1 if done else 0, last + 1):
        for logger in (csv, wandb):
            if step:
                logger.log_metrics({"train/loss": step + 0.5}, step)
            if step % 2 == 0:
                logger.log_metrics({"neurons/step": step, "neurons/specific/zh": step / 4}, step)
    if end.startswith("wait"):
        while not Path("go").exists():
            time.sleep(0.05)
    if end.endswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(last + 1, last + 1 + job["more"]):
        wandb.log_metrics({"train/loss": step + 0.5}, step)
    for path in sorted(Path().glob("run/neurons/*.safetensors")):
        wandb.log_counts(path)
    wandb.finish()
"""

Start = Callable[..., Job]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts processes (steps done, last step, how it ends) with an environment and options of W&B."""
    forks = Forks(PROCESSES)

    def call(
        folder: Path,
        environment: dict[str, str],
        *processes: tuple[int, int, str],
        more: int = 0,
        arguments: tuple[str, ...] = (),
        **options: Any,
    ) -> Job:
        return forks.start(folder, environment, processes, more=more, arguments=arguments, options=options)

    yield call
    forks.end()


def counts_file(folder: Path) -> Path:
    """A file of counts, as a run keeps them."""
    path = folder / "run/neurons/step-000006.safetensors"
    counts = ActivationCounts(
        firings=torch.ones(2, 1, 2, 4, dtype=torch.int32),
        tokens=torch.full((2, 1), 4),
        documents=torch.ones(2, 1, dtype=torch.int64),
        languages=("en", "zh"),
        site="mlp.act",
        scope="all",
        model="demo",
        revision="0",
        step=6,
        trained_languages=("zh",),
        data_fingerprint="f",
    )
    path.parent.mkdir(parents=True)
    counts.save(path)
    return path


def sync(line: str, folder: Path, server: WandbServer) -> None:
    """Run the upload line that the user was given."""
    command = shlex.split(line)
    assert command[:2] == ["wandb", "sync"]
    environment = bare_environment() | server.environment | {"HOME": str(folder / "home")}
    done = subprocess.run(
        [WANDB, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert "Finished syncing" in done.stderr, done.stderr


def upload_line(complaints: str) -> str:
    (line,) = re.findall(r"Upload it later: (wandb sync .*)", complaints)
    return str(line)


def assert_each_step_once(server: WandbServer, last: int) -> None:
    """The server has one run with every step, in order, with all that was logged at it."""
    (run,) = server.runs.values()
    rows = run.history
    assert [row["_step"] for row in rows] == list(range(last + 1))
    for step, row in enumerate(rows):
        assert row["trainer/global_step"] == step
        assert row.get("train/loss") == (step + 0.5 if step else None)
        assert (row.get("neurons/step"), row.get("neurons/specific/zh")) == (
            (step, step / 4) if step % 2 == 0 else (None, None)
        )
    assert server.unknown == []


@pytest.fixture
def server() -> Iterator[WandbServer]:
    server = WandbServer()
    yield server
    server.die()


def test_an_online_run_delivers_history_config_axes_and_artifact(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    path = counts_file(tmp_path)
    done = start(tmp_path, server.environment, (0, 6, "finish"), tags=["first"]).end()
    assert done.complaints == ""
    assert_each_step_once(server, 6)
    (run,) = server.runs.values()
    assert run.exit_codes == [0]
    assert run.display_name == "mine"
    assert run.values == {"seed": 3, "nested": {"rank": 16}}
    assert run.upserts[0]["tags"] == ["first"]
    # `m` are the defined metrics: 1 is the name, 2 a pattern, 5 the number from 1 of the x-axis in the list.
    metrics = run.config["_wandb"]["value"]["m"]
    axes = {metric["2"]: metrics[metric["5"] - 1]["1"] for metric in metrics if "2" in metric}
    assert axes == {
        "train/*": "trainer/global_step", "speed/*": "trainer/global_step", "neurons/*": "neurons/step"
    }  # fmt: skip
    (artifact,) = server.artifacts
    assert artifact.committed
    assert (artifact.name, artifact.type, artifact.run) == (f"neurons-{run.name}", "neuron-counts", run.name)
    assert sorted(artifact.aliases) == ["latest", "step-000006"]
    assert artifact.metadata["languages"] == ["en", "zh"]
    assert (artifact.metadata["step"], artifact.metadata["shape"]) == (6, [2, 1, 2, 4])
    assert server.uploads["/storage/artifacts/0/step-000006.safetensors"] == path.read_bytes()


def test_the_id_of_a_run_is_kept_and_another_run_gets_another(tmp_path: Path) -> None:
    one, other = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "other")
    assert run_id(one) == run_id(one) != run_id(other)
    one.clear()  # as overwrite=true does
    assert not (tmp_path / "one/wandb").exists()


@pytest.mark.slow
def test_a_killed_online_run_goes_on_as_the_same_without_steps_twice(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    """It is killed behind its last checkpoint, when the server has steps that will be done again."""
    processes = start(tmp_path, server.environment, (0, 5, "wait, kill"), (3, 8, "finish"))
    server.wait_for_history(5)  # the last step is not over
    (tmp_path / "go").touch()
    processes.end()
    assert processes.statuses == [signal.SIGKILL, 0]
    assert processes.complaints == ""
    assert_each_step_once(server, 8)


@pytest.mark.slow
def test_what_a_killed_online_run_did_not_send_is_sent_by_the_next(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    processes = start(tmp_path, server.environment, (0, 5, "kill"), (4, 8, "finish")).end()
    assert processes.statuses == [signal.SIGKILL, 0]
    assert_each_step_once(server, 8)


@pytest.mark.slow
def test_a_killed_offline_run_goes_on_in_one_folder_that_holds_every_step(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    processes = start(tmp_path, {}, (0, 5, "kill"), (3, 8, "finish"), mode="offline").end()
    assert processes.statuses == [signal.SIGKILL, 0]
    (folder,) = (tmp_path / "run/wandb").glob("offline-run-*")
    (aside,) = (tmp_path / "run/wandb/superseded").glob("offline-run-*")
    assert (
        aside.name.split("-")[-1]
        == folder.name.split("-")[-1]
        == next((tmp_path / "run").glob("wandb/run_id.txt")).read_text().strip()
    )
    sync(f"wandb sync {folder}", tmp_path, server)
    assert_each_step_once(server, 8)


def test_an_offline_run_is_read_back_and_uploaded_by_the_tools_of_wandb(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    path = counts_file(tmp_path)
    assert start(tmp_path, {}, (0, 6, "finish"), mode="offline").end().complaints == ""
    (run,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    read = subprocess.run([WANDB, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in read.stdout.splitlines()]
    assert len([record for record in records if record["type"] == "history"]) == 7
    assert '"seed": 3' in json.dumps(records)
    (artifact,) = [record["artifact"] for record in records if record["type"] == "artifact"]
    # Not a copy: 184 MB stay 184 MB.
    assert artifact["manifest"]["contents"][0]["local_path"] == str(path)
    files = [file for file in (tmp_path / "run/wandb").rglob("*") if file.is_file()]
    assert not [file for file in files if file.read_bytes() == path.read_bytes()]
    sync(f"wandb sync {run}", tmp_path, server)
    assert_each_step_once(server, 6)
    assert [artifact.committed for artifact in server.artifacts] == [True]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["refuses", "hangs", "wrong key"])
def test_without_a_server_the_run_goes_on_offline_and_is_uploaded_later(
    kind: str, start: Start, tmp_path: Path, server: WandbServer
) -> None:
    with silent_server() as silent:
        server.denies = kind == "wrong key"
        url = {"refuses": "http://127.0.0.1:9", "hangs": silent, "wrong key": server.url}[kind]
        environment = {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY}
        done = start(tmp_path, environment, (0, 4, "finish"), init_timeout=3, finish_timeout=3).end()
        # The process is over while the server still keeps it waiting: it did not wait for the server.
    assert done.statuses == [0]
    assert f"W&B at {url.removeprefix('http://')} cannot be used" in done.complaints
    assert "Traceback" not in done.complaints
    assert len(done.complaints.splitlines()) == 2
    assert not list((tmp_path / "run/wandb").glob("run-*"))
    server.denies = False
    sync(upload_line(done.complaints), tmp_path, server)
    assert_each_step_once(server, 4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dies", "hangs"])
def test_a_server_that_goes_away_in_the_middle_changes_nothing_but_a_warning(
    kind: str, start: Start, tmp_path: Path, server: WandbServer
) -> None:
    counts_file(tmp_path)
    processes = start(tmp_path, server.environment, (0, 5, "wait"), more=2000, finish_timeout=2)
    server.wait_for_history(5)
    server.die() if kind == "dies" else server.hang()
    (tmp_path / "go").touch()
    processes.end()  # while the server still keeps it waiting
    assert processes.statuses == [0]
    assert "W&B did not get all of the run" in processes.complaints
    assert "Traceback" not in processes.complaints
    later = WandbServer()
    sync(upload_line(processes.complaints), tmp_path, later)
    (run,) = later.runs.values()
    assert [row["_step"] for row in run.history] == list(range(2006))
    later.die()


class Blocked:
    """A run of W&B, as `WandbRun` calls it, that takes nothing until it is let."""

    offline, starting_step, dir, id = True, 0, "run/wandb/offline-run-x/files", "x"

    def __init__(self) -> None:
        self.let = threading.Event()
        self.came = threading.Event()
        self.steps: list[int] = []
        self.artifacts: list[str] = []
        self.exit_codes: list[int] = []

    def define_metric(self, *_args: Any, **_options: Any) -> None:
        """Nothing is to be seen of it."""

    def log(self, row: dict[str, Any], step: int, commit: bool) -> None:
        self.came.set()
        self.let.wait()
        self.steps.append(step)

    def log_artifact(self, artifact: Any, aliases: list[str]) -> None:
        self.let.wait()
        self.artifacts += aliases

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


def test_nothing_is_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not one call of W&B has come back when the training has logged all and has ended the run."""
    blocked = Blocked()
    run = WandbRun(blocked, finish_timeout=0)
    for step in range(2000):
        run.log_metrics({"train/loss": 1.0}, step)
    run.log_counts(counts_file(tmp_path))
    blocked.came.wait()
    assert blocked.steps == blocked.artifacts == []
    run.finish()
    assert blocked.steps == blocked.artifacts == []
    assert blocked.exit_codes == [0]
    said = capsys.readouterr().err
    assert upload_line(" ".join(said.split())) == "wandb sync run/wandb/offline-run-x"
    assert said.count("W&B") == 1
    blocked.let.set()  # what was given is sent all the same, for as long as the process lives
    for worker in (run._rows, run._artifacts):
        worker._thread.join()
    assert blocked.steps == list(range(2000))
    assert blocked.artifacts == ["latest", "step-000006"]


def test_not_even_a_crash_of_wandb_stops_the_run(start: Start, tmp_path: Path, server: WandbServer) -> None:
    """wandb-core 0.31 crashes when an answer lacks what it asked for."""
    counts_file(tmp_path)
    server.crashes_clients = True
    done = start(tmp_path, server.environment, (0, 5, "finish"), finish_timeout=5).end()
    assert done.statuses == [0]
    assert "panic: runtime error" in done.complaints  # wandb-core's last words
    assert "W&B did not get all of the run" in done.complaints
    assert "Traceback" not in done.complaints


def test_an_artifact_that_the_server_does_not_take_is_said(start: Start, tmp_path: Path, server: WandbServer) -> None:
    counts_file(tmp_path)
    server.full = True
    done = start(tmp_path, server.environment, (0, 5, "finish")).end()
    assert done.statuses == [0]
    assert_each_step_once(server, 5)
    assert "W&B failed, training goes on" in done.complaints
    assert "W&B did not get all of the run" in done.complaints
    assert "Traceback" not in done.complaints


FAILING = """
import lightning, torch
from pathlib import Path
from alignlab.reporting.wandb_config import WandbConfig
from alignlab.runs import RunFolder

class Failing(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
    def training_step(self, batch, index):
        self.trainer.logger.log_metrics({"train/loss": 1.5}, index + 1)
        if index == 3:
            raise RuntimeError("in the fourth step")
        return self.weight * batch.sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

folder = RunFolder(Path("run"))
logger = WandbConfig().build(folder, "mine", {})
trainer = lightning.Trainer(max_steps=6, logger=logger, accelerator="cpu", enable_checkpointing=False,
    enable_progress_bar=False, default_root_dir="run")
try:
    trainer.fit(Failing(), torch.utils.data.DataLoader(torch.ones(9, 1)))
except RuntimeError as error:
    print(error)
again = WandbConfig().build(folder, "mine", {}, done=2)
for step in (3, 4):
    again.log_metrics({"train/loss": 1.5}, step)
again.finish()
"""


@pytest.mark.slow
def test_a_training_that_fails_ends_its_run_without_the_unfinished_step_and_may_go_on(
    tmp_path: Path, server: WandbServer
) -> None:
    environment = bare_environment() | server.environment | {"HOME": str(tmp_path)}
    failed = subprocess.run(
        [sys.executable, "-c", FAILING], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "in the fourth step" in failed.stdout
    assert "cannot be used" not in failed.stderr
    (run,) = server.runs.values()
    assert run.exit_codes == [1, 0]
    assert [row["trainer/global_step"] for row in run.history] == [1, 2, 3, 4]


def test_neither_key_nor_command_line_nor_machine_reaches_the_run_folder_or_the_server(
    start: Start, tmp_path: Path, server: WandbServer
) -> None:
    counts_file(tmp_path)
    environment = server.environment | {"SLURM_JOB_USER": "a-user-of-slurm"}
    (tmp_path / "notes").write_text("first")
    for command in (
        "init -q", "remote add origin https://me:hunter2@git.example.org/private", "add notes",
        "-c user.name=me -c user.email=me@example.org commit -q -m first",
    ):  # fmt: skip
        subprocess.run(["git", "-C", tmp_path, *command.split()], check=True)
    (tmp_path / "notes").write_text("changed-but-private")
    start(tmp_path, environment, (0, 2, "finish"), arguments=("--token", "typed-secret")).end()
    held = {str(path): path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert any(path.endswith(".wandb") for path in held)
    told = b"\n".join(server.heard)
    assert b"train/loss" in told
    machine = f'"{os.uname().nodename}"'
    secrets = (KEY, "typed-secret", "git.example.org", "hunter2", "changed-but-private", "a-user-of-slurm", machine)
    assert [secret for secret in secrets if secret.encode() in told] == []
    found = [(secret, path) for secret in secrets for path, content in held.items() if secret.encode() in content]
    assert found == []
    # All that W&B writes lies in the run folder.
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("environment", "netrc", "mode"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": "0" * 40}, "", "online"),
        ({}, "machine api.wandb.ai\n  login user\n  password 0000\n", "online"),
        ({}, "machine example.org\n  login user\n  password 0000\n", "offline"),
        ({"WANDB_BASE_URL": "http://127.0.0.1:1"}, "machine api.wandb.ai\n  login user\n  password 0\n", "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "0" * 40}, "", "disabled"),
    ],
)
def test_auto_is_online_only_when_logged_in(
    environment: dict[str, str], netrc: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "netrc").write_text(netrc)
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert WandbConfig().resolved_mode() == mode


def test_a_mode_that_was_set_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    assert WandbConfig(mode="offline").resolved_mode() == "offline"


def test_online_without_a_key_says_how_to_log_in_and_asks_nothing(start: Start, tmp_path: Path) -> None:
    done = start(tmp_path, {}, (0, 2, "finish"), mode="online").end()
    assert "W&B knows no key for api.wandb.ai. Run `wandb login` first." in done.complaints
    assert upload_line(done.complaints)
    assert len(list((tmp_path / "run/wandb").glob("offline-run-*"))) == 1
