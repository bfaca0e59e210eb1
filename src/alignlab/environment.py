"""What a run was made with and from: versions, code, machine, fingerprints of data and model, for the run folder."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from alignlab.errors import InputError, Problem
from alignlab.regular_files import read_regular

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


def read_environment(path: Path) -> dict[str, Any]:
    """What a run wrote down about what it was made with and from. Raises InputError where that cannot be read."""
    fix = "Restore it, set run.folder to another folder, or overwrite=true to begin again."
    try:
        stored = json.loads(read_regular(path))
    except FileNotFoundError:
        found = "it is missing, so that nobody can tell whether data and model are still the same"
        raise InputError(Problem(str(path), found, "what the run was made from", fix)) from None
    except (OSError, ValueError, RecursionError):
        stored = None
    if not isinstance(stored, dict) or not isinstance(stored.get("data_fingerprint"), str):
        raise InputError(Problem(str(path), "it is damaged", "what the run was made from", fix))
    return stored


def differing_sources(stored: Mapping[str, Any], now: Mapping[str, Any], run: str) -> list[Problem]:
    """What a run is made from now that it did not begin with: other training data, another probe, another model.

    A fingerprint that the run did not write down, as earlier versions did not write all, is not compared. Nor is the
    model's source: that is the config's, and where its files lie is no part of what it is.
    """
    fix = "Restore what it began with, set run.folder to another folder, or overwrite=true to begin again."
    compared = {
        "data_fingerprint": ("data.train", "the training data, as tokenised,"),
        "probe_fingerprint": ("probe", "the probe, as tokenised,"),
        "evaluation_fingerprint": ("evaluation", "the problems of the evaluation, as tokenised,"),
        "model": ("model.source", "the model's revision"),
        "model_fingerprint": ("model.source", "the weights of the model"),
        "neurons_fingerprint": ("method.neurons", "the neurons that are trained"),
    }
    then, here = _revised(stored), _revised(now)
    return [
        Problem(
            where, f"{what} changed since {run} began ({str(then[key])[:16]} then, {str(here[key])[:16]} now)", "", fix
        )
        for key, (where, what) in compared.items()
        if key in then and key in here and then[key] != here[key]
    ]


def _revised(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """With the model's revision in place of its source and revision."""
    model = provenance.get("model")
    return {**provenance, "model": model.get("revision")} if isinstance(model, Mapping) else dict(provenance)


def differing_versions(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """A line for each package, or Python, of another version than the run began with."""
    then = {"python": stored.get("python"), **(stored.get("packages") or {})}
    here = {"python": now["python"], **now["packages"]}
    return [
        f"the run began with {name} {version}, and goes on with {here[name]}; numbers may differ slightly"
        for name, version in then.items()
        if name in here and version != here[name]
    ]


def _git_revision(folder: Path = Path(__file__).parent) -> str | None:
    """The commit of the checkout that alignlab runs from, with `+changes` if it was changed; else None."""
    try:
        revision, changes = (
            subprocess.run(
                # Nothing is written there: killed meanwhile, or on a full disk, it would leave a lock behind.
                ["git", "--no-optional-locks", "-C", str(folder), *command],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", str(folder)])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{revision}+changes" if changes else revision
