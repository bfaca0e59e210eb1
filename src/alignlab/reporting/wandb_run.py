"""Weights & Biases: one run for the whole experiment, online when logged in, else offline beside the run.

All that goes there goes through one class, `WandbRun`: scalars, figures, tables and files. Training never waits for W&B
and never fails by it: all that is sent goes through threads of its own, every wait has an end, and what fails is said
once. `metrics.csv` has the same numbers.

A row of the W&B history is an optimiser step, and its `_step` is the step's number. A continued run goes on as the same
W&B run: steps that are done again are not sent again, and steps that an earlier process did not bring to the server, or
to the disk, are sent from `metrics.csv`.
"""

from __future__ import annotations

import dataclasses
import time
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import WandbLogger

from alignlab import console
from alignlab.atomic import remove
from alignlab.manifest import listed
from alignlab.neurons.counts_file import read_header
from alignlab.redaction import hide_all
from alignlab.reporting.wandb_charts import STEP, define_charts
from alignlab.reporting.wandb_worker import Worker, quietly, upload_line
from alignlab.runs import step_name, step_of

ARTIFACT_TYPE, RESULTS_TYPE, MODEL_TYPE = "neuron-counts", "neuron-analysis", "model"


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
        self._rows = Worker()
        self._artifacts = Worker()  # its own: to log one asks the server, which may not answer
        self._arrivals = Worker()
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
        return str(self.experiment.url) if not self.experiment.offline else f"offline; {upload_line(self.experiment)}"

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
        ending = Worker(quiet=True)
        ending.do(partial(self.experiment.finish, exit_code=exit_code))
        ended = ending.end(limit + 5)
        arrived = self._arrivals.end(5)
        if all(logged) and ended and arrived:
            if self._staging is not None and not self.experiment.offline:
                remove(self._staging)
                with suppress(OSError):  # where others keep theirs
                    self._staging.parent.rmdir()
            return
        console.complain(f"W&B did not get all of the run. {upload_line(self.experiment)}")
        import wandb

        # Its handler at the exit of Python would wait, or fail, once more.
        quietly(partial(wandb.teardown, exit_code=1), seconds=10)

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
