"""What interventions did to every language, as tables that people read and sentences that answer the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from alignlab.analysis.effect_forcing import FORCED
from alignlab.analysis.effect_shifts import LSS, is_shift
from alignlab.analysis.effect_strengths import AT_BEST
from alignlab.neurons.table import Row
from alignlab.reporting.wording import capital, number, signed

CHANGE, OVER_CONTROL, OVER_OTHERS = "change of {}", "{} over control", "change of {}, own language over others"
MATCHED = "matched"
BEYOND, NOTE = "*", "beyond the matched control"
UNTOLD = "none, as none can be told"


@dataclass
class Matrix:
    """One operation at one strength on the sets of one record.

    measure: such as `nats`.  sets, languages: its rows and columns.
    changes, over: by set and language, the change, and that over the matched control; `own`, by language, the change of
    its own language over the mean of the others.
    """

    record: str
    task: str
    operation: str
    strength: float | None
    part: str
    measure: str
    sets: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    changes: dict[tuple[str, str], Row] = field(default_factory=dict)
    control: dict[tuple[str, str], Row] = field(default_factory=dict)
    over: dict[tuple[str, str], Row] = field(default_factory=dict)
    own: dict[str, Row] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What its cells are: a change, but where that is the number itself."""
        return self.measure if self.measure.startswith(LSS) else CHANGE.format(self.measure)

    @property
    def has_own(self) -> bool:
        """Whether it asks what sets do to their own languages."""
        return self.measure != FORCED and not is_shift(self.measure)

    def language_of(self, name: str) -> str:
        """The language of a set, which may be part of its layers; empty where it is of none."""
        return next((row.language for (of, _), row in self.changes.items() if of == name), "")

    @property
    def what(self) -> str:
        """What was done, in words."""
        strength = "" if self.strength is None else f" {self.strength:g}"
        return f"{self.operation}{strength}{f', {self.part}' if self.part else ''}"


def matrices(rows: Sequence[Row]) -> list[Matrix]:
    """The matrices in the rows of `alignlab.analysis.effect_matrices` and `effect_contrasts`, in their order."""
    found: dict[tuple[object, ...], Matrix] = {}
    for row in rows:
        measure = _measured(row.measure)
        if not row.set or not measure:
            continue
        # Sets at strengths of their own are one matrix.
        strength = None if row.operation.endswith(AT_BEST) else row.strength
        key = (row.record, row.task, row.operation, strength, row.label, measure)
        matrix = found.setdefault(key, Matrix(*key))
        place = row.set, row.other
        if row.measure == OVER_OTHERS.format(measure):
            matrix.own[row.set] = row
        elif row.measure == OVER_CONTROL.format(measure) and row.control == MATCHED:
            matrix.over[place] = row
        elif row.measure == CHANGE.format(measure) and row.control == MATCHED:
            matrix.control[place] = row
        elif row.measure == CHANGE.format(measure) and not row.control:
            matrix.changes[place] = row
            matrix.sets += [row.set] if row.set not in matrix.sets else []
            matrix.languages += [row.other] if row.other not in matrix.languages else []
    return [matrix for matrix in found.values() if matrix.changes]


