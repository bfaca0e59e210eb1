"""Controls beside the counts, each with what it means for the number beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alignlab.reporting.page.data import PageRun
from alignlab.reporting.page.figures import KINDS
from alignlab.reporting.wording import number


@dataclass(frozen=True)
class Control:
    """Of a kind, by step: neurons found, those of them that keep their kind, and how many chance alone would give.

    meaning: of those numbers at the last step.
    """

    kind: str
    found: list[str]
    kept: list[str]
    chance: list[str]
    meaning: str


def controls(run: PageRun) -> list[Control]:
    """Those of every kind that has any, at the first and at the last step."""
    at = {(row.kind, row.measure, row.step): row for row in run.of("stability", is_change=False).itertuples()}
    steps = [step for step in run.ends if any(of[2] == step for of in at)]
    made = []
    for kind in KINDS:
        stable, chance = ([at.get((kind, name, step)) for step in steps] for name in ("stable", "by chance"))
        if any(stable) or any(chance):
            found = [number(row.denominator) if row else "" for row in stable]
            kept = [number(row.value) if row else "" for row in stable]
            by_chance = [number(row.value, 1) if row else "" for row in chance]
            made.append(
                Control(kind, found, kept, by_chance, _meaning(kind, stable[-1], chance[-1], len(run.languages)))
            )
    return made


def _meaning(kind: str, stable: Any, chance: Any, languages: int) -> str:
    said = []
    if stable is not None and stable.denominator == stable.denominator:
        found, kept = int(stable.denominator), int(stable.value)
        rest = "; for the rest it depends on the documents" if kept < found else ""
        said.append(f"{kept:,} of the {found:,} found keep their kind in at least 95 % of the resamples{rest}.")
    if chance is not None:
        copies = (
            f"Resamples of one language, taken for {languages} languages, give {number(chance.value, 1)} {kind} neurons"
        )
        said.append(f"{copies}{_beside(kind, stable, chance)}")
    return " ".join(said)


def _beside(kind: str, stable: Any, chance: Any) -> str:
    """What the number by chance means for the number found."""
    if stable is None or stable.denominator != stable.denominator:
        return "."
    found = int(stable.denominator)
    if kind == "general":
        if chance.value > found:
            return f": so many would be shared if the languages did not differ; {found:,} found means that they do."
        return f": no more than the {found:,} found, so that the languages differ no more than resamples of one do."
    if chance.value < found:
        return f": so many of the {found:,} found may be noise, and not differences between languages."
    return f": no fewer than the {found:,} found, so that noise alone would explain all of them."
