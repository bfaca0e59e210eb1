"""The one table of the project: every number about neurons or models is a row of it, in one schema."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, TextIO

from alignlab.atomic import whole_file
from alignlab.errors import InputError, Problem
from alignlab.runs import step_of

ANCHORED, REESTIMATED = "anchored", "reestimated"
Status = Literal["ok", "too few", "diverged", "floor", "not defined"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One number. A column that does not apply is empty ("" or None).

    What is asked:

    analysis: its name in `alignlab.analysis.analyses.ANALYSES`; `kinds` and `losses` of what a tracker writes;
        `capability`, of what a model answers; `identifiers`, of the benchmark: `set` is an identifier, `record` which
        models, `task` the truth, `label` a class of planted neurons, `denominator` the seeds; `agreement`, of
        identifiers side by side: `set` is an identifier, `compared` what it is compared with.
    record: what the number is of, such as `step 100`.  step: its optimiser steps.
    since, since_before: of a change, the record that it is a change from: the first one, or the one before this.
    thresholds: `anchored` (those of the first record: what changes mean) or `reestimated` (the record's own; changes
        are compositional: tau is a quantile of all probabilities, so more neurons of one degree leave fewer of others,
        and as many are selected). Anchored, a neuron is selected up to the last score selected in the first record.
    convention: which neurons count as of a kind, `paper`, `selection` or `all`; see `alignlab.neurons.kinds.kinds_of`.
        In rows by degree `all` is over all neurons and `selection` within the selection.

    classified_on: the languages on which neurons were classified, where they are not all that were counted: degrees,
        and so kinds and overlaps, depend on which languages there are.

    Of whom:

    group: `all` neurons, whoever owns them; a `language`; the mean over the languages in training (`trained`), the one
        that they are aligned to (`reference`), the others (`unseen`) or `all languages`; a `pair` of languages;
        `within` or `between` language families.
    language, other: languages by name; `other` is the second of a pair, or the one that is evaluated.
    layer: from 0; None for all together. Of MEXA the state: 0 is what the first layer reads, 1 what it gives.
    kind, to_kind: `specific`, `related`, `general`, `unassigned` or `none`; `to_kind` of a neuron that changed.
        `selected`, all that were selected; the neurons of the sets, where the identifier has no tau and so no kinds.
    degree: number of languages above tau, 0 to G.
    set, operation, strength, control, seed: of an intervention, the set of neurons, what was done to them and how
        strongly, and which control with which seed stood in for them; with no seed, the mean of its draws, or what a
        set does beyond that.
    site, scope: where the neurons are, and on which tokens they were changed.
    task: what a model was evaluated on.
    measure: what was measured, where it is no plain count, such as `jaccard` or `loss`.
    label: what people call the part of the layers (`understanding`), or the neuron (`layer.neuron`, and which column of
        which expert it is, where it is of one); of a task, which of its problems (`templates in training`), where they
        are not all; of `agreement`, between what it is (`identifiers`, `halves` of the documents, `records`).
    compared: of `agreement`, what it is compared with: another identifier, or another record.

    The number:

    value: NaN of a share of none, such as what survives of no neuron.
    unit: `neurons`, `share`, `ratio`, `probability`, `nats a token`, `tokens`, `layers`, `z`, `error`,
        `correlation`.
    denominator: how many could have been counted: the neurons of the model, of the layer or of the selection; those
        that either language of a pair has; the pairs of a mean. None for what is no count.
    status: `ok`; `too few` neurons for resampling to tell how sure the number is; `diverged`, where the model's numbers
        were no longer finite; `floor`, of an accuracy that is under .2 with nothing changed, which can
        hardly fall; `not defined`, where a matrix has a cell that the measure does not have.

    How sure it is:

    low, high: its 95 % interval; None where none was computed, and of `too few`.
    over: what the interval is over: `shards` of documents, or of whole `clusters` of documents that are not
        independent, such as those of a template; `documents` themselves, or the `clusters` of these; either of them
        `and controls`, where another draw of controls would give another number; `seeds`; `labels`, of what is asked of
        the languages (or other labels) themselves.
    sd, noise_bias: standard deviation of the resamples, and their mean less the value. Resampling adds as much noise as
        the text at hand has, so about as much as the value itself is off from one of endless text.
    reference: what the number would be without an effect: 0 of a change, 1 of English over the others, of an overlap
        what chance gives. None where nothing is to be expected.
    p, p_adjusted: two-sided, and corrected for the questions of its family.
    family, correction: with which others of its record, change, thresholds and convention it was asked, and how these
        were corrected for: `holm`, or `fdr` (a false-discovery rate) where they are many.
    beyond_noise: whether `p_adjusted` is under .05: noise of the documents that `over` names, not of training seeds.
    movement, movement_low, movement_high: of a change of counts at anchored thresholds, the change that reassigned
        movement brings (`alignlab.neurons.reassigned`), its mean and the range of 95 % of its draws.
    movement_p, movement_p_adjusted: two-sided, how far out among these draws the change lies, by rank; and corrected
        within the family, as `p` is.
    beyond_movement: whether the corrected one is under .05: the change is another than movement of this size brings,
        larger or smaller. The range is not corrected: a change may be outside and still not be told from movement.
    beyond_control: whether an effect exceeds that of matched controls: it is larger, and `p_adjusted` under .05, where
        p is of the set being one more draw of a control (`alignlab.analysis.beyond_control`).
    control_gap: how far from the neurons of the set those of the controls are in activation probability, on average.
    control_shared: what share of its neurons a draw of the control has in common with another draw, on average.
    """

    analysis: str = ""
    record: str = ""
    step: int | None = None
    since: str = ""
    since_before: str = ""
    thresholds: str = ""
    convention: str = ""
    classified_on: str = ""
    group: str = "all"
    language: str = ""
    other: str = ""
    layer: int | None = None
    kind: str = ""
    to_kind: str = ""
    degree: int | None = None
    set: str = ""
    operation: str = ""
    strength: float | None = None
    control: str = ""
    seed: int | None = None
    site: str = ""
    scope: str = ""
    task: str = ""
    measure: str = ""
    label: str = ""
    compared: str = ""
    value: float
    unit: str = "neurons"
    denominator: int | None = None
    status: Status = "ok"
    low: float | None = None
    high: float | None = None
    over: str = ""
    sd: float | None = None
    noise_bias: float | None = None
    reference: float | None = None
    p: float | None = None
    p_adjusted: float | None = None
    family: str = ""
    correction: str = ""
    beyond_noise: bool | None = None
    movement: float | None = None
    movement_low: float | None = None
    movement_high: float | None = None
    movement_p: float | None = None
    movement_p_adjusted: float | None = None
    beyond_movement: bool | None = None
    beyond_control: bool | None = None
    control_gap: float | None = None
    control_shared: float | None = None

    @property
    def is_change(self) -> bool:
        """Whether it is a change from another record."""
        return bool(self.since or self.since_before)

    def within(
        self, low: float, high: float, sd: float, noise_bias: float, p: float | None = None, over: str = "shards"
    ) -> Row:
        """The row with its interval and the p of its reference; `too few` to tell where an end is not a number."""
        if low != low or high != high:
            return replace(self, status="too few") if self.status == "ok" else self
        beyond = None if self.reference is None else not low <= self.reference <= high
        known = None if p is None or p != p else p
        return replace(self, low=low, high=high, over=over, sd=sd, noise_bias=noise_bias, p=known, beyond_noise=beyond)

    def beside(self, mean: float, low: float, high: float, p: float) -> Row:
        """The change beside what reassigned movement brings, and its p among the draws of that."""
        return replace(self, movement=mean, movement_low=low, movement_high=high, movement_p=p)

    def less(self, earlier: Row, **since: str) -> Row:
        """The change from the same number of an earlier record, without an interval; `since` names that record."""
        values = {name: getattr(self, name) for name in COLUMNS[: COLUMNS.index("status")]}
        return Row(**values | {"value": self.value - earlier.value, "reference": 0.0} | since)


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guarded(text: str) -> str:
    """A text that is none of a spreadsheet's formulas: with an apostrophe before it where it begins as one does."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguarded(cell: str) -> str:
    """The text that `guarded` made a cell of."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


