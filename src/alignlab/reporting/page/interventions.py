"""What the page shows of interventions: as data, in words, and as cards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

from alignlab.analysis.arm_outcomes import NATS
from alignlab.analysis.effect_forcing import FORCED
from alignlab.analysis.effect_matrices import ON_LOG_SCALE
from alignlab.analysis.effect_shifts import is_shift
from alignlab.analysis.effect_strengths import AT_BEST
from alignlab.neurons.table import Row
from alignlab.reporting.effects_table import Matrix, matrices
from alignlab.reporting.page.arm_answers import PageAnswers
from alignlab.reporting.page.card import Caption, Card
from alignlab.reporting.page.fallback import fallback_card
from alignlab.reporting.page.intervention_figures import CellTexts, Curve, effect_matrix, strength_curves
from alignlab.reporting.page.panels import plain
from alignlab.reporting.wording import capital, interval, joined, number, signed

_NO_VERDICT = "no verdict"
MOST_CELLS = 4000  # of all matrices that a page draws; a matrix of 50 languages has 2,500
MOST_SAMPLES = 60  # problems with their answers under arms on a page
_PLACES = 3  # decimals of nats and of shares
_COLUMNS = (
    "matrix", "changed", "evaluated", "change", "low", "high", "matched_control", "control_sd", "over_control",
    "over_control_low", "over_control_high", "p_corrected", "correction", "beyond_control", "log_scale",
    "log_scale_low", "log_scale_high", "gap_in_p", "controls_share",
    "denominator", "status",
)  # fmt: skip

Place = tuple[str, str]  # a set and the language that is evaluated


@dataclass(frozen=True)
class PageIntervention:
    """A folder of `alignlab.intervene`.

    name: of the folder.  table: its path.  rows: of the table.
    neurons: what the sets are of every language, such as `specific(g) | related(g)`.
    found_by: the identifier with its thresholds.  seeds: draws of each control.
    same_documents: whether neurons were found on the documents on which they are measured.
    is_drawn: whether there is room for matrices, beside what they answer.
    general: how many neurons of the controls are general; empty where that was not counted.
    answers: some of those that were written; None where none were, or their texts were not kept.
    """

    name: str
    table: str
    rows: Sequence[Row]
    neurons: str = ""
    found_by: str = ""
    seeds: int | None = None
    same_documents: bool = False
    is_drawn: bool = True
    answers: PageAnswers | None = None
    general: str = ""

    @cached_property
    def matrices(self) -> list[Matrix]:
        """In the order of the rows."""
        return matrices(self.rows)

    @cached_property
    def _on_log_scale(self) -> dict[tuple[object, ...], dict[Place, Row]]:
        found: dict[tuple[object, ...], dict[Place, Row]] = {}
        for row in self.rows:
            if row.measure == ON_LOG_SCALE and row.set:
                strength = None if row.operation.endswith(AT_BEST) else row.strength
                key = (row.record, row.task, row.operation, strength, row.label)
                found.setdefault(key, {})[row.set, row.other] = row
        return found

    def on_log_scale(self, matrix: Matrix) -> dict[Place, Row]:
        """The cells of a matrix of nats on the scale of the papers' figures; empty for others."""
        key = (matrix.record, matrix.task, matrix.operation, matrix.strength, matrix.part)
        return self._on_log_scale.get(key, {}) if matrix.measure == NATS else {}


class Answer(NamedTuple):
    """What a matrix answers. Each of the last three is `k of n`, with names where there are any."""

    what: str
    own: str
    others: str
    elsewhere: str


def answer(matrix: Matrix) -> Answer:
    """How many sets hurt their own language beyond the matched control, and more than the others; and how many cells of
    other languages are beyond it. Of language forcing these are cells in which more is answered in the set's language.
    """
    asked = [row for row in matrix.over.values() if row.p_adjusted is not None]
    own = [row for row in asked if row.language == row.other]
    beyond = [row.set for row in own if row.beyond_control and _harms(matrix, row)]
    told = [row for row in matrix.own.values() if row.p_adjusted is not None]
    more = [row.set for row in told if row.beyond_noise and _harms(matrix, row)]
    elsewhere = [row for row in asked if row.language != row.other]
    far = sum(row.beyond_control is True and (row.value > 0 or matrix.has_own) for row in elsewhere)
    return Answer(
        _named(matrix),
        _of(beyond, len(own)) if matrix.has_own else "not asked",
        _of(more, len(told)) if matrix.has_own else "not asked",
        f"{far:,} of {len(elsewhere):,}" if elsewhere else _NO_VERDICT,
    )


