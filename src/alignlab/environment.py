"""What a run was made with: versions, code and machine, for the run folder."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("alignlab", "torch", "lightning", "transformers", "peft", "datasets", "tokenizers", "safetensors", "wandb")


def environment() -> dict[str, Any]:
    """Versions of Python and the packages that make the numbers, alignlab's git revision, the machine."""
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "git_revision": _git_revision(),
        "devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())] or ["cpu"],
        "threads": torch.get_num_threads(),
    }


def _git_revision() -> str | None:
    """The commit of the checkout that alignlab runs from, with `+changes` if it was changed; else None."""
    folder = Path(__file__).parent
    try:
        revision, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(folder)])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{revision}+changes" if changes else revision
