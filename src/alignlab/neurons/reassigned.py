"""What changes of counts the movement between two records brings wherever it falls: a control of changes.

Thresholds and selection are chosen on the first record, so any movement regresses to the mean: neurons leave their
kinds though nothing language-like happened. So every neuron's change of logit p, of all languages together, is given to
another neuron of the same layer and the same decile of mean logit p at the first record, and all are classified at the
anchored thresholds. (Where p are shares of the tokens routed to an expert, of the same expert: elsewhere changes are of
other numbers of tokens, and those of few or none would move neurons that are well known.) Over many such draws this
gives the change of each count that movement of this size brings by itself. It is a control, not a null of "nothing
language-like": what all neurons of a cell do alike is in it too.

p is (k + .5) / (n + 1), for k firings in n tokens, so that it has a logit. What a neuron is given is turned back into a
whole number of firings: thresholds lie on values that whole numbers give, and none may be passed by rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from queue import SimpleQueue

import numpy as np
import torch

from alignlab.errors import InputError, Problem
from alignlab.neurons.checks import require_alike
from alignlab.neurons.classification import Classification, by_tau
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.groups import REFERENCE, group_languages
from alignlab.neurons.identifiers import Identifier, require_tau
from alignlab.neurons.kinds import Convention
from alignlab.neurons.probabilities import Floats, Integers, degree_of
from alignlab.neurons.resampling import over_resamples
from alignlab.neurons.summary import count_values, members_of

# What the lead asks: four kinds and the selection of all neurons, two kinds of a language in each of four groups. So
# many draws are enough to correct a p by rank for them.
QUESTIONS = 13
DRAWS = round(4 * QUESTIONS / 0.05)
DECILES = 10


def movement(
    first: ActivationCounts,
    second: ActivationCounts,
    identifier: Identifier,
    anchor: Classification,
    trained: Collection[str] = (),
    kinds: Convention = "paper",
    *,
    reference: str | None = REFERENCE,
    draws: int = DRAWS,
    seed: int = 0,
) -> Floats:
    """The change of each count between two records that reassigned movement brings, (draws, rows of `kind_counts`).

    anchor: the classification at whose thresholds both records are counted; usually that of the first.
    identifier: with a tau.  trained, kinds, reference: as for `kind_counts`.

    Each number depends on the records and the seed alone, whatever the number of threads. A layer (an expert, of shares
    of routed tokens) of fewer neurons than deciles moves as observed. Raises InputError for records of other languages
    or neurons, an identifier without a tau, and an anchor whose selection has no end that can be held.
    """
    require_alike("record", (first.languages, second.languages), (first.shape[2:], second.shape[2:]), in_order=True)
    tau_identifier = require_tau(identifier, "reassigned movement")
    if anchor.cut is None:
        raise InputError(
            Problem("anchor", f"by {anchor.identifier}, without a cut", "a selection that ends at a score")
        )
    g, _, layers, width = first.shape
    tokens = _by_neuron(second)
    odds, ratio = odds_of(first), odds_of(second)
    # One row a layer; of shares of routed tokens one an expert, whose neurons alone are of as many tokens.
    rows = max(layers, first.denominators().shape[1])
    cells = cells_of(np.log(odds).mean(axis=0).reshape(rows, -1))
    ratio /= odds
    members = members_of(group_languages(first.languages, trained, reference).values(), first.languages)
    memory: SimpleQueue[Floats] = SimpleQueue()
    for _ in range(torch.get_num_threads()):
        memory.put(np.empty_like(odds))

    def counted(result: Classification) -> Floats:
        return count_values(result.kinds(kinds).numpy(), result, members)

    def draw(number: int) -> Floats:
        donors = donors_of(cells, np.random.default_rng([seed, number]))
        p = memory.get()
        try:
            for language in range(g):
                given_to(odds[language], ratio[language].take(donors), tokens[language], out=p[language])
            above = p > anchor.threshold
            selected = tau_identifier.select(p, degree_of(above), anchor, anchor.cut)
        finally:
            memory.put(p)
        result = by_tau(anchor.identifier, anchor.languages, above, selected, (layers, width), anchor.thresholds)
        return counted(result)

    before = counted(identifier.identify(first, anchor))
    return np.stack(list(over_resamples(draw, iter(range(draws))))) - before


def rank_p(drawn: Floats, change: Floats) -> Floats:
    """How far out each change lies among its draws: two-sided p by rank, (rows,).

    drawn: (draws, rows), of `movement`. change: (rows,). Draws that are equal to the change count on either side.
    """
    under, over = ((side(drawn, change)).sum(axis=0) + 1 for side in (np.less_equal, np.greater_equal))
    p: Floats = np.minimum(2 * np.minimum(under, over) / (len(drawn) + 1), 1.0)
    return p


def odds_of(counts: ActivationCounts) -> Floats:
    """p / (1 - p) of every neuron in every language with p = (k + .5) / (n + 1), (G, L * N)."""
    tokens = _by_neuron(counts)
    # Where passes were subtracted, firings may exceed tokens by some.
    firings = np.clip(counts.totals().flatten(1).numpy(), 0, tokens)
    odds: Floats = (firings + 0.5) / (tokens - firings + 0.5)
    return odds


def _by_neuron(counts: ActivationCounts) -> Integers:
    """Of how many tokens the probabilities of each neuron are shares, (G, L * N); (G, 1) where it is one number."""
    of = counts.denominators()
    return of if of.shape[1] == 1 else np.repeat(of, counts.shape[2] * counts.shape[3] // of.shape[1], axis=1)


def cells_of(level: Floats) -> list[Integers]:
    """The neurons that may stand in for each other: flat indices of the deciles of each row of `level`, such as (L, N).

    Arrays of (cells, neurons of a cell), one for every size that cells have; equal levels go by index.
    """
    layers, width = level.shape
    order = np.argsort(level, axis=1, kind="stable") + width * np.arange(layers)[:, None]
    by_size: dict[int, list[Integers]] = {}
    for start, end in pairwise(round(width * decile / DECILES) for decile in range(DECILES + 1)):
        by_size.setdefault(end - start, []).append(order[:, start:end])
    return [np.concatenate(cells) for size, cells in by_size.items() if size]


def donors_of(cells: Sequence[Integers], random: np.random.Generator) -> Integers:
    """Whose change each neuron is given, (n,): a random order of its cell, its own place in it included.

    So what was found is one of the draws: else a rank among them would be no p, and in cells of a few neurons the
    count that was found might be out of reach.
    """
    donors = np.empty(sum(cell.size for cell in cells), dtype=np.int64)
    for cell in cells:
        donors[cell] = random.permuted(cell, axis=1)
    return donors


def given_to(odds: Floats, ratio: Floats, tokens: Integers, out: Floats) -> None:
    """Probabilities, in whole firings of `tokens`, of neurons whose odds are multiplied by `ratio`; each (n,).

    `ratio` is overwritten. tokens: (1,) of all, or (n,).
    """
    moved = np.multiply(odds, ratio, out=ratio)
    np.add(moved, 1, out=out)
    np.divide(moved, out, out=out)
    out *= tokens + 1
    out -= 0.5
    np.rint(out, out=out)
    out /= np.maximum(tokens, 1)