def sentence(matrix: Matrix) -> str:
    """Which sets hurt their own language more than the matched control does."""
    found = answer(matrix)
    off = matrix.operation == "zero"
    done = "Switching off a language's neurons" if off else f"Changing a language's neurons ({matrix.what})"
    if _NO_VERDICT in (found.own, "" if matrix.has_own else found.elsewhere):
        return (
            f"{done}: whether it does more ({matrix.measure}) than changing control neurons cannot be told, since no "
            "set has matched controls and enough items."
        )
    if matrix.measure == FORCED:
        return (
            f"{done} turns answers to questions in other languages to the set's language, by more than the matched "
            f"control does, in {found.elsewhere} cells (false-discovery rate); {matrix.record}."
        )
    if is_shift(matrix.measure):
        return (
            f"{done}: {matrix.title} is higher than with the matched control in {found.elsewhere} cells "
            f"(false-discovery rate); {matrix.record}."
        )
    return (
        f"{done} hurts the language itself ({matrix.measure}) more than its matched control, corrected by Holm, in "
        f"{found.own}; {matrix.record}."
    )


def _harms(matrix: Matrix, row: Row) -> bool:
    """Of nats more is worse, of shares less is."""
    return row.value > 0 if matrix.measure == NATS else row.value < 0


def _of(names: Sequence[str], among: int) -> str:
    if not among:
        return _NO_VERDICT
    return f"{len(names):,} of {among:,} sets" + (f" ({' '.join(names)})" if names else "")


class View(NamedTuple):
    """A matrix on one scale: the key of its variant, and what it is called."""

    key: str
    scale: str


class Shown(NamedTuple):
    """An intervention as the page shows it.

    run: its place.  card, strengths: the matrices, and the curves where there are strengths to compare.
    fallback, fallback_views: its paths, where there are any, and their variants by name.
    sentence: what the first matrix answers.  answers: what each does.
    views, strength_views: what can be chosen of the cards: by the name of a matrix its scales; by name an operation.
    samples: some answers under arms; None for none.
    """

    run: int
    of: PageIntervention
    card: Card
    strengths: Card | None
    sentence: str
    answers: list[Answer]
    views: dict[str, list[View]]
    strength_views: dict[str, str]
    samples: PageAnswers | None
    fallback: Card | None = None
    fallback_views: dict[str, str] | None = None

    @property
    def has_matrices(self) -> bool:
        """Whether there is more than a fallback to show."""
        return bool(self.of.matrices) or self.fallback is None

    @property
    def cards(self) -> list[Card]:
        found = [self.card if self.has_matrices else None, self.strengths, self.fallback]
        return [card for card in found if card is not None]


def show(interventions: Sequence[Sequence[PageIntervention]]) -> list[Shown]:
    """Those of every run, with their cards."""
    shown: list[Shown] = []
    for place, of_run in enumerate(interventions):
        left, room = MOST_CELLS // len(interventions), MOST_SAMPLES // len(interventions)
        for one in of_run:
            found = len(shown)
            card = Card(
                f"effects-{found}", f"Effects of {one.name}", _NOTE, ("run", f"effects-{found}"), narrow_below=600
            )
            views, left = _draw(card, one, place, left)
            card.captions += [Caption(text, place) for text in _basis(one)]
            strengths = Card(
                f"strengths-{found}", f"Strengths of {one.name}", _STRENGTHS_NOTE, ("run", f"strengths-{found}")
            )
            curves = _draw_strengths(strengths, one, place)
            told = sentence(one.matrices[0]) if one.matrices else ""
            answers = list(map(answer, one.matrices))
            samples = one.answers.first(room) if one.answers is not None and one.is_drawn else None
            room -= 0 if samples is None else len(samples.samples)
            drawn = strengths if curves else None
            title = f"Fallback of {one.name}"
            path, paths = fallback_card(f"fallback-{found}", title, one.rows if one.is_drawn else [], place)
            shown.append(Shown(place, one, card, drawn, told, answers, views, curves, samples, path, paths))
    return shown


_NOTE = (
    "A line is a set whose neurons are changed, a column a language that is evaluated; frames are around a set's own "
    "language. A dot marks what is beyond the matched control; other cells are pale. f: under .2 with nothing changed, "
    "so that little can be lost."
)
_STRENGTHS_NOTE = (
    "Each line is a language: what its own neurons, changed at each strength, do to it; and the mean of the draws of "
    "its matched control. Bars are 95 % intervals."
)


