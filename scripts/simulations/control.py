"""How often a set that is one more random draw seems to exceed its controls, and which planted effects are found.

    python scripts/simulations/control.py --studies 1000

One language is dealt into five pseudo-languages. Each has a set of neurons, and each set k controls. What an arm does
to a document has a part of the arm (drawn from one distribution for sets and controls; most of it is the same in all
languages), of the cluster under the arm, of the document under the arm (t with 4 degrees of freedom, times its
difficulty) and one that all arms share. Documents are of uneven length, clusters of uneven size. A primary cell is a
set in its own pseudo-language. Each test is compared with what else was tried. Prints Markdown tables; the same seed
gives the same.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, stdtr

from alignlab.analysis.beyond_control import excess
from alignlab.neurons.corrections import ALPHA, adjusted

LANGUAGES = 5
# The share of the variance of an arm's effect that is of one language alone.
OWN_VARIANCE = 0.1

Floats = NDArray[np.float64]
# The changes by set and cluster, by set, control and cluster, the sizes of the clusters, and what controls share.
Data = tuple[Floats, Floats, Floats, float]


def log_normal(random: np.random.Generator, size: tuple[int, ...]) -> Floats:
    """Skewed, as where single neurons matter much; skewness 3.3."""
    spread = 0.75
    mean, deviation = np.exp(spread**2 / 2), np.exp(spread**2 / 2) * np.sqrt(np.expm1(spread**2))
    return np.asarray((random.lognormal(0, spread, size) - mean) / deviation)


# By name, draws of mean 0 and variance 1.
DRAWS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], Floats]] = {
    "normal": lambda random, size: random.standard_normal(size),
    "t(3)": lambda random, size: random.standard_t(3, size) / np.sqrt(3),
    "log-normal": log_normal,
}


@dataclass(frozen=True)
class Study:
    """What is drawn.

    spread: standard deviation of the arms' effects, in that of what documents add to one arm's effect.
    planted: what every set does beyond a draw to its own language, in the same unit.
    restless: how many times as much documents vary under the sets as under controls.
    shared: what share of its neurons a draw of a control has in common with another; what these neurons do is the same.
    right: 0, or the share of answers that are right for a document of average difficulty with nothing changed: what is
        drawn is then whether answers are right. Arms act on the logit, and take .3 from it on average.
    """

    clusters: int = 60
    controls: int = 5
    draws: str = "normal"
    spread: float = 1.0
    planted: float = 0.0
    restless: float = 1.0
    right: float = 0.0
    shared: float = 0.0

    def draw(self, random: np.random.Generator) -> tuple[list[Data], Floats]:
        """The data of every language, and by language and set how much more the set does in expectation than one more
        control, of which there are no data."""
        if self.right:
            return self._answers(random)
        arms = LANGUAGES * (2 + self.controls)
        shared = DRAWS[self.draws](random, (arms,)) * self.spread
        found, excesses = [], []
        for language in range(LANGUAGES):
            documents = random.geometric(1 / 3, self.clusters)
            starts = np.concatenate([[0], np.cumsum(documents)[:-1]])
            n = int(documents.sum())
            tokens, difficulty = np.maximum(5, random.lognormal(4, 0.7, n)), random.lognormal(0, 0.6, n)
            sizes = np.add.reduceat(tokens, starts)
            of_documents = np.sqrt(2 * ((tokens * difficulty) ** 2).sum() + 0.25 * (sizes**2).sum()) / sizes.sum()
            alone = DRAWS[self.draws](random, (arms,)) * self.spread
            effect = np.sqrt(1 - OWN_VARIANCE) * shared + np.sqrt(OWN_VARIANCE) * alone
            effect = self._partly_one(effect.reshape(LANGUAGES, -1))
            effect[language, 0] += self.planted
            effect = effect * of_documents
            noise = random.standard_t(4, (n, arms)) * difficulty[:, None]
            noise += 0.5 * np.repeat(random.standard_normal((self.clusters, arms)), documents, axis=0)
            noise = self._partly_one(noise.reshape(n, LANGUAGES, -1)).reshape(n, arms)
            noise.reshape(n, LANGUAGES, -1)[:, :, 0] *= self.restless
            change = noise + random.lognormal(-1, 1, n)[:, None] + effect.reshape(-1)
            sums = np.add.reduceat(change * tokens[:, None], starts).T.reshape(LANGUAGES, -1, self.clusters)
            found.append((sums[:, 0], sums[:, 1:-1], sizes, self.shared))
            excesses.append(effect[:, 0] - effect[:, -1])
        return found, np.array(excesses)

    def _partly_one(self, arms: Floats) -> Floats:
        """The same, (..., arms of a set), with a part in common to its controls but for the last, of which there are no
        data; variances are kept."""
        if not self.shared:
            return arms
        mixed = arms.copy()
        mean = arms[..., 1:-1].mean(axis=-1, keepdims=True)
        # Of k draws of variance 1 their mean has 1/k, and what is left of each 1 - 1/k, correlated -1/(k - 1).
        common = np.sqrt(self.shared * self.controls + 1 - self.shared) * mean
        mixed[..., 1:-1] = common + np.sqrt(1 - self.shared) * (arms[..., 1:-1] - mean)
        return mixed

    def _answers(self, random: np.random.Generator) -> tuple[list[Data], Floats]:
        arms = LANGUAGES * (2 + self.controls)
        shared = DRAWS[self.draws](random, (arms,)) * self.spread
        found, excesses = [], []
        for language in range(LANGUAGES):
            problems = random.geometric(1 / 3, self.clusters)
            starts, n = np.concatenate([[0], np.cumsum(problems)[:-1]]), int(problems.sum())
            alone = DRAWS[self.draws](random, (arms,)) * self.spread
            effect = (np.sqrt(1 - OWN_VARIANCE) * shared + np.sqrt(OWN_VARIANCE) * alone).reshape(LANGUAGES, -1)
            effect[language, 0] -= self.planted
            # About the standard error of a share on the scale of the logit.
            effect = (effect * 2 / np.sqrt(n) - 0.3).reshape(-1)
            difficulty = logit(self.right) + random.normal(0, 1.5, (n, 1))
            before = random.random((n, 1)) < expit(difficulty + random.normal(0, 0.7, (n, 1)))
            after = random.random((n, arms)) < expit(difficulty + effect + random.normal(0, 0.7, (n, arms)))
            changes = np.add.reduceat(after.astype(np.float64) - before, starts)
            sums = changes.T.reshape(LANGUAGES, -1, self.clusters)
            found.append((sums[:, 0], sums[:, 1:-1], problems.astype(np.float64), 0.0))
            nodes, weights = np.polynomial.hermite_e.hermegauss(41)
            latent = logit(self.right) + np.hypot(1.5, 0.7) * nodes
            expected = (expit(latent[:, None] + effect).T @ (weights / weights.sum())).reshape(LANGUAGES, -1)
            excesses.append(expected[:, 0] - expected[:, -1])
        return found, np.array(excesses)


@dataclass(frozen=True)
class Parts:
    """Of every set the difference from its controls, (S,), and the variances of the two-way layout."""

    value: Floats
    of_clusters: Floats
    of_draws: Floats
    residual: Floats
    controls: int
    clusters: int


def parts(chosen: Floats, controls: Floats, sizes: Floats) -> Parts:
    k, m = controls.shape[1:]
    differences = chosen[:, None] - controls
    each = differences.sum(axis=2) / sizes.sum()
    moved = (differences - each[..., None] * sizes) / sizes.sum()
    both = moved.mean(axis=1)
    residual = m / (m - 1) * ((moved - both[:, None]) ** 2).sum(axis=(1, 2)) / (k - 1)
    of_clusters = m / (m - 1) * (both**2).sum(axis=1)
    return Parts(each.mean(axis=1), of_clusters, each.var(axis=1, ddof=1), residual, k, m)


def satterthwaite(of: Parts, factor: float) -> Floats:
    """p with the controls' variance times `factor`; the residual taken out once, and at least the clusters' is left."""
    draws, residual = factor * of.of_draws, factor * of.residual
    variance = of.of_clusters + np.maximum(draws - residual, 0)
    squares = (
        of.of_clusters**2 / (of.clusters - 1)
        + draws**2 / (of.controls - 1)
        + residual**2 / ((of.clusters - 1) * (of.controls - 1))
    )
    return np.asarray(2 * stdtr(variance**2 / squares, -np.abs(of.value) / np.sqrt(variance)))


def rearranged(of: Parts) -> Floats:
    """p with Satterthwaite's degrees of freedom for the two parts that our interval is made of."""
    more = 1 + 1 / of.controls
    draws, documents = more * of.of_draws, np.maximum(of.of_clusters - more * of.residual, 0)
    variance = draws + documents
    degrees = variance**2 / (draws**2 / (of.controls - 1) + documents**2 / (of.clusters - 1))
    return np.asarray(2 * stdtr(degrees, -np.abs(of.value) / np.sqrt(variance)))


