"""The path of a fallback as people read it: a line a step, and a sentence that says what it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from alignlab.analysis.effect_fallback import FALLBACK, OVER_CONTROL, SHARE, UNTOLD, off_at
from alignlab.neurons.table import Row
from alignlab.reporting.wording import number, signed

MATCHED = "matched"


@dataclass
class Step:
    """off: languages, in their order.  shares, controls, over: by language, the empty one for answers in none that is
    told: the share of answers, that under the matched control, and how its change differs from that of the control.
    """

    off: list[str]
    shares: dict[str, Row] = field(default_factory=dict)
    controls: dict[str, Row] = field(default_factory=dict)
    over: dict[str, Row] = field(default_factory=dict)

    @property
    def last(self) -> str:
        """The language that this step has switched off; empty at step 0."""
        return self.off[-1] if self.off else ""

    @property
    def leading(self) -> str:
        """The language that most answers are in, of all; empty where none is told."""
        told = {language: row.value for language, row in self.shares.items() if language}
        most = max(told.values(), default=0.0)
        return next((language for language, value in told.items() if value == most), "") if most > 0 else ""


@dataclass
class Path:
    """record, task: of what.  operation: what was done to the neurons.  steps: in their order, step 0 first."""

    record: str
    task: str
    operation: str = ""
    steps: list[Step] = field(default_factory=list)

    @property
    def languages(self) -> list[str]:
        """Those that answers were told apart by."""
        return [language for language in self.steps[0].shares if language]

    @property
    def order(self) -> list[str]:
        """The languages as they were switched off."""
        return self.steps[-1].off


def paths(rows: Sequence[Row]) -> list[Path]:
    """The paths in the rows of `alignlab.analysis.effect_fallback`, one a record."""
    found: dict[tuple[str, str], Path] = {}
    steps: dict[tuple[str, str, str], Step] = {}
    for row in rows:
        if row.analysis != FALLBACK:
            continue
        path = found.setdefault((row.record, row.task), Path(row.record, row.task))
        key = (row.record, row.task, row.set)
        if key not in steps:
            steps[key] = Step(off_at(row.set))
            path.steps.append(steps[key])
        if row.operation and not path.operation:
            path.operation = f"{row.operation}{'' if row.strength is None else f' {row.strength:g}'}"
        places: Mapping[tuple[str, str], dict[str, Row]] = {
            (SHARE, ""): steps[key].shares,
            (UNTOLD, ""): steps[key].shares,
            (SHARE, MATCHED): steps[key].controls,
            (UNTOLD, MATCHED): steps[key].controls,
            (OVER_CONTROL, MATCHED): steps[key].over,
        }
        place = places.get((row.measure, row.control))
        if place is not None:
            place[row.language] = row
    return list(found.values())


def path_lines(path: Path, shown: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a step a line, a column for each language; then what the step did to the one it switched off.

    shown: languages of which there are columns; None for all.
    """
    languages = [code for code in path.languages if shown is None or code in shown]
    beside = ["off: share", "matched", "over matched"] if any(step.controls for step in path.steps) else []
    lines = []
    for count, step in enumerate(path.steps):
        cells = [number(step.shares[code].value, 2) for code in languages]
        cells += [number(step.shares[""].value, 2), step.leading or "none"]
        if beside:
            own, control, over = (of.get(step.last) if step.last else None
                                  for of in (step.shares, step.controls, step.over))  # fmt: skip
            cells += [number(row.value, 2) if row is not None else "" for row in (own, control)]
            cells.append("" if over is None else signed(over.value, 2) + ("*" if over.beyond_control else ""))
        lines.append([str(count), step.last or "none", *cells])
    return ["step", "off", *languages, "untold", "most in", *beside], lines


def path_sentences(path: Path) -> Iterator[str]:
    """What the path shows."""
    leading = [step.leading or "no language" for step in path.steps]
    yield f"Switched off one after another: {' '.join(path.order) or 'none'}; most answers are in {', '.join(leading)}."
    told = [step.over[step.last] for step in path.steps if step.last in step.over]
    told = [row for row in told if row.p_adjusted is not None]
    if not told:
        yield "No step has matched controls, or they tell too little: there is no verdict."
        return
    fewer = [row.language for row in told if row.beyond_control and row.value < 0]
    yield (
        "Answers in the language that a step switches off are beyond the matched control, and fewer, at "
        f"{len(fewer)} of {len(told)} steps{f' ({chr(32).join(fewer)})' if fewer else ''} (corrected by Holm)."
    )
