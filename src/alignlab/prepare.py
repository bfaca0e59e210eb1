"""Text for training, made by a model: `python -m alignlab.prepare responses config=prepare_demo`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from alignlab.command import end, run_command
from alignlab.config import Options, asks_for_help, start_text
from alignlab.errors import Problem, did_you_mean
from alignlab.preparation.options import PreferencesOptions, ResponsesOptions
from alignlab.quick_start import quick_imports


def _responses(options: ResponsesOptions) -> None:
    with quick_imports():  # torch and all: once the config is known to be right
        from alignlab.preparation import responses

    responses.run(options)


def _preferences(options: PreferencesOptions) -> None:
    with quick_imports():
        from alignlab.preparation import preferences

    preferences.run(options)


@dataclass(frozen=True)
class Kind:
    """What can be prepared."""

    options: type[Options]
    run: Callable[[Any], None]
    intro: str


KINDS = {
    "responses": Kind(
        ResponsesOptions,
        _responses,
        "Let a model answer questions, several times each; the same command goes on where it was stopped.",
    ),
    "preferences": Kind(
        PreferencesOptions,
        _preferences,
        "Make pairs of a chosen and a rejected answer from a model's responses, for method.name=preference.",
    ),
}


INTRO = "Text for training, made by a model."


def usage() -> str:
    """What can be prepared."""
    calls = {
        "responses config=prepare_demo": "a first try, without a network",
        "responses config=prepare_demo dry_run=true": "its plan: nothing is answered or written",
        "responses --help": "every key",
    }
    kinds = {name: kind.intro for name, kind in KINDS.items()}
    return start_text(
        f"python -m alignlab.prepare {'|'.join(KINDS)} [config=FILE] [key=value ...]", INTRO, kinds | calls
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = list(sys.argv[1:] if argv is None else argv)
    alone = given in ([], ["help"], ["responses"])  # every option of responses has a default: hours of answers
    if alone or (given[0] not in KINDS and asks_for_help(given) is not None):
        sys.stdout.write(usage())
        return 0
    name, rest = given[0], given[1:]
    if name not in KINDS:
        expected = f"first what is to be prepared, one of: {', '.join(KINDS)}"
        problem = Problem("command line", repr(name), expected, did_you_mean(name, KINDS))
        sys.stderr.write(f"\n{problem}\n")
        return 2
    kind = KINDS[name]
    return run_command(kind.options, kind.run, command=f"prepare {name}", intro=kind.intro, argv=rest)


if __name__ == "__main__":
    end(main())
