"""How often intervals over training seeds hold what they are about, and how often a difference is found.

    python scripts/simulations/seeds.py --studies 2000

A study measures K seeds on the same documents. What a cluster of documents adds to a seed's number is normal, with a
part of the seed, of the cluster, and of both together; or answers are right or wrong, with these parts on the logit; or
neurons are counted whose mean activity, with these parts, is over a threshold.
The intervals are about: other seeds on these documents; these seeds on other documents; other seeds on other documents.
Prints Markdown tables; the same seed gives the same.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr

from alignlab.analysis.over_seeds import Drawn, OverSeeds, over_seeds
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


@dataclass(frozen=True)
class Counts:
    """Neurons counted whose mean activity over documents is above 0, in K seeds of an arm.

    neurons: how many, at even distances from -4 to 4.  seeds_sd, documents_sd, rest_sd: as of `Study`, of each neuron.
    common: the share of the documents' variance that all neurons have in common, as of a language or a topic.
    what: the count at the end; its change since a start that all seeds share; or its difference from another arm's.
    planted: by how much training raises the activity of every neuron.
    errors: documents are known by the standard error of each seed's count alone, as if they erred alike.
    """

    seeds: int = 5
    clusters: int = 20
    neurons: int = 100
    seeds_sd: float = 1.0
    documents_sd: float = 1.0
    rest_sd: float = 1.0
    common: float = 0.0
    what: Literal["value", "change", "difference"] = "value"
    planted: float = 0.0
    errors: bool = False
    resamples: int = 100

    def draw(self, random: np.random.Generator) -> tuple[OverSeeds, tuple[float, float, float]]:
        """The estimate, and what its three intervals are about."""
        k, m, n = self.seeds, self.clusters, self.neurons
        scale = np.float32(np.sqrt(m))  # so that the mean over clusters has the deviation asked for

        def normal(*shape: int) -> NDArray[np.float32]:
            return random.standard_normal(shape, dtype=np.float32)

        shares = np.sqrt([1 - self.common, self.common])
        shared = scale * self.documents_sd * (shares[0] * normal(n, m) + shares[1] * normal(1, m))
        places = np.linspace(-4, 4, n)
        weights = random.multinomial(m, np.full(m, 1 / m), self.resamples).astype(np.float32) / m
        found, again = np.zeros(k), np.zeros((k, self.resamples))
        squares, about = np.zeros(k), np.zeros(3)
        # The arm; then what is taken off: the other arm, or the start, which is one model in every seed.
        arms = [(1.0, k, self.seeds_sd, self.planted)]
        arms += {"value": [], "change": [(-1.0, 1, 0.0, 0.0)], "difference": [(-1.0, k, self.seeds_sd, 0.0)]}[self.what]
        for sign, models, seeds_sd, planted in arms:
            at = places + planted
            models_at = at + seeds_sd * normal(models, n)
            own = scale * self.rest_sd * normal(models, n, m)
            activity = (models_at[:, :, None] + shared + own).astype(np.float32)
            found += sign * (activity.mean(axis=2) > 0).sum(axis=1)
            drawn = (activity.reshape(-1, m) @ weights.T > 0).reshape(models, n, -1).sum(axis=1)
            again += sign * drawn
            squares += drawn.var(axis=1, ddof=1)
            # What is counted on average: with other seeds, on other documents, and with both. The start has no other.
            held, rest = shared.mean(axis=1), self.rest_sd
            if models == 1:
                of_seeds = float((activity.mean(axis=2) > 0).sum())
            else:
                of_seeds = float(_over_zero(at + held, np.hypot(seeds_sd, rest)).sum())
            of_documents = _over_zero(models_at, np.hypot(self.documents_sd, rest)).sum(axis=1).mean()
            both = _over_zero(at, np.sqrt(seeds_sd**2 + self.documents_sd**2 + rest**2)).sum()
            about += sign * np.array([of_seeds, of_documents, both])
        bounds = (0.0 if self.what == "value" else -float(n), float(n))
        told = about[0], about[1], about[2]
        if self.errors:
            # A table has the error of a change from its resamples; of a difference it has both counts' alone.
            squares = again.var(axis=1, ddof=1) if self.what == "change" else squares
            return over_seeds(found, errors=np.sqrt(squares), bounds=bounds), told
        return over_seeds(found, bounds=bounds, drawn=Drawn(again, m, 1.0)), told


def _over_zero(mean: Floats, deviation: float) -> Floats:
    """How often normal numbers of these means are above 0."""
    return np.asarray(ndtr(mean / deviation) if deviation else mean > 0, dtype=np.float64)


def _mean_over(logits: Floats, deviation: float) -> Floats:
    """The expected share right, for normal logits of these means."""
    return np.asarray(expit(logits[:, None] + deviation * AT) @ WEIGHT)


def coverage(study: Study | Counts, studies: int, seed: int) -> tuple[list[float], float]:
    """How often each of the three intervals holds what it is about, of those that there are; the share without one."""
    random = np.random.default_rng(seed)
    held = np.zeros((studies, 3))
    for number in range(studies):
        found, about = study.draw(random)
        for place, interval in enumerate((found.over_seeds, found.over_documents, found.over_both)):
            known = not np.isnan(interval.low)
            held[number, place] = interval.low <= about[place] <= interval.high if known else np.nan
    return np.nanmean(held, axis=0).tolist(), float(np.isnan(held[:, 2]).mean())


def verdicts(study: Study | Counts, studies: int, seed: int, asked: int) -> tuple[float, float]:
    """The share of studies with any verdict over seeds, and over both, corrected by Holm over so many questions.

    What is planted is in the first question alone.
    """
    random = np.random.default_rng(seed)
    planted = "difference" if isinstance(study, Study) else "planted"
    nothing = replace(study, **{planted: 0.0})
    seeds = both = 0
    for _ in range(studies):
        found = [(study if number == 0 else nothing).draw(random)[0] for number in range(asked)]
        with_seeds = adjusted([one.over_seeds.p for one in found], "holm")
        with_both = adjusted([one.over_both.p for one in found], "holm")
        places = range(asked) if study == nothing else [0]
        seeds += any(with_seeds[place] < ALPHA for place in places)
        both += any(with_both[place] < ALPHA for place in places)
    return seeds / studies, both / studies


def counts_tables(studies: int, seed: int) -> list[str]:
    """Coverage, and how often a difference is found, of counts of neurons: by their resamples, and by their errors."""
    lines = [
        "| neurons | number | SD of seeds | of documents | of both | in common | over seeds | over documents "
        "| over both | documents, SE known | both, SE known |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    asked = [
        Counts(seeds_sd=s, documents_sd=d, rest_sd=e, what=what)
        for what in ("value", "change", "difference")
        for s, d, e in ((1, 1, 1), (1, 0.2, 0.2), (0.2, 1, 0.2), (0.2, 0.2, 1), (0.2, 1, 1))
    ]
    asked += [Counts(common=0.25, what=what) for what in ("value", "change", "difference")]
    asked += [Counts(neurons=12, what=what) for what in ("value", "change", "difference")]
    asked += [Counts(neurons=12, seeds_sd=0.2, documents_sd=0.2, rest_sd=0.2, what="change")]
    for one in asked:
        (seeds, documents, both), _ = coverage(one, studies, seed)
        (_, before_documents, before_both), _ = coverage(replace(one, errors=True), studies, seed)
        lines.append(
            f"| {one.neurons} | {one.what} | {one.seeds_sd:g} | {one.documents_sd:g} | {one.rest_sd:g} "
            f"| {one.common:g} | {seeds:.3f} | {documents:.3f} | {both:.3f} "
            f"| {before_documents:.3f} | {before_both:.3f} |"
        )
    lines += [
        "",
        "| number | planted | more neurons | questions | found over seeds | over both | over both, SE known |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, number, amounts in (
        ("change", 1, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("difference", 1, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("difference", 8, (0.0, 0.5, 1.0)),
    ):
        for amount in amounts:
            one = Counts(seeds_sd=0.5, documents_sd=1, rest_sd=0.5, what=what, planted=amount)
            runs = max(studies // 4, 1)
            seeds, both = verdicts(one, runs, seed, number)
            _, before = verdicts(replace(one, errors=True), runs, seed, number)
            spread = float(np.sqrt(one.seeds_sd**2 + one.documents_sd**2 + one.rest_sd**2))
            places = np.linspace(-4, 4, one.neurons)
            more = float((_over_zero(places + amount, spread) - _over_zero(places, spread)).sum())
            lines.append(f"| {what} | {amount:g} | {more:.1f} | {number} | {seeds:.3f} | {both:.3f} | {before:.3f} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-counts", action="store_true", help="the tables of counts of neurons alone")
    args = parser.parse_args()
    if args.only_counts:
        print("\n".join(counts_tables(args.studies, args.seed)))
        return
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
    print("\n".join([*lines, "", *counts_tables(args.studies, args.seed)]))


if __name__ == "__main__":
    main()
