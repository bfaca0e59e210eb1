"""One offline page of a run, or of several side by side: `python -m alignlab.report run=runs/demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from alignlab import analyze, console
from alignlab.command import end, run_command
from alignlab.config import load, start_text
from alignlab.errors import InputError, Problem
from alignlab.labels import labels_of
from alignlab.options import AnalyzeOptions, ReportConfig
from alignlab.quick_start import quick_imports
from alignlab.runs import RunFolder
from alignlab.secret_settings import check_settings

if TYPE_CHECKING:
    from alignlab.question import AnalyzeConfig
    from alignlab.reporting.page import PageRun

INTRO = "Write one HTML page that answers what changed in a run, or in several side by side; it opens offline."
# What is shown where nothing is asked for.
USAGE = "python -m alignlab.report run=FOLDER|runs=[FOLDER,FOLDER] [key=value ...]"
CALLS = {
    "run=runs/demo": "the page is runs/demo/report.html",
    "runs=[runs/demo,runs/other] file=both.html": "up to four runs side by side",
    "--help": "every key",
}


def run(config: ReportConfig) -> None:
    """Plan, ask the snapshots of each run, write the page and say where it is."""
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.analysis.records import snapshots_of
        from alignlab.neurons.identifiers import identifier_of, require_tau
        from alignlab.reporting.page import check_page, write_page
        from alignlab.reporting.page_run import SHOWN
        from alignlab.reporting.png import check_png, figures_of, write_png
        from alignlab.reporting.wandb_media import log_evaluations, log_interventions
        from alignlab.results import page_of

    target = Path(config.file or Path(config.folders[0]) / "report.html").expanduser()
    images = None if config.png is None else Path(config.png).expanduser()
    if images is not None:
        check_png(images, target)
    if config.file is None:
        snapshots_of(Path(config.folders[0]).expanduser())  # into the folder of which the page goes
    check_page(target)
    questions = [
        question(folder, config, log=config.log and number == 0) for number, folder in enumerate(config.folders)
    ]
    for each in questions:
        require_tau(identifier_of(each.identifier), "kinds, which the page shows")
    asked = [(each, each.records(each.recounting())) for each in questions]
    console.heading("Plan of the report")
    rows = [(folder, f"{len(records)} snapshots") for folder, (_, records) in zip(config.folders, asked, strict=True)]
    rows += [("intervals", each.intervals_plan(records, None)) for each, records in asked]
    rows += [("page", str(target))]
    rows += [("figures", f"{images} (PNG)")] if images is not None else []
    console.table(rows)
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to write the page.")
        return
    pages: list[PageRun] = []
    for each, records in asked:
        page = page_of(each, f"python -m alignlab.report run={each.run} intervals=all")
        with labels_of(each), console.progress(f"Reading {each.run}", len(records)) as advance:
            for view, found in replace(each.inquiry(SHOWN), since_before=False).over(records):
                page.add(view, found)
                advance()
            pages.append(page.page())
    logged = questions[0].wandb_run("report")
    with logged or nullcontext():
        write_page(pages, target)
        if logged is not None:
            log_interventions(logged, pages[0].interventions)
            log_evaluations(logged, pages[0].evaluations)
            logged.log_results([target])
    written = [("page", f"{target} ({console.size(target.stat().st_size)}; opens in a browser, offline)")]
    if images is not None:
        figures = figures_of(pages)
        with console.progress("Drawing figures", len(figures)) as advance:
            write_png(images, figures, advance)
        written.append(("figures", f"{images} ({len(figures)} PNG files)"))
    console.say()
    console.heading("Written")
    written += [("W&B", logged.place)] if logged is not None else []
    console.table(written)
    if config.workspace:
        console.say(f"dashboard: {dashboard(config.folders[0], pages[0])}")
    console.say(f"\nNext: ask otherwise, e.g. python -m alignlab.analyze run={config.folders[0]} identifier.name=lape")


def question(folder: str, config: ReportConfig, *, log: bool = False) -> AnalyzeConfig:
    """What `alignlab.analyze` would ask the run, by its own settings."""
    from alignlab.question import AnalyzeConfig

    argv = [f"run={folder}", f"intervals={config.intervals}", f"resamples={config.resamples}", "analyses=[]"]
    argv += ["log=true"] if log else []
    argv += [] if config.reference is None else [f"reference={config.reference}"]
    return AnalyzeConfig.of(load(AnalyzeOptions, argv, analyze.base_of)[0])


def dashboard(folder: str, page: PageRun) -> str:
    """Save the dashboard of the run's W&B project; its address."""
    stored = RunFolder(Path(folder).expanduser()).config
    if not stored.is_file():
        raise InputError(Problem("workspace", f"{stored} is not there", "the config of a run, with its W&B project"))
    project = RunFolder(Path(folder).expanduser()).stored_config().get("wandb", {})
    check_settings({"wandb": project}, ())
    codes = [language.code for language in page.languages]
    from alignlab.reporting.workspace import save_workspace

    return save_workspace(project.get("entity"), project.get("project", "alignlab"), codes)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(start_text(USAGE, INTRO, CALLS))
        return 0
    return run_command(ReportConfig, run, command="report", intro=INTRO, argv=given)


if __name__ == "__main__":
    end(main())
