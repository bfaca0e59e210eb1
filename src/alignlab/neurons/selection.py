"""Taking the neurons of lowest score: how many, or up to where, and which of equal ones.

Neurons have one order: by score; of equal ones those in `later` come last; then by flat index. So where a selection of
K ends can be held (a `Cut`), and the same scores cut there give the same selection, ties included.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.probabilities import Bools, Floats, Integers


class Cut(NamedTuple):
    """Where a selection ends: at its last neuron.

    score: the K-th lowest. place: of equal scores, where that neuron stands: its flat index, plus n if it comes later.
    """

    score: float
    place: int


def number_problems(where: str, number: int, neurons: int) -> list[Problem]:
    """Why so many neurons cannot be taken of all `neurons`; empty where they can."""
    if 1 <= number <= neurons:
        return []
    return [Problem(where, f"{number:,}", f"from 1 to {neurons:,}, the neurons of the model")]


# With fewer, most languages have a handful in most layers.
FEWEST_SELECTED = 100


def selection_size(top_rate: float, n: int) -> int:
    """K = round(top_rate * n) of `n` neurons. Raises InputError unless 0 < top_rate <= 1 and K is at least 1."""
    refuse_any(rate_problems("top_rate", top_rate, n))
    return round(top_rate * n)


def rate_problems(where: str, top_rate: float, n: int) -> list[Problem]:
    """Why no such share of `n` neurons can be selected; empty where it can."""
    if not 0 < top_rate <= 1:
        return [Problem(where, f"{top_rate}", "a share of all neurons, over 0 and at most 1")]
    if round(top_rate * n) == 0:
        return [Problem(where, f"{top_rate} of {n} neurons rounds to a selection of none", f"at least {1 / n:.2g}")]
    return []


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


def lowest(score: Floats, k: int, later: Bools | None = None) -> tuple[Bools, Cut]:
    """The `k` first neurons, (n,) bool, and where they end."""
    last = np.partition(score, k - 1)[k - 1]
    selected: Bools = score < last
    tied = _in_order(score == last, later)
    chosen = tied[: k - int(selected.sum())]
    selected[chosen % len(score)] = True
    return selected, Cut(float(last), int(chosen[-1]))


def up_to(cut: Cut, score: Floats, later: Bools | None = None) -> Bools:
    """The neurons up to the cut, its own place included, (n,) bool, as many as they are."""
    selected: Bools = score < cut.score
    tied = _in_order(score == cut.score, later)
    selected[tied[tied <= cut.place] % len(score)] = True
    return selected


def _in_order(tied: Bools, later: Bools | None) -> Integers:
    """The places of neurons of equal score, rising."""
    places = np.flatnonzero(tied)
    return places if later is None else np.sort(places + len(tied) * later[places])


def threshold_problems(threshold: float | None) -> list[Problem]:
    """Why an anchored tau is no probability; empty for one that is, and for no tau."""
    if threshold is None or 0 <= threshold <= 1:
        return []
    return [Problem("threshold", f"{threshold}", "a probability, from 0 to 1")]
