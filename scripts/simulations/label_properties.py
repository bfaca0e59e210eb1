"""False alarms and power of numbers of labels against their properties; docs/statistics/labels.md has the tables.

    python scripts/simulations/label_properties.py --runs 1000

A run draws a number for every label and asks what `analyze analyses=[label_properties]` asks. Nothing: the numbers are
independent of all properties. Families: labels of a family are alike (a share of the variance is the family's), the
resource goes by family too, and neither has to do with the other. The same seed gives the same table.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from alignlab.analysis.associations import between_groups, rank_correlation

ALPHA = 0.05
SIZES = (6, 8, 11, 20, 50)
CORRELATIONS = (0.3, 0.5, 0.7, 0.9)
SHARED = (0.3, 0.6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each cell")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random = np.random.default_rng(options.seed)
    header = ["labels", "nothing", "three levels", "groups", *(f"r {r}" for r in CORRELATIONS), "held at r .5"]
    header += [f"families {shared}" for shared in SHARED]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for n in SIZES:
        cells = [f"{share:.3f}" for share in row(n, options.runs, random)]
        lines.append("| " + " | ".join([str(n), *cells]) + " |")
    print("\n".join(lines))


def row(n: int, runs: int, random: np.random.Generator) -> list[float]:
    """The share of runs with p under .05: nothing, nothing in three levels, nothing between groups, and so on."""
    levels, groups = [float(place % 3) for place in range(n)], [place % 3 for place in range(n)]
    told = [
        share(lambda: rank_correlation(normal(random, n), normal(random, n)).p, runs),
        share(lambda: rank_correlation(normal(random, n), levels).p, runs),
        share(lambda: between_groups(normal(random, n), groups).p, runs),
    ]
    told += [share(lambda r=r: rank_correlation(*pair(random, n, r)).p, runs) for r in CORRELATIONS]  # type: ignore[misc]
    true = 6 / math.pi * math.asin(0.5 / 2)  # Spearman's correlation of two normal numbers with Pearson's of .5
    held = 0
    for _ in range(runs):
        found = rank_correlation(*pair(random, n, 0.5))
        held += found.low <= true <= found.high
    told.append(held / runs)
    return told + [share(lambda s=s: of_families(random, n, s), runs) for s in SHARED]  # type: ignore[misc]


def share(p: object, runs: int) -> float:
    return sum(p() < ALPHA for _ in range(runs)) / runs  # type: ignore[operator]


def normal(random: np.random.Generator, n: int) -> list[float]:
    return [float(value) for value in random.normal(size=n)]


def pair(random: np.random.Generator, n: int, r: float) -> tuple[list[float], list[float]]:
    drawn = random.multivariate_normal([0, 0], [[1, r], [r, 1]], size=n)
    return drawn[:, 0].tolist(), drawn[:, 1].tolist()


def of_families(random: np.random.Generator, n: int, shared: float) -> float:
    """p where labels of three make a family, whose number and resource are drawn apart from each other."""
    family = np.arange(n) // 3
    sides = [
        math.sqrt(shared) * random.normal(size=n)[family] + math.sqrt(1 - shared) * random.normal(size=n)
        for _ in range(2)
    ]
    return rank_correlation(sides[0].tolist(), sides[1].tolist()).p


if __name__ == "__main__":
    main()
