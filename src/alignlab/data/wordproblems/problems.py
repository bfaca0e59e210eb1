"""Which problem stands at an index: its shape, numbers, names and thing. A pure function of (split, seed, index)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

from alignlab.data.wordproblems.shapes import SHAPES, SMALLEST, Shape, Step, calculate

# A shape with its numbers falls into one of ten parts, and a split owns some of the parts. So no shape has the same
# numbers in two splits, whatever the names and things, and however many problems are drawn.
PARTS = 10
SPLITS: Mapping[str, range] = {"train": range(8), "probe": range(8, 9), "test": range(9, 10)}
NAMES = 6  # women, and as many men, in every language
THINGS = 8


@dataclass(frozen=True)
class WordProblem:
    """A problem in no language: places in the lists of a language, numbers by placeholder and the worked steps."""

    shape: str
    numbers: Mapping[str, int]
    steps: tuple[Step, ...]
    woman: int
    man: int
    thing: int


def problem_at(split: str, seed: int, index: int) -> WordProblem:
    """The problem at `index` (from 0, without end) of a split, drawn with `seed`."""
    # A string seeds random.Random through SHA-512, so every process and platform draws the same.
    rng = random.Random(f"wordproblems/{split}/{seed}/{index}")
    shape = SHAPES[rng.randrange(len(SHAPES))]
    while True:
        drawn = {name: rng.randint(least, greatest) for name, (least, greatest) in shape.draw.items()}
        numbers, steps = work_out(shape, drawn)
        if min(numbers.values()) >= SMALLEST and part(shape.name, drawn) in SPLITS[split]:
            break
    return WordProblem(
        shape.name, numbers, steps, woman=rng.randrange(NAMES), man=rng.randrange(NAMES), thing=rng.randrange(THINGS)
    )


def work_out(shape: Shape, drawn: Mapping[str, int]) -> tuple[dict[str, int], tuple[Step, ...]]:
    """All numbers of a problem, by placeholder, and its steps, from the numbers that were drawn."""
    numbers = dict(drawn)
    for step in shape.before:
        calculate(step, numbers)
    return numbers, tuple(calculate(step, numbers) for step in shape.steps)


def part(shape: str, drawn: Mapping[str, int]) -> int:
    """Which of the `PARTS` parts a shape with these drawn numbers falls into."""
    key = f"{shape}:" + ",".join(f"{name}={drawn[name]}" for name in sorted(drawn))
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % PARTS
