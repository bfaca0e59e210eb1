"""The ternary classification of neurons into language-specific, language-related and general ones (Zhang et al. 2025).

Of all neurons those with the lowest score ``H / ln G - lambda * max_g p / h`` are selected, H being the entropy of the
probabilities over the languages and h = (1 + 1/2 + ... + 1/G) / G. The number of languages in which a neuron lies above
tau, its degree, then decides its kind. Zhang et al. build on LAPE (Tang et al. 2024, arXiv 2402.16438) and add the peak
to the score; their Eq. 5 leaves out the two normalisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.errors import InputError, Problem
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention, kinds_of
from alignlab.neurons.lambda_star import LambdaStar, lambda_star
from alignlab.neurons.probabilities import (
    Floats,
    degree_of,
    entropy_of,
    named_probabilities,
    threshold_of,
)
from alignlab.neurons.selection import lowest, selection_size


@dataclass(frozen=True, eq=False)
class Ternary:
    """A ternary classification of L * N neurons by G languages.

    languages: G names; the order of `sets` and `above`.
    sets: by language, (L, N) bool: selected and above tau. Empty ones are there too.
    above: by language, (L, N) bool: above tau, selected or not. A language owns these neurons.
    selected: (L, N) bool, the K lowest scores.
    degree: (L, N) int64, number of languages in which the neuron lies above tau.
    general: (L, N) bool, of degree G, over all neurons.
    threshold: tau. Where it is the highest probability there is, no neuron lies above it.
    lambda_: as classified with.
    lambda_paper: the same in the paper's Eq. 5, without normalisers: lambda * ln G / h.
    capped: lambda* was asked for and is 0.2, the largest that is looked for.
    reason: why no lambda in [0, 0.2] qualifies, in plain text; `lambda_` is 0 then, and the selection holds neurons of
        degree G. Else empty.
    score, normalised_entropy, normalised_peak: (L, N) float64; the first is the second minus lambda times the third.
    """

    languages: tuple[str, ...]
    sets: dict[str, Tensor]
    above: dict[str, Tensor]
    selected: Tensor
    degree: Tensor
    general: Tensor
    threshold: float
    lambda_: float
    lambda_paper: float
    capped: bool
    reason: str
    score: Tensor
    normalised_entropy: Tensor
    normalised_peak: Tensor

    @property
    def thresholds(self) -> dict[str, float]:
        """What another classification can be anchored to."""
        return {"tau": self.threshold, "lambda": self.lambda_}

    def kinds(self, convention: Convention = "paper") -> Tensor:
        """The Kind of every neuron, (L, N) int8; the conventions are those of `alignlab.neurons.kinds.kinds_of`."""
        return kinds_of(self.degree, self.selected, len(self.languages), convention)


def ternary(
    counts: ActivationCounts | Tensor,
    top_rate: float = 0.01,
    bar: float = 0.95,
    lambda_: Literal["largest"] | float = "largest",
    *,
    threshold: float | None = None,
    languages: Sequence[str] | None = None,
) -> Ternary:
    """Classify every neuron.

    counts: the record, or (G, L, N) float64 probabilities, with `languages` naming the rows.
    top_rate: share of all neurons that are selected, K = round(top_rate * L * N).
    bar: tau is the probability of rank round(bar * G * L * N) of all; above it means strictly greater.
    lambda_: weight of the peak; "largest" takes the largest in [0, 0.2] at which no selected neuron has degree G.
    threshold: tau itself, in place of `bar`; with the lambda of another classification this anchors one to the other.

    Equal scores go first to degrees under G, then by position. The order of the languages changes nothing else than the
    order of the result. Raises InputError for parameters out of range, fewer than two languages, and counters that
    carry no information.
    """
    names, probabilities = named_probabilities(counts, languages)
    g, layers, neurons = probabilities.shape
    k = selection_size(top_rate, layers * neurons)
    _check(lambda_, threshold)
    p = probabilities.numpy().reshape(g, layers * neurons)

    tau = threshold_of(p, bar) if threshold is None else float(threshold)
    above = p > tau
    degree = degree_of(above)
    full = degree == g
    entropy, peak = score_terms(p)

    found = LambdaStar(float(lambda_), False, "") if lambda_ != "largest" else lambda_star(entropy, peak, full, k)
    score = entropy - found.value * peak
    selected = lowest(score, k, later=full)

    def grid(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values).view(*values.shape[:-1], layers, neurons)

    return Ternary(
        languages=names,
        sets=dict(zip(names, grid(above & selected), strict=True)),
        above=dict(zip(names, grid(above), strict=True)),
        selected=grid(selected),
        degree=grid(degree),
        general=grid(full),
        threshold=tau,
        lambda_=found.value,
        lambda_paper=found.value * math.log(g) / harmonic_share(g),
        capped=found.capped,
        reason=found.reason,
        score=grid(score),
        normalised_entropy=grid(entropy),
        normalised_peak=grid(peak),
    )


def score_terms(p: Floats) -> tuple[Floats, Floats]:
    """Normalised entropy H / ln G and normalised peak max_g p / h of each neuron, each (n,) from (G, n)."""
    g = len(p)
    peak = p.max(axis=0)
    entropy = entropy_of(p)
    entropy[peak == 0] = math.log(g)  # a neuron that never fires counts as uniform
    entropy /= math.log(g)
    peak /= harmonic_share(g)
    return entropy, peak


def harmonic_share(g: int) -> float:
    """h = (1 + 1/2 + ... + 1/G) / G."""
    return sum(1 / i for i in range(1, g + 1)) / g


def _check(lambda_: str | float, threshold: float | None) -> None:
    problems = []
    number = isinstance(lambda_, int | float) and not isinstance(lambda_, bool)
    if lambda_ != "largest" and not (number and 0 <= float(lambda_) < math.inf):
        problems.append(Problem("lambda_", f"{lambda_!r}", '"largest" or a finite number, 0 or more'))
    if threshold is not None and not 0 <= threshold <= 1:
        problems.append(Problem("threshold", f"{threshold}", "a probability, from 0 to 1"))
    if problems:
        raise InputError(*problems)
