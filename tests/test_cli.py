"""The console script: it finds the command, hands it the rest, and is as fast as it can be where it only answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alignlab import __version__
from alignlab.cli import COMMANDS, main


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_alone_it_says_what_it_can_do(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(argv) == 0
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for command in COMMANDS:
        assert f"\n    {command} " in said


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"alignlab {__version__}\n"


def test_a_verb_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian", "config=demo"]) == 2
    complaint = capsys.readouterr().err
    assert complaint == (
        "command line: there is no command 'trian'; expected one of: train, analyze, intervene, evaluate, prepare, "
        "benchmark, study, report, share. Did you mean 'train'?\n"
    )


def test_a_verb_gets_the_rest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "config=demo", "dry_run=true", "trainer.max_steps=1"]) == 0
    assert "Plan of demo" in capsys.readouterr().out
    assert main(["report", "runs=[]"]) == 2
    assert "runs/demo" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_a_verb_alone_says_what_it_can_do(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main([command]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"python -m alignlab.{command} ")
    assert " --help" in said
    assert max(map(len, said.splitlines())) <= 80


def test_the_installed_script_ends_with_the_status_and_answers_without_torch() -> None:
    script = Path(sys.executable).with_name("alignlab")
    assert subprocess.run([script, "trian"], capture_output=True, check=False).returncode == 2
    code = "import sys, alignlab.cli; [alignlab.cli.main(argv) for argv in ([], ['analyze'], ['report'])]"
    code += "; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_package_runs_as_the_script_does() -> None:
    done = subprocess.run([sys.executable, "-m", "alignlab"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: alignlab COMMAND")
