"""Checks that several functions of this package make of what they are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from alignlab.errors import Problem, refuse_any


def require_alike(
    what: str,
    languages: tuple[Sequence[str], Sequence[str]],
    shapes: tuple[Sequence[int], Sequence[int]],
    *,
    axes: str = "layers, neurons",
    in_order: bool = False,
) -> None:
    """Raises InputError unless two of `what`, a first and a second, are of the same languages and the same shape.

    in_order: the order of the languages matters too.
    """
    first, second = languages if in_order else map(sorted, languages)
    problems = []
    if list(first) != list(second):
        found, expected = ", ".join(languages[1]), ", ".join(languages[0])
        problems.append(Problem(f"languages of the second {what}", found, f"{expected}, as in the first"))
    before, after = (tuple(shape) for shape in shapes)
    if before != after:
        problems.append(Problem(f"shape of the second {what}", f"{after} {axes}", f"{before}, as in the first"))
    refuse_any(problems)


def grid_problems(grids: Mapping[str, Tensor], dtype: torch.dtype) -> list[Problem]:
    """Which tensors, by name, are not (layers, neurons) of `dtype` and of one shape, that of the first that has one."""
    shapes = {name: tuple(grid.shape) for name, grid in grids.items()}
    wanted = next((shape for shape in shapes.values() if len(shape) == 2 and 0 not in shape), None)
    expected = f"{wanted or 'two axes'} of {dtype}, (layers, neurons), the same for all"
    return [
        Problem(name, f"shape {shapes[name]} of {grid.dtype}", expected)
        for name, grid in grids.items()
        if grid.dtype != dtype or shapes[name] != wanted
    ]


def range_problems(where: str, values: Tensor, most: float = 1.0) -> list[Problem]:
    """Whether values, one or more, leave the range from 0 to `most`."""
    low, high = (float(value) for value in torch.aminmax(values))
    # Written so that NaN, which aminmax hands on, is refused too.
    return [] if low >= 0 and high <= most else [Problem(where, f"values from {low} to {high}", "from 0 to 1")]
