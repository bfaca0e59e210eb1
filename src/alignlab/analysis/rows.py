"""The one tidy table that every analysis gives rows to, with its schema."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace


@dataclass(frozen=True, kw_only=True)
class Row:
    """One number. A column that does not apply is empty ("" or None).

    analysis: its name in `alignlab.analysis.analyses.ANALYSES`.
    record: what the number is of, such as `step 100`.  step: its optimiser steps.  since: the record it is compared to.
    thresholds: `anchored` (those of the first record: what differences mean) or `reestimated` (the record's own;
        differences are compositional).
    convention: which neurons count as of a kind, `paper`, `selection` or `all`; see `alignlab.neurons.kinds.kinds_of`.
    group: `all` neurons; a `language`; the mean over the `trained` or `unseen` languages; a `pair` of languages;
        `within` or `between` language families.
    language, other: languages by name; `other` is the second of a pair.
    layer: from 0; None for all together.
    kind, to_kind: `specific`, `related`, `general`, `unassigned` or `none`; `to_kind` of a neuron that changed.
    degree: number of languages above tau.
    label: the part of the layers, the measure, or the neuron (`layer.neuron`).
    value, unit: the number; `neurons`, `share`, `ratio`, `probability`, `nats a token`, `layers`, `z`, `error`.
    denominator: how many could have been counted; None for what is no count.
    low, high: its 95 % interval over shards of documents; None where none was computed, or where some resample has no
        such number.
    noise_bias: mean of the resamples less the value.
    reference: what the number would be without an effect: 0 of a difference, 1 of English over the others. None where
        nothing is to be expected.
    beyond_noise: whether the interval leaves out the reference; None without either.
    """

    analysis: str
    record: str
    value: float
    step: int | None = None
    since: str = ""
    thresholds: str = ""
    convention: str = ""
    group: str = "all"
    language: str = ""
    other: str = ""
    layer: int | None = None
    kind: str = ""
    to_kind: str = ""
    degree: int | None = None
    label: str = ""
    unit: str = "neurons"
    denominator: int | None = None
    low: float | None = None
    high: float | None = None
    noise_bias: float | None = None
    reference: float | None = None
    beyond_noise: bool | None = None

    def within(self, low: float, high: float, noise_bias: float) -> Row:
        """The row with its interval; with none where an end is not a number."""
        if low != low or high != high:
            return self
        beyond = None if self.reference is None else not low <= self.reference <= high
        return replace(self, low=low, high=high, noise_bias=noise_bias, beyond_noise=beyond)


def csv_text(rows: Iterable[Row]) -> str:
    """The rows as CSV with a header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = vars(row)
        whole = float(row.value).is_integer() and row.unit == "neurons"
        writer.writerow(values | ({"value": int(row.value)} if whole else {}))
    return out.getvalue()