def _draw(card: Card, one: PageIntervention, place: int, left: int) -> tuple[dict[str, list[View]], int]:
    """Add the matrices to their card, as many as there is room for; gives their views, and the room that is left."""
    views: dict[str, list[View]] = {}
    rows: list[list[Any]] = []
    for found, matrix in enumerate(one.matrices):
        size = len(matrix.sets) * len(matrix.languages)
        if size > left or not one.is_drawn:
            break
        left -= size
        scaled = one.on_log_scale(matrix)
        unit = next(iter(matrix.changes.values())).unit
        texts = _texts(matrix)
        first = "LSS" if matrix.title == matrix.measure else f"change, {unit}"
        scales = [("change", first, matrix.changes), ("over", f"over control, {unit}", matrix.over)]
        scales += [("log", ON_LOG_SCALE, scaled)]
        for name, words, cells in scales:
            if cells:
                key = f"{found}-{name}"
                said = CellTexts(_template(matrix, logarithmic=name == "log"), texts)
                draw = partial(effect_matrix, matrix, cells, words, said)
                card.add(f"{place}|{key}", draw, f"Heat map, {matrix.what}: {words}. {sentence(matrix)}", 2)
                views.setdefault(_named(matrix), []).append(View(key, words))
        rows += _lines(matrix, scaled)
    if len(views) < len(one.matrices):
        text = f"{len(views)} of {len(one.matrices)} matrices are drawn, to keep this page small; {one.table} has all."
        card.missing.append(Caption(text, place))
    card.tables[str(place)] = {"columns": list(_COLUMNS), "rows": rows}
    return views, left


def table(one: PageIntervention) -> tuple[list[str], list[list[Any]]]:
    """The columns and lines of all matrices, a line a cell."""
    return list(_COLUMNS), [line for matrix in one.matrices for line in _lines(matrix, one.on_log_scale(matrix))]


def _named(matrix: Matrix) -> str:
    return f"{matrix.measure}: {matrix.what}, {matrix.record}, {matrix.task}"


def _texts(matrix: Matrix) -> list[list[list[str]]]:
    """What each cell says where it is pointed at, as `_template` takes it: the same on every scale."""

    def text(place: Place) -> list[str]:
        change, over, control = matrix.changes.get(place), matrix.over.get(place), matrix.control.get(place)
        measured = change.denominator if change else None
        return [
            plain(place[0]), plain(place[1]), _with_ends(change), _with_ends(over), _p(over),
            signed(control.value, _PLACES) if control else "none",
            number(over.control_gap, _PLACES) if over and over.control_gap is not None else "none",
            number(measured) or "none",
        ]  # fmt: skip

    return [[text((name, code)) for code in matrix.languages] for name in matrix.sets]


def _template(matrix: Matrix, *, logarithmic: bool) -> str:
    """How plotly puts these texts together."""
    lines = [
        "%{customdata[0]} changed, %{customdata[1]} evaluated",
        *([f"{ON_LOG_SCALE} %{{z:+.3f}}"] if logarithmic else []),
        "change %{customdata[2]}",
        "over matched control %{customdata[3]}",
        "corrected p %{customdata[4]}",
        "matched control %{customdata[5]}, gap in p %{customdata[6]}",
        f"%{{customdata[7]}} {_unit(matrix)}",
    ]
    return "<br>".join(lines) + "<extra></extra>"


def _with_ends(row: Row | None) -> str:
    if row is None:
        return "none"
    ends = interval(row.low, row.high, _PLACES, "+")
    status = "" if row.status == "ok" else f", {row.status}"
    return f"{signed(row.value, _PLACES) or 'none'} ({ends or 'no interval'}{status})"


def _p(over: Row | None) -> str:
    """The corrected p of a cell over control, and how it was corrected."""
    if over is None or over.p_adjusted is None:
        return _NO_VERDICT
    return f"{over.p_adjusted:.2g} ({over.correction})"


def _lines(matrix: Matrix, scaled: dict[Place, Row]) -> Iterator[list[Any]]:
    """The table of a matrix: a line a cell, in `_COLUMNS`."""
    for place, change in matrix.changes.items():
        over, control, log = matrix.over.get(place), matrix.control.get(place), scaled.get(place)
        verdict = (None, "", None, None, None) if over is None else (
            _short(over.p_adjusted), over.correction, over.beyond_control, _short(over.control_gap),
            _short(over.control_shared),
        )  # fmt: skip
        yield [
            _named(matrix), *place, *_numbers(change),
            *(_short(value) for value in (control.value if control else None, control.sd if control else None)),
            *_numbers(over), *verdict[:3], *_numbers(log), *verdict[3:], change.denominator, change.status,
        ]  # fmt: skip


def _numbers(row: Row | None) -> list[float | None]:
    return [None, None, None] if row is None else [_short(row.value), _short(row.low), _short(row.high)]


def _short(value: float | None) -> float | None:
    return None if value is None or value != value else float(f"{value:.4g}")


