"""Whether what a set of neurons does exceeds what its controls do, over clusters of documents and draws of controls.

Each of k controls is a draw of neurons. The question is whether the set does more than one more such draw would, so the
spread of the controls counts 1 + 1/k times: once for the draw that the set would be, and 1/k for the mean of the k.
With 1/k alone, which tells how sure that mean is, up to three in four studies with nothing planted have a verdict.

The two-way layout of clusters and controls gives, of the differences set - control,

    clusters  V_c, the variance between clusters of the difference from the mean of the controls
    controls  V_s, the variance between the controls' totals: of draws, and of documents under a draw
    residual  V_e, the variance of documents under a draw alone (clusters x controls)

and the variance of the difference for new documents and a new draw is V_c + (1 + 1/k)(V_s - V_e), or

    V = (1 + 1/k) V_s + (V_c - (1 + 1/k) V_e)

of which the second term, no less than 0, is what documents vary more under the set than under a control. The interval
is the difference -+ sqrt(t(k - 1)^2 A + t(m - 1)^2 B) with these two terms A and B and m clusters: each term has the
quantile of its own degrees of freedom. With Satterthwaite's for their sum there are too many false verdicts.

Draws of one control may share neurons: where few neurons are alike, those that are nearest are drawn again and again,
while the set has none in common with any. Of draws that share a part s of their neurons the totals differ by 1 - s of
what those of separate ones would, and their mean is no surer than that of s n common neurons lets it be. So 1 + 1/k is

    (1 + 1/k + (1 - 1/k) s) / (1 - s)

as follows for effects of neurons that add up, and are not the same for all. It is 1 + 1/k where nothing is shared.

Corrected for many questions a verdict needs p far below .05, where t is wrong for draws that are not normal: k controls
that happen to be alike make any set stand out. For p, and so for verdicts, V_s is therefore at least its mean over the
sets that are asked about together. `docs/statistics/control.md` has what was tried and how often each is right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from alignlab.errors import Problem, refuse_any
from alignlab.evaluation.estimates import ROUNDING, influences, interval_of
from alignlab.neurons.interval_methods import LEVEL
from alignlab.neurons.probabilities import Bools, Floats


@dataclass(frozen=True)
class Change:
    """What an arm changes per unit (a token, an item), arrays of the shape of the arms.

    value: the change of the ratio of sums.  low, high: its 95 % interval over clusters.
    p: two-sided, of no change.

    `low`, `high` and `p` are NaN of one cluster, and where clusters do not differ: too few to tell.
    """

    value: Floats
    low: Floats
    high: Floats
    p: Floats


@dataclass(frozen=True)
class Excess:
    """How much more the sets change than their controls do, arrays of shape (S,).

    value: the set's change less the mean of its controls'.
    low, high: 95 % interval of the set's change less that of one more control, for documents like these.
    p: two-sided, of the set being one more draw of a control. It may be over .05 where the interval leaves 0 out, since
        it takes the controls to differ at least as they do on average over the S sets; never the other way round.
    beyond: of the value's sign, whether the set's change is larger in size than the mean of its controls'. A verdict is
        this, and a corrected p under .05.
    control, control_sd: mean and standard deviation of the k controls' changes.

    `low`, `high` and `p` are NaN where it cannot be told: of one cluster or one control, of controls that are the same
    neurons, where no difference differs from another, and where a change is not finite.
    """

    value: Floats
    low: Floats
    high: Floats
    p: Floats
    beyond: Bools
    control: Floats
    control_sd: Floats


def change(changes: ArrayLike, sizes: ArrayLike) -> Change:
    """The changes of arms from the model as it is, with t over clusters.

    changes: (..., m), by arm and cluster, summed over documents, such as nats with the neurons off less those without.
    sizes: (m,), units in each cluster, such as tokens.

    Raises InputError for shapes that do not fit and sizes that are not positive.
    """
    sums, units = _checked(changes, sizes)
    return change_of(*influences(sums, units))


def change_of(value: Floats, moved: Floats, clusters: int | None = None) -> Change:
    """The changes with their intervals, of what `influences` gives.

    clusters: how many count, where they are not all: of a difference between languages, those of the one with fewest.
    """
    return Change(value, *interval_of(value, moved, clusters))


def excess(chosen: ArrayLike, controls: ArrayLike, sizes: ArrayLike, shared: ArrayLike = 0.0) -> Excess:
    """How much more S sets change one language than the k controls of each.

    chosen: (S, m), by set and cluster the change from the model as it is, summed over documents.
    controls: (S, k, m), the same of each set's controls.
    sizes: (m,), units in each cluster.
    shared: (S,), or one for all, what share of its neurons a set's control has in common with another draw, 0 to 1.

    The sets are those of one question, such as the neurons of every language switched off: for `p` their controls are
    taken to differ no less than they do on average over these sets.
    Raises InputError for shapes that do not fit, sizes that are not positive, and shares outside [0, 1].
    """
    of_sets, units = _checked(chosen, sizes)
    in_common = np.asarray(shared, dtype=np.float64)
    if in_common.shape not in ((), of_sets.shape[:1]) or not ((in_common >= 0) & (in_common <= 1)).all():
        refuse_any([Problem("shared", f"{shared!r}", f"a share from 0 to 1, or {of_sets.shape[0]} of them")])
    of_controls = np.asarray(controls, dtype=np.float64)
    expected = f"({of_sets.shape[0]}, k, {len(units)}), a row for each of one or more controls"
    if of_controls.ndim != 3 or of_controls.shape[::2] != of_sets.shape or not of_controls.shape[1]:
        refuse_any([Problem("controls", f"the shape {of_controls.shape}", expected)])
    k, m = of_controls.shape[1:]
    with np.errstate(invalid="ignore"):
        of_set, mean = of_sets.sum(axis=1) / units.sum(), of_controls.sum(axis=(1, 2)) / (k * units.sum())
        each, moved = influences(of_sets[:, None] - of_controls, units)
        value = each.mean(axis=1)
        sd = each.std(axis=1, ddof=1) if k > 1 else np.full_like(value, np.nan)
    beyond = np.abs(of_set) > np.abs(mean)
    if k < 2 or m < 2:
        nothing = np.full_like(value, np.nan)
        return Excess(value, nothing, nothing, nothing, beyond, mean, sd)
    with np.errstate(invalid="ignore"):
        both = moved.mean(axis=1)
        of_clusters = m / (m - 1) * (both**2).sum(axis=1)
        residual = m / ((m - 1) * (k - 1)) * ((moved - both[:, None]) ** 2).sum(axis=(1, 2))
        varied = sd**2 + of_clusters > (ROUNDING * np.abs(each).max(axis=1)) ** 2
        known = varied & np.isfinite(value) & (in_common < 1)  # draws that are one draw
        more = (1 + 1 / k + (1 - 1 / k) * in_common) / np.where(in_common < 1, 1 - in_common, np.nan)
        of_draws, of_documents = more * sd**2, np.maximum(of_clusters - more * residual, 0)
    half = np.sqrt(_squared_half((1 - LEVEL) / 2, of_draws, k, of_documents, m))
    average = of_draws[known].mean() if known.any() else np.nan
    p = _p(value, np.maximum(of_draws, average), k, of_documents, m)
    low, high, p = (np.where(known, number, np.nan) for number in (value - half, value + half, p))
    return Excess(value, low, high, p, beyond, mean, sd)


def _squared_half(tail: float | Floats, of_draws: Floats, k: int, of_documents: Floats, m: int) -> Floats:
    """The squared half of the interval that leaves out `tail` on either side."""
    return np.asarray(stdtrit(k - 1, tail) ** 2 * of_draws + stdtrit(m - 1, tail) ** 2 * of_documents)


def _p(value: Floats, of_draws: Floats, k: int, of_documents: Floats, m: int) -> Floats:
    """The p at which an interval would just reach 0, by bisection of its logarithm; at least 1e-100."""
    low, high = np.full_like(value, -100 * np.log(10)), np.zeros_like(value)
    for _ in range(48):
        middle = (low + high) / 2
        wider = _squared_half(np.exp(middle) / 2, of_draws, k, of_documents, m) > value**2
        low, high = np.where(wider, middle, low), np.where(wider, high, middle)
    return np.exp(high)


def _checked(changes: ArrayLike, sizes: ArrayLike) -> tuple[Floats, Floats]:
    sums, units = np.asarray(changes, dtype=np.float64), np.asarray(sizes, dtype=np.float64)
    problems = []
    if units.ndim != 1 or not units.size or not (units > 0).all():
        problems.append(Problem("sizes", f"{units!r}", "a positive number for each of one or more clusters"))
    elif sums.ndim < 1 or sums.shape[-1] != len(units):
        problems.append(Problem("changes", f"the shape {sums.shape}", f"{len(units)} clusters as the last axis"))
    refuse_any(problems)
    return sums, units
