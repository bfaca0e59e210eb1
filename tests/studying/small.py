"""A study of runs of two steps on a tiny model, for tests: two sets of languages, two seeds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

SET = {
    "trainer.max_steps": 2,
    "tracker.every_n_steps": 1,
    "probe.source.count": 4,
    "probe.max_texts": 4,
    "probe.shards": 2,
    "probe.source.languages": ["en", "de", "zh", "sw"],
    "data.train.count": 8,
    "data.examples_per_step": 4,
    "wandb.mode": "disabled",
    "evaluation": None,
    "identifier.top_rate": 0.3,
}
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def small(model: Path, **changed: Any) -> dict[str, Any]:
    """The study's config."""
    config: dict[str, Any] = {
        "study": {"name": "small", "root": "studies"},
        "cell": {"config": "demo", "set": {**SET, "model.source": str(model)}},
        "axes": {"aligned": {"zh": {"data.train.languages": ["zh"]}, "zh-de": {"data.train.languages": ["zh", "de"]}}},
        "seeds": [0, 1],
    }
    return config | changed


def write(folder: Path, config: dict[str, Any], name: str = "small.yaml") -> Path:
    """The file of a config."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    """The command, begun in a folder with `small.yaml`."""
    command = [sys.executable, "-m", "alignlab.study", "config=small.yaml", *more]
    return subprocess.Popen(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Its status, and all that it said."""
    said, _ = process.communicate(timeout=400)
    return process.returncode, said
