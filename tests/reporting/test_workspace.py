"""The dashboard: saved on a W&B server on the loopback, with the keys that runs log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import torch

from alignlab.analysis.snapshots import summarise
from alignlab.neurons import ActivationCounts
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.reporting.counts_table import scalars
from alignlab.reporting.wandb_media import MEDIA
from alignlab.reporting.workspace import sections

from .wandb_server import ENTITY, WandbServer

SAVE = (
    "from alignlab.reporting.workspace import save_workspace; print(save_workspace(None, 'mine', ['en', 'de', 'sw']))"
)


def save(environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SAVE], env={**os.environ, **environment}, capture_output=True, text=True, timeout=100
    )


@pytest.mark.slow
def test_it_arrives_with_every_section() -> None:
    server = WandbServer()
    done = save(server.environment)
    server.die()
    assert done.returncode == 0, done.stderr
    (view,) = server.views
    assert (view["entityName"], view["projectName"], view["displayName"]) == (ENTITY, "mine", "alignlab")
    assert "/mine" in done.stdout
    shown = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    names = [section["name"] for section in shown]
    assert names[:5] == ["Kinds over steps", "Trained against unseen", "Languages", "Layers and degrees", "Loss"]
    lines = [
        panel["config"]
        for section in shown
        for panel in section["panels"]
        if panel["viewType"] == "Run History Line Plot"
    ]
    assert {line["xAxis"] for line in lines} == {"neurons/step", "trainer/global_step"}
    assert {line["xAxis"] for line in lines if line["metrics"] != ["train/loss"]} == {"neurons/step"}


def test_every_key_is_one_that_runs_log() -> None:

    firings = torch.randint(0, 9, (3, 1, 2, 10), generator=torch.Generator().manual_seed(0))
    tokens = torch.full((3, 1), 10)
    counts = ActivationCounts(
        ("en", "de", "sw"), firings, tokens, tokens, "mlp.act", "all", step=0,
        loss_sum=torch.ones(3, 1).double(), loss_tokens=torch.ones(3, 1).long(),
    )  # fmt: skip
    logged = {*scalars(summarise(counts, TernaryConfig(top_rate=0.5), ["de"], None)), *MEDIA, "train/loss"}
    text = repr(sections(["en", "de", "sw"]))
    keys = set(re.findall(r"'((?:neurons|train)/[\w/]+)'", text)) - {"neurons/step"}
    assert len(keys) > 15
    assert keys <= logged


@pytest.mark.slow
def test_who_is_not_logged_in_is_told() -> None:
    server = WandbServer()
    server.denies = True
    done = save(server.environment)
    server.die()
    assert done.returncode == 1
    assert "alignlab.errors.InputError: workspace: W&B does not take it" in done.stderr
    assert "wandb login" in done.stderr
