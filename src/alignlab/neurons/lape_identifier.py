"""Language activation probability entropy: neurons that few languages activate (Tang et al. 2024, arXiv 2402.16438).

Of the neurons that lie above tau in some language those are selected whose probabilities, shared out among the
languages, have the lowest entropy. Every language in which a selected neuron lies above tau owns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.kinds import Convention, kinds_of
from alignlab.neurons.probabilities import (
    Bools,
    Floats,
    Integers,
    degree_of,
    entropy_of,
    named_probabilities,
    threshold_of,
)
from alignlab.neurons.selection import check_threshold, lowest, selection_size


@dataclass(frozen=True, eq=False)
class Lape:
    """A selection of L * N neurons by their entropy over G languages.

    languages: G names; the order of `sets` and `above`.
    sets: by language, (L, N) bool: selected and above tau. Empty ones are there too.
    above: by language, (L, N) bool: above tau, selected or not.
    selected: (L, N) bool, the K lowest entropies among the neurons above tau in some language.
    degree: (L, N) int64, number of languages in which the neuron lies above tau; at least 1 where selected.
    general: (L, N) bool, of degree G, over all neurons.
    threshold: tau. Where it is the highest probability there is, no neuron lies above it.
    reason: why fewer than K neurons are selected, in plain text, else empty.
    entropy: (L, N) float64, in nats, of every neuron; 0 where it never fires.
    score: (L, N) float64, what is selected by: the entropy, infinite where the neuron lies above tau in no language.
    """

    languages: tuple[str, ...]
    sets: dict[str, Tensor]
    above: dict[str, Tensor]
    selected: Tensor
    degree: Tensor
    general: Tensor
    threshold: float
    reason: str
    entropy: Tensor
    score: Tensor

    @property
    def thresholds(self) -> dict[str, float]:
        """What another selection can be anchored to."""
        return {"tau": self.threshold}

    def kinds(self, convention: Convention = "paper") -> Tensor:
        """The Kind of every neuron, (L, N) int8; the conventions are those of `alignlab.neurons.kinds.kinds_of`.

        No neuron is unassigned: one that lies above tau in no language is not selected.
        """
        return kinds_of(self.degree, self.selected, len(self.languages), convention)


def lape(
    counts: ActivationCounts | Tensor,
    top_rate: float = 0.01,
    bar: float = 0.95,
    *,
    threshold: float | None = None,
    languages: Sequence[str] | None = None,
) -> Lape:
    """Select the neurons of lowest entropy.

    counts: the record, or (G, L, N) float64 probabilities, with `languages` naming the rows.
    top_rate: share of all neurons that are selected, K = round(top_rate * L * N), or as many as lie above tau anywhere.
    bar: tau is the probability of rank round(bar * G * L * N) of all; above it means strictly greater.
    threshold: tau itself, in place of `bar`; this anchors one classification to another.

    Equal entropies go by position. The order of the languages changes nothing else than the order of the result.
    Raises InputError for parameters out of range, fewer than two languages, and counters that carry no information.
    """
    names, probabilities = named_probabilities(counts, languages)
    g, layers, neurons = probabilities.shape
    k = selection_size(top_rate, layers * neurons)
    check_threshold(threshold)
    p = probabilities.numpy().reshape(g, layers * neurons)

    tau = threshold_of(p, bar) if threshold is None else float(threshold)
    above = p > tau
    degree = degree_of(above)
    entropy = entropy_of(p)
    score = np.where(degree > 0, entropy, np.inf)
    selected = lowest_finite(score, degree, k)

    def grid(values: Bools | Floats | Integers) -> Tensor:
        return torch.from_numpy(values).view(*values.shape[:-1], layers, neurons)

    found = int(selected.sum())
    reason = "" if found == k else f"only {found} of the {k} neurons to select lie above the threshold in any language"
    return Lape(
        languages=names,
        sets=dict(zip(names, grid(above & selected), strict=True)),
        above=dict(zip(names, grid(above), strict=True)),
        selected=grid(selected),
        degree=grid(degree),
        general=grid(degree == g),
        threshold=tau,
        reason=reason,
        entropy=grid(entropy),
        score=grid(score),
    )


def lowest_finite(score: Floats, degree: Integers, k: int) -> Bools:
    """The `k` lowest scores of neurons of degree 1 or more, (n,) bool; all of these where they are fewer."""
    return lowest(score, k) & (degree > 0)
