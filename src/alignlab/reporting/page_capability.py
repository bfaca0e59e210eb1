"""From the files of a run's evaluation to what the page shows of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignlab import languages
from alignlab.checksums import damaged, of_values
from alignlab.errors import InputError, Problem
from alignlab.neurons.groups import group_languages
from alignlab.neurons.table import read_csv
from alignlab.recording.effects import Effects
from alignlab.reporting.page.capability import PageCapability, Said, SampleAnswer
from alignlab.reporting.page.data import PageLanguage
from alignlab.runs import RunFolder, snapshot_files, step_name, step_of

_OF_A_LANGUAGE = 2  # samples
_MOST_SAMPLES = 40
_LONGEST = 1000  # characters of a prompt or an answer that are shown


def read_capability(folder: Path) -> PageCapability | None:
    """What the model of a run in a folder answered; None where it was asked nothing.

    Raises InputError for files that are damaged or missing.
    """
    run = RunFolder(folder)
    steps = sorted(step_of(path) for path in snapshot_files(run.evaluation, "safetensors"))
    if not steps:
        return None
    if not run.evaluation_table.is_file():
        fix = "Give the command of the training again: it is written anew from the records."
        raise InputError(Problem(f"{run.evaluation_table}", "there is no such file", "the table of the answers", fix))
    rows = read_csv(run.evaluation_table)
    last = Effects.load(run.evaluation / f"{step_name(steps[-1])}.safetensors")
    ends = sorted({steps[0], steps[-1]})
    said = [_answers(run.evaluation / f"{step_name(step)}.jsonl") for step in ends]
    return PageCapability(rows, languages_of(last), _samples(ends, said))


def _answers(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of answers. Raises InputError where it is missing or damaged."""
    rows = []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(Problem(f"{path}", f"it cannot be read ({error})", "the answers of this run")) from None
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            whole = row.pop("checksum") == of_values(row)
        except (ValueError, KeyError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise damaged(path, f"line {number}")
        rows.append(row)
    return rows


def _samples(steps: Sequence[int], said: Sequence[Sequence[dict[str, Any]]]) -> list[SampleAnswer]:
    """Of each language the first problems whose answers became right or wrong, then others."""
    by_language: dict[str, list[SampleAnswer]] = {}
    for rows in zip(*said, strict=False):  # the same problems in the same order at every step
        found = [
            Said(step, _cut(row["text"]), bool(row["right"]), row["output_language"])
            for step, row in zip(steps, rows, strict=True)
        ]
        first = rows[0]
        sample = SampleAnswer(first["language"], _cut(first["prompt"]), first["expected"], found)
        by_language.setdefault(sample.language, []).append(sample)
    chosen = [
        sample
        for samples in by_language.values()
        for sample in sorted(samples, key=lambda one: one.said[0].right == one.said[-1].right)[:_OF_A_LANGUAGE]
    ]
    return chosen[:_MOST_SAMPLES]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} … ({len(text):,} characters)"


def languages_of(effects: Effects) -> list[PageLanguage]:
    """The languages of the items of a record, in their order."""
    codes = effects.item_languages
    of = group_languages(codes, effects.trained_languages, effects.reference or None)
    groups = {code: group for group in ("unseen", "reference", "trained") for code in of.get(group, ())}
    found = []
    for code in codes:
        known = languages.LANGUAGES.get(code)
        about = {} if known is None else {name: getattr(known, name) for name in ("own_name", "script", "family")}
        found.append(PageLanguage(code, code if known is None else known.name, **about, group=groups[code]))
    return found
