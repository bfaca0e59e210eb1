"""Size and power of reassigned movement: how often changes of counts fall outside its range, in made-up models.

    python scripts/simulations/reassigned_movement.py --runs 200

Of every run a population of neurons is made, some specific to a language and some shared, counted before and after one
sort of movement, and judged as `alignlab.neurons.reassigned` does. Prints the table of
docs/statistics/reassigned_movement.md. The same seed gives the same table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from alignlab.neurons import ActivationCounts, Row, kind_counts
from alignlab.neurons.corrections import ALPHA, adjusted, correction_for
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.reassigned import DRAWS, movement, rank_p

Floats = NDArray[np.float64]
# From the logits before to those after.
Move = Callable[[Floats, np.random.Generator], Floats]

LANGUAGES = ("en", "de", "zh", "sw", "th")
TRAINED, SHIFTED = ("de", "zh"), 1
G, LAYERS, WIDTH, TOKENS = len(LANGUAGES), 4, 150, 20_000
IDENTIFIER = TernaryConfig(top_rate=0.1, bar=0.85)
SHOWN = ("specific", "related", "general", "unassigned", "selected", "trained specific", "trained related")


def population(random: np.random.Generator) -> Floats:
    """Logits of p, (G, n): most neurons are alike in all languages, a sixth prefers one, a sixth two or three."""
    n = LAYERS * WIDTH
    logit = random.normal(-1.5, 1.0, n) + random.normal(0, 0.15, (G, n))
    preferred = np.zeros((G, n), dtype=bool)
    for members, most in ((slice(0, n // 6), 1), (slice(n // 6, n // 3), 3)):
        ranks = random.random((G, n)).argsort(axis=0)[:, members]
        preferred[:, members] = ranks < random.integers(min(2, most), most + 1, ranks.shape[1])
    logit = logit + preferred * random.gamma(4, 0.35, n)
    return logit[:, random.permutation(n)]


def counted(logit: Floats, random: np.random.Generator) -> ActivationCounts:
    firings = torch.from_numpy(random.binomial(TOKENS, 1 / (1 + np.exp(-logit)))).view(G, 1, LAYERS, WIDTH)
    tokens = torch.full((G, 1), TOKENS)
    return ActivationCounts(LANGUAGES, firings, tokens, torch.ones_like(tokens), "mlp.act", "all")


def jittered(logit: Floats, random: np.random.Generator) -> Floats:
    """Every neuron moves on its own, with an SD of .2: two thirds of the variance in all languages alike."""
    n = logit.shape[1]
    moved: Floats = logit + 0.2 * (random.normal(0, 0.82, n) + random.normal(0, 0.57, (G, n)))
    return moved


def anywhere(number: int) -> Move:
    """Jitter, and lively neurons that are alike in all languages rise in one trained language."""

    def moved(logit: Floats, random: np.random.Generator) -> Floats:
        later = jittered(logit, random)
        even = np.argsort(np.ptp(logit, axis=0))[: logit.shape[1] // 2]
        lively = even[np.argsort(-logit[:, even].mean(axis=0))[: len(even) // 2]]
        chosen = random.permutation(lively)[:number]
        later[random.integers(1, 3, len(chosen)), chosen] += 2
        return later

    return moved


def specialised(number: int) -> Move:
    """Jitter, and related neurons of a trained language fall to the level of the quiet in all others."""

    def moved(logit: Floats, random: np.random.Generator) -> Floats:
        later = jittered(logit, random)
        chosen = chosen_of(logit, random, number, lambda owned: owned[1:3].any(axis=0) & (owned.sum(axis=0) > 1))
        keeps = logit[1:3, chosen].argmax(axis=0) + 1
        for language in range(G):
            later[language, chosen] -= 2 * (keeps != language)
        return later

    return moved


def shared(number: int) -> Move:
    """Jitter, and specific neurons rise in the trained languages to where they are in their own."""

    def moved(logit: Floats, random: np.random.Generator) -> Floats:
        later = jittered(logit, random)
        chosen = chosen_of(logit, random, number, lambda owned: owned.sum(axis=0) == 1)
        later[1:3, chosen] = later[:, chosen].max(axis=0)
        return later

    return moved


def chosen_of(
    logit: Floats, random: np.random.Generator, number: int, wanted: Callable[[NDArray[np.bool_]], NDArray[np.bool_]]
) -> NDArray[np.int64]:
    """Some of the selected neurons, (number,), whose owners, (G, n), are such; fewer where there are no more."""
    result = IDENTIFIER.identify(counted(logit, random))
    assert result.owned is not None
    owned = result.owned.flatten(1).numpy()
    return random.permutation(np.flatnonzero(wanted(owned) & result.selected.flatten().numpy()))[:number]


def shifted(logit: Floats, random: np.random.Generator) -> Floats:
    later = jittered(logit, random)
    later[SHIFTED] += 0.3
    return later


CELLS: dict[str, Move] = {
    "nothing but sampling": lambda logit, _: logit,
    "every neuron jitters": jittered,
    "uniform gain of .3, and jitter": lambda logit, random: jittered(logit, random) + 0.3,
    "a trained language gains .3, and jitter": shifted,
    "24 even neurons rise in a trained language": anywhere(24),
    "3 related neurons become specific": specialised(3),
    "6 related neurons become specific": specialised(6),
    "9 related neurons become specific": specialised(9),
    "3 specific neurons become related": shared(3),
    "6 specific neurons become related": shared(6),
    "9 specific neurons become related": shared(9),
}


def name_of(row: Row) -> str:
    """What a row of the lead is called; "" for others."""
    if not row.kind or row.layer is not None or row.language:
        return ""
    return row.kind if row.group == "all" else f"{row.group} {row.kind}"


def run(move: Move, seed: list[int], draws: int) -> dict[str, Floats]:
    """By row of the lead its count before, its change, the mean of reassigned movement and whether it is beyond it,
    corrected for the lead's questions by Holm, and uncorrected.
    """
    random = np.random.default_rng(seed)
    logit = population(random)
    first, second = counted(logit, random), counted(move(logit, random), random)
    anchor = IDENTIFIER.identify(first)
    before, after = (kind_counts(IDENTIFIER.identify(one, anchor), TRAINED) for one in (first, second))
    drawn = movement(first, second, IDENTIFIER, anchor, TRAINED, draws=draws, seed=seed[-1])
    change = np.array([row.value - old.value for row, old in zip(after, before, strict=True)])
    lead = [place for place, row in enumerate(before) if name_of(row)]
    p = rank_p(drawn, change)[lead]
    verdicts = adjusted(p, correction_for(len(lead))) < ALPHA
    count, change, brought = np.array([row.value for row in before])[lead], change[lead], drawn.mean(axis=0)[lead]
    columns = np.stack([count, change, brought, verdicts, p < ALPHA], axis=1)
    return dict(zip([name_of(before[place]) for place in lead], columns, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200, help="of each cell")
    parser.add_argument("--draws", type=int, default=DRAWS, help="of reassigned movement in each run")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| movement | {' | '.join(SHOWN)} | any of the lead | any, uncorrected |")
    print("|---|" + "---|" * (len(SHOWN) + 2))
    for place, (cell, move) in enumerate(CELLS.items()):
        runs = [run(move, [given.seed, place, number], given.draws) for number in range(given.runs)]
        found = {name: np.array([one[name] for one in runs]) for name in runs[0]}
        told = [
            f"{found[name][:, 3].mean():.3f} ({found[name][:, 1].mean():+.1f}; {found[name][:, 2].mean():+.1f})"
            for name in SHOWN
        ]
        some, plain = (np.mean(np.any([values[:, at] for values in found.values()], axis=0)) for at in (3, 4))
        print(f"| {cell} | {' | '.join(told)} | {some:.3f} | {plain:.3f} |", flush=True)
        if not place:
            counts = ", ".join(f"{name} {found[name][:, 0].mean():.1f}" for name in SHOWN)
    print(f"\nCounts before, on average: {counts}.")


if __name__ == "__main__":
    main()
