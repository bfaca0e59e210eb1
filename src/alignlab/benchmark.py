"""Identifiers beside a truth, and beside each other: `python -m alignlab.benchmark identifiers`, or `agreement`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignlab.benchmarking.agreement_options import AgreementOptions
from alignlab.benchmarking.options import IdentifiersOptions
from alignlab.command import end, run_command
from alignlab.config import BaseOf, Options, asks_for_help, start_text
from alignlab.errors import Problem, did_you_mean
from alignlab.quick_start import quick_imports
from alignlab.runs import RunFolder

INHERITED = ("identifier", "labels", "model", "probe", "reference")


def _identifiers(options: IdentifiersOptions) -> None:
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.benchmarking import identifiers

    identifiers.run(options)


def _agreement(options: AgreementOptions) -> None:
    with quick_imports():
        from alignlab.benchmarking import agreement_command

    agreement_command.run(options)


def _run_of(settings: Mapping[str, Any]) -> tuple[Path, Sequence[str]] | None:
    """The config of the run says how its models are loaded, and how its neurons were counted and classified."""
    folder = settings.get("run")
    if not isinstance(folder, str):
        return None
    config = RunFolder(Path(folder).expanduser()).config
    return (config, INHERITED) if config.is_file() else None


@dataclass(frozen=True)
class Kind:
    """What can be benchmarked. base_of: as for `alignlab.config.load`."""

    options: type[Options]
    run: Callable[[Any], None]
    intro: str
    base_of: BaseOf = lambda _settings: None


KINDS = {
    "identifiers": Kind(
        IdentifiersOptions,
        _identifiers,
        "Run identifiers on small models whose language neurons are planted, and score them against that truth; "
        "the same command goes on where it was stopped.",
    ),
    "agreement": Kind(
        AgreementOptions,
        _agreement,
        "Run identifiers on a run or two models, where no truth is known, and compare what they find: sizes, overlaps "
        "beside chance, layers, halves of the documents, models and texts.",
        _run_of,
    ),
}


INTRO = "Methods that find language neurons, scored where the truth is known, or compared with each other."


def usage() -> str:
    """What can be benchmarked."""
    calls = {
        "identifiers seeds=10": "the whole, in minutes on two cores, without a network",
        "identifiers dry_run=true": "its plan: nothing is measured or written",
        "agreement run=runs/demo config=agreement_demo": "all of them on the demo run, in minutes too",
        "identifiers --help": "every key",
    }
    kinds = {name: kind.intro for name, kind in KINDS.items()}
    usage = f"python -m alignlab.benchmark {'|'.join(KINDS)} [config=FILE] [key=value ...]"
    return start_text(usage, INTRO, kinds | calls)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given in ([], ["help"]) or (given[0] not in KINDS and asks_for_help(given) is not None):
        sys.stdout.write(usage())
        return 0
    name, rest = given[0], given[1:]
    if name not in KINDS:
        expected = f"first what is to be benchmarked, one of: {', '.join(KINDS)}"
        problem = Problem("command line", repr(name), expected, did_you_mean(name, KINDS))
        sys.stderr.write(f"\n{problem}\n")
        return 2
    kind = KINDS[name]
    return run_command(
        kind.options, kind.run, command=f"benchmark {name}", intro=kind.intro, argv=rest, base_of=kind.base_of
    )


if __name__ == "__main__":
    end(main())
