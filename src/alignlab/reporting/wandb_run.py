"""Weights & Biases: one run for the whole experiment, online when logged in, else offline beside the run.

All that goes there goes through one class, `WandbRun`: scalars, figures, tables and files. Training never waits for W&B
and never fails by it: all that is sent goes through threads of its own, every wait has an end, and what fails is said
once. `metrics.csv` has the same numbers.

An analysis of what a run has stored is a W&B run of its own, which says whose it is.

A row of the W&B history is an optimiser step, and its `_step` is the step's number. A continued run goes on as the same
W&B run: steps that are done again are not sent again, and steps that an earlier process did not bring to the server, or
to the disk, are sent from `metrics.csv`.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
import shlex
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from operator import itemgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from alignlab import console
from alignlab.atomic import remove, write_text
from alignlab.environment import read_environment
from alignlab.manifest import listed
from alignlab.neurons.counts_file import read_header
from alignlab.redaction import hide, hide_all
from alignlab.reporting.metrics_csv import read_metrics
from alignlab.reporting.options import WandbOptions, logged_in, wandb_host
from alignlab.runs import RunFolder, step_name, step_of

ARTIFACT_TYPE, RESULTS_TYPE, MODEL_TYPE = "neuron-counts", "neuron-analysis", "model"
STEP, SNAPSHOT_STEP = "trainer/global_step", "neurons/step"
_STAGING = "WANDB_DATA_DIR"
AXES = {"train/": STEP, "speed/": STEP, "neurons/": SNAPSHOT_STEP, "capability/": "capability/step"}
# The charts of W&B's default view: everything else that is logged is hidden there.
CHARTS = (
    "train/loss",
    *(f"neurons/{kind}" for kind in ("specific", "related", "general", "unassigned")),
    *(f"neurons/{group}/{kind}" for kind in ("specific", "related") for group in ("trained", "unseen")),
    *(f"neurons/{group}/loss" for group in ("trained", "unseen")),
)
# Beside them, where the model answers problems while it trains.
CAPABILITY_CHARTS = tuple(f"capability/{group}/right" for group in ("trained", "reference", "unseen"))


class WandbConfig(WandbOptions):
    """Where the numbers go beside the CSV files."""

    def build(self, folder: RunFolder, name: str, config: dict[str, Any], done: int = 0) -> WandbRun | None:
        """The logger of a run; None when disabled.

        config: as W&B shows it.  done: optimiser steps that the run goes on from.
        A server that cannot be used makes the run an offline one, with a warning.
        """
        if self.resolved_mode() == "disabled":
            return None
        earlier = list((folder.path / "wandb").glob("offline-run-*"))
        run = self._begin(
            folder.path, id=run_id(folder), name=name, config=config | _made_with(folder), job_type="train"
        )
        if run is None:
            return None
        for path in earlier:  # the new folder tells all that they tell, and they may be torn
            target = path.parent / "superseded" / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        logged = read_metrics(folder.metrics, done) if done else []
        for step, key, value in sorted(logged, key=itemgetter(0)):
            run.log_metrics({key: value}, step)
        return run

    def build_analysis(
        self, path: Path, name: str, config: dict[str, Any], job_type: str, source: RunFolder | None
    ) -> WandbRun | None:
        """The logger of an analysis: a new W&B run at every call; None when disabled.

        path: in whose folder `wandb` an offline run lies.  source: the run that is analysed; the new one names it.
        """
        if self.resolved_mode() == "disabled":
            return None
        known = known_id(source) if source is not None else None
        config = config | {"source_run": known, "source_folder": str(source.path) if source is not None else None}
        run = self._begin(path, id=secrets.token_hex(4), name=name, config=config, job_type=job_type)
        if run is not None and known is not None:
            beside = run.experiment.url.rpartition("/")[0] if run.experiment.url else ""
            run.experiment.notes = hide(f"Of the run {beside and f'{beside}/'}{known}")
        return run

    def _begin(self, path: Path, **arguments: Any) -> WandbRun | None:
        """The run: online where that is asked and can be had, else offline; None where that cannot be had either."""
        (path / "wandb").mkdir(parents=True, exist_ok=True)
        arguments = hide_all({"tags": self.tags, "group": self.group, **arguments})
        arguments |= {"dir": path, "project": self.project, "entity": self.entity}  # as they are, to get there
        asked = self.resolved_mode()
        run = self._online(path, arguments) if asked == "online" else None
        if run is None:
            try:
                run = self._start("offline", **arguments)
            except Exception as error:  # noqa: BLE001 - nor may W&B's own troubles
                console.complain(f"W&B cannot be used: {first_line(error)}. The run goes on without it.")
                return None
            if asked == "online":
                console.complain(f"The run goes on with W&B offline. {_upload_line(run)}")
        return WandbRun(run, self.finish_timeout, Path(os.environ[_STAGING]))

    def _online(self, path: Path, arguments: dict[str, Any]) -> Any:
        """The online run; None where there can be none, which is said."""
        if not logged_in():
            # wandb would ask on the terminal, and wait for ever where nobody sits.
            console.complain(f"wandb.mode is online, but W&B knows no key for {wandb_host()}. Run `wandb login` first.")
            return None
        import wandb

        before = set((path / "wandb").glob("run-*"))
        try:
            return self._start("online", **arguments, resume="allow")
        except Exception as error:  # noqa: BLE001 - an outage shows in many ways, none of which may stop the run
            console.complain(f"W&B at {wandb_host()} cannot be used: {first_line(error)}.")
            _quietly(partial(wandb.teardown, exit_code=1))  # wandb holds on to the id of a run that did not start
            for left in {*(path / "wandb").glob("run-*"), Path(os.environ[_STAGING])} - before:
                remove(left)
            return None

    def _start(self, mode: str, **arguments: Any) -> Any:
        # Else artifacts on their way, and logs, would lie in the home folder. A folder of its own: it goes at the end.
        staging = arguments["dir"].absolute() / "wandb/artifacts" / secrets.token_hex(4)
        staging.mkdir(parents=True)
        os.environ[_STAGING] = os.environ["WANDB_CACHE_DIR"] = str(staging)
        # wandb's reports of its own errors hold stack traces, and their sending outlasts every limit below.
        os.environ["WANDB_ERROR_REPORTING"] = "false"
        import wandb

        wandb.setup(wandb.Settings(silent=True))
        settings = wandb.Settings(
            silent=True,
            console="off",
            init_timeout=self.init_timeout,
            finish_timeout=self.finish_timeout,
            finish_timeout_raises=True,
            # For as long as the training lasts: by default wandb gives up for good after some time.
            x_file_stream_retry_max=1_000_000,
            x_graphql_retry_max=1_000_000,
            # The run folder says what the run was made with. The command line may hold secrets, a diff anything.
            x_disable_meta=True,
            disable_git=True,
            save_code=False,
            host="",
            program="alignlab",
        )
        return wandb.init(mode=mode, reinit="create_new", settings=settings, **arguments)  # type: ignore[arg-type]


class WandbRun(WandbLogger):
    """A W&B run that has started; a row is sent when its step is over, so that only whole rows are sent.

    Rows before the first step that W&B lacks are not sent. Within it (`with`), the end of the work ends the run.

    finish_timeout: seconds to wait for uploads at the end.
    staging: where wandb keeps copies of what it uploads, and leaves them; removed once the server has all of the run.
    """

    def __init__(self, run: Any, finish_timeout: float, staging: Path | None = None) -> None:
        super().__init__(experiment=run)
        self._first = int(run.starting_step)
        self._finish_timeout = finish_timeout
        self._staging = staging
        self._step = -1
        self._row: dict[str, Any] = {}
        self._media: list[Callable[[], dict[str, Any]]] = []
        self._rows = _Worker()
        self._artifacts = _Worker()  # its own: to log one asks the server, which may not answer
        self._arrivals = _Worker()
        self._finished = False
        for prefix in ("train/", "speed/", "neurons/"):
            self._rows.do(partial(define_charts, run, prefix))

    def log_hyperparams(self, params: dict[str, Any] | Namespace) -> None:
        """The run has the whole config already."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add to the row of `step`. What comes late, for a row that is sent, goes into the present one."""
        if step is not None and step > self._step:
            self._send_row()
            self._step = step
            self._row[STEP] = step
        self._row |= metrics

    def log_media(self, make: Callable[[], dict[str, Any]]) -> None:
        """Add pictures and tables to the row; they are made when it is sent, while the training goes on."""
        self._media.append(make)

    def log_counts(self, path: Path) -> None:
        """Make a file of counts a version of the run's artifact, described by its header.

        The file is not copied: it has to stay in place until it is uploaded.
        """
        self._artifacts.do(partial(self._log_counts, path))

    def log_checkpoint(self, folder: Path, without: Collection[str] = ()) -> None:
        """Make a checkpoint a version of the run's model: of the files that alignlab wrote those that load the model.

        without: names of the others.  The files have to stay in place until they are uploaded.
        """
        self._artifacts.do(partial(self._log_checkpoint, folder, without))

    def log_results(self, paths: Sequence[Path]) -> None:
        """Make the files of an analysis an artifact; they have to stay in place until they are uploaded."""
        self._artifacts.do(partial(self._log_files, "analysis", RESULTS_TYPE, paths, ["latest"]))

    @property
    def place(self) -> str:
        """Where to look at the run, or how to upload it."""
        return str(self.experiment.url) if not self.experiment.offline else f"offline; {_upload_line(self.experiment)}"

    def finalize(self, status: str) -> None:
        """Lightning's word that the training has ended; a failed one ends the W&B run too."""
        if status != "success":
            self.finish(exit_code=1)

    def __enter__(self) -> WandbRun:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        self.finish(exit_code=int(kind is not None))

    def finish(self, exit_code: int = 0, seconds: float | None = None) -> None:
        """Send what is left and end the run, in bounded time; say so where not all could be sent.

        seconds: the bound, where it is another than `finish_timeout`.
        """
        if self._finished:
            return
        self._finished = True
        limit = self._finish_timeout if seconds is None else min(seconds, self._finish_timeout)
        if exit_code == 0:  # else the row may be half of one: it is sent when the run is continued
            self._send_row()
        end = time.monotonic() + limit
        logged = [worker.end(end - time.monotonic()) for worker in (self._rows, self._artifacts)]
        ending = _Worker(quiet=True)
        ending.do(partial(self.experiment.finish, exit_code=exit_code))
        ended = ending.end(limit + 5)
        arrived = self._arrivals.end(5)
        if all(logged) and ended and arrived:
            if self._staging is not None and not self.experiment.offline:
                remove(self._staging)
                with suppress(OSError):  # where others keep theirs
                    self._staging.parent.rmdir()
            return
        console.complain(f"W&B did not get all of the run. {_upload_line(self.experiment)}")
        import wandb

        # Its handler at the exit of Python would wait, or fail, once more.
        _quietly(partial(wandb.teardown, exit_code=1), seconds=10)

    def _send_row(self) -> None:
        row, self._row = self._row, {}
        media, self._media = self._media, []
        if row and self._step >= self._first:
            self._rows.do(partial(self._log_row, row, media, self._step))

    def _log_row(self, row: dict[str, Any], media: list[Callable[[], dict[str, Any]]], step: int) -> None:
        for make in media:
            row |= make()
        self.experiment.log(row, step=step, commit=True)

    def _log_counts(self, path: Path) -> None:
        header = dataclasses.asdict(read_header(path))
        self._log_files("neurons", ARTIFACT_TYPE, [path], ["latest", step_name(header["step"] or 0)], header)

    def _log_checkpoint(self, folder: Path, without: Collection[str]) -> None:
        paths = [folder / name for name in listed(folder) if name not in without]
        step = step_of(folder)
        self._log_files("model", MODEL_TYPE, paths, ["latest", step_name(step)], {"step": step})

    def _log_files(
        self, name: str, kind: str, paths: Sequence[Path], aliases: list[str], about: dict[str, Any] | None = None
    ) -> None:
        import wandb

        artifact = wandb.Artifact(f"{name}-{self.experiment.id}", kind, metadata=hide_all(about or {}))
        for path in paths:
            artifact.add_file(str(path.absolute()), name=path.name, policy="immutable", skip_cache=True)
        self.experiment.log_artifact(artifact, aliases=aliases)
        if not self.experiment.offline:
            self._arrivals.do(artifact.wait)  # raises what the upload failed of


