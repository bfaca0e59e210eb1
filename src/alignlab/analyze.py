"""Ask stored counts again: `python -m alignlab.analyze run=runs/demo identifier.name=lape` (no model is loaded)."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignlab.analysis.config import AnalyzeConfig
from alignlab.analysis.results import show_results, write_results
from alignlab.runs import RunFolder
from alignlab.verbs import run_verb

INTRO = "Classify stored counts with any identifier, thresholds, languages and shards; no model is loaded."
INHERITED = ("identifier",)


def run(config: AnalyzeConfig) -> None:
    """Plan, then classify and compare, then say what was written."""
    records = config.records()
    config.show_plan(records)
    if config.dry_run:
        return
    results = write_results(config, records)
    show_results(config, results)


def beneath(tree: Mapping[str, Any]) -> tuple[Path, Sequence[str]] | None:
    """The config of the run that is analysed gives the identifier, unless another is asked for."""
    folder = tree.get("run")
    if not isinstance(folder, str) or not RunFolder(Path(folder).expanduser()).config.is_file():
        return None
    return RunFolder(Path(folder).expanduser()).config, INHERITED


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = sys.argv[1:] if argv is None else argv
    return run_verb(AnalyzeConfig, run, verb="analyze", intro=INTRO, argv=given, beneath=beneath)


if __name__ == "__main__":
    sys.exit(main())
