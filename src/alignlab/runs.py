"""The folder of a run: what lies where, who may write there, and whether a run starts, goes on or is finished."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from alignlab.atomic import name_being_written, remove, write_text
from alignlab.config import differences
from alignlab.errors import InputError, Problem
from alignlab.folder_lock import LOCK, locked
from alignlab.manifest import NAME, checksum_of, remove_listed, stranger_problem, strangers, verify
from alignlab.marks import is_ours
from alignlab.redaction import comparable
from alignlab.regular_files import read_regular

# How many ranks there are, and what each of them holds: a step is the same, but for rounding and where dropout falls.
RANKS = ("trainer.devices", "trainer.num_nodes", "trainer.strategy")
# What may differ between a run and its continuation: it changes no number. Where a run lies is no part of what it is.
IGNORED = ("dry_run", "resume", "overwrite", "run", "wandb", "data.workers", "trainer.max_time", *RANKS)
Start = Literal["new", "continue", "finished"]

_MOST_STEPS = 1_000_000  # of a run, that are looked for
_STEP = r"step-([0-9]{6}|[1-9][0-9]{6,9})"
_SNAPSHOT = re.compile(rf"{_STEP}\.(safetensors|csv|(responses\.)?jsonl)|responses\.jsonl")
_STEP_FOLDER = re.compile(_STEP)
# What W&B, and what alignlab for it, puts into the folder `wandb`.
_WANDB = re.compile(
    r"(offline-)?run-\d{8}_\d{6}-.+|superseded|run_id\.txt|latest-run|debug(-\w+)?\.log|wandb|artifacts|wandb-resume\.json"
)


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
    def identifier(self) -> Path:
        """How a tracker in somebody's own script classifies; a run of `alignlab.train` has it in its config."""
        return self.neurons / "identifier.yaml"

    @property
    def table(self) -> Path:
        return self.path / "neurons.csv"

    @property
    def reference(self) -> Path:
        """What a method has kept of the model as it was before the first step."""
        return self.path / "reference.safetensors"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def evaluation_table(self) -> Path:
        return self.path / "evaluation.csv"

    @property
    def tables(self) -> tuple[Path, ...]:
        """The tables of all snapshots."""
        return self.table, self.evaluation_table

    @property
    def step_files(self) -> tuple[Path, ...]:
        """The folders with what a run writes at its steps."""
        return self.neurons, self.evaluation

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def merged(self) -> Path:
        """Models into which the adapter of a stage was merged, on which later stages stand."""
        return self.path / "merged"

    def merged_models(self) -> list[Path]:
        """Those that are there."""
        return sorted(_step_folders(self.merged))

    def merged_model(self, step: int) -> Path:
        return self.merged / step_name(step)

    @property
    def stages(self) -> Path:
        """How the stages ended that others have followed."""
        return self.path / "stages.json"

    @property
    def finished(self) -> Path:
        return self.path / "finished.json"

    @property
    def has_mark(self) -> bool:
        """Whether the run was begun by a version that leaves a mark, and lists with its checkpoints."""
        return self._mark.is_file()

    @property
    def _mark(self) -> Path:
        """Says that a training of alignlab began here, so that `overwrite` may remove what it wrote."""
        return self.path / NAME

    def checkpoint_steps(self) -> list[int]:
        """Steps of the checkpoints that are whole, in order; folders with names of other kinds are somebody else's."""
        return sorted(step_of(folder) for folder in _step_folders(self.checkpoints))

    def checkpoint(self, step: int) -> Path:
        return self.checkpoints / step_name(step)

    def snapshots(self) -> list[Path]:
        """The files of counts, in the order of their steps."""
        return sorted(snapshot_files(self.neurons, "safetensors"), key=step_of)

    def start(self, document: str, *, resume: str, overwrite: bool) -> Start:
        """Whether the run is new, goes on or is finished already; `document` is its resolved config as YAML.

        Raises `InputError` for a folder that is not a run's, or the run of another config.
        """
        self.check_ours()
        if not self._is_run():
            return "new"
        if overwrite or self._state() == "clearing" or not self._is_begun():
            self._check_clearable()
            return "new"
        # There were runs before there were stages, and before there were labels.
        old, new = (
            {"stages": {}, "labels": {"axis": "language", "table": {}}, **one}
            for one in (self.stored_config(), yaml.safe_load(document))
        )
        workers = [f"stages.{name}.data.workers" for name in new["stages"]]
        found = differences(comparable(old), comparable(new), ignore=[*IGNORED, *workers])
        different = [str(one) for one in found]
        if not different and list(old["stages"]) != list(new["stages"]):
            there, here = (", ".join(one["stages"]) for one in (old, new))
            different = [f"the order of stages ({there} there; {here} here)"]
        if different:
            fix = "Set run.folder to another folder, or overwrite=true to replace this run."
            told = f"it holds a run with another config; different are {'; '.join(different)}"
            raise InputError(Problem(self._where, told, "the same config to continue", fix))
        if self.finished.is_file():
            return "finished"
        if resume == "never":
            fix = "Set resume=auto to continue it, or overwrite=true to replace it."
            raise InputError(Problem(self._where, "it holds an unfinished run", "no run (resume=never)", fix))
        return "continue"

    def check_ours(self) -> None:
        """Refuse a folder with anything in it that is no run's, or a run's with files where its folders go.

        Nothing is written to find out, so that it can be asked before the folder is locked.
        """
        if not self.path.exists() or set(self.path.iterdir()) <= {self.path / LOCK, *self._left_over()}:
            return
        fix = "Set run.folder to another folder."
        if not self._is_run():
            if self._mark.is_file() and self.config.is_file():
                found = "it is damaged, so that nobody can tell whose folder this is"
                fix = "Restore it from a copy, or set run.folder to another folder."
                raise InputError(Problem(str(self._mark), found, "what a run wrote there", fix))
            found = "the folder holds other things and no run of alignlab"
            raise InputError(Problem(self._where, found, "a new folder or a run's", fix))
        folders = (*self.step_files, self.checkpoints, self.merged, self.path / "wandb")
        files = (self.config, self.environment, self.metrics, *self.tables, self.reference, self.stages, self.finished)
        problems = [
            Problem(str(path), f"it is {'no folder' if path in folders else 'no file'}", "what a run wrote there", fix)
            for path in (*folders, *files)
            if path.exists() and not (path.is_dir() if path in folders else path.is_file())
        ]
        if problems:
            raise InputError(*problems)

    def begin(self, document: str) -> None:
        """Write down that a run of this config begins, in a folder that `clear` has made ready."""
        written = document.encode()
        files = {self.config.name: {"bytes": len(written), "xxh3_128": checksum_of(written)}}
        write_text(self._mark, json.dumps({"kind": "run", "files": files, "state": "begun"}) + "\n")
        write_text(self.config, document)

    def clear(self) -> None:
        """Remove what an earlier run wrote; everything else in the folder stays.

        Only called for a folder that `start` found to be new: nothing there, a run's to be replaced, or one of which
        nothing but a start is there.
        """
        if self._is_run():
            # First of all: a run whose removal was broken off must not pass for one that goes on, or is finished.
            write_text(self._mark, json.dumps({"kind": "run", "files": {}, "state": "clearing"}) + "\n")
        self.finished.unlink(missing_ok=True)
        for folder in self.step_files:
            for file in _entries(folder):
                if _SNAPSHOT.fullmatch(file.name):
                    file.unlink()
        for model in (*_step_folders(self.checkpoints), *self.merged_models()):
            remove_listed(model)
        wandb = self.path / "wandb"
        for entry in _entries(wandb):
            if _WANDB.fullmatch(entry.name):
                _remove_entry(entry)
        for folder in (*self.step_files, self.checkpoints, self.merged, wandb):
            with suppress(OSError):  # where somebody else's files are left in it
                folder.rmdir()
        for file in (
            self.metrics,
            *self.tables,
            self.reference,
            self.stages,
            self.environment,
            self.config,
            self._mark,
        ):
            file.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder against a second process; the lock ends with the process, however that ends.

        What killed processes were writing is removed. Where nothing was written in the end, no folder is left.
        """
        with locked(self.path, "run.folder"):
            for entry in self._left_over():
                _remove_entry(entry)
            yield

    def _left_over(self) -> list[Path]:
        """What trainings that were killed had begun to write, of the names that only they write."""
        whole = (self.config, self.environment, self.metrics, *self.tables, self.reference, self.stages, self.finished)
        names = {path.name for path in whole} | {NAME}
        left = [entry for entry in _entries(self.path) if name_being_written(entry) in names]
        of_steps = ((folder, _SNAPSHOT) for folder in self.step_files)
        for folder, pattern in (*of_steps, (self.checkpoints, _STEP_FOLDER), (self.merged, _STEP_FOLDER)):
            left += [entry for entry in _entries(folder) if pattern.fullmatch(name_being_written(entry) or "")]
        return left

    def finish(self, summary: dict[str, Any]) -> None:
        """Mark the run as finished."""
        write_text(self.finished, json.dumps(summary, indent=2) + "\n")

    def _is_run(self) -> bool:
        """Whether a training of alignlab wrote here: by its mark, or by what runs wrote before there were marks."""
        if self._mark.is_file():
            return self._state() is not None
        try:
            made_with = json.loads(read_regular(self.environment))
        except (OSError, ValueError, RecursionError):
            return False
        return self.config.is_file() and isinstance(made_with, dict) and "data_fingerprint" in made_with

    def _state(self) -> str | None:
        try:
            mark = json.loads(read_regular(self._mark))
        except (OSError, ValueError, RecursionError):
            return None
        return mark.get("state") if isinstance(mark, dict) and mark.get("kind") == "run" else None

    def _is_begun(self) -> bool:
        """Whether there is anything that a new start would lose: a snapshot, a checkpoint, or the word of an end."""
        return bool(self.snapshots() or self.checkpoint_steps() or self.finished.exists())

    def stored_config(self) -> dict[str, Any]:
        """The config that the run began with. Raises InputError where it is missing, or not as it was written."""
        fix = "Restore it from a copy, or set run.folder to another folder."
        if self.config.is_file() and verify(self.path):
            found = "it is not as it was written, or damaged"
            raise InputError(Problem(str(self.config), found, "the config of this run", fix))
        try:
            old = yaml.safe_load(read_regular(self.config).decode("utf-8"))
        except FileNotFoundError:
            raise InputError(Problem(str(self.config), "it is missing", "the config of this run", fix)) from None
        except (OSError, yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
            old = None
        if not isinstance(old, dict):
            raise InputError(Problem(str(self.config), "it is not the config of a run", "that of this run", fix))
        return old

    def snapshot_steps_expected(self) -> list[int]:
        """The steps whose snapshots have to be there by now, as far as the stored config tells: at least step 0."""
        last = max((step_of(path) for path in self.snapshots()), default=0)
        try:
            tracker = self.stored_config().get("tracker")
        except InputError:  # tracked in somebody's own script
            tracker = None
        every = tracker.get("every_n_steps") if isinstance(tracker, dict) else None
        regular = range(0, last + 1, every) if isinstance(every, int) and every > 0 else range(0)
        return sorted({0, last, *regular[:_MOST_STEPS], *(step for _, step in self.stage_ends() if step <= last)})

    def stage_ends(self) -> list[tuple[str, int]]:
        """Names and last steps of the stages that others have followed, as far as that can be told."""
        try:
            ends = json.loads(read_regular(self.stages))
            return [(str(end["name"]), end["step"]) for end in ends if isinstance(end["step"], int)]
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return []

    def _check_clearable(self) -> None:
        """Refuse to remove what somebody has put among the run's files, under names that the run would give."""
        named = [file for file in (self.metrics, *self.tables, self.reference) if file.exists()]
        named += [file for folder in self.step_files for file in _entries(folder) if _SNAPSHOT.fullmatch(file.name)]
        foreign = [file for file in named if not is_ours(file)]
        problems = [stranger_problem("overwrite", self.path, foreign)] if foreign else []
        problems += [
            stranger_problem("overwrite", folder, others)
            for folder in (*_step_folders(self.checkpoints), *self.merged_models())
            if (others := strangers(folder))
        ]
        if problems:
            raise InputError(*problems)


