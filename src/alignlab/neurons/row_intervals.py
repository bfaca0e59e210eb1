"""Rows with the intervals of their resampled values: which steps and ends the numbers of a row can have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from alignlab.neurons.interval_methods import FEW, intervals
from alignlab.neurons.probabilities import Floats
from alignlab.neurons.table import Row


def with_intervals(rows: Sequence[Row], drawn: Floats, shards: int, over: str = "shards") -> list[Row]:
    """The rows with their intervals, from the (R, rows) values of the resamples of S shards, NaN where one has none.

    over: what the shards are of, as `Row.over` says it.

    How they are made: `alignlab.neurons.interval_methods`. Where resampling cannot tell, the row's status is `too few`.
    A number that was not resampled, such as a threshold, is as it was: all its values are NaN.
    """
    whole = np.all(drawn == np.rint(drawn), axis=0)
    scales = np.array([_scale(*each) for each in zip(rows, whole.tolist(), strict=True)], dtype=np.float64)
    step, least, most, small = scales.reshape(-1, 4).T
    found = intervals(
        np.array([row.value for row in rows], dtype=np.float64),
        drawn,
        shards,
        references=np.array([math.nan if row.reference is None else row.reference for row in rows], dtype=np.float64),
        steps=step,
        least=least,
        most=most,
        small=small > 0,
    )
    columns = (found.low, found.high, found.sd, found.noise_bias, found.p)
    asked = np.any(~np.isnan(drawn), axis=0)
    return [
        row.within(*each, over=over) if there or math.isnan(row.value) else row
        for row, there, *each in zip(rows, asked.tolist(), *(column.tolist() for column in columns), strict=True)
    ]


def _scale(row: Row, whole: bool) -> tuple[float, float, float, bool]:
    """The step in which a number comes, the ends of its range, and whether it is of few neurons, or unknown how many.

    whole: all its values in resamples are whole numbers, as those of counts are, and those of means of counts are not.
    """
    of = row.denominator
    if row.unit == "neurons":
        # Of a transition the denominator, how many were of that kind before, is as uncertain as the number itself.
        most = float(of) if of and not row.to_kind else math.inf
        step, least, small = float(whole), 0.0, abs(row.value) < FEW
    elif row.unit == "share":
        step, least, most, small = _step_of_share(row.value, of), 0.0, 1.0, of is None or of < FEW
    else:
        step, small = 0.0, True
        least, most = _RANGES.get(row.unit, (-math.inf, math.inf))
    # A change, or another number that is set against 0, may be negative. Transitions and survival are no changes.
    return step, -most if row.reference == 0 else least, most, small


_RANGES = {"probability": (0.0, 1.0), "ratio": (0.0, math.inf), "nats a token": (0.0, math.inf)}


def _step_of_share(value: float, of: int | None) -> float:
    """1 / d of a share of d neurons; 0 of others, such as means over d pairs."""
    return 1 / of if of and abs(value * of - round(value * of, 0)) < 1e-9 else 0.0