def matrix_lines(matrix: Matrix, shown: Sequence[str] | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and lines: a set a line, a language a column; then its own language under the matched control and over it.

    A change that is beyond the matched control has a star; the language's own is in brackets.
    shown: languages of which there are columns; None for all.
    """
    languages = [code for code in matrix.languages if shown is None or code in shown]
    beside = ["matched", "over matched"] if matrix.control and not is_shift(matrix.measure) else []
    lines = []
    for name in matrix.sets:
        cells = [_cell(matrix, name, language) for language in languages]
        place = name, matrix.language_of(name)
        own = matrix.control.get(place), matrix.over.get(place)
        cells += [signed(row.value, 3) if row is not None else "" for row in own] if beside else []
        lines.append([_named(matrix, name), *cells])
    return ["changed", *languages, *beside], lines


def sentences(matrix: Matrix, reference: str, *, harm: float = 1.0) -> Iterator[str]:
    """What a matrix answers: in how many languages the neurons do what their name says.

    reference: the language that others are aligned to, which is told apart; empty for none.
    harm: 1 where more is worse, as nats are, -1 where less is.
    """
    told = [row for row in matrix.over.values() if row.p_adjusted is not None]
    elsewhere = [row for row in told if row.language != row.other]
    if matrix.measure == FORCED:
        more = sum(bool(row.beyond_control) and row.value > 0 for row in elsewhere)
        cells = f"{more} of {len(elsewhere):,} cells (false-discovery rate .05)" if elsewhere else UNTOLD
        yield (
            "Answers to questions in other languages turn to the set's language by more than with its matched control "
            f"in {cells}."
        )
        return
    if is_shift(matrix.measure):
        more = sum(bool(row.beyond_control) and row.value > 0 for row in told)
        cells = f"{more} of {len(told):,} cells (false-discovery rate .05)" if told else UNTOLD
        yield f"{capital(matrix.title)}: more than with the matched control in {cells}."
        return
    own = [row for row in matrix.over.values() if row.language == row.other]
    over = [row for row in own if row.value == row.value]
    if not own:
        yield "No set of a language has matched controls: there is no verdict."
        return
    if len(over) < len(own):
        lacking = [row for row in own if row.value != row.value]
        statuses = " or ".join(dict.fromkeys(row.status for row in lacking))
        names = " ".join(row.language for row in lacking)
        yield f"There is no verdict on {names} beside the matched control: {statuses}."
    if not over:
        return
    known = [row for row in over if row.p_adjusted is not None]
    beyond = [row.language for row in known if row.beyond_control and row.value * harm > 0]
    helped = [row.language for row in known if row.beyond_control and row.value * harm < 0]
    there = {row.language for row in over}
    contrasts = [row for row in matrix.own.values() if row.p_adjusted is not None and row.language in there]
    above = [row.language for row in matrix.own.values() if row.value * harm > 0 and row.language in there]
    sure = [row.language for row in contrasts if row.beyond_noise and row.language in above]
    both = [code for code in beyond if code in sure]
    where = f" in {matrix.part}" if matrix.part else ""
    off = matrix.operation == "zero"
    done = f"Switching off a language's neurons{where}" if off else f"Changing a language's neurons ({matrix.what})"
    yield (
        f"{done} hurts the language itself ({matrix.measure}) more than its matched control in "
        f"{_of(beyond, known, ' languages (corrected by Holm)')}, and more than it hurts the others on average in "
        f"{_of(sure, contrasts, ' (Holm)')}, by value alone in {len(above)}; both in {_of(both, over)}."
    )
    if helped:
        yield f"It does the language good, by more than its matched control, in {_of(helped, known)}."
    if reference in there:
        others = [row for row in over if row.language != reference]
        yield f"Both, without {reference} (the reference): {_of([code for code in both if code != reference], others)}."
    if elsewhere:
        more = sum(bool(row.beyond_control) for row in elsewhere)
        among = f"Of the {len(elsewhere):,} cells of other languages {more:,}"
        yield f"{among} are beyond the matched control (false-discovery rate .05)."
    if (untold := len(matrix.over) - len(told)) > 0:
        yield f"{untold:,} of {len(matrix.over):,} cells cannot be told from controls: too few of these, or all alike."
    shared = [row.control_shared for row in over if row.control_shared is not None]
    if shared:
        mean = number(sum(shared) / len(shared), 2)
        yield f"Draws of a matched control have {mean} of their neurons in common, on average; verdicts allow for it."


def _of(names: Sequence[str], among: Sequence[Row], what: str = "") -> str:
    if not among:
        return UNTOLD
    told = f" ({' '.join(names)})" if names else ""
    return f"{len(names)} of {len(among)}{told}{what}"


def _named(matrix: Matrix, name: str) -> str:
    """A set, with the strength that is its own."""
    strength = next((row.strength for (of, _), row in matrix.changes.items() if of == name), None)
    return name if strength is None or matrix.strength is not None else f"{name} ({strength:g})"


def _cell(matrix: Matrix, name: str, language: str) -> str:
    row, over = matrix.changes.get((name, language)), matrix.over.get((name, language))
    if row is None:
        return ""
    text = number(row.value, 3, "+") or {"not defined": "N/A"}.get(row.status, row.status)
    text += BEYOND if over is not None and over.beyond_control else ""
    text += {"floor": "f"}.get(row.status, "")
    return f"[{text}]" if language == row.language else text


def _measured(measure: str) -> str:
    """Of a measure of a change what it is a change of; empty for what is none."""
    for form in (OVER_OTHERS, OVER_CONTROL, CHANGE):
        before, after = form.split("{}")
        if measure.startswith(before) and measure.endswith(after) and len(measure) > len(before) + len(after):
            return measure[len(before) : len(measure) - len(after)]
    return ""
