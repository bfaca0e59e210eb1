"""Which neurons are changed, against loops."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch

from alignlab.errors import InputError
from alignlab.intervening.chosen import Chosen, expressions_of, languages_of, neurons_of
from alignlab.intervening.grid import labels_of
from alignlab.intervening.options import ControlName
from alignlab.neurons import NeuronSets
from alignlab.recording.effects import ArmLabel


def test_each_is_made_for_every_language_and_names_with_a_g_are_left() -> None:
    found = expressions_of("specific(g) | (g - general)", {"both": "g & zh"}, ["zh", "de"])
    assert found == {
        "zh": "specific(zh) | (zh - general)", "de": "specific(de) | (de - general)", "both": "g & zh"
    }  # fmt: skip
    assert expressions_of("", {"x": "zh"}, ["zh"]) == {"x": "zh"}


def test_what_is_wrong_with_each_is_told_once() -> None:
    sets = NeuronSets({"zh": torch.ones(1, 3, dtype=torch.bool), "de": torch.zeros(1, 3, dtype=torch.bool)})
    expressions = expressions_of("g | missing", {"x": "fr"}, ["zh", "de"])
    with pytest.raises(InputError) as refused:
        neurons_of(expressions, sets, "paper", ["zh", "de"])
    assert [problem.where for problem in refused.value.problems] == ["each (zh)", "sets.x (x)"]


def test_languages_that_an_expression_names() -> None:
    assert languages_of("specific(zh) | (de & general)", ["en", "de", "zh", "d"]) == ["de", "zh"]
    assert languages_of("general", ["en"]) == []
    assert languages_of("zh-en|'zh-Hans'", ["de", "en", "zh", "zh-Hans"]) == ["en", "zh", "zh-Hans"]


def chosen(seed: int = 0) -> Chosen:
    draw = torch.Generator().manual_seed(seed)
    sets = torch.zeros(2, 3, 60, dtype=torch.bool)
    sets[0, :, :6] = torch.rand(3, 6, generator=draw) < 0.6
    sets[1, :, 6:12] = torch.rand(3, 6, generator=draw) < 0.6
    taken = torch.zeros(3, 60, dtype=torch.bool)
    taken[:, :20] = True
    p = {name: torch.rand(3, 60, generator=draw, dtype=torch.float64) for name in ("en", "de")}
    return Chosen(NeuronSets({"en": sets[0], "de": sets[1]}), taken, {"en": "en", "de": "de"}, p, among=5)


@pytest.mark.parametrize("seed", range(5))
def test_controls_are_as_many_in_every_layer_and_of_no_language(seed: int) -> None:
    of = chosen(seed)
    for label in labels_of(["en", "de"], ["zero"], [1.0], ["random", "matched"], 3)[1:]:
        neurons = of.neurons(label)
        assert torch.equal(neurons.sum(dim=1), of.sets[label.set].sum(dim=1))
        assert torch.equal(neurons, of.sets[label.set]) == (not label.control)
        if label.control:
            assert not (neurons & of.taken).any()
    drawn = [of.neurons(ArmLabel("x", "en", "zero", None, "matched", seed)) for seed in range(3)]
    assert not all(torch.equal(a, b) for a, b in itertools.combinations(drawn, 2))


def test_general_neurons_of_a_control_are_counted() -> None:
    of = chosen()
    general = torch.zeros(3, 60, dtype=torch.bool)
    general[:, 30:] = True
    label = ArmLabel("x", "en", "zero", None, "matched", 1)
    places = of.neurons(label).nonzero().tolist()
    assert replace(of, general=general).general_in(label) == sum(neuron >= 30 for _, neuron in places) > 0
    assert of.general_in(label) is None


@pytest.mark.parametrize("seed", range(5))
def test_the_gap_is_the_smallest_mean_distance_of_any_pairing(seed: int) -> None:
    of = chosen(seed)
    label = ArmLabel("x", "en", "zero", None, "matched", seed)
    neurons, total, count = of.neurons(label), 0.0, 0
    for layer in range(3):
        p = of.probabilities["en"][layer]
        mine = [float(p[place]) for place in range(60) if of.sets["en"][layer, place]]
        others = [float(p[place]) for place in range(60) if neurons[layer, place]]
        total += min(
            sum(abs(a - b) for a, b in zip(mine, order, strict=True)) for order in itertools.permutations(others)
        )
        count += len(mine)
    assert of.gap(label) == pytest.approx(total / count)
    assert math.isnan(Chosen(of.sets, of.taken, {}, {}).gap(ArmLabel("x", "en", "zero", None, "random", 0)))


@pytest.mark.parametrize("control", ["random", "matched"])
def test_what_draws_share_is_the_mean_over_pairs(control: ControlName) -> None:
    of = chosen(1)
    for name in ("en", "de"):
        drawn = [
            {tuple(place) for place in of.neurons(ArmLabel("x", name, "zero", None, control, seed)).nonzero().tolist()}
            for seed in range(4)
        ]
        pairs = [len(a & b) / len(a) for a, b in itertools.combinations(drawn, 2)]
        assert of.shared(name, control, 4) == pytest.approx(sum(pairs) / len(pairs))
        assert sum(pairs) > 0
