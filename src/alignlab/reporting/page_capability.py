"""From the files of a run's evaluation to what the page shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alignlab import languages
from alignlab.errors import InputError, Problem
from alignlab.neurons.groups import group_languages
from alignlab.neurons.table import read_csv
from alignlab.recording.effects import Effects
from alignlab.recording.responses_file import read_answers
from alignlab.reporting.page.capability import PageCapability, Said, SampleAnswer
from alignlab.reporting.page.data import PageLanguage
from alignlab.reporting.wording import shortened
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
    said = [list(read_answers(run.evaluation / f"{step_name(step)}.jsonl").values()) for step in ends]
    return PageCapability(rows, languages_of(last), _samples(ends, said))


def _samples(steps: Sequence[int], said: Sequence[Sequence[dict[str, Any]]]) -> list[SampleAnswer]:
    """Of each language the first problems whose answers became right or wrong, then others."""
    by_language: dict[str, list[SampleAnswer]] = {}
    for rows in zip(*said, strict=False):  # the same problems in the same order at every step
        found = [
            Said(step, shortened(row["text"], _LONGEST), bool(row["right"]), row["output_language"])
            for step, row in zip(steps, rows, strict=True)
        ]
        first = rows[0]
        sample = SampleAnswer(first["language"], shortened(first["prompt"], _LONGEST), first["expected"], found)
        by_language.setdefault(sample.language, []).append(sample)
    chosen = [
        sample
        for samples in by_language.values()
        for sample in sorted(samples, key=lambda one: one.said[0].right == one.said[-1].right)[:_OF_A_LANGUAGE]
    ]
    return chosen[:_MOST_SAMPLES]


def languages_of(effects: Effects) -> list[PageLanguage]:
    """The languages of the items of a record, in their order."""
    codes = effects.item_languages
    of = group_languages(codes, effects.trained_languages, effects.reference or None)
    groups = {code: group for group in ("unseen", "reference", "trained") for code in of.get(group, ())}
    found = []
    for code in codes:
        known = languages.find(code)
        about = {} if known is None else {name: getattr(known, name) for name in ("own_name", "script", "family")}
        found.append(PageLanguage(code, code if known is None else known.name, **about, group=groups[code]))
    return found
