"""A study under SLURM, and its GPUs: what a launcher says is not taken for ranks, and no cell trains elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import alignlab.study
from alignlab.callbacks.stopping import requeue
from alignlab.errors import InputError
from alignlab.studying import launched
from alignlab.studying.launched import as_one_process, check_devices, of_cells

from . import small

# What srun gives to the last of four tasks of an array's job, with an index that is in no grid.
TASK = {
    "SLURM_JOB_ID": "77", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "999", "SLURM_NTASKS": "4",
    "SLURM_PROCID": "3", "SLURM_LOCALID": "3", "SLURM_NODEID": "0",
}  # fmt: skip


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in TASK.items():
        monkeypatch.setenv(name, value)
    return TASK


def test_a_task_of_several_plans_its_cells_and_speaks(
    task: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = small.small(Path("builtin:demo"), axes={}, seeds=[0])
    config["cell"]["set"]["trainer.devices"] = 2
    config["cell"]["set"]["trainer.accelerator"] = "cpu"
    small.write(tmp_path, config)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert alignlab.study.main(["config=small.yaml", "devices=[7]", "dry_run=true"]) == 0
    said = capsys.readouterr()
    assert "This was a dry run" in said.out
    assert "note: devices" in said.err  # the study itself may be for another machine
    assert {name: os.environ[name] for name in task} == task  # for whoever comes next in this process


def test_the_job_is_still_known_where_it_is_to_be_requeued(
    task: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scontrol = tmp_path / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with as_one_process():
        assert requeue() == "job 70_999 is requeued"
    assert (tmp_path / "asked").read_text() == "requeue 70_999\n"


def test_cells_hear_nothing_of_it() -> None:
    given = {**TASK, "RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "x", "HOME": "/home/ada", "OMP_NUM_THREADS": "2"}
    assert of_cells(given) == {"HOME": "/home/ada", "OMP_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("visible", "counted", "devices", "says"),
    [
        (None, 0, ["0", "7"], "this machine has no GPU 0, 7; expected none. Leave devices out"),
        (None, 2, ["0,1", "2,3"], "this machine has no GPU 2, 3; expected some of 0, 1."),
        (None, 2, ["-1"], "no GPU -1"),
        ("2,3", 2, ["0"], "CUDA_VISIBLE_DEVICES=2,3 has no GPU 0; expected some of 2, 3"),
        ("", 0, ["0"], "no GPU 0"),
        ("GPU-a", 1, ["GPU-b"], "no GPU GPU-b"),
        (None, 2, ["1", "0"], None),
        (None, 0, ["MIG-a"], None),
        ("2, 3", 2, ["2,3"], None),
        (None, 0, [], None),
    ],
)
def test_gpus_that_are_not_there_are_refused(
    visible: str | None, counted: int, devices: list[str], says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(launched, "_counted", lambda: [str(number) for number in range(counted)])
    if says is None:
        check_devices(devices)
    else:
        with pytest.raises(InputError) as refused:
            check_devices(devices)
        assert says in str(refused.value)


def test_a_study_without_its_gpus_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    small.write(tmp_path, small.small(Path("builtin:demo"), axes={}, seeds=[0]))
    assert alignlab.study.main(["config=small.yaml", "devices=[7]"]) == 2
    assert "no GPU 7" in capsys.readouterr().err
    assert not Path("studies").exists()
