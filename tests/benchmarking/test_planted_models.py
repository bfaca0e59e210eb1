"""What is planted is there: firings and costs of removal against plain forwards of models with weights set to zero."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from alignlab.benchmarking.building_models import Vocabulary, build_model
from alignlab.benchmarking.measuring import _beyond_others
from alignlab.benchmarking.options import PlantedOptions
from alignlab.benchmarking.planting import TRUTHS, language_names, plant, planted_number, truth_of, unplanted
from alignlab.benchmarking.texts import probe_of, shuffled
from alignlab.benchmarking.truth import contrast, costs_of_removal, firing_rates
from alignlab.models.sites import find_sites
from alignlab.recording.probes import Probe

SMALL = PlantedOptions(
    families=2, neurons=48, layers=2, width=32, concepts=20, shared=5, specific=2, family=1, pairs=1, idle=1, hidden=1,
    general=3,
)  # fmt: skip
G = 4


def made(options: PlantedOptions, seed: int, documents: int, tokens: int = 12) -> tuple[Any, list[Any], Any, Probe]:
    neurons = plant(options, seed)
    model = build_model(options, neurons, seed)
    probe = probe_of(Vocabulary.of(options, seed), language_names(options), documents, tokens, [seed, 9])
    return neurons, find_sites(model), model, probe


def losses(model: Any, probe: Probe) -> list[float]:
    """Nats a token of each language, text by text, from all logits."""
    found = []
    for documents in probe.documents.values():
        nats = []
        for document in documents:
            ids = torch.from_numpy(document.tokens).long()
            with torch.no_grad():
                logits = model(input_ids=ids[None]).logits[0]
            nats += cross_entropy(logits[:-1].double(), ids[1:], reduction="none").tolist()
        found.append(sum(nats) / len(nats))
    return found


@pytest.mark.parametrize("seed", [0, pytest.param(3, marks=pytest.mark.slow)])
def test_costs_are_those_of_a_model_whose_neuron_writes_nothing(seed: int) -> None:
    neurons, sites, model, probe = made(SMALL, seed, documents=2, tokens=8)
    costs = costs_of_removal(model, sites, probe, max_tokens=500)
    assert costs.shape == (G, 96)
    whole = losses(model, probe)
    for number, one in enumerate(neurons):
        without = copy.deepcopy(model)
        with torch.no_grad():
            without.model.layers[one.layer].mlp.down_proj.weight[:, one.place] = 0
        expected = np.array(losses(without, probe)) - whole
        assert costs[:, number] == pytest.approx(expected, abs=5e-6)


def test_rates_are_those_of_gates_over_zero() -> None:
    _, sites, model, probe = made(SMALL, 1, documents=3)
    seen: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for layer in seen:
        model.model.layers[layer].mlp.gate_proj.register_forward_hook(
            lambda _module, _inputs, output, layer=layer: seen[layer].append(output[0] > 0)
        )
    for documents in probe.documents.values():
        for document in documents:
            model(input_ids=torch.from_numpy(document.tokens).long()[None])
    fired = torch.cat([torch.cat(seen[layer]).view(G, -1, 48).double().mean(dim=1) for layer in seen], dim=1)
    with torch.no_grad():
        found = firing_rates(model, sites, probe)
    assert found == pytest.approx(fired.numpy(), abs=1e-12)


@pytest.mark.parametrize("seed", [2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 1, 5, 6, 7))])
def test_what_was_planted_is_what_all_neurons_do(seed: int) -> None:
    """Both truths stand out among all neurons, and nothing else does what they say."""
    options = PlantedOptions(neurons=64, layers=3, specific=3, family=2, pairs=2, idle=2, hidden=2, general=8)
    neurons, sites, model, probe = made(options, seed, documents=8)
    names = language_names(options)
    many = probe_of(Vocabulary.of(options, seed), names, 120, 24, [seed, 10])
    rates, costs = firing_rates(model, sites, many), costs_of_removal(model, sites, probe, max_tokens=8192)
    kinds = np.array([one.kind for one in neurons])
    own = np.array([[language in one.languages for one in neurons] for language in range(len(names))])
    true = {truth: truth_of(neurons, truth, len(names)) for truth in TRUTHS}

    more = _beyond_others(rates, own)
    assert more[true["selective"]].min() > 0.1  # 0.4 to 0.95 of own words, 0.02 to 0.1 elsewhere; kin are between
    assert np.abs(more[:, kinds == "hidden"]).max() < 1e-3
    assert np.abs(more[:, kinds == "general"]).max() < 1e-3
    assert more[:, kinds == "background"].max() < more[true["selective"]].mean()
    assert costs[true["necessary"]].min() > 0
    assert costs[true["necessary"]].mean() > 10 * np.abs(costs[:, kinds == "idle"]).max()
    assert np.quantile(np.abs(costs[:, kinds == "background"]), 0.95) < np.quantile(costs[true["necessary"]], 0.05)
    general = costs[:, kinds == "general"].mean(axis=0)
    assert general.mean() > 0.003
    assert general.min() > -0.1 * general.max()  # text is short
    for truth, values in (("selective", rates), ("necessary", costs)):
        ranked = np.argsort(-contrast(values), axis=1)
        hits = [true[truth][g][ranked[g, : true[truth][g].sum()]].mean() for g in range(len(names))]
        assert np.mean(hits) > 0.9


def test_rates_are_those_that_were_drawn() -> None:
    """Of words, not of shared tokens, in long text; family directions are read less by others of the family."""
    options = SMALL.model_copy(update={"shared": 0, "kinship": 0.0, "concepts": 400})
    neurons, sites, model, probe = made(options, 0, documents=150, tokens=20)
    rates = firing_rates(model, sites, probe)
    for number, one in enumerate(neurons):
        expected = [one.rate if language in one.languages or not one.languages else one.other for language in range(G)]
        if one.kind == "background":  # which languages move a little
            continue
        assert rates[:, number] == pytest.approx(expected, abs=0.1)


def test_no_neuron_changes_where_another_fires() -> None:
    _, sites, model, probe = made(SMALL, 2, documents=3)
    before = firing_rates(model, sites, probe)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
    assert np.abs(firing_rates(model, sites, probe) - before).max() < 1e-3


def test_a_seed_tells_all_and_leaves_torch_alone() -> None:
    state = torch.random.get_rng_state()
    one, two, other = (made(SMALL, seed, 2)[2].state_dict() for seed in (4, 4, 5))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["lm_head.weight"], other["lm_head.weight"])


def test_numbers_and_places_of_what_is_planted() -> None:
    neurons = plant(SMALL, 0)
    kinds = [one.kind for one in neurons]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "specific": 8, "family": 2, "pair": 1, "idle": 4, "hidden": 4, "general": 3, "background": 74,
    }  # fmt: skip
    assert len(neurons) - kinds.count("background") == planted_number(SMALL) == 22
    assert [(one.layer, one.place) for one in neurons] == [(layer, place) for layer in range(2) for place in range(48)]
    assert {one.layer for one in neurons if one.kind == "specific"} == {0, 1}
    assert all(a // 2 != b // 2 for a, b in (one.languages for one in neurons if one.kind == "pair"))
    assert {one.languages for one in neurons if one.kind == "family"} == {(0, 1), (2, 3)}
    nothing = unplanted(SMALL, neurons, 0)
    assert {one.kind for one in nothing} == {"background"}
    assert [one for one, was in zip(nothing, kinds, strict=True) if was == "background"] == [
        one for one in neurons if one.kind == "background"
    ]


def test_texts_say_the_same_and_shuffled_ones_lose_only_their_labels() -> None:
    _, _, _, probe = made(SMALL, 0, documents=6)
    words, first = 20, probe.documents["a1"]
    for language, name in enumerate(probe.languages):
        for mine, theirs in zip(first, probe.documents[name], strict=True):
            assert mine.id == theirs.id
            own = mine.tokens < words
            assert (theirs.tokens[own] - mine.tokens[own] == language * words).all()
            assert (theirs.tokens[~own] == mine.tokens[~own]).all()
    other = shuffled(probe, [1])
    for number in range(6):
        texts = [sorted(tuple(of.documents[name][number].tokens) for name in probe.languages) for of in (probe, other)]
        assert texts[0] == texts[1]
    assert other.fingerprint != probe.fingerprint
