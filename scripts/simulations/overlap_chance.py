"""Size and power of the verdicts on overlaps between languages; docs/statistics/overlap_chance.md has the table.

    python scripts/simulations/overlap_chance.py --runs 2000

A run makes related neurons, each of two languages or more, and asks what `analyze` asks. Nothing shared: given the
margins all memberships are equally probable, but languages differ in size and neurons in degree. Something shared: of
the neurons that one language of a planted pair has and the other lacks, some give up another language for it, so that
their degrees stay. The same seed gives the same table.
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alignlab.neurons import language_overlaps, overlap
from alignlab.neurons.family_overlap import family_overlap

ALPHA = 0.05
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Cell:
    """What is simulated.

    languages, layers, related: G, L, and related neurons in a layer.
    spread: standard deviation of the languages' log odds of owning a neuron.
    planted: `pair`, the first and the second language; `families`, all pairs within one; "", none.
    moved: the share of the neurons of one language alone that the other gets too.
    """

    languages: int
    layers: int
    related: int
    spread: float = 0.8
    planted: str = ""
    moved: float = 0.0

    @property
    def families(self) -> list[list[int]]:
        """Families of three or two languages, and the rest alone."""
        threes = [[0, 1, 2], [3, 4]]
        rest = [[language] for language in range(5, self.languages)]
        return threes + rest

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Planted ones."""
        if self.planted == "pair":
            return [(0, 1)]
        return [pair for family in self.families for pair in itertools.combinations(family, 2)] if self.planted else []

    def memberships(self, random: np.random.Generator) -> Bools:
        """(G, L, n)."""
        return np.stack([self._layer(random) for _ in range(self.layers)], axis=1)

    def _layer(self, random: np.random.Generator) -> Bools:
        odds = np.exp(random.normal(-0.9, self.spread, self.languages))
        kept: list[Bools] = []
        while len(kept) < self.related:
            rows = random.random((4 * self.related, self.languages)) < odds / (1 + odds)
            degree = rows.sum(axis=1)
            kept += list(rows[(degree > 1) & (degree < self.languages)])
        members = np.stack(kept[: self.related])
        for a, b in self.pairs:
            self._share(members, a, b, random)
        return members.T

    def _share(self, members: Bools, a: int, b: int, random: np.random.Generator) -> None:
        for place in np.flatnonzero(members[:, a] ^ members[:, b]):
            if random.random() < self.moved:
                others = [other for other in np.flatnonzero(members[place]) if other not in (a, b)]
                members[place, random.choice(others)] = False
                members[place, [a, b]] = True


CELLS = (
    Cell(6, 4, 30),
    Cell(10, 1, 30),
    Cell(10, 4, 30),
    Cell(10, 4, 30, spread=1.5),
    Cell(20, 2, 40),
    Cell(10, 4, 60, planted="pair", moved=0.2),
    Cell(10, 4, 60, planted="pair", moved=0.3),
    Cell(10, 12, 90, planted="pair", moved=0.1),
    Cell(10, 4, 60, planted="families", moved=0.1),
    Cell(10, 12, 90, planted="families", moved=0.05),
)


@dataclass
class Found:
    """Of a run: shares of pairs, or whether.

    pairs: p under .05.  any: an adjusted one.  families: p of theirs.
    independent: |z| over 1.96 by chance that draws every language by itself from twice as many selected neurons.
    planted: of planted pairs, those with an adjusted p under .05 that share more.
    excess: mean Jaccard beyond the margins of planted pairs.
    expected: mean Jaccard of all pairs that the margins give.
    """

    pairs: float
    any: bool
    families: bool
    independent: float
    planted: float
    excess: float
    expected: float


def run(cell: Cell, random: np.random.Generator) -> Found:
    """One."""
    drawn = cell.memberships(random)
    masks = torch.from_numpy(np.concatenate([drawn, np.zeros_like(drawn)], axis=2))
    sets: dict[str, Tensor] = {f"l{place:02d}": mask for place, mask in enumerate(masks)}
    names = list(sets)
    found = language_overlaps(sets)
    family_of = {names[language]: str(i) for i, family in enumerate(cell.families) for language in family}
    known = [shared for shared in found.pairs.values() if shared.p == shared.p]
    planted = [found.pairs[names[a], names[b]] for a, b in cell.pairs]
    return Found(
        float(np.mean([shared.p < ALPHA for shared in known])),
        any(shared.p_adjusted < ALPHA for shared in known),
        family_overlap(found, family_of).p < ALPHA,
        float(np.mean([abs(overlap(sets[a], sets[b]).z) > 1.96 for a, b in found.pairs])),
        float(np.mean([shared.p_adjusted < ALPHA and shared.excess > 0 for shared in planted])) if planted else np.nan,
        float(np.mean([shared.excess for shared in planted])) if planted else np.nan,
        float(np.mean([shared.expected_jaccard for shared in found.pairs.values()])),
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=int, nargs="*", help="their numbers, from 0; all")
    given = parser.parse_args()
    names = [
        *("cell", "languages", "layers x related", "spread", "planted", "excess"),
        *("p < .05", "any", "families", "independent", "power"),
    ]
    print(f"| {' | '.join(names)} |")
    print("|" + "---|" * len(names))
    for number in given.cells or range(len(CELLS)):
        cell = CELLS[number]
        random = np.random.default_rng([given.seed, number])
        runs = [run(cell, random) for _ in range(given.runs)]

        def mean(name: str, runs: list[Found] = runs) -> float:
            return float(np.mean([getattr(one, name) for one in runs]))

        size = f"{cell.languages} | {cell.layers} x {cell.related} | {cell.spread}"
        what = f"{cell.planted}, {cell.moved:.0%} moved" if cell.planted else "nothing"
        excess = f"+{mean('excess'):.3f} over {mean('expected'):.2f}" if cell.planted else ""
        shares = " | ".join(f"{mean(name):.3f}" for name in ("pairs", "any", "families", "independent"))
        power = f"{mean('planted'):.3f}" if cell.planted else ""
        print(f"| {number} | {size} | {what} | {excess} | {shares} | {power} |", flush=True)


if __name__ == "__main__":
    main()
