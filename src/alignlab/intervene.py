"""Neurons switched off, amplified or steered with: `python -m alignlab.intervene run=runs/demo`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignlab.command import end, run_command
from alignlab.config import start_text
from alignlab.intervening.options import InterveneOptions
from alignlab.quick_start import quick_imports
from alignlab.runs import RunFolder

INTRO = (
    "Change neurons of a model while it reads text, and measure what that does to every language, beside controls; "
    "the same command goes on where it was stopped, and shows what is measured already."
)

# What is shown where nothing is asked for.
USAGE = "python -m alignlab.intervene run=FOLDER|model.source=MODEL [config=FILE] [key=value ...]"
CALLS = {
    "run=runs/demo": "every language's specific and related neurons switched off",
    "run=runs/demo dry_run=true": "the plan of that: nothing is measured or written",
    "run=runs/demo config=interventions/amplification_sweep": "a named analysis; --help lists the configs",
    "--help, --help text, ...": "every key, or those of one section",
}
INHERITED = ("identifier", "labels", "model", "probe")


def run(options: InterveneOptions) -> None:
    """Plan, measure, keep, and say what was found."""
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.intervening import grids

    grids.run(options)


def base_of(settings: Mapping[str, Any]) -> tuple[Path, Sequence[str]] | None:
    """The config of the run says the model, the text and the identifier, unless others are asked for."""
    folder = settings.get("run")
    if not isinstance(folder, str):
        return None
    config = RunFolder(Path(folder).expanduser()).config
    return (config, INHERITED) if config.is_file() else None


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(start_text(USAGE, INTRO, CALLS))
        return 0
    return run_command(InterveneOptions, run, command="intervene", intro=INTRO, argv=given, base_of=base_of)


if __name__ == "__main__":
    end(main())
