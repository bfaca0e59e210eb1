"""Checks that several functions of this package make of what they are given, each in one place and one wording."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from alignlab.console import has_controls
from alignlab.errors import InputError, Problem, did_you_mean, refuse_any


def differences(where: str, found: Mapping[str, str], first: Mapping[str, str]) -> list[Problem]:
    """What of some things, in words, is not as in the first record."""
    return [
        Problem(where, found[name], f"{first[name]}, as in the first") for name in first if found[name] != first[name]
    ]


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
    first, second = ({"languages": ", ".join(names)} for names in (languages if in_order else map(sorted, languages)))
    alike = differences(f"languages of the second {what}", second, first)
    before, after = ({"shape": f"{tuple(shape)} {axes}"} for shape in shapes)
    refuse_any(alike + differences(f"shape of the second {what}", after, before))


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


def name_problems(where: str, names: Sequence[str]) -> list[Problem]:
    """Whether names are missing, empty or there more than once."""
    repeated = sorted({name for name in names if names.count(name) > 1})
    problems = [Problem(where, f"{name!r} is there more than once", "every name once") for name in repeated]
    if not names or not all(names):
        problems.append(Problem(where, f"{list(names)!r}", "one or more names, none of them empty"))
    expected = "names without control characters"
    problems += [Problem(where, f"{name!r}", expected) for name in names if has_controls(name)]
    return problems


def require_one_of(where: str, value: str, choices: Collection[str]) -> None:
    """Raises InputError, with the nearest choice, for a value that is none of them."""
    if value not in choices:
        raise InputError(Problem(where, f"{value!r}", f"one of {', '.join(choices)}", did_you_mean(value, choices)))


def index_problems(where: str, indices: Collection[int], num_neurons: int) -> list[Problem]:
    """Whether some index, of which the lowest is told, is none of a layer's neurons."""
    wrong = [index for index in indices if not 0 <= index < num_neurons]
    expected = f"indices from 0 to {num_neurons - 1}, of {num_neurons} neurons"
    return [Problem(where, f"index {min(wrong)}", expected)] if wrong else []


@contextmanager
def reading(
    path: Path, form: str, expected: str, errors: tuple[type[Exception], ...], fix: str = "Is it truncated?"
) -> Iterator[None]:
    """Refuses a file that is not there, and one that cannot be read as `form`, which is what `errors` mean."""
    try:
        yield
    except FileNotFoundError:
        raise InputError(Problem(f"{path}", "there is no such file", expected)) from None
    except errors as error:
        found = f"cannot be read as {form} ({error!r:.100})"
        raise InputError(Problem(f"{path}", found, expected, fix)) from None