# By name the p of the set in this place among others: of their changes, their controls', the sizes, what is shared.
Test = Callable[[int, Floats, Floats, Floats, float], float]


def _of_one(test: Callable[[Parts], Floats]) -> Test:
    def p(place: int, chosen: Floats, controls: Floats, sizes: Floats, _shared: float) -> float:
        one = slice(place, place + 1)
        return float(test(parts(chosen[one], controls[one], sizes))[0])

    return p


def alone(place: int, chosen: Floats, controls: Floats, sizes: Floats, shared: float) -> float:
    """The set by itself: its controls differ as they do, not at least as those of the others."""
    one = slice(place, place + 1)
    return float(excess(chosen[one], controls[one], sizes, shared).p[0])


def unaware(place: int, chosen: Floats, controls: Floats, sizes: Floats, _shared: float) -> float:
    """As if draws of a control had no neuron in common."""
    return float(excess(chosen, controls, sizes).p[place])


TESTS: dict[str, Test] = {
    "each set alone": alone,
    "1/k, Satterthwaite": _of_one(lambda of: satterthwaite(of, 1 / of.controls)),
    "1 + 1/k, Satterthwaite": _of_one(lambda of: satterthwaite(of, 1 + 1 / of.controls)),
    "rearranged, Satterthwaite": _of_one(rearranged),
}
UNAWARE = "as if nothing were shared"


