"""Activation times gradient, against finite differences and against a loop over documents, layers and tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from alignlab.models.access import edit
from alignlab.models.sites import find_sites
from alignlab.neurons.importance import Wanted
from alignlab.recording.by_gradient import Attribution, GradientMeasure, Relevance, before_last
from alignlab.recording.pieces import make_batch
from alignlab.recording.probes import Probe

from .test_tallies import make_probe

CPU = torch.device("cpu")
MEASURES: dict[str, Callable[[Any, tuple[str, ...]], GradientMeasure]] = {
    "relevance": lambda model, sites: Relevance(model, Wanted("relevance", sites)),
    "token": lambda model, sites: Attribution(model, Wanted("attribution", sites, {"probability": "token"})),
    "answer": lambda model, sites: Attribution(model, Wanted("attribution", sites, {"probability": "answer"})),
    "control": lambda model, sites: Attribution(
        model, Wanted("attribution", sites, {"probability": "token", "control": True})
    ),
}


def of_probe(measure: GradientMeasure, probe: Probe, language: str = "en") -> dict[str, Tensor]:
    """By site, (D, L, N) of the documents of a language, in their order."""
    parts: dict[str, list[Tensor]] = {}
    numbers = []
    for batch in probe.batches(language):
        numbers += batch
        for site, values in measure.of(make_batch(probe, language, batch, CPU), nullcontext).items():
            parts.setdefault(site, []).append(values)
    order = torch.tensor(numbers).argsort()
    return {site: torch.cat(values)[order] for site, values in parts.items()}


def with_short_document(probe: Probe) -> Probe:
    """And one of two tokens, on which the largest of one number can be negative."""
    short = replace(
        probe.documents["en"][0],
        tokens=np.array([7, 9], dtype=np.int32),
        answer=np.array([False, True]),
        special=np.zeros(2, dtype=bool),
    )
    return replace(probe, documents={**probe.documents, "en": [*probe.documents["en"], short]})


def alone(model: Any, modules: list[Any], probe: Probe, number: int) -> tuple[list[Tensor], list[Tensor], float, int]:
    """Of a text by itself: activations and their gradients of the log-likelihood, layer by layer, with other hooks.

    Then the log-likelihood of its counted tokens, and how many of them a token stands before.
    """
    document, seen = probe.documents["en"][number], []

    def show(_module: Any, _inputs: Any, out: Tensor) -> Tensor:
        leaf = out.detach().clone().requires_grad_(True)  # each layer by itself: the graph is cut before it
        seen.append(leaf)
        return leaf

    ids = torch.from_numpy(document.tokens).long()
    counted = [t for t in range(1, len(ids)) if probe.counted(document)[t]]
    activations, gradients, total = [], [], 0.0
    for layer in range(len(modules)):
        seen.clear()
        handle = modules[layer].register_forward_hook(show)
        with torch.enable_grad():
            logs = model(input_ids=ids[None]).logits[0].log_softmax(dim=-1)
            likelihood = sum((logs[t - 1, ids[t]] for t in counted), start=logs.sum() * 0)
            likelihood.backward()
        handle.remove()
        grad = seen[0].grad
        activations.append(seen[0].detach().reshape(len(ids), -1))
        gradients.append(grad.reshape(len(ids), -1) if grad is not None else torch.zeros_like(activations[-1]))
        total = float(likelihood.detach())
    model.zero_grad(set_to_none=True)
    return activations, gradients, total, len(counted)


def slow(name: str, model: Any, modules: list[Any], probe: Probe) -> Tensor:
    """(D, L, N) one document, layer, neuron and token at a time."""
    found = []
    for number, document in enumerate(probe.documents["en"]):
        activations, gradients, likelihood, tokens = alone(model, modules, probe, number)
        last = max((t for t in range(len(document)) if probe.counted(document)[t]), default=0)
        p = math.exp(likelihood / tokens if name in ("token", "control") and tokens else likelihood)
        of_document = torch.zeros(len(modules), activations[0].shape[1], dtype=torch.float64)
        for layer, (a, g) in enumerate(zip(activations, gradients, strict=True)):
            for neuron in range(a.shape[1]):
                values = [float(a[t, neuron] * g[t, neuron]) for t in range(last)]
                if not values or not tokens:
                    continue
                if name == "relevance":
                    of_document[layer, neuron] = sum(values)
                    continue
                # dp/da = p * dL/da, or p / T * dL/da of the geometric mean
                slopes = [value * p / (1 if name == "answer" else tokens) for value in values]
                score = p * max(slopes)
                of_document[layer, neuron] = max(score, 0) if name == "control" else score
        found.append(of_document)
    return torch.stack(found)


def families() -> Iterator[tuple[str, Callable[[], Any], Callable[[Any], list[Any]]]]:
    torch.manual_seed(0)
    gpt2 = GPT2Config(vocab_size=90, n_positions=64, n_embd=16, n_layer=2, n_head=2, n_inner=24)
    opt = OPTConfig(
        vocab_size=90, hidden_size=16, num_hidden_layers=2, ffn_dim=24, num_attention_heads=2,
        max_position_embeddings=64, word_embed_proj_dim=16,
    )  # fmt: skip
    yield "gpt2", lambda: GPT2LMHeadModel(gpt2), lambda model: [layer.mlp.act for layer in model.transformer.h]
    # It hands over (tokens, neurons) of a whole batch.
    yield (
        "opt",
        lambda: OPTForCausalLM(opt),
        lambda model: [layer.activation_fn for layer in model.model.decoder.layers],
    )


@pytest.mark.parametrize("name", [*MEASURES])
@pytest.mark.parametrize("scope", ["response", "all"])
def test_equals_the_loop_over_documents_and_tokens(tiny_llama: Any, name: str, scope: str) -> None:
    model = tiny_llama.double()
    modules = [layer.mlp.act_fn for layer in model.model.layers]
    probe = with_short_document(make_probe(300, scope, budget=70))
    found = of_probe(MEASURES[name](model, ("mlp.act",)), probe)["mlp.act"]
    expected = slow(name, model, modules, probe)
    assert float(expected.abs().max()) > (1e-3 if name == "relevance" else 1e-9)
    assert torch.allclose(
        found, expected, rtol=1e-8, atol=0 if name == "control" else 1e-14 * float(expected.abs().max())
    )
    if name in ("token", "answer"):
        assert (expected < 0).any()
    if name == "control":
        assert torch.equal(found, of_probe(MEASURES["token"](model, ("mlp.act",)), probe)["mlp.act"].clamp(min=0))


@pytest.mark.parametrize(
    ("family", "make", "modules"), list(families()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_other_families_too(family: str, make: Callable[[], Any], modules: Callable[[Any], list[Any]]) -> None:
    torch.manual_seed(1)
    model = make().double().eval()
    probe = make_probe(90, "response", documents=6)
    for name in ("relevance", "token"):
        found = of_probe(MEASURES[name](model, ("mlp.act",)), probe)["mlp.act"]
        expected = slow(name, model, modules(model), probe)
        assert expected.any(), family
        assert torch.allclose(found, expected, rtol=1e-7, atol=1e-9 * float(expected.abs().max()))


def likelihood_of(model: Any, probe: Probe, number: int) -> tuple[float, int]:
    document = probe.documents["en"][number]
    ids = torch.from_numpy(document.tokens).long()
    counted = [t for t in range(1, len(ids)) if probe.counted(document)[t]]
    with torch.no_grad():
        logs = model(input_ids=ids[None]).logits[0].log_softmax(dim=-1)
    return sum(float(logs[t - 1, ids[t]]) for t in counted), len(counted)


SITES = ("mlp.act", "mlp.product", "mlp.up", "mlp.out", "attention.q", "attention.v", "attention.o", "residual")


@pytest.mark.parametrize("kind", ["llama", "adapted llama", "gpt2"])
def test_finite_differences_at_every_site_also_under_an_adapter(tiny_llama: Any, kind: str) -> None:
    """Scaling one neuron by 1 + h everywhere, or on one token, changes L and p by h times what was measured.

    Llama's norms round to single precision whatever the model's is, so that h cannot be small; GPT-2's do not.
    """
    model: Any = tiny_llama.double()
    h, close, sites_of = (1e-2, 5e-3, SITES)
    torch.manual_seed(3)
    if kind == "adapted llama":
        options = peft.LoraConfig(r=4, target_modules=["down_proj", "gate_proj", "q_proj"], init_lora_weights=False)
        model = peft.get_peft_model(model, options).eval()
    if kind == "gpt2":
        _, make, _ = next(families())
        model, h, close, sites_of = make().double().eval(), 1e-4, 1e-6, ("mlp.act", "mlp.out", "residual")
    probe, number = make_probe(90, "response", documents=4, budget=25), 2
    document = probe.documents["en"][number]
    assert likelihood_of(model, probe, number)[1] > 1
    nats = of_probe(MEASURES["relevance"](model, sites_of), probe)
    scores = of_probe(MEASURES["answer"](model, sites_of), probe)
    means = of_probe(MEASURES["token"](model, sites_of), probe)
    likelihood, tokens = likelihood_of(model, probe, number)
    last = max(t for t in range(len(document)) if probe.counted(document)[t])
    large = 0
    for at in sites_of:
        sites = find_sites(model, at)  # type: ignore[arg-type]

        def scaled(layer: int, neuron: int, where: slice, by: float, sites: Any = sites) -> float:
            def change(at_layer: int, shown: Tensor, _forward: Any) -> Tensor:
                changed = shown.clone()
                if at_layer == layer:
                    changed[:, where, neuron] *= 1 + by
                return changed

            with edit(model, sites, change):
                return likelihood_of(model, probe, number)[0]

        for layer, neuron in ((0, 1), (1, 5)):
            difference = (scaled(layer, neuron, slice(None), h) - scaled(layer, neuron, slice(None), -h)) / (2 * h)
            found = float(nats[at][number, layer, neuron])
            assert found == pytest.approx(difference, rel=close, abs=close * 1e-3)
            large += abs(found) > 1e-4
        ends = [[scaled(1, 5, slice(t, t + 1), by) for by in (h, -h)] for t in range(last)]
        for scored, parts in ((scores, 1), (means, tokens)):
            highest = max((math.exp(up / parts) - math.exp(down / parts)) / (2 * h) for up, down in ends)
            p = math.exp(likelihood / parts)
            found = float(scored[at][number, 1, 5])
            assert found == pytest.approx(p * highest, rel=close, abs=p * p * close * 1e-2)
    assert large > len(sites_of)


def test_what_is_beside_a_document_and_the_weights_that_are_trained_change_nothing(tiny_llama: Any) -> None:
    model = tiny_llama.double()
    for name in MEASURES:
        expected = of_probe(MEASURES[name](model, ("mlp.act",)), make_probe(300, budget=1))["mlp.act"]
        for budget in (40, 10_000):
            found = of_probe(MEASURES[name](model, ("mlp.act",)), make_probe(300, budget=budget))["mlp.act"]
            assert torch.allclose(found, expected, rtol=1e-9, atol=1e-13 * float(expected.abs().max()))
        model.requires_grad_(False)
        frozen = of_probe(MEASURES[name](model, ("mlp.act",)), make_probe(300, budget=1))["mlp.act"]
        assert torch.equal(frozen, expected)
        model.requires_grad_(True)


def test_gradients_and_random_numbers_are_left_as_they_were(tiny_llama: Any) -> None:
    model, probe = tiny_llama, make_probe(300)
    model.model.layers[0].requires_grad_(False)
    given = [torch.full_like(parameter, 2) if parameter.requires_grad else None for parameter in model.parameters()]
    for parameter, grad in zip(model.parameters(), given, strict=True):
        parameter.grad = None if grad is None else grad.clone()
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    state, hooks = torch.get_rng_state(), [len(module._forward_hooks) for module in model.modules()]
    with torch.no_grad():
        of_probe(MEASURES["token"](model, ("mlp.act",)), probe)
        assert not torch.is_grad_enabled()
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert torch.equal(torch.get_rng_state(), state)
    for parameter, grad in zip(model.parameters(), given, strict=True):
        assert (parameter.grad is None) == (grad is None)
        assert grad is None or torch.equal(parameter.grad, grad)


def test_a_rank_that_is_short_of_documents_passes_all_the_same(tiny_llama: Any) -> None:
    probe = make_probe(300)
    batch = make_batch(probe, "en", [], CPU)
    for make in MEASURES.values():
        values = make(tiny_llama, ("mlp.act",)).of(batch, nullcontext)["mlp.act"]
        assert not values.any()


def test_an_answer_that_is_all_but_impossible_scores_by_token_and_not_as_a_whole(tiny_llama: Any) -> None:
    """400 tokens at 6 nats: p is exp(-2400), which is 0 in float64, and the geometric mean exp(-6)."""
    probe = make_probe(300, "all", documents=2)
    rng = np.random.default_rng(1)
    long = rng.integers(3, 300, size=400).astype(np.int32)
    document = replace(
        probe.documents["en"][0], tokens=long, answer=np.ones(400, dtype=bool), special=np.zeros(400, dtype=bool)
    )
    probe = replace(probe, documents={"en": [document], "sw": probe.documents["sw"]}, max_tokens_per_batch=500)
    assert not of_probe(MEASURES["answer"](tiny_llama, ("mlp.act",)), probe)["mlp.act"].any()
    by_token = of_probe(MEASURES["token"](tiny_llama, ("mlp.act",)), probe)["mlp.act"]
    assert (by_token > 0).any()
    assert by_token.isfinite().all()


def test_tokens_before_the_last_counted_one() -> None:
    counted = torch.tensor([[0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 1]], dtype=torch.bool)
    assert before_last(counted).int().tolist() == [[1, 1, 1, 0, 0], [0] * 5, [0] * 5, [1, 1, 1, 1, 0]]
