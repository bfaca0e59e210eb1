"""The neurons that fire most in each language: in every layer the fewest that hold a share of all its firings.

Tan et al. 2024 (arXiv 2404.11201) call them specialised. Languages are taken one by one: a neuron that fires often in
all of them is in every set.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch

from alignlab.errors import InputError, Problem
from alignlab.neurons.classification import Classification, by_sets
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.probabilities import Bools, Integers, named_probabilities

NAME = "activation_frequency"


def activation_frequency(counts: ActivationCounts, share: float = 0.9) -> Classification:
    """Of each language and layer, by descending count, the smallest set of neurons with `share` of all firings there.

    counts: the record, of L layers of N neurons.
    share: over 0, at most 1; taken as it is written in decimals, so that 0.9 of 10 firings is 9.

    Equal counts go by position. A layer that never fires in a language adds none. There is no threshold, since how many
    firings are enough is asked anew of every record. The order of the languages changes nothing else than the order of
    the result. Raises InputError for a share out of range, fewer than two languages, and counters that carry no
    information.

        >>> import torch
        >>> from alignlab import ActivationCounts
        >>> from alignlab.neurons.activation_frequency_identifier import activation_frequency
        >>> firings = torch.tensor([[[[60, 30, 9, 1]]], [[[0, 5, 5, 0]]]])  # a shard, a layer of 4
        >>> tokens = torch.tensor([[60], [60]])
        >>> counts = ActivationCounts(("en", "de"), firings, tokens, torch.ones_like(tokens), "mlp.act", "all")
        >>> {name: neurons.tolist() for name, neurons in activation_frequency(counts).sets.items()}
        {'en': [[True, True, False, False]], 'de': [[False, True, True, False]]}
    """
    if not 0 < share <= 1:
        raise InputError(Problem("share", f"{share}", "a share of all firings, over 0 and at most 1"))
    named_probabilities(counts, None)  # refuses what cannot be classified
    totals = counts.totals().numpy()
    held = np.zeros(totals.shape, dtype=np.bool_)
    for layer in range(totals.shape[1]):
        held[:, layer] = most_active(totals[:, layer], Fraction(str(share)))
    return by_sets(NAME, counts.languages, torch.from_numpy(held))


def most_active(firings: Integers, share: Fraction) -> Bools:
    """The fewest neurons with that share of each language's firings, (G, N) bool from (G, N)."""
    order = np.argsort(-firings, axis=1, kind="stable")
    reached = np.take_along_axis(firings, order, axis=1).cumsum(axis=1)
    needed = [math.ceil(share * int(total)) for total in reached[:, -1]]  # whole numbers, exactly
    held: Bools = np.zeros(firings.shape, dtype=np.bool_)
    # The first of a descending order are needed as long as those before them do not reach it.
    before = np.pad(reached[:, :-1], ((0, 0), (1, 0)))
    np.put_along_axis(held, order, before < np.array(needed)[:, None], axis=1)
    return held
