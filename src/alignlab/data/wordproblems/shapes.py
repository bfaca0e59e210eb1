"""What each problem calculates, in no language.

A shape names the numbers of a problem, where they are drawn from and the steps from them to the answer. The words come
from the language files: their `templates` have one entry for every shape here, under the same name.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass

OPERATORS: Mapping[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,  # shapes that divide draw the quotient and set the dividend, so nothing is left over
}
# No text ever speaks of 0 or 1 of a thing, so that languages need no singular after a number.
SMALLEST = 2


@dataclass(frozen=True)
class Shape:
    """One kind of problem.

    name: key of its text in every language.
    draw: the numbers that are chosen, each as (least, greatest), both possible.
    steps: the calculation, each `result = left operator right`; the last result is the answer.
    before: calculations of the same form that give numbers the question states but that are not drawn.
    """

    name: str
    draw: Mapping[str, tuple[int, int]]
    steps: tuple[str, ...]
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step that has been calculated: `work` is its left-hand side in digits, `result` the value."""

    work: str
    result: int


def calculate(step: str, numbers: dict[str, int]) -> Step:
    """Do `result = left operator right`, and add the result to `numbers` (drawn numbers are kept)."""
    result, _, left, sign, right = step.split()
    value = OPERATORS[sign](numbers[left], numbers[right])
    numbers[result] = value
    return Step(f"{numbers[left]} {sign} {numbers[right]}", value)


SHAPES: tuple[Shape, ...] = (
    Shape("gets_more", {"a": (3, 60), "b": (2, 39)}, ("c = a + b",)),
    Shape("gives_away", {"a": (10, 90), "b": (2, 60)}, ("c = a - b",)),
    Shape("full_boxes", {"a": (2, 12), "b": (2, 12)}, ("c = a * b",)),
    Shape("shares_out", {"b": (2, 9), "c": (2, 12)}, ("c = a / b",), before=("a = b * c",)),
    Shape("buys", {"a": (2, 9), "b": (2, 9), "c": (20, 99)}, ("d = a * b", "e = c - d")),
    Shape("boxes_and_loose", {"a": (2, 9), "b": (2, 12), "c": (2, 30)}, ("d = a * b", "e = d + c")),
    Shape("times_as_many", {"a": (2, 12), "b": (2, 6)}, ("d = a * b", "e = d + a")),
    Shape("reading", {"a": (3, 12), "b": (2, 9), "c": (30, 110)}, ("d = a * b", "e = c - d")),
    Shape("sells_days", {"a": (3, 40), "b": (2, 30), "c": (2, 30)}, ("d = a + b", "e = d + c")),
    Shape("gives_and_gets", {"a": (10, 80), "b": (2, 40), "c": (2, 30)}, ("d = a - b", "e = d + c")),
    Shape("how_many_more", {"a": (10, 90), "b": (2, 60)}, ("c = a - b",)),
    Shape("fewer_together", {"a": (6, 50), "b": (2, 30)}, ("d = a - b", "e = a + d")),
    Shape(
        "pool_and_share",
        {"b": (2, 40), "c": (2, 9), "q": (2, 12)},
        ("d = a + b", "e = d / c"),
        before=("t = c * q", "a = t - b"),
    ),
    Shape(
        "packs_and_sells", {"b": (2, 9), "c": (2, 9), "q": (2, 9)}, ("d = a / b", "e = d * c"), before=("a = b * q",)
    ),
    Shape("two_prices", {"a": (2, 9), "b": (2, 9), "c": (2, 9), "d": (2, 9)}, ("e = a * b", "f = c * d", "g = e + f")),
    Shape("bus", {"a": (10, 60), "b": (2, 30), "c": (2, 30)}, ("d = a - b", "e = d + c")),
    Shape("age", {"a": (4, 40), "b": (2, 20), "c": (2, 20)}, ("d = a + b", "e = d + c")),
    Shape("garden", {"a": (2, 9), "b": (2, 12), "c": (2, 40)}, ("d = a * b", "e = d - c")),
    Shape("bakery", {"a": (2, 9), "b": (2, 5), "c": (2, 4)}, ("d = a * b", "e = d * c")),
    Shape(
        "days_to_finish",
        {"a": (3, 12), "d": (5, 60), "q": (2, 9)},
        ("e = c - d", "f = e / a"),
        before=("t = a * q", "c = t + d"),
    ),
    Shape("school_class", {"a": (2, 12), "b": (2, 12), "c": (2, 4)}, ("d = a + b", "e = d * c")),
    Shape("hat", {"a": (2, 9), "b": (2, 9), "c": (2, 20), "d": (30, 99)}, ("e = a * b", "f = e + c", "g = d - f")),
)