COLUMNS = tuple(field.name for field in fields(Row))
_HEADER = ",".join(COLUMNS)
_READ: dict[str, Callable[[str], Any]] = {
    "str": unguarded,
    "Status": str,
    "float": float,
    "float | None": float,
    "int | None": int,
    "bool | None": {"True": True, "False": False}.__getitem__,
}
_COLUMNS = {field.name: (_READ[str(field.type)], "str" in str(field.type).lower()) for field in fields(Row)}


def cells(row: Row) -> list[Any]:
    """The row's values in the order of `COLUMNS`; whole numbers of neurons without a fraction.

    Texts that a spreadsheet would run as a formula have an apostrophe before them; see `guarded`.
    """
    found = [guarded(cell) if type(cell) is str else cell for cell in (getattr(row, name) for name in COLUMNS)]
    if row.unit == "neurons" and float(row.value).is_integer():
        found[_VALUE] = int(row.value)
    return found


_VALUE = COLUMNS.index("value")


def csv_text(rows: Iterable[Row], header: bool = True) -> str:
    """The rows as CSV; every file of rows is this text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    if header:
        writer.writerow(COLUMNS)
    writer.writerows(map(cells, rows))
    return out.getvalue()


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write the rows, whole or not at all."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(csv_text(rows))


def read_csv(path: Path) -> list[Row]:
    """The rows of a table as `csv_text` has it; columns that an older version did not have are empty.

    Raises InputError for another header and for lines that are no rows.
    """
    with path.open(encoding="utf-8", newline="") as file:
        header = file.readline()
        names = header.rstrip("\n").split(",")
        if "value" not in names or names != [name for name in COLUMNS if name in names]:
            raise _other_header(path, header)
        return [_row(path, number, names, line) for number, line in enumerate(csv.reader(file), start=2)]


def collect_csv(tables: Sequence[Path], path: Path) -> None:
    """Put the tables of snapshots into one at `path`, in order of steps. Raises InputError for other headers."""
    with whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="") as out:
        out.write(_HEADER + "\n")
        for table in sorted(tables, key=step_of):
            with table.open(encoding="utf-8", newline="") as file:
                _check_header(table, file)
                out.writelines(file)


_FIX = "Remove it, stop the run and give the same command again: it is written anew from its counts."


def _check_header(path: Path, file: TextIO) -> None:
    header = file.readline()
    if header != _HEADER + "\n":
        raise _other_header(path, header)


def _other_header(path: Path, header: str) -> InputError:
    return InputError(Problem(f"{path}:1", f"the header {header!r}", repr(_HEADER), _FIX))


def _row(path: Path, number: int, names: Sequence[str], line: Sequence[str]) -> Row:
    try:
        values = [(name, *_COLUMNS[name], cell) for name, cell in zip(names, line, strict=True)]
        return Row(**{name: read(cell) for name, read, text, cell in values if text or cell})
    except (ValueError, KeyError):
        found = f"it is {','.join(line)!r}"
        raise InputError(Problem(f"{path}:{number}", found, "a row of the columns above", _FIX)) from None
