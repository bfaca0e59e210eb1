"""What every identifier takes from the activation probabilities: their check, tau, who lies above it, and the entropy.

All pure, in float64, on arrays of shape ``(G, n)``, n being all L * N neurons in flat order.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import name_problems, range_problems
from alignlab.neurons.counts import ActivationCounts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]

# Columns that are worked on together: (G, columns) float64 and its temporaries then stay in the processor's cache.
CHUNK_VALUES = 1 << 17


def named_probabilities(
    counts: ActivationCounts | Tensor, languages: Sequence[str] | None
) -> tuple[tuple[str, ...], Tensor]:
    """The names and the (G, L, N) float64 probabilities of counts, or of a bare tensor with `languages`.

    Raises InputError for anything that cannot be classified: fewer than two languages, values that are no
    probabilities, and counters that carry no information (never or always active, or the same everywhere).
    """
    if isinstance(counts, ActivationCounts):
        if languages is not None:
            raise InputError(Problem("languages", "given beside counts", "nothing: the counts name their languages"))
        names, probabilities = counts.languages, counts.probabilities()
    else:
        names, probabilities = tuple(languages or ()), counts.detach().cpu()
        _check_form(names, probabilities)
    if len(names) < 2:
        raise InputError(Problem("languages", f"{len(names)}", "two or more: kinds compare languages"))
    _check_information(probabilities.numpy())
    return names, probabilities


def threshold_of(probabilities: Floats, bar: float) -> float:
    """tau: the value of rank ``round(bar * (G*L*N))`` (1-based, at least 1) among all pooled probabilities."""
    if not 0 <= bar <= 1:
        raise InputError(Problem("bar", f"{bar}", "a share of all probabilities, from 0 to 1"))
    rank = max(1, round(bar * probabilities.size))
    return float(np.partition(probabilities, rank - 1, axis=None)[rank - 1])


def threshold_near(probabilities: Floats, bar: float, guess: float) -> float:
    """`threshold_of`, faster where tau is near `guess`; the same value wherever it is."""
    rank = max(1, round(bar * probabilities.size))
    for width in (0.01, 0.05):
        low, high = guess * (1 - width), guess * (1 + width)
        flat = probabilities.reshape(-1)
        below, within = int(np.count_nonzero(flat < low)), flat[(flat >= low) & (flat <= high)]
        if below < rank <= below + len(within):
            return float(np.partition(within, rank - below - 1)[rank - below - 1])
    return threshold_of(probabilities, bar)


def degree_of(above: Bools) -> Integers:
    """Number of languages in which each neuron lies above tau, (n,) from (G, n)."""
    degree: Integers = above.sum(axis=0, dtype=np.int32).astype(np.int64)
    return degree


def entropy_of(probabilities: Floats) -> Floats:
    """H = -sum_g q ln q in nats with q = p / sum_g p, (n,) from (G, n); 0 where a neuron never fires.

    The probabilities of a neuron are sorted before they are summed, so that the order of languages changes nothing,
    not even the last bit.
    """
    g, n = probabilities.shape
    entropy = np.empty(n)
    columns = max(1, CHUNK_VALUES // g)
    for start in range(0, n, columns):
        chunk = slice(start, start + columns)
        q = np.sort(probabilities[:, chunk], axis=0)
        total = q.sum(axis=0)
        q /= np.where(total > 0, total, 1.0)
        # 0 ln 0 = 0: the smallest normal number in place of 0 inside the logarithm, where the factor makes it vanish.
        logarithm = np.maximum(q, np.finfo(np.float64).tiny)
        np.log(logarithm, out=logarithm)
        logarithm *= q
        np.abs(logarithm.sum(axis=0), out=entropy[chunk])
    return entropy


def _check_form(names: tuple[str, ...], probabilities: Tensor) -> None:
    problems, shape = name_problems("languages", names), tuple(probabilities.shape)
    if len(shape) != 3 or 0 in shape:
        problems.append(Problem("probabilities", f"shape {shape}", "(languages, layers, neurons)"))
    elif names and len(names) != shape[0]:
        problems.append(Problem("languages", f"{len(names)} names", f"{shape[0]}, one for each row"))
    elif probabilities.dtype != torch.float64:
        problems.append(Problem("probabilities", f"{probabilities.dtype}", "torch.float64: others round"))
    else:
        problems += range_problems("probabilities", probabilities)
    refuse_any(problems)


def _check_information(probabilities: Floats) -> None:
    high = float(probabilities.max())
    if high == 0:
        fix = "Were any tokens counted, and at the right site?"
        raise InputError(Problem("counts", "no neuron is active on any counted token", "some activity", fix))
    # A language without counted tokens is all zeros and says nothing about the counter.
    spoken = probabilities[probabilities.any(axis=(1, 2))]
    if float(spoken.min()) == high and spoken.size > 1:
        found = f"every neuron has the same probability, {high:g}, in every language"
        if high >= 1:
            found = "every neuron is active on every counted token of every language"
        fix = "Count a neuron as active where its activation is > 0, not != 0."
        raise InputError(Problem("counts", f"{found}: such a counter carries no information", "a share", fix))
