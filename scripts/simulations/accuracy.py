"""How often intervals of accuracy hold it, how often no change is taken for one, and which changes are found.

    python scripts/simulations/accuracy.py --runs 2000

Documents are in clusters. The logit of a right answer has a part of the document, one of its cluster, and one of the
cluster at this checkpoint alone, all normal, so that changes are clustered too. Each is compared with what else was
tried. Prints Markdown tables; the same seed gives the same.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, stdtr, stdtrit
from scipy.stats import binom, binomtest

from alignlab.evaluation.accuracy import accuracy, accuracy_change
from alignlab.neurons.corrections import ALPHA, adjusted

# Standard deviations of the logit.
DOCUMENT, CLUSTER, CLUSTER_AND_CHECKPOINT = 1.5, 1.0, 0.7
ACCURACIES = (0.02, 0.1, 0.5, 0.9, 0.98)
# Of groups of languages as the demo has them: the share right of each language before, and templates that all share.
GROUPS = {"trained": (0.28, 0.56), "unseen": (0.02, 0.03, 0.07, 0.29, 0.3, 0.6, 0.6), "English": (0.93,)}
TEMPLATES = 22
GAINS = (0.0, 0.05, 0.1, 0.2)
CHANGES = ((0.02, 0.02), (0.1, 0.1), (0.5, 0.5), (0.98, 0.98), (0.02, 0.12), (0.1, 0.3), (0.5, 0.6), (0.93, 0.98))
FLIPS = 1000

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Probe:
    """So many documents in so many clusters, each drawn at random for a document or, if `even`, one after another."""

    documents: int
    clusters: int
    even: bool = True

    def names(self, random: np.random.Generator) -> NDArray[np.int64]:
        if self.even:
            return np.arange(self.documents) % self.clusters
        return random.integers(self.clusters, size=self.documents)

    @property
    def alone(self) -> bool:
        return self.documents == self.clusters

    def __str__(self) -> str:
        return f"{self.documents} in {self.clusters}{'' if self.even else ', uneven'}"


PROBES = [Probe(n, n // size) for n in (40, 100, 250) for size in (1, 2, 5)] + [
    Probe(120, 22, even=False),
    Probe(250, 22, even=False),
]


@cache
def location(share: float, alone: bool) -> float:
    """The mean logit at which the expected share of right answers is this one."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    weights = weights / weights.sum()
    deviation = np.hypot(DOCUMENT, CLUSTER) if alone else np.sqrt(DOCUMENT**2 + CLUSTER**2 + CLUSTER_AND_CHECKPOINT**2)
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        if (weights * expit(middle + deviation * nodes)).sum() < share:
            low = middle
        else:
            high = middle
    return low


def draw(probe: Probe, shares: tuple[float, ...], random: np.random.Generator) -> tuple[list[Bools], NDArray[np.int64]]:
    """Which documents are right at each checkpoint, and their clusters."""
    names = probe.names(random)
    documents = random.normal(0, DOCUMENT, probe.documents) + random.normal(0, CLUSTER, probe.clusters)[names]
    right = []
    for share in shares:
        logits = documents + location(share, probe.alone)
        if not probe.alone:
            logits = logits + random.normal(0, CLUSTER_AND_CHECKPOINT, probe.clusters)[names]
        right.append(random.random(probe.documents) < expit(logits))
    return right, names


