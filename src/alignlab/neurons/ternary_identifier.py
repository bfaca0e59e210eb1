"""The ternary classification of neurons into language-specific, language-related and general ones (Zhang et al. 2025).

Of all neurons those with the lowest score ``H / ln G - lambda * max_g p / h`` are selected, H being the entropy of the
probabilities over the languages and h = (1 + 1/2 + ... + 1/G) / G. The number of languages in which a neuron lies above
tau, its degree, then decides its kind. Zhang et al. build on LAPE (Tang et al. 2024, arXiv 2402.16438) and add the peak
to the score; their Eq. 5 leaves out the two normalisers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from torch import Tensor

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.classification import Classification, by_tau
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.lambda_star import LambdaStar, lambda_star
from alignlab.neurons.probabilities import Floats, degree_of, entropy_of, named_probabilities, threshold_of
from alignlab.neurons.selection import Cut, lowest, selection_size, threshold_problems, up_to

NAME = "ternary"


def ternary(
    counts: ActivationCounts | Tensor,
    top_rate: float = 0.01,
    bar: float = 0.95,
    lambda_: Literal["largest"] | float = "largest",
    *,
    threshold: float | None = None,
    cut: Cut | None = None,
    languages: Sequence[str] | None = None,
) -> Classification:
    """Classify every neuron.

    counts: the record, or (G, L, N) float64 probabilities, with `languages` naming the rows.
    top_rate: share of all neurons that are selected, K = round(top_rate * L * N).
    bar: tau is the probability of rank round(bar * G * L * N) of all; above it means strictly greater.
    lambda_: weight of the peak; "largest" takes the largest in [0, 0.2] at which no selected neuron has degree G.
    threshold: tau itself, in place of `bar`.
    cut: where the selection ends, in place of `top_rate`: neurons are selected where their score is at or under it, as
        many as they are. With tau, lambda and cut of another classification this is anchored to that one.

    The thresholds of the result are `tau`, `lambda` and `score`, the cut's; its scores `score`, the K lowest of which
    are selected, `entropy` and `peak`, both normalised: the first is the second minus lambda times the third. Its
    reason says why no lambda in [0, 0.2] qualifies; lambda is 0 then, and the selection holds neurons of degree G.

    Equal scores go first to degrees under G, then by position; those at the cut too, so that what was cut there is
    selected again. The order of the languages changes nothing else than the order of the result. Raises InputError for
    parameters out of range, fewer than two languages, and counters that carry no information.

        >>> import torch
        >>> from alignlab import ternary
        >>> english, german, swahili = [0.9, 0.1, 0.8, 0.1], [0.1, 0.6, 0.8, 0.1], [0.1, 0.5, 0.7, 0.1]
        >>> probabilities = torch.tensor([[english], [german], [swahili]], dtype=torch.float64)  # a layer of 4
        >>> result = ternary(probabilities, top_rate=0.5, bar=0.5, languages=["en", "de", "sw"])
        >>> {name: neurons.nonzero().tolist() for name, neurons in result.sets.items()}  # layer, neuron
        {'en': [[0, 0]], 'de': [[0, 1]], 'sw': [[0, 1]]}
        >>> result.kinds().tolist()  # specific, related, general, none
        [[1, 2, 3, 0]]
        >>> result.threshold, result.lambda_
        (0.1, 0.2)
    """
    names, probabilities = named_probabilities(counts, languages)
    g, layers, neurons = probabilities.shape
    k = selection_size(top_rate, layers * neurons) if cut is None else 0
    _check(lambda_, threshold, cut)
    p = probabilities.numpy().reshape(g, layers * neurons)

    tau = threshold_of(p, bar) if threshold is None else float(threshold)
    above = p > tau
    full = degree_of(above) == g
    entropy, peak = score_terms(p)

    found = lambda_star(entropy, peak, full, k) if lambda_ == "largest" else LambdaStar(float(lambda_), False, "")
    score = entropy - found.value * peak
    selected, end = lowest(score, k, later=full) if cut is None else (up_to(cut, score, later=full), cut)
    return by_tau(
        NAME,
        names,
        above,
        selected,
        (layers, neurons),
        thresholds={"tau": tau, "lambda": found.value},
        scores={"score": score, "entropy": entropy, "peak": peak},
        reason=found.reason,
        cut=end,
        capped=found.capped,
    )


def paper_lambda(lambda_: float, g: int) -> float:
    """lambda in the paper's Eq. 5, whose terms have no normalisers: lambda * ln G / h."""
    return lambda_ * math.log(g) / harmonic_share(g)


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


def _check(lambda_: str | float, threshold: float | None, cut: Cut | None) -> None:
    problems = threshold_problems(threshold)
    number = isinstance(lambda_, int | float) and not isinstance(lambda_, bool)
    if lambda_ != "largest" and not (number and 0 <= float(lambda_) < math.inf):
        problems.insert(0, Problem("lambda_", f"{lambda_!r}", '"largest" or a finite number, 0 or more'))
    if lambda_ == "largest" and cut is not None:
        fix = "Give the lambda that the cut was made with."
        problems.append(
            Problem("cut", "given, but lambda_ is to be found", "one lambda, since scores differ by it", fix)
        )
    refuse_any(problems)
