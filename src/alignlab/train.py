"""Fine-tune a model and track its neurons: `python -m alignlab.train config=configs/demo.yaml [key=value ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignlab.command import end, run_command
from alignlab.config import start_text
from alignlab.options import TrainConfig
from alignlab.quick_start import quick_imports

INTRO = "Fine-tune a language model across languages and watch its neurons change."
# What is shown where nothing is asked for.
USAGE = "python -m alignlab.train config=FILE [key=value ...]"
CALLS = {
    "config=demo": "a first run, without a network: some minutes on two cores",
    "config=demo dry_run=true": "its plan: nothing is trained or written",
    "config=local_files data.root=FOLDER": "on files of your own",
    "--help, --help method, ...": "every key, or those of one section; names of the shipped configs",
}


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab import training_run

    training_run.run(config)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(start_text(USAGE, INTRO, CALLS))
        return 0
    return run_command(TrainConfig, run, command="train", intro=INTRO, argv=given)


if __name__ == "__main__":
    end(main())
