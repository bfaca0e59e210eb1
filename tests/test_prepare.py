"""The verb `prepare`: what it can do is told at once, and its shipped config runs from questions to pairs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import alignlab.prepare
from alignlab.prepare import KINDS


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"], ["responses"]])
def test_alone_it_says_what_can_be_prepared(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert alignlab.prepare.main(argv) == 0
    said = capsys.readouterr().out
    for kind in KINDS:
        assert f"\n    {kind} " in said


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["respones"],
            "'respones'; expected first what is to be prepared, one of: responses, preferences. Did you mean",
        ),
        (["config=prepare_demo"], "'config=prepare_demo'; expected first what is to be prepared"),
    ],
)
def test_what_cannot_be_prepared_is_refused(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert alignlab.prepare.main(argv) == 2
    assert f"command line: {message}" in capsys.readouterr().err


def test_help_names_every_key_and_loads_no_torch() -> None:
    code = "import sys\nfrom alignlab.prepare import main\n"
    for kind, options in KINDS.items():
        code += f"main(['{kind}', '--help'])\nmain(['{kind}', 'seed=none'])\n"
        assert options.options.model_fields
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for options in KINDS.values():
        assert all(f"{key}" in done.stdout for key in options.options.model_fields)
    assert done.stderr.count("seed is 'none'; expected an integer") == 2


def test_the_shipped_config_runs_dry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert alignlab.prepare.main(["responses", "config=prepare_demo", "dry_run=true"]) == 0
    said = capsys.readouterr().out
    assert "200 in zh de" in said
    assert "800: 4 to each, drawn at temperature 0.8" in said
    assert list(tmp_path.iterdir()) == []


def test_the_demo_model_gives_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["config=prepare_demo", "source.count=6", "samples=3", "temperature=1.5", "max_new_tokens=64"]
    assert alignlab.prepare.main(["responses", *few]) == 0
    assert alignlab.prepare.main(["preferences", "responses=prepared/demo", "dev_every=null"]) == 0
    capsys.readouterr()
    lines = Path("prepared/demo/preferences/train.jsonl").read_text(encoding="utf-8").splitlines()
    pairs = [json.loads(line) for line in lines]
    assert {pair["language"] for pair in pairs} == {"zh", "de"}
    # The demo's answers end with a line of their own for the result.
    results = [[pair[side].rpartition("#### ")[2] for side in ("chosen", "rejected")] for pair in pairs]
    assert all(chosen != rejected for chosen, rejected in results)
