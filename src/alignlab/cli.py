"""The console script: `alignlab train config=demo` is `python -m alignlab.train config=demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from alignlab import __version__
from alignlab.config import start_text
from alignlab.errors import Problem, did_you_mean

COMMANDS = {
    "train": "fine-tune a language model and watch its neurons change",
    "analyze": "classify stored counts anew, or count models and checkpoints, and compare them",
    "intervene": "change neurons, and measure what that does to every language beside controls",
    "evaluate": "ask checkpoints or models tasks: perplexity, multiple choice, problems",
    "prepare": "let a model answer questions, and make pairs of preference from its answers",
    "benchmark": "score identifiers where the language neurons are known, or compare them with each other",
    "study": "train a grid of runs with seeds, or ask a suite of models, and compare them",
    "report": "write one HTML page of a run, or of several side by side",
    "share": "make a folder of neuron sets and counts with a card, and put it on the Hub",
}


def usage() -> str:
    """What `alignlab` can do."""
    about = "A first run, of three minutes: alignlab train config=demo"
    calls = COMMANDS | {
        "COMMAND": "alone: what it can do, with calls to begin with",
        "COMMAND --help": "every key of it",
    }
    return start_text("usage: alignlab COMMAND [config=FILE] [key=value ...]", about, calls)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that is named; its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"alignlab {__version__}\n")
        return 0
    command = given[0]
    if command not in COMMANDS:
        problem = Problem("command line", f"there is no command {command!r}", f"one of: {', '.join(COMMANDS)}")
        sys.stderr.write(f"{problem} {did_you_mean(command, COMMANDS)}".strip() + "\n")
        return 2
    status: int = import_module(f"alignlab.{command}").main(given[1:])
    return status


def run() -> None:
    """The entry point of the console script."""
    status = main()
    if "alignlab.command" not in sys.modules:
        sys.exit(status)
    from alignlab.command import end

    end(status)


if __name__ == "__main__":
    run()