def define_charts(run: Any, prefix: str) -> None:
    """Give the keys that begin so, one of `AXES`, their x-axis, and hide all but `CHARTS` in the default view.

    Each would be a chart: a hundred of them would hide the ten that are looked at.
    """
    axis = AXES[prefix]
    run.define_metric(axis, hidden=True)
    run.define_metric(f"{prefix}*", step_metric=axis, hidden=True)
    for key in (*CHARTS, *CAPABILITY_CHARTS):
        if key.startswith(prefix):
            run.define_metric(key, step_metric=axis)


class _Worker:
    """A thread that does one thing after another and does not keep Python from ending; its first failure is said."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.failed = False
        self._tasks: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=console.BACKGROUND, daemon=True)
        self._thread.start()

    def do(self, task: Callable[[], object]) -> None:
        self._tasks.put(task)

    def end(self, seconds: float) -> bool:
        """Whether all was done, and done well, within that time."""
        self._tasks.put(None)
        self._thread.join(max(seconds, 0))
        return not self._thread.is_alive() and not self.failed

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            try:
                task()
            except Exception as error:  # noqa: BLE001 - whatever W&B raises, training goes on
                if not (self.failed or self.quiet):
                    console.complain(f"W&B failed, training goes on: {first_line(error)}.")
                self.failed = True


def _made_with(folder: RunFolder) -> dict[str, Any]:
    """What the run wrote down about its code, data and model: the git commit and the fingerprints."""
    if not folder.environment.is_file():
        return {}
    stored = read_environment(folder.environment)
    told = {key: value for key, value in stored.items() if key == "git_revision" or key.endswith("fingerprint")}
    return {"made_with": told}


def run_id(folder: RunFolder) -> str:
    """The id of the W&B run, one for all processes that continue the run: made once, kept in the run folder."""
    if known := known_id(folder):
        return known
    new = os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
    write_text(_id_file(folder), f"{new}\n")
    return new


def known_id(folder: RunFolder) -> str | None:
    """The id of the run's W&B run; None where it has none."""
    path = _id_file(folder)
    return (path.read_text(encoding="utf-8").strip() or None) if path.is_file() else None


def _id_file(folder: RunFolder) -> Path:
    return folder.path / "wandb" / "run_id.txt"


def _upload_line(run: Any) -> str:
    path = Path(run.dir).parent
    online = "" if path.name.startswith("offline-") else "--include-online "
    return f"Upload it later: wandb sync {online}{shlex.quote(str(path))}"


def first_line(error: Exception) -> str:
    """The first line of what went wrong, without its full stop; the sort of error where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _quietly(task: Callable[[], object], seconds: float = 30) -> None:
    """Do what may fail or hang, and may."""
    worker = _Worker(quiet=True)
    worker.do(task)
    worker.end(seconds)
