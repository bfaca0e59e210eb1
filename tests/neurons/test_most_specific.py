"""The most specific neurons of a set, against a loop over its neurons."""

from __future__ import annotations

import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons.most_specific import most_specific

NAMES = ("en", "de", "sw")


@pytest.mark.parametrize("number", [0, 1, 4, 1000])
def test_they_are_those_of_a_loop(number: int) -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.randint(0, 6, (3, 4, 30), generator=generator).double() / 5  # many equal ones
    sets = {name: torch.rand(4, 30, generator=generator) < 0.4 for name in NAMES}
    found = most_specific(sets, NAMES, p, number)
    assert list(found) == list(NAMES)
    for place, name in enumerate(NAMES):
        beyond = {}
        for layer in range(4):
            for neuron in range(30):
                others = max(float(p[other, layer, neuron]) for other in range(3) if other != place)
                margin = float(p[place, layer, neuron]) - others
                if sets[name][layer, neuron] and margin > 0:
                    beyond[layer, neuron] = margin
        assert len(beyond) > 4
        assert found[name] == sorted(beyond, key=lambda one: (-beyond[one], one))[:number]


def test_no_neuron_is_of_two_languages_and_an_empty_set_has_none() -> None:
    p = torch.zeros(3, 1, 3)
    p[0, 0, 0] = p[1, 0, 0] = 1  # equal in two: specific to neither
    p[2, 0, 1] = 0.5
    every = torch.ones(1, 3, dtype=torch.bool)
    assert most_specific(dict.fromkeys(NAMES, every), NAMES, p, 5) == {"en": [], "de": [], "sw": [(0, 1)]}
    assert most_specific({"sw": ~every}, NAMES, p, 5) == {"sw": []}


def test_what_cannot_be_asked_is_refused() -> None:
    p, sets = torch.zeros(3, 1, 3), {"en": torch.ones(1, 3, dtype=torch.bool)}
    with pytest.raises(InputError, match="0 or more"):
        most_specific(sets, NAMES, p, -1)
    with pytest.raises(InputError, match="two or more"):
        most_specific(sets, ("en",), p[:1], 1)
    with pytest.raises(InputError, match="'xx'"):
        most_specific({"xx": sets["en"]}, NAMES, p, 1)
