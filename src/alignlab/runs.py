"""The folder of a run: what lies where, who may write there, and whether a run starts, goes on or is finished."""

from __future__ import annotations

import fcntl
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from alignlab.atomic import remove, write_text
from alignlab.config import differences
from alignlab.errors import InputError, Problem
from alignlab.redaction import comparable

# What may differ between a run and its continuation: it changes no number.
IGNORED = ("dry_run", "resume", "overwrite", "wandb", "data.workers")
Start = Literal["new", "continue", "finished"]


@dataclass(frozen=True)
class RunFolder:
    """Names of all that a run writes."""

    path: Path

    @property
    def _where(self) -> str:
        return f"run.folder ({self.path})"

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def neurons(self) -> Path:
        return self.path / "neurons"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def finished(self) -> Path:
        return self.path / "finished.json"

    def checkpoint_steps(self) -> list[int]:
        """Steps of the checkpoints that are whole, in order."""
        folders = self.checkpoints.glob("step-*") if self.checkpoints.is_dir() else ()
        return sorted(step_of(folder) for folder in folders if folder.suffix != ".partial")

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / step_name(step)

    def start(self, document: str, *, resume: str, overwrite: bool) -> Start:
        """Whether the run is new, goes on or is finished already; `document` is its resolved config as YAML.

        Raises `InputError` for a folder that is not a run's, or the run of another config.
        """
        if not self.path.exists() or all(_left_behind(entry) for entry in self.path.iterdir()):
            return "new"
        if not self.config.is_file():
            found = "the folder holds other things and no config.yaml of a run"
            raise InputError(
                Problem(self._where, found, "a new folder or a run's", "Set run.folder to another folder.")
            )
        try:
            old = yaml.safe_load(self.config.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            old = None
        if not isinstance(old, dict):
            fix = "Set run.folder to another folder."
            raise InputError(Problem(str(self.config), "it is not the config of a run", "a run's folder", fix))
        if overwrite:
            return "new"
        different = differences(comparable(old), comparable(yaml.safe_load(document)), ignore=IGNORED)
        if different:
            fix = "Set run.folder to another folder, or overwrite=true to replace this run."
            found = f"it holds a run with another config; different are {'; '.join(different)}"
            raise InputError(Problem(self._where, found, "the same config to continue", fix))
        if self.finished.is_file():
            return "finished"
        if resume == "never":
            fix = "Set resume=auto to continue it, or overwrite=true to replace it."
            raise InputError(Problem(self._where, "it holds an unfinished run", "no run (resume=never)", fix))
        return "continue"

    def clear(self) -> None:
        """Remove what an earlier run left (only called for a folder that `start` found to be a run's)."""
        self.finished.unlink(missing_ok=True)  # first, or a run whose removal was broken off would pass for finished
        for entry in (self.neurons, self.checkpoints, self.path / "wandb"):
            remove(entry)
        for entry in (self.metrics, self.path / "neurons.csv", self.environment, self.config):
            entry.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process; the lock ends with the process, however that ends."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            try:
                # Not flock: a killed run's loader processes would inherit it and hold it for some seconds.
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                found = "another process is using this run folder"
                raise InputError(Problem(self._where, found, "one process a run", "Wait for it or stop it.")) from None
            yield

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as finished."""
        write_text(self.finished, json.dumps(summary, indent=2) + "\n")


def _left_behind(entry: Path) -> bool:
    """Whether a killed process can have left this in a folder in which no run was begun."""
    return entry.name == ".lock" or entry.suffix == ".partial"


def step_name(step: int) -> str:
    """Name of a checkpoint's folder and of a snapshot's file, without its suffix."""
    return f"step-{step:06d}"


def step_of(path: Path) -> int:
    """The step that a path made by `step_name` is of."""
    return int(path.name.removeprefix("step-").partition(".")[0])


def check_writable(path: Path) -> None:
    """Refuse a run folder that cannot be written, before any work."""
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):  # the permissions alone do not tell of read-only disks and the like
            pass
    except OSError as error:
        found = f"{folder} cannot be written to ({error.strerror})"
        fix = "Set run.folder to another folder."
        raise InputError(Problem("run.folder", found, "a folder with write permission", fix)) from None
