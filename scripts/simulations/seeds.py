"""How often intervals over training seeds hold what they are about, and how often a difference is found.

    python scripts/simulations/seeds.py --studies 2000

A study measures K seeds on the same documents. What a cluster of documents adds to a seed's number is normal, with a
part of the seed, of the cluster, and of both together; or answers are right or wrong, with these parts on the logit.
The intervals are about: other seeds on these documents; these seeds on other documents; other seeds on other documents.
Prints Markdown tables; the same seed gives the same.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from alignlab.analysis.over_seeds import OverSeeds, over_seeds
from alignlab.evaluation.estimates import influences
from alignlab.neurons.corrections import ALPHA, adjusted

Floats = NDArray[np.float64]
# Of a standard normal variable: the places and weights of its mean (Gauss and Hermite).
AT, WEIGHT = np.polynomial.hermite_e.hermegauss(41)
WEIGHT = WEIGHT / WEIGHT.sum()


@dataclass(frozen=True)
class Study:
    """What is drawn.

    seeds_sd: standard deviation between seeds.  documents_sd: of the mean of all documents, between draws of them.
    rest_sd: of that mean under one seed alone. In one unit, so that the three are of equal weight in a run's number.
        Of answers all three are on the logit, and of one cluster.
    right: 0, or the share of right answers where seeds and documents are average.
    difference: what is planted.
    errors: documents are known by the standard error of each seed's number alone.
    """

    seeds: int = 5
    clusters: int = 20
    size: int = 10
    seeds_sd: float = 1.0
    documents_sd: float = 1.0
    rest_sd: float = 1.0
    right: float = 0.0
    difference: float = 0.0
    errors: bool = False

    def draw(self, random: np.random.Generator) -> tuple[OverSeeds, tuple[float, float, float]]:
        """The estimate, and what its three intervals are about."""
        k, m = self.seeds, self.clusters
        of_seeds = random.standard_normal(k) * self.seeds_sd
        of_clusters = random.standard_normal(m)
        of_both = random.standard_normal((k, m))
        if self.right:
            return self._answers(random, of_seeds, of_clusters * self.documents_sd, of_both * self.rest_sd)
        scale = np.sqrt(m)  # so that the mean over clusters has the deviation asked for
        numbers = self.difference + of_seeds[:, None]
        numbers = numbers + scale * (self.documents_sd * of_clusters + self.rest_sd * of_both)
        value, moved = influences(numbers, np.ones(m))
        documents = self.documents_sd * scale * of_clusters.mean()
        about = (self.difference + documents, self.difference + of_seeds.mean(), self.difference)
        if self.errors:
            errors = np.sqrt(m / (m - 1) * (moved**2).sum(axis=1))
            return over_seeds(value, errors=errors), about
        return over_seeds(value, moved), about

    def _answers(
        self, random: np.random.Generator, of_seeds: Floats, of_clusters: Floats, of_both: Floats
    ) -> tuple[OverSeeds, tuple[float, float, float]]:
        middle = logit(self.right)
        logits = middle + of_seeds[:, None] + of_clusters + of_both
        sums = random.binomial(self.size, expit(logits)).astype(np.float64)
        value, moved = influences(sums, np.full(self.clusters, float(self.size)))
        # The mean over what is not held: of seeds and of both together their sum, and so on.
        with_seeds = _mean_over(middle + of_clusters, float(np.hypot(self.seeds_sd, self.rest_sd)))
        with_documents = _mean_over(middle + of_seeds, float(np.hypot(self.documents_sd, self.rest_sd)))
        spread = float(np.sqrt(self.seeds_sd**2 + self.documents_sd**2 + self.rest_sd**2))
        everything = float(_mean_over(np.array([middle]), spread)[0])
        return over_seeds(value, moved, bounds=(0.0, 1.0)), (with_seeds.mean(), with_documents.mean(), everything)


def _mean_over(logits: Floats, deviation: float) -> Floats:
    """The expected share right, for normal logits of these means."""
    return np.asarray(expit(logits[:, None] + deviation * AT) @ WEIGHT)


def coverage(study: Study, studies: int, seed: int) -> tuple[list[float], float]:
    """How often each of the three intervals holds what it is about, of those that there are; the share without one."""
    random = np.random.default_rng(seed)
    held = np.zeros((studies, 3))
    for number in range(studies):
        found, about = study.draw(random)
        for place, interval in enumerate((found.over_seeds, found.over_documents, found.over_both)):
            known = not np.isnan(interval.low)
            held[number, place] = interval.low <= about[place] <= interval.high if known else np.nan
    return np.nanmean(held, axis=0).tolist(), float(np.isnan(held[:, 2]).mean())


def verdicts(study: Study, studies: int, seed: int, asked: int) -> tuple[float, float]:
    """The share of studies with any verdict over seeds, and over both, corrected by Holm over so many questions.

    What is planted is in the first question alone.
    """
    random = np.random.default_rng(seed)
    nothing = Study(**{**study.__dict__, "difference": 0.0})
    seeds = both = 0
    for _ in range(studies):
        found = [(study if number == 0 else nothing).draw(random)[0] for number in range(asked)]
        with_seeds = adjusted([one.over_seeds.p for one in found], "holm")
        with_both = adjusted([one.over_both.p for one in found], "holm")
        places = [0] if study.difference else range(asked)
        seeds += any(with_seeds[place] < ALPHA for place in places)
        both += any(with_both[place] < ALPHA for place in places)
    return seeds / studies, both / studies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    lines = [
        "| number | seeds | clusters | SD of seeds | of documents | of both "
        "| over seeds | over documents | over both | none |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    normal = [
        Study(clusters=m, seeds_sd=s, documents_sd=d, rest_sd=e, errors=errors)
        for errors in (False, True)
        for m in (20, 60)
        for s, d, e in ((1, 1, 1), (1, 0.2, 0.2), (0.2, 1, 0.2), (0.2, 0.2, 1), (1, 0, 0.2), (0, 1, 1), (1, 3, 1))
    ]
    few = [Study(seeds=k) for k in (2, 3, 10)]
    shares = [
        Study(clusters=m, right=right, seeds_sd=s, documents_sd=1, rest_sd=0.5)
        for m in (20, 60)
        for right in (0.5, 0.9, 0.97)
        for s in (0.1, 0.5)
    ]
    for study in (*normal, *few, *shares):
        (seeds, documents, both), none = coverage(study, args.studies, args.seed)
        kind = f"answers, {study.right:g} right" if study.right else "normal, SE known" if study.errors else "normal"
        lines.append(
            f"| {kind} | {study.seeds} | {study.clusters} | {study.seeds_sd:g} | {study.documents_sd:g} | "
            f"{study.rest_sd:g} | {seeds:.3f} | {documents:.3f} | {both:.3f} | {none:.3f} |"
        )
    lines += ["", "| planted, in SDs of seeds | questions | found over seeds | over both |", "|---|---|---|---|"]
    for asked in (1, 8):
        for difference in (0.0, 1.0, 2.0, 3.0, 5.0):
            study = Study(difference=difference, documents_sd=0.5, rest_sd=0.5)
            seeds, both = verdicts(study, max(args.studies // 4, 1), args.seed, asked)
            lines.append(f"| {difference:g} | {asked} | {seeds:.3f} | {both:.3f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
