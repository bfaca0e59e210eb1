"""A number of a corpus that is no mean over its documents, such as BLEU: its interval, from resamples of clusters.

The interval is t of the number of clusters less one, with the spread of the resamples (METHODS: bootstrap). Numbers of
the same clusters and seed are of the same resamples, so that they are added up and compared draw by draw (Koehn 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alignlab.evaluation.estimates import Estimate
from alignlab.neurons.interval_methods import FEW, intervals
from alignlab.neurons.probabilities import Floats


@dataclass(frozen=True)
class Draws:
    """How often each of m clusters is in each of R resamples.

    of: (n,) int64, the cluster of each document.  counts: (R, m) int64.
    """

    of: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]

    @property
    def clusters(self) -> int:
        return int(self.counts.shape[1])

    def sums(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The sums of (n, K) values over the documents of each cluster: (m, K)."""
        found = np.zeros((self.clusters, values.shape[1]), dtype=values.dtype)
        np.add.at(found, self.of, values)
        return found


def draw_clusters(clusters: Sequence[str], resamples: int, seed: int) -> Draws:
    """Draw as many clusters as there are, with replacement. clusters: (n,) names, those of one are not independent."""
    names, of = np.unique(np.asarray(clusters), return_inverse=True)
    m = len(names)
    return Draws(of, np.random.default_rng(seed).multinomial(m, np.full(m, 1 / m), size=resamples))


@dataclass(frozen=True)
class Resampled:
    """A number of n documents of m clusters, and the same of R resamples of these. draws: (R,).

    counted: of a number that rests on a count, such as BLEU on 4-grams that are right, how many there are; of several
        languages their mean, and of a change the larger. Under `FEW` the interval is off, and there is none.
    """

    value: float
    draws: Floats
    documents: int
    clusters: int
    counted: float = np.inf

    def since(self, before: Resampled) -> Resampled:
        """How much more it is than before, draw by draw; of the same clusters."""
        counted = max(self.counted, before.counted)
        return Resampled(self.value - before.value, self.draws - before.draws, self.documents, self.clusters, counted)

    def estimate(self, *, most: float, change: bool = False) -> Estimate:
        """The number with its 95 % interval. most: it is at least 0 and at most this, a change at least its negative.

        Of one cluster, where all resamples are the same, and where too little is counted, the ends are NaN.
        """
        if self.clusters < 2 or self.counted < FEW:
            return Estimate(self.value, np.nan, np.nan, np.nan, self.documents, self.clusters)
        found = intervals(
            np.array([self.value]),
            self.draws[:, None],
            self.clusters,
            references=np.array([0.0 if change else np.nan]),
            steps=np.zeros(1),
            least=np.array([-most if change else 0.0]),
            most=np.array([most]),
            small=np.array([True]),
        )
        low, high, p = (float(one[0]) for one in (found.low, found.high, found.p))
        return Estimate(self.value, low, high, p, self.documents, self.clusters)


def mean_of(numbers: Sequence[Resampled]) -> Resampled:
    """The mean of numbers of the same clusters, such as those of parallel text in several languages."""
    first = numbers[0]
    value = float(np.mean([one.value for one in numbers]))
    documents = sum(one.documents for one in numbers)
    counted = float(np.mean([one.counted for one in numbers]))
    return Resampled(value, np.mean([one.draws for one in numbers], axis=0), documents, first.clusters, counted)
