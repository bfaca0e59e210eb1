"""The console script: `alignlab train config=demo` is `python -m alignlab.train config=demo`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

from alignlab import __version__
from alignlab.errors import Problem, did_you_mean

VERBS = {
    "train": "fine-tune a language model and watch its neurons change",
    "analyze": "classify stored counts anew, or count models and checkpoints, and compare them",
    "report": "write one HTML page of a run, or of several side by side",
}


def usage() -> str:
    """What `alignlab` can do."""
    verbs = "\n".join(f"  {verb:<9}{does}" for verb, does in VERBS.items())
    return (
        "usage: alignlab VERB [config=FILE] [key=value ...]\n\n"
        f"{verbs}\n\n"
        "alignlab VERB --help tells every key. A first run, of three minutes: alignlab train config=demo\n"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the verb that is named; its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if not given or given[0] in {"-h", "--help", "help"}:
        sys.stdout.write(usage())
        return 0
    if given[0] == "--version":
        sys.stdout.write(f"alignlab {__version__}\n")
        return 0
    verb = given[0]
    if verb not in VERBS:
        problem = Problem("command line", f"there is no verb {verb!r}", f"one of: {', '.join(VERBS)}")
        sys.stderr.write(f"{problem} {did_you_mean(verb, VERBS)}".strip() + "\n")
        return 2
    status: int = import_module(f"alignlab.{verb}").main(given[1:])
    return status


def run() -> None:
    """The entry point of the console script."""
    status = main()
    if "alignlab.verbs" not in sys.modules:
        sys.exit(status)
    from alignlab.verbs import end

    end(status)


if __name__ == "__main__":
    run()
