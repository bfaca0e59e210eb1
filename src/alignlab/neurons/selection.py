"""Taking the neurons of lowest score: how many, and which of equal ones."""

from __future__ import annotations

import math

import numpy as np

from alignlab.errors import InputError, Problem
from alignlab.neurons.probabilities import Bools, Floats

# With fewer, most languages have a handful in most layers.
FEWEST_SELECTED = 100


def selection_size(top_rate: float, n: int) -> int:
    """K = round(top_rate * n) of `n` neurons. Raises InputError unless 0 < top_rate <= 1 and K is at least 1."""
    if not 0 < top_rate <= 1:
        raise InputError(Problem("top_rate", f"{top_rate}", "a share of all neurons, over 0 and at most 1"))
    k = round(top_rate * n)
    if k == 0:
        found = f"{top_rate} of {n} neurons rounds to a selection of none"
        raise InputError(Problem("top_rate", found, f"at least {1 / n:.2g}"))
    return k


def small_selection(top_rate: float, n: int) -> str:
    """That `top_rate` selects fewer than 100 of `n` neurons, and a rate that selects as many; "" where it does not."""
    k = round(top_rate * n)
    if k >= FEWEST_SELECTED:
        return ""
    few = f"top_rate={top_rate:g} selects {k:,} of {n:,} neurons; split by language and layer, so few are mostly noise"
    if n <= FEWEST_SELECTED:
        return f"{few}, and the model has no more than {n}"
    # Rounded up in its second digit, so that the rate named selects at least as many.
    step = 10.0 ** (math.floor(math.log10(FEWEST_SELECTED / n)) - 1)
    rate = min(math.ceil(FEWEST_SELECTED / n / step - 1e-9) * step, 1.0)
    return f"{few}: identifier.top_rate={rate:.2g} selects {round(float(f'{rate:.2g}') * n):,}"


def lowest(score: Floats, k: int, later: Bools | None = None) -> Bools:
    """The `k` lowest scores, (n,) bool; of equal ones those in `later` come last, then those of higher index."""
    last = np.partition(score, k - 1)[k - 1]
    selected: Bools = score < last
    tied = np.flatnonzero(score == last)
    if later is not None:
        tied = np.concatenate((tied[~later[tied]], tied[later[tied]]))
    selected[tied[: k - int(selected.sum())]] = True
    return selected


def threshold_problems(threshold: float | None) -> list[Problem]:
    """Why an anchored tau is no probability; empty for one that is, and for no tau."""
    if threshold is None or 0 <= threshold <= 1:
        return []
    return [Problem("threshold", f"{threshold}", "a probability, from 0 to 1")]
