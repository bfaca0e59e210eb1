"""Ask a run, models or stored counts: `python -m alignlab.analyze run=runs/demo identifier.name=lape`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignlab import console
from alignlab.analysis.options import MEANINGS
from alignlab.command import end, run_command
from alignlab.config import start_text
from alignlab.options import AnalyzeOptions
from alignlab.quick_start import quick_imports
from alignlab.runs import RunFolder

INTRO = (
    "Classify stored counts with any identifier, thresholds, languages and shards (no model is loaded), "
    "or count models and checkpoints again, and compare them."
)

# What is shown where nothing is asked for.
USAGE = "python -m alignlab.analyze run=FOLDER|models=[A,B]|counts=FOLDER [key=value ...]"
CALLS = {
    "run=runs/demo": "the snapshots of a run, as it counted and classified them",
    "run=runs/demo identifier.name=lape": "with another identifier",
    "run=runs/demo texts.neurons=5": "and the text on which neurons are most active",
    "models=[builtin:demo,FOLDER]": "two models or checkpoints, counted and compared",
    "--help, --help probe, ...": "every key, or those of one section; what each analysis is",
}
INHERITED = ("identifier", "labels", "model", "probe", "wandb")


def run(options: AnalyzeOptions) -> None:
    """Plan, count what has to be counted, classify and compare, then say what was written."""
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.models.distributed import is_first, join
        from alignlab.question import AnalyzeConfig
        from alignlab.results import check_results, show_results, write_results

    config = AnalyzeConfig.of(options)
    recount = config.recounting()
    records = config.records(recount)
    asked = config.texts_asked(records, recount)
    config.show_plan(records, recount, asked)
    check_results(config)
    if config.dry_run:
        console.say("\nThis was a dry run: nothing was written. Leave out dry_run=true to run it.")
        return
    if recount is not None or asked is not None:
        join()
    if recount is not None:
        recount.count()
    texts = None if asked is None else asked.ask(config.inquiry(), records)
    if is_first():
        show_results(config, write_results(config, records, texts))


def base_of(settings: Mapping[str, Any]) -> tuple[Path, Sequence[str]] | None:
    """The config of the run that is analysed gives the identifier, unless another is asked for; so does a tracker's."""
    folder = settings.get("run")
    if not isinstance(folder, str):
        return None
    run = RunFolder(Path(folder).expanduser())
    if run.config.is_file():
        return run.config, INHERITED
    return (run.identifier, ("identifier",)) if run.identifier.is_file() else None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(start_text(USAGE, INTRO, CALLS))
        return 0
    words = {
        "Analyses, and what they are in Zhang et al. 2025": {str(name): one.words for name, one in MEANINGS.items()}
    }
    return run_command(AnalyzeOptions, run, command="analyze", intro=INTRO, argv=given, base_of=base_of, words=words)


if __name__ == "__main__":
    end(main())
