"""How a Weights & Biases run begins: online where it can be had, else offline, as the run that it goes on with.

An analysis of what a run has stored is a W&B run of its own, which says whose it is.
"""

from __future__ import annotations

import os
import secrets
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from alignlab import console
from alignlab.atomic import remove, write_text
from alignlab.environment import read_environment
from alignlab.redaction import hide, hide_all
from alignlab.reporting.metrics_csv import read_metrics
from alignlab.reporting.options import WandbOptions, logged_in, wandb_host
from alignlab.reporting.wandb_run import WandbRun
from alignlab.reporting.wandb_worker import first_line, quietly, upload_line
from alignlab.runs import RunFolder

_STAGING = "WANDB_DATA_DIR"


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
                console.complain(f"The run goes on with W&B offline. {upload_line(run)}")
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
            quietly(partial(wandb.teardown, exit_code=1))  # wandb holds on to the id of a run that did not start
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
