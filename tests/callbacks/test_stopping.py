"""A training that a signal stops: where, with what, and what SLURM is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alignlab.callbacks.stopping import requeue
from alignlab.runs import RunFolder

ARGUMENTS = [
    "config=demo", "trainer.max_steps=6", "tracker.every_n_steps=3", "probe.max_texts=4", "probe.source.count=4",
    "data.train.count=20", "data.examples_per_step=4", "wandb.mode=disabled", "probe.source.languages=[en,de,zh]",
    "run.folder=run", "evaluation=null",
]  # fmt: skip
# Sends itself a signal in the micro-batch, or the counting, of a step.
STOP_AT = """
import os, signal, sys
import alignlab.train
from alignlab.methods.base import AlignmentModule
from alignlab.recording import passing
where, step, number, times = sys.argv[1], int(sys.argv[2]), getattr(signal, sys.argv[3]), int(sys.argv[4])
reached = {"step": 0}
own_step, own_count = AlignmentModule.training_step, passing._read_language
def training_step(self, batch, batch_idx):
    reached["step"] = int(batch["number"]) + 1
    if where == "step" and reached["step"] == step:
        for _ in range(times):
            os.kill(os.getpid(), number)
    return own_step(self, batch, batch_idx)
def count(*args, **kwargs):
    if where == "count" and reached["step"] == step:
        for _ in range(times):
            os.kill(os.getpid(), number)
    return own_count(*args, **kwargs)
AlignmentModule.training_step, passing._read_language = training_step, count
sys.exit(alignlab.train.main(sys.argv[5:]))
"""


def stopped_at(
    folder: Path, where: str, step: int, name: str, times: int = 1, **variables: str
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STOP_AT, where, str(step), name, str(times), *ARGUMENTS]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"} | variables
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_step_is_ended_and_saved_and_the_extra_checkpoint_goes_later(tmp_path: Path) -> None:
    done = stopped_at(tmp_path, "step", 2, "SIGTERM")
    assert done.returncode == 143, done.stderr
    assert "Stopping after this step, with a checkpoint" in done.stderr
    assert "Stopped by SIGTERM after step 2 of 6, with a checkpoint. The same command goes on" in done.stderr
    run = RunFolder(tmp_path / "run")
    assert run.checkpoint_steps() == [2]
    assert [path.stem for path in run.snapshots()] == ["step-000000"]
    assert not run.finished.exists()
    again = stopped_at(tmp_path, "never", 0, "SIGTERM")
    assert again.returncode == 0
    assert "Continuing after step 2." in again.stdout
    assert run.checkpoint_steps() == [3, 6]


@pytest.mark.slow
def test_counting_is_left_and_the_snapshot_taken_when_the_run_goes_on(tmp_path: Path) -> None:
    done = stopped_at(tmp_path, "count", 3, "SIGTERM")
    assert done.returncode == 143, done.stderr
    run = RunFolder(tmp_path / "run")
    assert run.checkpoint_steps() == [3]
    assert [path.stem for path in run.snapshots()] == ["step-000000"]
    again = stopped_at(tmp_path, "never", 0, "SIGTERM")
    assert again.returncode == 0
    assert [path.stem for path in run.snapshots()] == ["step-000000", "step-000003", "step-000006"]
    assert again.stdout.index("Neurons at step 3") < again.stdout.index("Neurons at step 6")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("SIGTERM", 143),
        pytest.param("SIGINT", 130, marks=pytest.mark.slow),
        pytest.param("SIGUSR1", 138, marks=pytest.mark.slow),
    ],
)
def test_a_signal_to_the_whole_group_with_loader_workers_saves_and_goes_on(
    tmp_path: Path, name: str, status: int
) -> None:
    # From outside the group and the family: loader workers obey their own parent, and nobody else.
    send = "__import__('subprocess').run(['setsid', 'kill', f'-{number}', '--', f'-{os.getpgrp()}'], check=True)"
    code = STOP_AT.replace("os.kill(os.getpid(), number)", send)
    assert code != STOP_AT
    command = [sys.executable, "-c", code, "step", "2", name, "1", *ARGUMENTS, "data.workers=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, start_new_session=True
    )
    assert done.returncode == status, done.stderr
    assert f"Stopped by {name} after step 2 of 6, with a checkpoint." in done.stderr
    assert RunFolder(tmp_path / "run").checkpoint_steps() == [2]


@pytest.mark.slow
@pytest.mark.parametrize("where", ["step", "count"])
def test_after_the_last_step_the_run_is_finished_with_its_snapshot(tmp_path: Path, where: str) -> None:
    done = stopped_at(tmp_path, where, 6, "SIGTERM")
    assert done.returncode == 0, done.stderr
    run = RunFolder(tmp_path / "run")
    assert [path.stem for path in run.snapshots()] == ["step-000000", "step-000003", "step-000006"]
    assert run.finished.is_file()


@pytest.mark.slow
def test_after_the_training_the_handlers_are_those_of_before_it(tmp_path: Path) -> None:
    """And none of Lightning's, of which the one for SIGTERM would wait for the other ranks."""
    code = STOP_AT.replace(
        "sys.exit(alignlab.train.main(sys.argv[5:]))",
        "from alignlab import training_run\n"
        "own_end = training_run.end_stage\n"
        "def end_stage(*arguments):\n"
        "    for name in ('SIGINT', 'SIGTERM', 'SIGUSR1'):\n"
        "        print(name, signal.getsignal(getattr(signal, name)).__module__)\n"
        "    return own_end(*arguments)\n"
        "training_run.end_stage = end_stage\n"
        "sys.exit(alignlab.train.main(sys.argv[5:]))",
    )
    command = [sys.executable, "-c", code, "never", "0", "SIGTERM", "1", *ARGUMENTS, "trainer.max_steps=1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):
        assert f"{name} alignlab.signals" in done.stdout


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    done = stopped_at(tmp_path, "step", 2, "SIGINT", times=2)
    assert done.returncode == 130, done.stderr
    assert "Traceback" not in done.stderr
    assert RunFolder(tmp_path / "run").checkpoint_steps() == []


SCONTROL = """#!/bin/sh
echo "$@" >> {log}
exit {status}
"""


def slurm(folder: Path, status: int) -> dict[str, str]:
    """The environment of a SLURM job of one task, with an `scontrol` that writes down what it is told."""
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin/scontrol").write_text(SCONTROL.format(log=folder / "told.txt", status=status), encoding="utf-8")
    (folder / "bin/scontrol").chmod(0o755)
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "4711", "SLURM_JOB_NAME": "train",
        "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
    }  # fmt: skip


