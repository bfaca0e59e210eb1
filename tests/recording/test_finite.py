"""A model that has diverged is told from one whose neurons are silent."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import build_probe


@pytest.mark.parametrize("loss", [True, False])
@pytest.mark.parametrize("where", ["model.layers.0.mlp.gate_proj.weight", "model.norm.weight", "first word of sw"])
def test_a_model_that_computes_no_numbers_is_refused(tokenizer: Any, tiny_llama: Any, loss: bool, where: str) -> None:
    texts = {"en": ["the red fox", "seven birds"], "sw": ["mbweha mwekundu"]}
    records = [Record(str(i), code, text) for code, lines in texts.items() for i, text in enumerate(lines)]
    probe = build_probe(records, tokenizer, scope="all", shards=1)
    model = copy.deepcopy(tiny_llama)
    origin = Origin("some/model", "", 30)
    count_firings(model, find_sites(model), probe, origin=origin, loss=loss)  # as it is
    languages = "en sw"
    with torch.no_grad():
        if where == "first word of sw":
            english = {token for document in probe.documents["en"] for token in document.tokens.tolist()}
            only = next(token for token in probe.documents["sw"][0].tokens.tolist() if token not in english)
            model.get_input_embeddings().weight[only] = torch.inf
            languages = "sw"
        else:
            model.get_parameter(where).fill_(torch.nan)
    if where == "model.norm.weight" and not loss:  # behind the last neuron: counts are what they were
        count_firings(model, find_sites(model), probe, origin=origin, loss=loss)
        return
    with pytest.raises(
        InputError, match=rf"some/model at step 30: it has diverged: its numbers on {languages} are NaN"
    ):
        count_firings(model, find_sites(model), probe, origin=origin, loss=loss)
