"""A grid of runs with seeds, or a suite of models, in one command: `python -m alignlab.study config=study_demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from alignlab.command import end, run_command
from alignlab.config import load, start_text
from alignlab.quick_start import quick_imports
from alignlab.studying.launched import as_one_process
from alignlab.studying.options import StudyOptions

INTRO = (
    "Train every cell of a grid (training sets x methods x models x seeds, any key), or count and ask a suite of "
    "models, and put all numbers into one table and one page, over seeds. Each cell is a process of its own; the same "
    "command goes on where it was stopped, in as many terminals or SLURM array tasks as there are."
)

# What is shown where nothing is asked for.
CALLS = {
    "config=study_demo": "a small study: two training sets, two seeds",
    "config=paper": "the main paper's, in small: about an hour",
    "config=paper dry_run=true": "every cell checked, and the whole cost: nothing is trained or written",
    "config=paper jobs=4": "four cells side by side; devices=[0,1]: on two GPUs",
    "config=paper retry=failed": "what has failed, again",
    "--help, --help axes": "every key, or those of one section",
}
START = start_text("python -m alignlab.study config=FILE [key=value ...]", INTRO, CALLS)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status: 1 where cells have failed, or their results are damaged."""
    given = sys.argv[1:] if argv is None else argv
    if not given:
        sys.stdout.write(START)
        return 0
    failed: list[str] = []

    def run(options: StudyOptions) -> None:
        with quick_imports():  # torch and all: once the config is known to be right
            from alignlab.studying import studies

        failed.extend(studies.run(options, load(StudyOptions, given)[1]))

    with as_one_process():
        status = run_command(StudyOptions, run, command="study", intro=INTRO, argv=given)
    return status or int(bool(failed))


if __name__ == "__main__":
    end(main())