@pytest.mark.slow
def test_slurms_warning_saves_and_requeues_and_nothing_of_lightnings_is_left(tmp_path: Path) -> None:
    variables = slurm(tmp_path, status=0)
    # As an earlier version, or another program, may have left one: never loaded.
    (tmp_path / "run").mkdir()
    done = stopped_at(tmp_path, "step", 4, "SIGUSR1", **variables)
    assert done.returncode == 138, done.stderr
    assert "Stopped by SIGUSR1 after step 4 of 6, with a checkpoint; job 4711 is requeued." in done.stderr
    assert (tmp_path / "told.txt").read_text(encoding="utf-8") == "requeue 4711\n"
    run = RunFolder(tmp_path / "run")
    assert run.checkpoint_steps() == [3, 4]
    assert not list(tmp_path.rglob("hpc_ckpt*"))
    for folder in (run.path, run.checkpoints):
        (folder / "hpc_ckpt_1.ckpt").write_bytes(b"stale")
    again = stopped_at(tmp_path, "never", 0, "SIGUSR1", **variables)
    assert again.returncode == 0, again.stderr
    steps = [
        line.split(",")[0] for line in run.metrics.read_text(encoding="utf-8").splitlines() if "train/loss" in line
    ]
    assert steps == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.slow
def test_a_stale_checkpoint_of_lightnings_is_not_loaded_by_a_new_run(tmp_path: Path) -> None:
    variables = slurm(tmp_path, status=0)
    assert stopped_at(tmp_path, "never", 0, "SIGUSR1", **variables).returncode == 0
    for folder in ("run", "run/checkpoints"):
        (tmp_path / folder / "hpc_ckpt_1.ckpt").write_bytes(b"stale")
    command = [sys.executable, "-m", "alignlab.train", *ARGUMENTS, "overwrite=true"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/hpc_ckpt_1.ckpt").read_bytes() == b"stale"


@pytest.mark.parametrize(
    ("status", "variables", "told", "says"),
    [
        (0, {"SLURM_JOB_ID": "7"}, "requeue 7\n", "job 7"),
        (0, {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "8", "SLURM_ARRAY_TASK_ID": "3"}, "requeue 8_3\n", "job 8_3"),
        (1, {"SLURM_JOB_ID": "7"}, "requeue 7\n", ""),
        (0, {}, None, ""),
    ],
)  # fmt: skip
def test_the_job_is_requeued_once_where_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: int,
    variables: dict[str, str], told: str | None, says: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("PATH", slurm(tmp_path, status)["PATH"])
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert requeue() == (f"{says} is requeued" if says else "")
    log = tmp_path / "told.txt"
    assert (log.read_text(encoding="utf-8") if log.exists() else None) == told
    assert ("did not requeue job 7 (status 1): submit it again yourself" in capsys.readouterr().err) == (status == 1)


def test_without_scontrol_the_person_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert requeue() == ""
    assert "scontrol cannot be run" in capsys.readouterr().err
