"""Some of a model's layers, as people write them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from operator import index

import torch
from torch import Tensor

from alignlab.errors import Problem, refuse_any

# `0-7, 12`: numbers from 0 and ranges, both ends included; or the numbers themselves.
Layers = str | Iterable[int]
_RANGE = re.compile(r"(\d{1,6})(?:\s*-\s*(\d{1,6}))?")


def layer_mask(layers: Layers | None, count: int, where: str = "layers") -> Tensor:
    """Which of `count` layers are meant, (count,) bool; all where `layers` is None.

    layers: numbers from 0 and ranges with both ends, such as `0-7, 12`; or numbers, such as `range(8)` or a segment of
        `alignlab.neurons.layer_parts`.
    where: what names them, for messages.

    Raises InputError with every piece that is none, or outside of the model.

        >>> from alignlab.interventions import layer_mask
        >>> layer_mask("0-1, 3", 4).tolist()
        [True, True, False, True]
    """
    mask = torch.zeros(count, dtype=torch.bool)
    if layers is None:
        return ~mask
    problems = []
    pieces: list[str | int]
    if isinstance(layers, str):
        pieces = [piece.strip() for piece in layers.split(",")]
    else:
        pieces = [*layers] if isinstance(layers, Iterable) else [layers]
    expected = f"layers from 0 to {count - 1}, such as 0-{count // 2}"
    for piece in pieces:
        numbers = _numbers(piece)
        if numbers and numbers[0] >= 0 and numbers[-1] < count:
            mask[list(numbers)] = True
        else:
            problems.append(Problem(where, f"{piece!r}", expected))
    refuse_any(problems or ([] if pieces else [Problem(where, "none", expected)]))
    return mask


def _numbers(piece: str | int) -> Sequence[int]:
    """The layers of a piece, ascending; empty for what is none."""
    if not isinstance(piece, str):
        whole = hasattr(piece, "__index__") and not isinstance(piece, bool)
        return [index(piece)] if whole else []
    match = _RANGE.fullmatch(piece)
    return range(int(match[1]), int(match[2] or match[1]) + 1) if match else []
