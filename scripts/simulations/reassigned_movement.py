"""Size and power of reassigned movement: how often changes of counts fall outside its range, in made-up models.

    python scripts/simulations/reassigned_movement.py --runs 300

Of every run a population of neurons is made, some specific to a language and some shared, counted before and after one
sort of movement, and judged as `alignlab.neurons.reassigned` does. Prints the tables of
docs/statistics/reassigned_movement.md, a row as soon as it is there. The same seed gives the same tables.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from alignlab.neurons import ActivationCounts, Classification, kind_counts
from alignlab.neurons.classification import by_tau
from alignlab.neurons.corrections import ALPHA, adjusted, correction_for
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.probabilities import degree_of
from alignlab.neurons.reassigned import DRAWS, cells_of, donors_of, given_to, odds_of, rank_p

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
# From the logits before to those after.
Move = Callable[[Floats, np.random.Generator], Floats]

LANGUAGES = ("en", "de", "zh", "sw", "th")
TRAINED, SHIFTED = ("de", "zh"), 1
G, LAYERS, TOKENS = len(LANGUAGES), 4, 20_000
SIZES = 10  # a multiple of the number of languages in every group
IDENTIFIER = TernaryConfig(top_rate=0.1, bar=0.85)
SHOWN = ("specific", "related", "general", "unassigned", "selected", "trained specific", "trained related")


@dataclass(frozen=True)
class Population:
    """A model of `LAYERS` layers of `width` neurons; `planted` are the shares of a kind whose kind is changed."""

    width: int
    planted: tuple[float, ...]


POPULATIONS = {"small": Population(150, (0.15, 0.3, 0.45)), "large": Population(1500, (0.1, 0.2, 0.3))}


@dataclass(frozen=True)
class Judged:
    """One run. By row of the lead: count before, change, mean of reassigned movement, verdict by Holm, uncorrected."""

    count: Floats
    change: Floats
    brought: Floats
    verdict: Bools
    uncorrected: Bools


def made(width: int, random: np.random.Generator) -> Floats:
    """Logits of p, (G, n): most neurons are alike in all languages, a sixth prefers one, a sixth two or three."""
    n = LAYERS * width
    logit = random.normal(-1.5, 1.0, n) + random.normal(0, 0.15, (G, n))
    preferred = np.zeros((G, n), dtype=bool)
    for members, most in ((slice(0, n // 6), 1), (slice(n // 6, n // 3), 3)):
        ranks = random.random((G, n)).argsort(axis=0)[:, members]
        preferred[:, members] = ranks < random.integers(min(2, most), most + 1, ranks.shape[1])
    logit = logit + preferred * random.gamma(4, 0.35, n)
    return logit[:, random.permutation(n)]


def counted(logit: Floats, random: np.random.Generator) -> ActivationCounts:
    firings = torch.from_numpy(random.binomial(TOKENS, 1 / (1 + np.exp(-logit)))).view(G, 1, LAYERS, -1)
    tokens = torch.full((G, 1), TOKENS)
    return ActivationCounts(LANGUAGES, firings, tokens, torch.ones_like(tokens), "mlp.act", "all")


def jittered(logit: Floats, random: np.random.Generator) -> Floats:
    """Every neuron moves on its own, with an SD of .2: two thirds of the variance in all languages alike."""
    n = logit.shape[1]
    moved: Floats = logit + 0.2 * (random.normal(0, 0.82, n) + random.normal(0, 0.57, (G, n)))
    return moved


def anywhere(logit: Floats, random: np.random.Generator) -> Floats:
    """Jitter, and 4 % of all neurons rise in one trained language: lively ones that are alike in all languages."""
    later, n = jittered(logit, random), logit.shape[1]
    even = np.argsort(np.ptp(logit, axis=0))[: n // 2]
    lively = even[np.argsort(-logit[:, even].mean(axis=0))[: n // 4]]
    chosen = random.permutation(lively)[: n // 25]
    later[random.integers(1, 3, len(chosen)), chosen] += 2
    return later


def specialised(share: float) -> Move:
    """Jitter, and related neurons of a trained language fall to the level of the quiet in all others."""

    def moved(logit: Floats, random: np.random.Generator) -> Floats:
        later = jittered(logit, random)
        owned, selected = identified(logit, random)
        related = selected & (owned.sum(axis=0) > 1) & ~owned.all(axis=0)
        chosen = random.permutation(np.flatnonzero(related & owned[1:3].any(axis=0)))[: round(share * related.sum())]
        keeps = logit[1:3, chosen].argmax(axis=0) + 1
        for language in range(G):
            later[language, chosen] -= 2 * (keeps != language)
        return later

    return moved


def shared(share: float) -> Move:
    """Jitter, and specific neurons rise in the trained languages to where they are in their own."""

    def moved(logit: Floats, random: np.random.Generator) -> Floats:
        later = jittered(logit, random)
        owned, selected = identified(logit, random)
        specific = np.flatnonzero(selected & (owned.sum(axis=0) == 1))
        chosen = random.permutation(specific)[: round(share * len(specific))]
        later[1:3, chosen] = later[:, chosen].max(axis=0)
        return later

    return moved


def identified(logit: Floats, random: np.random.Generator) -> tuple[Bools, Bools]:
    """Owners, (G, n), and selection, (n,), in a count of its own."""
    result = IDENTIFIER.identify(counted(logit, random))
    assert result.owned is not None
    return result.owned.flatten(1).numpy(), result.selected.flatten().numpy()


def shifted(logit: Floats, random: np.random.Generator) -> Floats:
    later = jittered(logit, random)
    later[SHIFTED] += 0.3
    return later


def moves_of(population: Population) -> dict[str, Move]:
    """The sorts of movement by name: a cell of the table each."""
    return {
        "nothing but sampling": lambda logit, _: logit,
        "every neuron jitters": jittered,
        "uniform gain of .3, and jitter": lambda logit, random: jittered(logit, random) + 0.3,
        "a trained language gains .3, and jitter": shifted,
        "4 % of all, even neurons, rise in a trained language": anywhere,
        **{f"{share:.0%} of related neurons become specific": specialised(share) for share in population.planted},
        **{f"{share:.0%} of specific neurons become related": shared(share) for share in population.planted},
    }


def run(population: str, cell: str, seed: int, draws: int, number: int) -> tuple[list[str], Judged]:
    """The names of the lead's rows and what is found of them in the run of that number."""
    of = POPULATIONS[population]
    random = np.random.default_rng([seed, *population.encode(), *cell.encode(), number])
    logit = made(of.width, random)
    first, second = counted(logit, random), counted(moves_of(of)[cell](logit, random), random)
    anchor = IDENTIFIER.identify(first)
    before, after = (lead_of(IDENTIFIER.identify(one, anchor)) for one in (first, second))
    count, later = (np.array(list(values.values())) for values in (before, after))
    drawn = reassigned(first, second, anchor, draws, number) - count
    p, change = rank_p(drawn, later - count), later - count
    verdict = adjusted(p, correction_for(len(p))) < ALPHA
    return list(before), Judged(count, change, drawn.mean(axis=0), verdict, p < ALPHA)


