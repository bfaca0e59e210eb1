"""What is true of a model, measured: how often every neuron fires, and what its removal costs every language."""

from __future__ import annotations

import torch
from torch import nn

from alignlab.models.edits import NeuronEdit
from alignlab.models.lower_layers import find_lower_layers
from alignlab.models.sites import Site
from alignlab.neurons.probabilities import Floats
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.kept import Advance, nobody
from alignlab.recording.probes import Probe
from alignlab.recording.scoring import score


def firing_rates(model: nn.Module, sites: list[Site], probe: Probe) -> Floats:
    """(G, L * N): on which share of a language's tokens each neuron fires."""
    rates: Floats = count_firings(model, sites, probe, origin=Origin()).probabilities().flatten(1).numpy()
    return rates


def costs_of_removal(
    model: nn.Module, sites: list[Site], probe: Probe, max_tokens: int, advance: Advance = nobody
) -> Floats:
    """(G, L * N) nats a token: by how much a language's loss rises when the neuron's activation is made 0 everywhere.

    Every neuron is removed by itself, and all texts are read without it. advance: told documents times removals.
    """
    width, zero = sites[0].width, torch.zeros(1)
    places = [(layer, neuron) for layer in range(len(sites)) for neuron in range(width)]
    removals = [(NeuronEdit(torch.tensor([one]), torch.tensor([two]), zero, zero),) for one, two in places]
    documents = [document for of_language in probe.documents.values() for document in of_language]
    scores = score(
        model,
        documents,
        [(), *removals],
        max_tokens_per_batch=max_tokens,
        lower=find_lower_layers(model),
        sites={sites[0].at: sites},
        advance=lambda done, kept=False: None if kept else advance(done),  # nothing is kept within a seed
    )
    shape = len(probe.languages), -1
    nats = scores.nats.numpy().reshape(*shape, len(places) + 1).sum(axis=1)
    tokens = scores.counted.numpy().reshape(shape).sum(axis=1)
    costs: Floats = (nats[:, 1:] - nats[:, :1]) / tokens[:, None]
    return costs


def contrast(values: Floats) -> Floats:
    """(G, n): what a language has of each neuron, less the mean of the others."""
    others: Floats = (values.sum(axis=0) - values) / (len(values) - 1)
    return values - others
