"""Published masks in torch files.

lape (also what the ternary code writes): a list of languages of a list of layers of int64 indices, without names.
culture: a list of layers of bool tensors, one set a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignlab.errors import InputError, Problem, refuse_any
from alignlab.neurons.checks import index_problems
from alignlab.neurons.formats.files import save_torch, unfit


def index_lists(path: Path, content: Any, languages: Sequence[str], num_neurons: int) -> dict[str, Tensor]:
    """The sets of a lape file's content, (L, N) bool by name."""
    if not isinstance(content, list | tuple) or not all(isinstance(layers, list | tuple) for layers in content):
        raise InputError(Problem(f"{path}", "it holds something else", "a list of languages of a list of layers"))
    if len(content) != len(languages):
        fix = "Published code leaves languages without neurons out: the names must be those of the sets that are there."
        found = f"{len(content)} sets for {len(languages)} languages, {', '.join(languages)}"
        raise InputError(Problem(f"{path}", found, "a name for each set", fix))
    given = dict(zip(languages, content, strict=True))
    depths = {name: len(layers) for name, layers in given.items()}
    if len(set(depths.values())) != 1 or 0 in depths.values():
        raise InputError(Problem(f"{path}", f"layers by language: {depths}", "the same number for every language"))
    sets = {name: torch.zeros(len(layers), num_neurons, dtype=torch.bool) for name, layers in given.items()}
    problems = []
    for name, layers in given.items():
        for layer, indices in enumerate(layers):
            where = f"{path}, {name!r}, layer {layer}"
            wrong = _index_problems(where, indices, num_neurons)
            problems += wrong
            if not wrong:
                sets[name][layer, indices.long()] = True
    refuse_any(problems)
    return sets


def _index_problems(where: str, indices: Any, num_neurons: int) -> list[Problem]:
    if found := unfit(indices, 1, integers=True, floats=True, masks=True):
        found = found if isinstance(indices, Tensor) else type(indices).__name__
        return [Problem(where, found, "a tensor of indices")]
    if len(indices) and (indices.is_floating_point() or indices.dtype == torch.bool):  # torch.tensor([]) is of floats
        return [Problem(where, str(indices.dtype), "a tensor of indices")]
    return index_problems(where, indices.tolist(), num_neurons)


def save_index_lists(path: Path, sets: Mapping[str, Tensor]) -> None:
    """Write a lape file, in the order of the names. Raises OSError when it cannot be written."""
    content = [[layer.nonzero().flatten() for layer in mask] for mask in sets.values()]
    save_torch(path, content)


def layer_masks(path: Path, content: Any, num_neurons: int | None) -> Tensor:
    """The one set of a culture file's content, (L, N) bool."""
    if not isinstance(content, list | tuple) or not len(content) or any(unfit(t, 1, masks=True) for t in content):
        raise InputError(Problem(f"{path}", "it holds something else", "a list of layers of bool tensors"))
    widths = sorted({len(layer) for layer in content})
    if len(widths) > 1 or num_neurons not in (None, widths[0]):
        found = f"layers of {', '.join(map(str, widths))} neurons"
        raise InputError(Problem(f"{path}", found, f"layers of {num_neurons or 'the same number of'} neurons"))
    return torch.stack(list(content))


def save_layer_masks(path: Path, mask: Tensor) -> None:
    """Write a culture file. Raises OSError when it cannot be written."""
    # Clones: a row of a longer tensor would take all of it into the file.
    save_torch(path, [layer.clone() for layer in mask])
