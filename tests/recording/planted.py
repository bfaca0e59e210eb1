"""A Llama in which one neuron makes the answers of each language, and a decoy that fires for one and does nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from alignlab.data.encoding import Document
from alignlab.recording.probes import Probe

LANGUAGES = {"en": range(10, 100), "sw": range(110, 200)}
ANSWERS = {"en": 50, "sw": 150}
NEURONS = {"en": 7, "sw": 31}  # of the last layer
DECOY = 20


def plant(model: Any) -> Any:
    """Change the weights of a tiny Llama by hand.

    The first dimension of the stream tells the language, the second is there always; the neuron of a language reads
    both and writes a dimension of its own, from which the answer's logit comes.
    """
    layer = model.model.layers[-1]
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(0.2)
        for sign, (language, tokens) in zip((1, -1), LANGUAGES.items(), strict=True):
            model.model.embed_tokens.weight[list(tokens), 0] = 3.0 * sign
            for neuron in (NEURONS[language], *([DECOY] if language == "en" else [])):
                layer.mlp.gate_proj.weight[neuron] = 0
                layer.mlp.gate_proj.weight[neuron, 0] = 2.0 * sign
                layer.mlp.up_proj.weight[neuron] = 0
                layer.mlp.up_proj.weight[neuron, 1] = 1.0
                layer.mlp.down_proj.weight[:, neuron] = 0
            own = 2 if language == "en" else 3
            layer.mlp.down_proj.weight[own, NEURONS[language]] = 1.0
            model.lm_head.weight[:, own] = 0
            model.lm_head.weight[ANSWERS[language], own] = 2.0
        model.model.embed_tokens.weight[:, 1] = 3.0
    return model


def probe(seed: int = 0, documents: int = 9, budget: int = 60) -> Probe:
    """Random tokens of the language, then its answer, in three shards."""
    rng = np.random.default_rng(seed)

    def document(number: int, language: str) -> Document:
        length = int(rng.integers(3, 9))
        tokens = rng.choice(np.array(LANGUAGES[language]), size=length).astype(np.int32)
        tokens[-1] = ANSWERS[language]
        return Document(str(number), language, tokens, np.arange(length) == length - 1, np.zeros(length, dtype=bool))

    of = {language: [document(number, language) for number in range(documents)] for language in LANGUAGES}
    return Probe(of, "response", 3, max_tokens_per_batch=budget)