def _basis(one: PageIntervention) -> Iterator[str]:
    """What was changed, where, how that is measured, and what the uncertainty is over."""
    cells = [row for matrix in one.matrices for row in matrix.changes.values()]
    over = [row for matrix in one.matrices for row in matrix.over.values()]
    sites = joined([site for site in dict.fromkeys(row.site for row in cells) if site]) or "not given"
    scopes = joined([scope for scope in dict.fromkeys(row.scope for row in cells) if scope]) or "not given"
    which = f"{one.neurons}, " if one.neurons else ""
    by = one.found_by or "what made the file of sets"
    yield f"Neurons: {which}found by {by}; site {sites}, changed at tokens: {scopes}."
    for unit, what in _DENOMINATORS.items():
        sizes = [row.denominator or 0 for matrix in one.matrices if _unit(matrix) == unit
                 for row in matrix.changes.values() if row.status != "not defined"]  # fmt: skip
        if sizes:
            each = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
            yield f"{what}: {each} {unit}."
    if over:
        draws = "" if one.seeds is None else f" ({one.seeds} draws)"
        yield (
            f"Intervals of 95 %, of changes over {_overs(cells)}, of what is over the matched control{draws} over "
            f"{_overs(over)}. p is corrected by Holm for the sets' own languages, as a false-discovery rate for all "
            f"other cells. Gap in p: how far the controls' activation probabilities are from the set's, on average."
        )
        shared = [row.control_shared for row in over if row.control_shared is not None]
        if shared:
            yield (
                f"Draws of a matched control have {number(sum(shared) / len(shared), 2)} of their neurons in common, "
                "on average; intervals and verdicts allow for it."
            )
    else:
        yield f"Intervals of 95 %, over {_overs(cells)}. Without matched controls there is no verdict."
    if one.general:
        yield (
            f"Of the controls' neurons, all draws together, {one.general} are general: above tau in every language, "
            "and so in no language's set."
        )
    yield f"All numbers, random controls among them: {one.table}."


_DENOMINATORS = {
    "tokens": "Nats a token, of all counted tokens of a language",
    "problems": "Shares of the answers of a language",
    "items": "LSS and preferences, of the items of two languages whose objects are not alike",
}


def _unit(matrix: Matrix) -> str:
    """What the cells of a matrix are counted by."""
    if is_shift(matrix.measure):
        return "items"
    return "tokens" if matrix.measure == NATS else "problems"


def _overs(rows: Sequence[Row]) -> str:
    return joined([over for over in dict.fromkeys(row.over for row in rows) if over]) or "nothing (too few)"


def _draw_strengths(card: Card, one: PageIntervention, place: int) -> dict[str, str]:
    """Add what each operation does at its strengths, of two or more; gives the keys of the variants by their names."""
    groups: dict[tuple[str, str, str, str, str], dict[float, Matrix]] = {}
    for matrix in one.matrices:
        if matrix.strength is not None:
            group = (matrix.measure, matrix.operation, matrix.part, matrix.record, matrix.task)
            groups.setdefault(group, {})[matrix.strength] = matrix
    named: dict[str, str] = {}
    rows: list[list[Any]] = []
    for group, at in groups.items():
        curves = list(_curves(at))
        if len(at) < 2 or not curves:
            continue
        measure, operation, part, record, task = group
        what = f"{measure}: {operation}{', ' + part if part else ''}, {record}, {task}"
        key = str(len(named))
        unit = next(iter(next(iter(at.values())).changes.values())).unit
        draw = partial(strength_curves, curves, f"change, {unit}", operation)
        told = joined([f"{strength:g}" for strength in sorted(at)])
        card.add(f"{place}|{key}", draw, f"Lines over strengths {told} of {what}, a line a language", 2)
        named[what] = key
        rows += [
            [what, curve.name, *line]
            for curve in curves
            for line in zip(curve.strengths, curve.values, curve.lows, curve.highs, curve.controls, strict=True)
        ]
    columns = ["what", "language", "strength", "change", "low", "high", "matched_control"]
    card.tables[str(place)] = {"columns": columns, "rows": rows}
    best = [row for row in one.rows if row.unit == "strength"]
    for measure in dict.fromkeys(row.measure for row in best):
        told = ", ".join(f"{row.set} {row.operation} {number(row.value, 2)}" for row in best if row.measure == measure)
        card.captions.append(
            Caption(
                f"{capital(measure)}, chosen on one half of the documents: {told}. What it does on the other half "
                "is among the matrices above, at its best strength.",
                place,
            )
        )
    return named


def _curves(at: dict[float, Matrix]) -> Iterator[Curve]:
    """Of every set of a language its effect on that language over the strengths, beside its matched control."""
    strengths = sorted(at)
    places = dict.fromkeys(
        place for matrix in at.values() for place, row in matrix.changes.items() if row.language == row.other
    )
    for place in places:
        rows = [at[strength].changes.get(place) for strength in strengths]
        controls = [at[strength].control.get(place) for strength in strengths]
        values, lows, highs = ([_numbers(row)[end] for row in rows] for end in range(3))
        shown = [_short(row.value) if row else None for row in controls]
        yield Curve(place[0], strengths, values, lows, highs, shown)
