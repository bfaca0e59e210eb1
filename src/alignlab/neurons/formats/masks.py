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
from alignlab.neurons.formats.files import save_torch


def index_lists(path: Path, content: Any, languages: Sequence[str], num_neurons: int | None) -> dict[str, Tensor]:
    """The sets of a lape file's content, (L, N) bool by name."""
    if num_neurons is None:
        fix = "Pass num_neurons=..., the neurons of a layer: indices alone do not tell it."
        raise InputError(Problem(f"{path}", "num_neurons is not given", "it, for a list of indices", fix))
    if not isinstance(content, list | tuple) or not all(isinstance(layers, list | tuple) for layers in content):
        raise InputError(Problem(f"{path}", "it holds something else", "a list of languages of a list of layers"))
    if len(content) != len(languages):
        fix = "Published code leaves languages without neurons out: the names must be those of the sets that are there."
        found = f"{len(content)} sets for {len(languages)} languages, {', '.join(languages)}"
        raise InputError(Problem(f"{path}", found, "a name for each set", fix))
    depths = {name: len(layers) for name, layers in zip(languages, content, strict=True)}
    if len(set(depths.values())) != 1 or 0 in depths.values():
        raise InputError(Problem(f"{path}", f"layers by language: {depths}", "the same number for every language"))
    sets, problems = {}, []
    for name, layers in zip(languages, content, strict=True):
        mask = torch.zeros(len(layers), num_neurons, dtype=torch.bool)
        for layer, indices in enumerate(layers):
            problem = _index_problem(indices, num_neurons)
            if problem is not None:
                problems.append(Problem(f"{path}, {name!r}, layer {layer}", *problem))
            else:
                mask[layer, indices.long()] = True
        sets[name] = mask
    refuse_any(problems)
    return sets


def _index_problem(indices: Any, num_neurons: int) -> tuple[str, str] | None:
    if not isinstance(indices, Tensor) or indices.ndim != 1:
        found = f"shape {tuple(indices.shape)}" if isinstance(indices, Tensor) else type(indices).__name__
        return found, "a tensor of indices"
    if not len(indices):
        return None  # torch.tensor([]) is of floats
    if indices.is_floating_point() or indices.dtype == torch.bool:
        return str(indices.dtype), "a tensor of indices"
    low, high = int(indices.min()), int(indices.max())
    if low < 0 or high >= num_neurons:
        return f"index {low if low < 0 else high}", f"indices from 0 to {num_neurons - 1}, of {num_neurons} neurons"
    return None


def save_index_lists(path: Path, sets: Mapping[str, Tensor]) -> None:
    """Write a lape file, in the order of the names. Raises OSError when it cannot be written."""
    content = [[layer.nonzero().flatten() for layer in mask] for mask in sets.values()]
    save_torch(path, content)


def layer_masks(path: Path, content: Any, num_neurons: int | None) -> Tensor:
    """The one set of a culture file's content, (L, N) bool."""
    tensors = isinstance(content, list | tuple) and all(isinstance(layer, Tensor) for layer in content)
    if not tensors or not len(content) or any(t.dtype != torch.bool or t.ndim != 1 for t in content):
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