def lead_of(result: Classification) -> dict[str, float]:
    """The counts of the lead by name: of all kinds and the selection, and of groups of languages."""
    of_all = [row for row in kind_counts(result, TRAINED) if row.kind and row.layer is None and not row.language]
    return {row.kind if row.group == "all" else f"{row.group} {row.kind}": row.value for row in of_all}


def reassigned(
    first: ActivationCounts, second: ActivationCounts, anchor: Classification, draws: int, seed: int
) -> Floats:
    """The counts of the lead in the draws of `alignlab.neurons.reassigned.movement`, (draws, rows).

    What a neuron becomes depends on its donor alone. So it is asked once for every donor of its cell, and the draws
    only look it up: the same numbers several times sooner, where a cell has fewer neurons than there are draws.
    """
    odds, ratio = odds_of(first), odds_of(second)
    (cells,) = cells_of(np.log(odds).mean(axis=0).reshape(LAYERS, -1))  # all of one size
    ratio /= odds
    size, n = cells.shape[1], odds.shape[1]
    place, mates = np.empty(n, dtype=np.int64), np.empty((size, n), dtype=np.int64)
    place[cells] = np.arange(size)
    mates[:, cells] = cells.T[:, :, None]
    # One bit for each language that owns the neuron, and one for its selection.
    state, bits, p = np.empty((size, n), dtype=np.uint8), 1 << np.arange(G + 1), np.empty_like(odds)
    for number, donors in enumerate(mates):
        for language in range(G):
            given_to(odds[language], ratio[language].take(donors), TOKENS, out=p[language])
        above = p > anchor.threshold
        selected = IDENTIFIER.select(p, degree_of(above), anchor, anchor.cut)
        state[number] = bits @ np.vstack([above, selected])
    found, neurons = [], np.arange(n)
    for number in range(draws):
        donors = donors_of([cells], np.random.default_rng([seed, number]))
        found.append(np.bincount(state[place[donors], neurons], minlength=2 << G))
    # Whole numbers until the end: what is equal in `movement` has to be equal here, since ranks count it.
    return np.stack(found) @ np.rint(worth_of_states() * SIZES).astype(np.int64) / SIZES


