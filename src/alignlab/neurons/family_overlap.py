"""Whether languages of one family share more than others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from alignlab.errors import Problem, refuse_any
from alignlab.neurons.overlap_chance import LanguageOverlaps, PairOverlap
from alignlab.neurons.overlaps import share
from alignlab.neurons.probabilities import Bools


@dataclass(frozen=True)
class PairMean:
    """Means over pairs of languages; NaN without pairs.

    pairs: how many. Pairs of two empty sets share nothing and lack nothing: they are left out.
    jaccard, excess: mean of `PairOverlap.jaccard`, and of what is beyond chance that keeps the margins.
    """

    pairs: int
    jaccard: float
    excess: float


@dataclass(frozen=True)
class FamilyOverlap:
    """Pairs `within` a family of languages, and pairs `between` two.

    more: the excess within less that between.
    z, p: of it, among the draws of chance; two-sided. p is a rank, so at least 2 / (draws + 1); NaN without draws, and
        where chance has no freedom or there are no such pairs.
    """

    within: PairMean
    between: PairMean
    more: float
    z: float
    p: float


def family_overlap(overlaps: LanguageOverlaps, family_of: Mapping[str, str]) -> FamilyOverlap:
    """Whether kindred languages share more neurons than others.

    family_of: the family of each language. Raises InputError for a language without one.
    """
    names = dict.fromkeys(name for pair in overlaps.pairs for name in pair)
    refuse_any([Problem(f"family of {name!r}", "none", "one") for name in names if name not in family_of])
    defined = np.array([not math.isnan(shared.jaccard) for shared in overlaps.pairs.values()], dtype=np.bool_)
    kin = np.array([family_of[a] == family_of[b] for a, b in overlaps.pairs], dtype=np.bool_)
    pairs = list(overlaps.pairs.values())
    within, between = _mean(pairs, kin & defined), _mean(pairs, ~kin & defined)
    z, p = _against_draws(overlaps, kin & defined, ~kin & defined)
    return FamilyOverlap(within, between, within.excess - between.excess, z, p)


def _mean(pairs: list[PairOverlap], chosen: Bools) -> PairMean:
    found = [pairs[place] for place in np.flatnonzero(chosen)]
    columns = [one.jaccard for one in found], [one.excess for one in found]
    return PairMean(len(found), *(fmean(values) if values else math.nan for values in columns))


def _against_draws(overlaps: LanguageOverlaps, within: Bools, between: Bools) -> tuple[float, float]:
    """z and p of the mean Jaccard within less that between: sizes are margins, so chance has those of the sets."""
    if not within.any() or not between.any() or not len(overlaps.drawn):
        return math.nan, math.nan
    weights = within / within.sum() - between / between.sum()
    chosen = within | between
    drawn = overlaps.drawn[:, chosen] @ weights[chosen]
    pairs = list(overlaps.pairs.values())
    found = float(np.array([pairs[place].jaccard for place in np.flatnonzero(chosen)]) @ weights[chosen])
    # Sums of floats in another order differ by rounding: what differs by less is as far out.
    near = 1e-12
    further = min(int((drawn >= found - near).sum()), int((drawn <= found + near).sum()))
    sd = float(drawn.std(ddof=1))
    if sd < near:
        return math.nan, math.nan
    return share(found - float(drawn.mean()), sd), min(1.0, 2 * (1 + further) / (1 + len(drawn)))
