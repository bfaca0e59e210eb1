"""How much the languages of one classification share, beside what the margins leave to chance.

A language-related neuron has two owners or more by definition, so that languages share neurons even where nothing is
alike about them. Chance therefore keeps the margins: within each layer the memberships are random, but every neuron
has as many languages and every language as many neurons as it has. The margins fix the sum of what all pairs share, so
that what is found is relative: which pairs share more than others. `alignlab.neurons.overlap` is for sets that were
made independently of each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammainc, gammaincc, ndtr
from torch import Tensor

from alignlab.errors import refuse_any
from alignlab.neurons.checks import grid_problems
from alignlab.neurons.corrections import Correction, adjusted, correction_for
from alignlab.neurons.fixed_margins import CHAINS_A_WORD, common_counts, draw_memberships
from alignlab.neurons.overlaps import share
from alignlab.neurons.probabilities import Bools, Floats, Integers

# Enough for the moments of chance; the p of a pair is no rank among them.
DRAWS = 1024
# The tails of a smaller skewness differ from those of the normal distribution by less than 0.4 % within 6 deviations.
_NORMAL = 1e-4

Pair = tuple[str, str]


@dataclass(frozen=True)
class PairOverlap:
    """What two languages share, beside chance that keeps the margins.

    common: neurons of both.  either: neurons of one or both.  jaccard: common / either; NaN where both have none.
    expected, expected_jaccard: the mean of each by chance.
    z: (common - expected) / standard deviation by chance; NaN where the margins leave no freedom.
    p: two-sided, that `common` lies so far out by chance; NaN where the margins leave no freedom.
    p_adjusted: corrected for all pairs.
    """

    common: int
    either: int
    jaccard: float
    expected: float
    expected_jaccard: float
    z: float = math.nan
    p: float = math.nan
    p_adjusted: float = math.nan

    @property
    def excess(self) -> float:
        """Jaccard less its mean by chance: over 0 where the two share more than the margins say, and so than others."""
        return self.jaccard - self.expected_jaccard


@dataclass(frozen=True, eq=False)
class LanguageOverlaps:
    """What every pair of languages shares.

    pairs: each pair once, in the order of the languages.
    drawn: (draws, pairs) float64, the Jaccard index of each pair in each draw of chance.
    correction: for how many pairs p was corrected, and how.
    """

    pairs: dict[Pair, PairOverlap]
    drawn: Floats
    correction: Correction
    _margins: _Margins

    def at(self, sets: Mapping[str, Tensor]) -> LanguageOverlaps:
        """The same of other sets of these languages, such as those of a resample, without draws and so without p.

        What chance gives is not drawn again, but follows the margins as its closed form for sparse memberships does
        (Chung and Lu 2002): sum over the neurons of a_l * b_l * degree * (degree - 1) / m_l^2, where a and b have a_l
        and b_l of the m_l memberships of the layer. The mean number in common is multiplied by the ratio of this form
        there to here. So it is exact for the sets that were drawn from.
        """
        first, now = self._margins, _Margins.of(sets)
        pairs = {}
        for pair, held in self.pairs.items():
            form, form_now = first.form(pair), now.form(pair)
            expected = held.expected * form_now / form if form else form_now
            # The mean of Jaccard is not quite Jaccard at the mean.
            off = held.expected_jaccard - _jaccard(held.expected, first.size(pair))
            expected_jaccard = _jaccard(expected, now.size(pair)) + off
            common = now.shared(pair)
            jaccard = _jaccard(common, now.size(pair))
            pairs[pair] = PairOverlap(common, now.size(pair) - common, jaccard, expected, expected_jaccard)
        return LanguageOverlaps(pairs, np.empty((0, len(pairs))), self.correction, now)


def language_overlaps(sets: Mapping[str, Tensor], draws: int = DRAWS, seed: int = 0) -> LanguageOverlaps:
    """Compare every pair of the sets that one classification gave its languages.

    sets: by language, (L, N) bool, such as the related neurons that it owns. Not those of kind specific: they are
        disjoint by definition.
    draws: of chance, rounded up to a multiple of 64.

    z and p are from the moments of chance: mean, variance and skewness of the draws, the latter two added up over the
    layers, which are independent. p is that of the Pearson III distribution with these moments, with a correction for
    continuity, so that it can be as small as many pairs ask for without as many draws. Its size and power by simulation
    are in docs/statistics/overlap_chance.md. A pair that is off where no draw is has 2 / (draws + 1).

    The same sets give the same numbers, in whatever order the languages are. Raises InputError for other shapes and
    types.
    """
    margins = _Margins.of(sets)
    random, words = np.random.default_rng(seed), math.ceil(draws / CHAINS_A_WORD)
    draws = words * CHAINS_A_WORD
    names = list(sets)
    pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
    a, b = (np.array([margins.place[pair[end]] for pair in pairs], dtype=np.intp) for end in (0, 1))
    common = np.full((draws, len(pairs)), margins.of_all, dtype=np.int64)
    variance, third = np.zeros(len(pairs)), np.zeros(len(pairs))
    for members in margins.layers:
        drawn = common_counts(draw_memberships(members, words, random))[:, a, b]
        common += drawn
        deviation = drawn - drawn.mean(axis=0)
        power = deviation * deviation
        variance += power.sum(axis=0) / (draws - 1)
        power *= deviation
        third += power.mean(axis=0)
    mean, sd, observed = common.mean(axis=0), np.sqrt(variance), margins.common[a, b]
    p = _two_sided(observed - mean, sd, third, 2 / (draws + 1))
    correction = correction_for(int(np.count_nonzero(~np.isnan(p))))
    sizes = margins.sizes[a] + margins.sizes[b]
    with np.errstate(divide="ignore", invalid="ignore"):
        jaccard, drawn_jaccard = observed / (sizes - observed), common / (sizes - common)
        z = np.where(sd > 0, (observed - mean) / sd, np.nan)
    values = (observed, sizes - observed, jaccard, mean, drawn_jaccard.mean(axis=0), z, p, adjusted(p, correction))
    each = zip(*(column.tolist() for column in values), strict=True)
    found = {pair: PairOverlap(*one) for pair, one in zip(pairs, each, strict=True)}
    return LanguageOverlaps(found, drawn_jaccard, correction, margins)


@dataclass(frozen=True, eq=False)
class _Margins:
    """What sets have: their margins, and what they share.

    place: of each language below, by its name: in the order of the names, so that theirs in `sets` changes nothing.
    layers: (n, G) memberships of the neurons of each layer that are of some language, but not of all.
    of_all: neurons of all languages, whom chance leaves where they are.
    sizes: (G,), common: (G, G), neurons of each and of each pair.
    forms: (G, G), the closed form of what pairs share by chance.
    """

    place: dict[str, int]
    layers: list[Bools]
    of_all: int
    sizes: Integers
    common: Integers
    forms: Floats

    @classmethod
    def of(cls, sets: Mapping[str, Tensor]) -> _Margins:
        refuse_any(grid_problems(sets, torch.bool))
        names = sorted(sets)
        masks = np.stack([sets[name].numpy() for name in names])
        layer, neuron = np.nonzero(masks.any(axis=0))
        members = masks[:, layer, neuron].T
        degree = members.sum(axis=1)
        free = degree < len(names)
        bounds = np.searchsorted(layer[free], np.arange(1, masks.shape[1]))
        exact = members.astype(np.float64)
        # (L, G) memberships of each language in each layer, and (L,) what pairs of them the neurons have.
        by_layer = masks.sum(axis=2).T.astype(np.float64)
        twice = np.bincount(layer, weights=degree * (degree - 1), minlength=len(by_layer))
        shares = by_layer / np.maximum(by_layer.sum(axis=1, keepdims=True), 1)
        return cls(
            {name: place for place, name in enumerate(names)},
            [rows for rows in np.split(members[free], bounds) if len(rows)],
            int(np.count_nonzero(~free)),
            members.sum(axis=0),
            (exact.T @ exact).astype(np.int64),
            (shares.T * twice) @ shares,
        )

    def shared(self, pair: Pair) -> int:
        return int(self.common[self._at(pair)])

    def size(self, pair: Pair) -> int:
        return sum(int(self.sizes[place]) for place in self._at(pair))

    def form(self, pair: Pair) -> float:
        return float(self.forms[self._at(pair)])

    def _at(self, pair: Pair) -> tuple[int, int]:
        a, b = pair
        return self.place[a], self.place[b]


def _jaccard(common: float, sizes: int) -> float:
    return share(common, sizes - common)


def _two_sided(off: Floats, sd: Floats, third: Floats, least: float) -> Floats:
    """The p of numbers that are `off` their mean, of which moments are known; NaN where there is neither.

    third: the third central moment.  least: p of a number that is off where chance has no deviation.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        skewness = third / sd**3
        # Numbers are whole: one that is as far out as found begins half a number before.
        more, fewer = upper_tail((off - 0.5) / sd, skewness), upper_tail(-(off + 0.5) / sd, -skewness)
    p = np.minimum(1, 2 * np.minimum(more, fewer))
    return np.where(sd > 0, p, np.where(off == 0, np.nan, least))


def upper_tail(z: Floats, skewness: Floats) -> Floats:
    """The probability that a Pearson III variable of mean 0, variance 1 and this skewness is z or more.

    It is a gamma variable of shape 4 / skewness^2, turned round for a negative skewness; normal without one.
    """
    size = np.maximum(np.abs(skewness), _NORMAL)
    shape = 4 / size**2
    right, left = shape + z * np.sqrt(shape), shape - z * np.sqrt(shape)
    turned = np.where(skewness > 0, gammaincc(shape, np.maximum(right, 0)), gammainc(shape, np.maximum(left, 0)))
    found: Floats = np.where(np.abs(skewness) < _NORMAL, ndtr(-z), turned)
    return found