def sums(values: NDArray[np.float64], names: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the clusters that have a document."""
    return np.bincount(names, weights=values)[np.unique(names)]


def plain_t(values: NDArray[np.float64], names: NDArray[np.int64]) -> tuple[float, float, float]:
    """The ends of the interval of a mean by t over clusters, and the p of 0."""
    mean = values.mean()
    of_clusters = sums(values - mean, names)
    m = len(of_clusters)
    error = np.sqrt(m / (m - 1) * (of_clusters**2).sum()) / len(values)
    half = stdtrit(m - 1, 0.975) * error
    p = 2 * stdtr(m - 1, -abs(mean) / error) if error else float(mean == 0)
    return mean - half, mean + half, p


def flipped(values: NDArray[np.float64], names: NDArray[np.int64], random: np.random.Generator) -> float:
    """The p of a test that flips the signs of clusters at random."""
    of_clusters = sums(values, names)
    of_clusters = of_clusters[of_clusters != 0]
    flips = random.choice([-1.0, 1.0], (FLIPS, len(of_clusters))) @ of_clusters
    return float((1 + (abs(flips) >= abs(of_clusters.sum()) - 1e-9).sum()) / (FLIPS + 1))


def mcnemar(values: NDArray[np.float64]) -> float:
    """Exact, of documents."""
    up, down = int((values > 0).sum()), int((values < 0).sum())
    return min(1.0, 2 * float(binom.cdf(min(up, down), up + down, 0.5))) if up + down else 1.0


def holds(low: float, high: float, value: float) -> bool:
    return bool(low <= value <= high)


def shares_held(probe: Probe, share: float, runs: int, random: np.random.Generator) -> list[float]:
    """How often the interval holds the share: ours, Wilson's of documents, plain t; and the mean width of ours."""
    rows = []
    for _ in range(runs):
        (right,), names = draw(probe, (share,), random)
        ours = accuracy(right, names)
        wilson = binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        low, high, _ = plain_t(right.astype(np.float64), names)
        rows.append(
            [
                holds(ours.low, ours.high, share),
                holds(wilson.low, wilson.high, share),
                holds(low, high, share),
                ours.high - ours.low,
            ]
        )
    return [float(value) for value in np.mean(rows, axis=0)]


def changes_found(probe: Probe, shares: tuple[float, float], runs: int, random: np.random.Generator) -> list[float]:
    """How often p <= .05: ours, McNemar, flipped signs, plain t; how often ours and plain t hold the change."""
    rows = []
    for _ in range(runs):
        (before, after), names = draw(probe, shares, random)
        ours = accuracy_change(before, after, names)
        values = after.astype(np.float64) - before
        low, high, p = plain_t(values, names)
        true = shares[1] - shares[0]
        rows.append(
            [
                ours.p <= 0.05,
                mcnemar(values) <= 0.05,
                flipped(values, names, random) <= 0.05,
                p <= 0.05,
                holds(ours.low, ours.high, true),
                holds(low, high, true),
            ]
        )
    return [float(value) for value in np.mean(rows, axis=0)]


def claims(problems: int, gain: float, runs: int, random: np.random.Generator) -> list[float]:
    """How often a change is told, corrected by Holm for these groups and all languages: of any group, and of each.

    Languages have parallel problems, `problems` each, and share what a template has and what it has at a checkpoint.
    All languages but English gain.
    """
    alone = Probe(problems, TEMPLATES, even=False)
    told = np.zeros((runs, len(GROUPS)), dtype=np.bool_)
    for run in range(runs):
        names = alone.names(random)
        template = random.normal(0, CLUSTER, TEMPLATES)[names]
        at = random.normal(0, CLUSTER_AND_CHECKPOINT, (2, TEMPLATES))[:, names]
        before: list[Bools] = []
        after: list[Bools] = []
        of_group: list[str] = []
        for group, shares in GROUPS.items():
            for share in shares:
                document = random.normal(0, DOCUMENT, problems) + template
                last = share if group == "English" else share + gain
                for right, expected, moved in zip((before, after), (share, last), at, strict=True):
                    logits = document + moved + location(expected, False)
                    right.append(random.random(problems) < expit(logits))
                of_group.append(group)
        found = []
        for group in (*GROUPS, ""):
            own = [place for place, one in enumerate(of_group) if not group or one == group]
            both = (np.concatenate([right[place] for place in own]) for right in (before, after))
            found.append(accuracy_change(*both, np.tile(names, len(own))).p)
        told[run] = adjusted(found, "holm")[: len(GROUPS)] < ALPHA
    return [float(told.any(1).mean()), *told.mean(0).tolist()]


def line(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    print(f"Accuracy, {given.runs} runs\n")
    print(line("documents in clusters", "accuracy", "held", "Wilson of documents", "plain t", "width"))
    print(line(*["---"] * 6))
    for probe in PROBES:
        for share in ACCURACIES:
            print(line(probe, f"{share:.2f}", *shares_held(probe, share, given.runs, random)), flush=True)
    print(f"\nChanges, {given.runs} runs\n")
    print(
        line("documents in clusters", "from", "to", "found", "McNemar", "flipped signs", "plain t", "held", "plain t")
    )
    print(line(*["---"] * 9))
    for probe in PROBES:
        for shares in CHANGES:
            cells = changes_found(probe, shares, given.runs, random)
            print(line(probe, *(f"{share:.2f}" for share in shares), *cells), flush=True)
    random = np.random.default_rng([given.seed, 1])  # of its own: the tables above stay as they are
    print(f"\nGroups of languages, {given.runs} runs\n")
    print(line("problems a language", "gain", "any", *GROUPS))
    print(line(*["---"] * (3 + len(GROUPS))))
    for problems in (40, 200):
        for gain in GAINS:
            print(line(problems, f"{gain:.2f}", *claims(problems, gain, given.runs, random)), flush=True)


if __name__ == "__main__":
    main()
