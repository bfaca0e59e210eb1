"""How a command ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import alignlab.analyze

END = """
import atexit, sys, threading, time
from alignlab.console import BACKGROUND
from alignlab.command import end

atexit.register(print, "orderly")
if sys.argv[1] == "busy":
    threading.Thread(target=time.sleep, args=(60,), name=BACKGROUND, daemon=True).start()
print("written", end="")
end(3)
"""


@pytest.mark.parametrize(("what", "printed"), [("idle", "writtenorderly"), ("busy", "written")])
def test_the_end_keeps_status_and_output(what: str, printed: str) -> None:
    """With a thread at work the process ends at once, without what else Python would do at its end."""
    done = subprocess.run([sys.executable, "-c", END, what], capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout.strip()) == (3, printed)


LOSING = """
import os, sys, torch
import alignlab.command
from alignlab.models import distributed
from alignlab.question import AnalyzeConfig
def run(config):
    distributed.join()
    distributed.wait_for_all()
    if os.environ["RANK"] == "1":
        os._exit(9)
    if sys.argv[1] == "bug":
        raise RuntimeError("an index out of range")
    distributed.over_ranks(torch.ones(1))
sys.exit(alignlab.command.run_command(AnalyzeConfig, run, command="analyze", intro="", argv=[]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("what", ["loss", "bug"])
def test_a_rank_that_loses_another_says_so_and_a_bug_keeps_its_traceback(what: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launched = {
        "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test",
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", LOSING, what],
            env=os.environ | launched | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = ranks[0].communicate(timeout=120)[1]
    ranks[1].communicate(timeout=120)
    assert ranks[0].returncode == 1
    assert ("Traceback" in said) == (what == "bug")
    assert ("Another rank has ended" in said) == (what == "loss")


def test_a_home_that_nobody_has_is_one_message(capsys: pytest.CaptureFixture[str]) -> None:
    assert alignlab.analyze.main(["run=~nobodyofthisname/run"]) == 2
    assert "there is no such user" in capsys.readouterr().err


def test_a_working_directory_that_is_gone_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert alignlab.analyze.main(["run=/nowhere"]) == 2
    assert capsys.readouterr().err == (
        "\nworking directory: it has been removed; expected one that is there. cd to another.\n"
    )
