"""What models can do, task by task: `python -m alignlab.evaluate run=runs/demo config=evaluate_demo`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignlab.command import end, run_command
from alignlab.config import start_text
from alignlab.evaluating.options import EvaluateOptions
from alignlab.quick_start import quick_imports
from alignlab.runs import RunFolder

INTRO = (
    "Ask the checkpoints of a run, or any models, tasks in every language, and compare them pair by pair; the same "
    "command goes on where it was stopped, and what was measured is never measured again."
)

# What is shown where nothing is asked for.
USAGE = "python -m alignlab.evaluate run=FOLDER|models=[A,B] tasks.NAME.name=KIND [config=FILE] [key=value ...]"
CALLS = {
    "run=runs/demo config=evaluate_demo": "perplexity and problems, at the base and every checkpoint",
    "run=runs/demo config=evaluate_demo steps=[0,last]": "at the base and the last checkpoint alone",
    "run=runs/demo config=evaluate_interventions": "the same with neurons of a language off, beside controls",
    "models=[builtin:demo,FOLDER] config=evaluate_real data=FOLDER": "XCOPA, XWinograd, MGSM and MSVAMP",
    "models=[builtin:demo] config=evaluate_translation data=FOLDER": "NTREX translated, and MEXA",
    "--help, --help tasks, ...": "every key, or those of one section",
}
INHERITED = ("identifier", "labels", "model", "probe")


def run(options: EvaluateOptions) -> None:
    """Plan, measure what is not measured yet, and say what was found."""
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.evaluating import evaluations

    evaluations.run(options)


def base_of(settings: Mapping[str, Any]) -> tuple[Path, Sequence[str]] | None:
    """The config of the run says how its models are loaded, what is the base, and how its neurons were counted."""
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
    return run_command(EvaluateOptions, run, command="evaluate", intro=INTRO, argv=given, base_of=base_of)


if __name__ == "__main__":
    end(main())
