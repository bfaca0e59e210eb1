"""MEXA by hand, against a loop over transformers' hidden states, under an edit, and of noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.linalg import norm
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel

from alignlab.data.records import Record
from alignlab.errors import InputError
from alignlab.evaluation.mexa import aligned, mexa, state_sites
from alignlab.models.access import edit, observe
from alignlab.models.sites import find_sites
from alignlab.recording.probes import Probe, build_probe

from ..conftest import SENTENCES

TEXTS = {
    "de": [text[::-1] for text in SENTENCES],
    "en": [f"{text} {text[:20]}" for text in SENTENCES],
    "sw": ["Juma", "Juma ana", "apples", "7 more. 12", "children"],
}


def make_probe(tokenizer: Any, budget: int = 150) -> Probe:
    records = [Record(str(i), code, text) for code, texts in TEXTS.items() for i, text in enumerate(texts)]
    probe = build_probe(records, tokenizer, scope="all", count_special_tokens=True, max_tokens_per_batch=budget)
    assert isinstance(probe, Probe)
    return probe


def by_loops(model: Any, probe: Probe, language: str, pooling: str) -> list[float]:
    """By the paper's formula, text by text, from the `hidden_states` of transformers."""

    def states(document: Any) -> list[Any]:
        with torch.no_grad():
            ids = torch.from_numpy(document.tokens).long()[None]
            hidden = model(input_ids=ids, output_hidden_states=True).hidden_states
        found = []
        for state in hidden:
            tokens = state[0].double().numpy()
            total = sum((t + 1) * token for t, token in enumerate(tokens))
            found.append(tokens[-1] if pooling == "last" else total / sum(range(1, len(tokens) + 1)))
        return found

    pivot = {document.id: states(document) for document in probe.documents["en"]}
    own = {document.id: states(document) for document in probe.documents[language]}
    names, shares = list(own), []
    for layer in range(len(next(iter(own.values())))):
        cosine = {
            (i, j): own[i][layer] @ pivot[j][layer] / norm(own[i][layer]) / norm(pivot[j][layer])
            for i in names
            for j in names
        }
        hits = [
            all(cosine[i, i] > cosine[i, j] and cosine[i, i] > cosine[j, i] for j in names if j != i) for i in names
        ]
        shares.append(sum(hits) / len(hits))
    return shares


def test_a_case_by_hand() -> None:
    """Cosines (1, 0, .8), (.6, .8, .96), (0, 1, .6): only the first is the highest of its row and its column."""
    own = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    pivot = torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.8, 0.6]])
    assert aligned(own, pivot).tolist() == [True, False, False]
    # Ties are no alignment: the first is as near to the first as to the second.
    assert aligned(own, torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])).tolist() == [False, False, True]
    assert aligned(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), torch.eye(2)).tolist() == [False, True]


@pytest.mark.parametrize("pooling", ["weighted", "last"])
@pytest.mark.parametrize("budget", [40, 1000])
def test_every_state_against_a_loop(tiny_llama: Any, tokenizer: Any, pooling: Any, budget: int) -> None:
    probe = make_probe(tokenizer, budget)
    found = mexa(tiny_llama, probe, pooling=pooling)
    assert list(found.aligned) == ["de", "sw"]
    seen = set()
    for language in found.aligned:
        shares = [one.value for one in found.by_state(language)]
        assert shares == by_loops(tiny_llama, probe, language, pooling)
        assert len(shares) == 3
        seen |= set(shares)
    assert len(seen) > 1  # it tells languages and layers apart
    assert found.chance("sw") == 1 / 9
    assert sorted(found.clusters["sw"]) == list("01234")


def test_another_family_and_an_adapter(tiny_llama: Any, tokenizer: Any) -> None:
    torch.manual_seed(0)
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=3, n_head=4, initializer_range=0.3))
    adapted = get_peft_model(tiny_llama, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)).eval()
    probe = make_probe(tokenizer)
    ids = torch.from_numpy(probe.documents["en"][0].tokens).long()[None]
    for model in (gpt2.eval(), adapted):
        norm_weight = next(
            one for name, one in model.named_parameters() if name.endswith((".norm.weight", "ln_f.weight"))
        )
        torch.nn.init.normal_(norm_weight)
        seen: dict[int, Any] = {}
        with torch.no_grad(), observe(state_sites(model), seen.__setitem__):
            states = model(input_ids=ids, output_hidden_states=True).hidden_states
        assert sorted(seen) == list(range(len(states)))
        assert all(torch.equal(seen[number], state) for number, state in enumerate(states))
        found = mexa(model, probe)
        assert [one.value for one in found.by_state("de")] == by_loops(model, probe, "de", "weighted")


def test_edits_are_seen_behind_the_layer_where_they_are_made(tiny_llama: Any, tokenizer: Any) -> None:
    """All of the first layer's output becomes the same: from then on every sentence of a length is."""
    probe = make_probe(tokenizer)
    before = mexa(tiny_llama, probe)
    first = find_sites(tiny_llama, "residual")[:1]
    with edit(tiny_llama, first, lambda _layer, activations, _forward: torch.ones_like(activations)):
        found = mexa(tiny_llama, probe)
    assert torch.equal(found.aligned["de"][0], before.aligned["de"][0])
    assert not found.aligned["de"][1].any()
    assert found.aligned["de"][1].shape == (6,)


def test_sentences_without_relation_give_chance() -> None:
    """2,000 sets of 5 pairs: 1 / 9 of them; four standard errors, of the sets' own shares."""
    own, pivot = (torch.from_numpy(np.random.default_rng(seed).normal(size=(2000, 5, 40))) for seed in (0, 1))
    shares = aligned(own, pivot).double().mean(dim=1)
    assert abs(shares.mean() - 1 / 9) < 4 * shares.std() / math.sqrt(2000)


def test_what_is_wrong_is_told_at_once(tiny_llama: Any, tokenizer: Any) -> None:
    records = [Record(f"{code}{i}", code, text) for code in ("en", "de") for i, text in enumerate(SENTENCES)]
    with pytest.raises(InputError) as refused:
        mexa(tiny_llama, build_probe(records, tokenizer, scope="all"), pooling="lats")  # type: ignore[arg-type]
    told = str(refused.value)
    assert "pooling: 'lats'; expected weighted or last. Did you mean 'last'?" in told
    assert "probe: scope=all, count_special_tokens=false; expected scope=all, count_special_tokens=true" in told
    assert (
        "probe: 0 sentences of 'de' have an id of 'en'; expected two or more. Parallel sentences share an id." in told
    )
    with pytest.raises(InputError, match="pivot: 'fr', in which there is no text; expected one of: de, en, sw"):
        mexa(tiny_llama, make_probe(tokenizer), pivot="fr")
