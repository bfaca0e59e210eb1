"""W&B: which mode is taken, and an offline run read back by W&B's own tool."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alignlab.reporting.wandb_run import WandbConfig

SCRIPT = """
from pathlib import Path
from alignlab.reporting.wandb_run import WandbConfig
logger = WandbConfig(mode="offline").build(Path("run"), "mine", {"seed": 3})
logger.experiment.define_metric("neurons/*", step_metric="neurons/step")
for step in (0, 50, 100):
    logger.log_metrics({"neurons/step": step, "neurons/specific/zh": step + 0.5}, step=step)
logger.experiment.finish()
"""


def test_an_offline_run_holds_every_step_and_the_config(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, check=True)
    (run,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    wandb = Path(sys.executable).with_name("wandb")
    read = subprocess.run([wandb, "leet", "inspect", "--json", run], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in read.stdout.splitlines()]
    history = [record["history"] for record in records if record["type"] == "history"]
    text = json.dumps(history)
    assert len(history) == 3
    for step in (0, 50, 100):
        assert str(step + 0.5) in text
    assert "neurons/specific/zh" in text
    assert '"seed": 3' in json.dumps(records)


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