def snapshot_files(folder: Path, suffix: str) -> list[Path]:
    """The files `step-*.<suffix>` that a tracker wrote into a folder, by name; others are somebody else's."""
    return sorted(
        path
        for path in _entries(folder)
        if re.fullmatch(rf"{_STEP}\.{re.escape(suffix)}", path.name) and path.is_file()
    )


def _step_folders(folder: Path) -> list[Path]:
    """The folders `step-*` in a folder."""
    return [entry for entry in _entries(folder) if _STEP_FOLDER.fullmatch(entry.name) and entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where there is none."""
    return list(folder.iterdir()) if folder.is_dir() else []


def _remove_entry(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        remove(entry)
    else:
        entry.unlink()


def step_name(step: int) -> str:
    """Name of a checkpoint's folder and of a snapshot's file, without its suffix."""
    return f"step-{step:06d}"


def step_of(path: Path) -> int:
    """The step that a path made by `step_name` is of."""
    return int(path.name.removeprefix("step-").partition(".")[0])


def check_writable(path: Path, where: str = "run.folder") -> None:
    """Refuse a folder that cannot be written, before any work.

    where: the config key that names it.
    """
    if path.is_symlink() and not path.exists():
        found, fix = f"{path} is a link that leads to nothing", f"Set {where} to another folder."
        raise InputError(Problem(where, found, "a folder, or nothing yet", fix))
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):  # the permissions alone do not tell of read-only disks and the like
            pass
    except OSError as error:
        found = f"{folder} cannot be written to ({error.strerror})"
        fix = f"Set {where} to another folder."
        raise InputError(Problem(where, found, "a folder with write permission", fix)) from None
