"""Kinds of neurons, by the number of languages in which they lie above tau (Zhang et al. 2025).

In numpy, on the tensors' own memory: on operations this small, torch's threads cost more than they save.
"""

from __future__ import annotations

from enum import IntEnum
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from alignlab.neurons.checks import require_one_of
from alignlab.neurons.options import Convention


class Kind(IntEnum):
    """The kind of a neuron; its value is the code in the tensors of :func:`kinds_of`."""

    NONE = 0  # of no kind: not selected, or above tau in no language where there is no selection
    SPECIFIC = 1  # above tau in one language
    RELATED = 2  # above tau in more than one language, but not in all
    GENERAL = 3  # above tau in every language
    UNASSIGNED = 4  # selected, but above tau in no language

    @property
    def label(self) -> str:
        """The name in tables and files, such as ``specific``."""
        return self.name.lower()


def kinds_of(degree: Tensor, selected: Tensor, g: int, convention: Convention = "paper") -> Tensor:
    """The Kind of every neuron, (L, N) int8.

    degree: (L, N) integers, from 0 to `g`, the number of languages. selected: (L, N) bool.

    paper: specific, related and unassigned from the selection, general from all neurons.
    selection: every kind from the selection.
    all: every kind from all neurons, by the degree alone; there is no unassigned then.

    The conventions can disagree about a language, so every table names the one it shows.
    """
    require_one_of("kinds", convention, get_args(Convention))
    by_degree = np.full(g + 1, Kind.RELATED, dtype=np.int8)
    by_degree[0] = Kind.NONE if convention == "all" else Kind.UNASSIGNED
    by_degree[1] = Kind.SPECIFIC
    by_degree[g] = Kind.GENERAL
    kinds = by_degree[degree.numpy()]
    if convention != "all":
        shown = selected.numpy() | ((kinds == Kind.GENERAL) & (convention == "paper"))
        kinds[~shown] = Kind.NONE
    return torch.from_numpy(kinds)