@dataclass(frozen=True)
class Found:
    """What came of many studies.

    any_beyond: the share of studies in which any primary cell is beyond its control after Holm.
    tried: by test, the same as `either_sign`.
    either_sign: the share in which any primary p is under .05 after Holm, whichever effect is larger.
    any_other: the share in which any other cell is beyond its control after the false-discovery rate.
    beyond: of primary cells, the share beyond their control.
    held: of primary cells, the share whose interval holds how much more the set does than one more control.
    """

    any_beyond: float
    either_sign: float
    any_other: float
    beyond: float
    held: float
    tried: dict[str, float]


def measured(study: Study, studies: int, random: np.random.Generator, tests: Sequence[str] = tuple(TESTS)) -> Found:
    own = np.eye(LANGUAGES, dtype=np.bool_)
    tried = dict.fromkeys(tests, 0)
    any_other, primary, either, held = 0, [], [], []
    for _ in range(studies):
        data, excesses = study.draw(random)
        for name in tests:
            test = unaware if name == UNAWARE else TESTS[name]
            p = np.array([test(language, *of) for language, of in enumerate(data)])
            tried[name] += bool((adjusted(p, "holm") < ALPHA).any())
        told = [excess(*of) for of in data]
        p, low, high, larger = (
            np.array([getattr(one, name) for one in told]) for name in ("p", "low", "high", "beyond")
        )
        verdicts = adjusted(p[own], "holm") < ALPHA
        either.append(bool(verdicts.any()))
        primary.append(verdicts & larger[own])
        any_other += bool(((adjusted(p[~own], "fdr") < ALPHA) & larger[~own]).any())
        held.append(((low <= excesses) & (excesses <= high))[own])
    return Found(
        float(np.any(primary, axis=1).mean()),
        float(np.mean(either)),
        any_other / studies,
        float(np.mean(primary)),
        float(np.mean(held)),
        {name: count / studies for name, count in tried.items()},
    )


