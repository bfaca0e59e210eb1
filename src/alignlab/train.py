"""Fine-tune a model and track its neurons: `python -m alignlab.train config=configs/demo.yaml [key=value ...]`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignlab.command import end, run_command
from alignlab.options import TrainConfig

INTRO = "Fine-tune a language model on question translation and watch its neurons change."


def run(config: TrainConfig) -> None:
    """Plan, then train and track, then say what was written."""
    from alignlab import training_run  # torch and all: once the config is known to be right

    training_run.run(config)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return run_command(TrainConfig, run, command="train", intro=INTRO, argv=sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    end(main())