@cache
def worth_of_states() -> Floats:
    """What a neuron of each state adds to the counts of the lead, (states, rows)."""
    worth = []
    for state in range(2 << G):
        *above, selected = (np.array([bool(state >> bit & 1)]) for bit in range(G + 1))
        worth.append(list(lead_of(by_tau("ternary", LANGUAGES, np.stack(above), selected, (1, 1), {})).values()))
    return np.array(worth)


def line(cell: str, names: Sequence[str], runs: Sequence[Judged]) -> str:
    """A row of the table: of every number of `SHOWN` the share of runs beyond movement and both mean changes."""
    verdict, uncorrected = (np.array([getattr(one, of) for one in runs]) for of in ("verdict", "uncorrected"))
    told = []
    for name in SHOWN:
        at = names.index(name)
        change, brought = (np.mean([getattr(one, of)[at] for one in runs]) for of in ("change", "brought"))
        told.append(f"{verdict[:, at].mean():.3f} ({change:+.1f}; {brought:+.1f})")
    some, plain = (found.any(axis=1).mean() for found in (verdict, uncorrected))
    return f"| {cell} | {' | '.join(told)} | {some:.3f} | {plain:.3f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300, help="of each cell")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of reassigned movement in each run")
    parser.add_argument("--populations", nargs="*", choices=POPULATIONS, default=list(POPULATIONS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with ProcessPoolExecutor(given.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        for population in given.populations:
            print(f"\n{population}: {given.runs} runs a cell, {given.draws} draws each\n")
            print(f"| movement | {' | '.join(SHOWN)} | any of the lead | any, uncorrected |")
            print("|---|" + "---|" * (len(SHOWN) + 2))
            counts = []
            for cell in moves_of(POPULATIONS[population]):
                work = partial(run, population, cell, given.seed, given.draws)
                found = list(pool.map(work, range(given.runs), chunksize=5))
                names = found[0][0]
                print(line(cell, names, [judged for _, judged in found]), flush=True)
                counts += [judged.count for _, judged in found]
            mean = np.mean(counts, axis=0)
            told = ", ".join(f"{name} {mean[names.index(name)]:.1f}" for name in SHOWN)
            print(f"\nCounts before, on average: {told}.", flush=True)


if __name__ == "__main__":
    main()