NULLS = [
    Study(60, controls, draws, spread)
    for controls in (3, 5, 10)
    for spread in (0.0, 1.0, 3.0)
    for draws in (DRAWS if spread else ["normal"])
] + [Study(clusters, 5, spread=spread) for clusters in (20, 250) for spread in (0.0, 1.0, 3.0)]
PLANTED = [
    Study(60, controls, planted=planted, restless=restless)
    for controls in (3, 5, 10)
    for restless in (1.0, 3.0)
    for planted in (5.0, 10.0, 20.0)
] + [Study(clusters, 5, restless=3.0, planted=10.0) for clusters in (20, 250)]

SHARED = [
    Study(60, controls, draws, spread, shared=shared)
    for shared in (0.3, 0.6, 0.9)
    for controls in (5, 10)
    for draws, spread in (("normal", 0.0), ("normal", 3.0), ("log-normal", 3.0))
] + [Study(60, controls, planted=planted, shared=0.6) for controls in (5, 10) for planted in (10.0, 20.0, 40.0)]
ANSWERS = [
    Study(60, 5, spread=spread, planted=planted, right=right)
    for right in (0.5, 0.9)
    for spread, planted in ((0.0, 0.0), (1.0, 0.0), (3.0, 0.0), (1.0, 5.0), (1.0, 10.0))
]


def line(*cells: object) -> str:
    return "| " + " | ".join(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--planted", type=int, default=300, help="studies of each planted effect")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    random = np.random.default_rng(given.seed)
    print(f"Nothing planted, {given.studies} studies\n")
    print(line("controls", "clusters", "draws", "spread", "beyond", "either sign", "others", "held", *TESTS))
    print(line(*["---"] * (8 + len(TESTS))))
    for study in NULLS:
        found = measured(study, given.studies, random)
        cells = (found.any_beyond, found.either_sign, found.any_other, found.held, *found.tried.values())
        print(line(study.controls, study.clusters, study.draws, f"{study.spread:g}", *cells), flush=True)
    print(f"\nPlanted, {given.planted} studies\n")
    print(line("controls", "clusters", "planted", "restless", "beyond", "held"))
    print(line(*["---"] * 6))
    for study in PLANTED:
        found = measured(study, given.planted, random, ())
        cells = (f"{study.planted:g}", f"{study.restless:g}", found.beyond, found.held)
        print(line(study.controls, study.clusters, *cells), flush=True)
    print(f"\nControls that share neurons, {given.planted} studies\n")
    random = np.random.default_rng(given.seed + 2)
    print(line("shared", "controls", "draws", "spread", "planted", "any beyond", "beyond", "others", "held", UNAWARE))
    print(line(*["---"] * 10))
    for study in SHARED:
        found = measured(study, given.planted, random, (UNAWARE,))
        cells = (found.any_beyond, found.beyond, found.any_other, found.held, found.tried[UNAWARE])
        about = (f"{study.shared:g}", study.controls, study.draws, f"{study.spread:g}", f"{study.planted:g}")
        print(line(*about, *cells), flush=True)
    print(f"\nAnswers, {given.studies} studies\n")
    random = np.random.default_rng(given.seed + 1)
    print(line("right", "spread", "planted", "any beyond", "beyond", "others", "held"))
    print(line(*["---"] * 7))
    for study in ANSWERS:
        found = measured(study, given.studies, random, ())
        cells = (f"{study.planted:g}", found.any_beyond, found.beyond, found.any_other, found.held)
        print(line(f"{study.right:g}", f"{study.spread:g}", *cells), flush=True)


if __name__ == "__main__":
    main()
