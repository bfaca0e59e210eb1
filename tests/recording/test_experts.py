"""Counts of routed experts against a loop over tokens and experts, in every way in which transformers runs them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch

from alignlab.analysis.beside import ImportanceBeside
from alignlab.data.encoding import Document
from alignlab.errors import UnsupportedModelError
from alignlab.models.sites import find_sites
from alignlab.neurons.counts import ActivationCounts
from alignlab.neurons.fields import FIELDS
from alignlab.neurons.importance import Wanted
from alignlab.recording import pieces
from alignlab.recording.by_document import DocumentMeans
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.highest import HighestActivations
from alignlab.recording.importance import MEASURES
from alignlab.recording.means import record_means
from alignlab.recording.observers import Observer
from alignlab.recording.passing import pass_through
from alignlab.recording.probes import Probe
from alignlab.recording.tallies import STATISTICS

from ..models.mixtures import COLUMNS, EXPERTS, LAYERS, MIXTURES, WAYS, WITH_SHARED, build, experts_of, slow_activations
from ..scripts_as_modules import script_as_module
from .test_tallies import SHARDS as DENSE_SHARDS
from .test_tallies import slow as slow_dense
from .test_two_ranks_tally import run_two

SHARDS = 3
SCRIPT = Path(__file__).with_name("one_of_two_mixture_ranks.py")


def make_probe(vocabulary: int = 300, documents: int = 7, seed: int = 0) -> Probe:
    """Texts of several lengths, so that batches are padded; their first token is special, some are not answers."""
    random = np.random.default_rng(seed)

    def document(number: int, language: str) -> Document:
        length = int(random.integers(2, 14))
        special = np.arange(length) == 0
        answer = np.arange(length) >= length // 3
        tokens = random.integers(3, vocabulary, length).astype(np.int32)
        return Document(str(number), language, tokens, answer, special)

    texts = {language: [document(number, language) for number in range(documents)] for language in ("en", "sw")}
    return Probe(texts, "response", SHARDS, 40)


def slow(model: Any, probe: Probe) -> dict[str, np.ndarray]:
    """Every field, one document at a time; its experts one token at a time."""
    layers = experts_of(model)
    experts, columns = len(layers[0].gate_up_proj), layers[0].gate_up_proj.shape[1] // 2
    shape = (len(probe.languages), SHARDS, len(layers), experts * columns)
    found = {name: np.zeros(shape, dtype=np.int64) for name in ("firings", "document_firings")}
    found["routed"] = np.zeros((*shape[:3], experts), dtype=np.int64)
    found |= {name: np.zeros((shape[0], *shape[2:])) for name in ("activation_sum", "activation_squares")}
    found["maximum"] = np.full((shape[0], *shape[2:]), -np.inf)
    for g, language in enumerate(probe.languages):
        for number, document in enumerate(probe.documents[language]):
            given: list[tuple[torch.Tensor, torch.Tensor]] = []
            handles = [
                one.register_forward_pre_hook(lambda _m, args, into=given: into.append((args[0], args[1])))
                for one in layers
            ]
            with torch.no_grad():
                model(input_ids=torch.tensor(document.tokens[None].astype(np.int64)), use_cache=False)
            for handle in handles:
                handle.remove()
            for layer, (hidden, chosen) in enumerate(given):
                with torch.no_grad():
                    values = slow_activations(layers[layer], hidden, chosen).numpy()
                ever = np.zeros(shape[3], dtype=bool)
                for token in range(len(document)):
                    if document.special[token] or not document.answer[token]:
                        continue
                    found["firings"][g, number % SHARDS, layer] += values[token] > 0
                    found["activation_sum"][g, layer] += values[token]
                    found["activation_squares"][g, layer] += values[token] ** 2
                    found["maximum"][g, layer] = np.maximum(found["maximum"][g, layer], values[token])
                    for expert in chosen[token].tolist():
                        found["routed"][g, number % SHARDS, layer, expert] += 1
                    ever |= values[token] > 0
                found["document_firings"][g, number % SHARDS, layer] += ever
    return found


def agree(counts: ActivationCounts, expected: dict[str, np.ndarray], precision: float = 1e-10) -> None:
    for name in ("firings", "document_firings"):
        assert np.array_equal(getattr(counts, name).numpy().astype(np.int64), expected[name]), name
    for name in ("activation_sum", "activation_squares", "maximum"):
        found = getattr(counts, name).double().numpy()
        assert np.allclose(found, expected[name], rtol=precision, atol=precision), name


SOME_SLOW = [pytest.param(name, marks=[pytest.mark.slow] if name == "qwen3_next" else []) for name in MIXTURES]


def count(model: Any, probe: Probe, **options: Any) -> ActivationCounts:
    sites = find_sites(model, "experts.act")
    return count_firings(model, sites, probe, origin=Origin(), statistics=tuple(STATISTICS), **options)


@pytest.mark.parametrize("family", SOME_SLOW)
def test_every_number_is_that_of_a_loop_over_tokens_and_experts(family: str) -> None:
    model, probe = build(family, dtype=torch.float32), make_probe()  # grouped_mm takes no float64
    expected = slow(model, probe)
    assert len(np.unique(expected["routed"].sum(axis=(0, 1)))) > 1  # experts are not used alike
    for way in WAYS:
        model.set_experts_implementation(way)
        counts = count(model, probe)
        assert counts.routed is not None
        assert np.array_equal(counts.routed.numpy().astype(np.int64), expected["routed"]), way
        agree(counts, expected, 1e-5)
        # Every counted token is sent to as many experts.
        chosen = torch.tensor(counts.routed.numpy().astype(np.int64)).sum(dim=3)
        assert torch.equal(chosen, (2 * counts.tokens).unsqueeze(2).expand_as(chosen))


@pytest.mark.parametrize("piece", [1, 24 * 20, 1 << 18])  # a document a piece, some, all of a batch
def test_pieces_change_nothing(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, probe = build("qwen3_moe"), make_probe()
    monkeypatch.setitem(pieces._PIECE, "cpu", piece)
    agree(count(model, probe), slow(model, probe))


@pytest.mark.parametrize("family", WITH_SHARED)
def test_the_shared_expert_is_a_dense_mlp_that_all_tokens_meet(family: str) -> None:
    model, probe = build(family), make_probe()
    sites = find_sites(model, "experts.shared")
    probe = replace(probe, shards=DENSE_SHARDS)
    counts = count_firings(model, sites, probe, origin=Origin(), statistics=tuple(STATISTICS))
    modules = [model.get_submodule(site.name) for site in sites]
    agree(counts, slow_dense(model, modules, probe, "experts.shared"))
    assert counts.routed is None
    assert counts.denominator == "all"


def test_means_of_documents_take_tokens_that_are_not_routed_as_zero(tmp_path: Path) -> None:
    model, probe = build("mixtral"), make_probe()
    sites = find_sites(model, "experts.act")
    means = record_means(model, sites, probe, tmp_path / "means")
    counts = count(model, probe)
    assert counts.activation_sum is not None
    for g, language in enumerate(probe.languages):
        mean = counts.activation_sum[g] / counts.language_tokens()[g]
        assert torch.allclose(means.mean(language), mean, rtol=1e-9, atol=1e-12)
    some: dict[str, Any] = {}
    chosen = torch.tensor([5, 40, 0])
    pass_through(model, probe, [DocumentMeans({1: chosen}, some.__setitem__)], sites=sites)
    for language in probe.languages:
        assert torch.allclose(some[language][1], means.layer(1, language)[:, chosen], equal_nan=True)


def test_identical_experts_have_identical_counts_where_both_are_sent_all_tokens() -> None:
    model = build("mixtral", chosen=EXPERTS)
    for experts in experts_of(model):
        for weights in (experts.gate_up_proj, experts.down_proj):
            weights.data[1] = weights.data[0]
    counts = count(model, make_probe())
    first, second, third, _ = counts.totals().unflatten(2, (EXPERTS, COLUMNS)).unbind(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert counts.routed is not None
    assert torch.equal(counts.routed.long(), counts.tokens[:, :, None, None].expand(*counts.routed.shape))
    # All tokens are routed ones, so that both denominators are one.
    routed = replace(counts, denominator="routed")
    assert torch.equal(counts.probabilities(), routed.probabilities())


def test_identical_experts_share_what_one_would_have() -> None:
    """Two copies of an expert, one token to one of them: their counts sum to those of the expert alone."""
    two, one = (build("mixtral", experts=number, chosen=1) for number in (2, 1))
    state = two.state_dict()
    for name in state:
        if "experts" in name:
            state[name][1] = state[name][0]
    two.load_state_dict(state)
    kept = {name: value[:1] if "experts" in name or "gate.weight" in name else value for name, value in state.items()}
    one.load_state_dict(kept)
    counts, alone = count(two, make_probe()), count(one, make_probe())
    halves = counts.totals().unflatten(2, (2, COLUMNS))
    assert 0 < int(halves[:, :, 0].sum()) < int(halves.sum())
    assert torch.equal(halves.sum(dim=2), alone.totals())


def test_one_expert_is_the_dense_mlp_of_the_same_weights() -> None:
    mixture = build("mixtral", experts=1, chosen=1)
    same_otherwise = {name: getattr(mixture.config, name) for name in ("rms_norm_eps", "rope_parameters")}
    dense = build("mistral", sliding_window=None, **same_otherwise)
    state = {name: value for name, value in mixture.state_dict().items() if ".mlp." not in name}
    for layer, experts in enumerate(experts_of(mixture)):
        gate, up = experts.gate_up_proj[0].chunk(2)
        maps = {"gate": gate, "up": up, "down": experts.down_proj[0]}
        state |= {f"model.layers.{layer}.mlp.{name}_proj.weight": weight for name, weight in maps.items()}
    dense.load_state_dict(state)
    probe = make_probe()
    counts = count(mixture, probe)
    same = count_firings(dense, find_sites(dense), probe, origin=Origin(), statistics=tuple(STATISTICS))
    assert torch.equal(counts.firings.long(), same.firings.long())
    assert torch.equal(counts.document_firings.long(), same.document_firings.long())  # type: ignore[union-attr]
    assert torch.allclose(counts.maximum, same.maximum)  # type: ignore[arg-type]


def test_with_an_adapter_the_counts_are_those_of_the_model_into_which_it_is_merged() -> None:
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "o_proj"], init_lora_weights=False)
    model = peft.get_peft_model(build("qwen2_moe"), config).double().eval()
    counts = count(model, make_probe())
    agree(counts, slow(model.merge_and_unload(), make_probe()))


def test_half_precision_counts_what_the_model_computes() -> None:
    """Rows of the model itself, which rounds; those are told apart by a hook on each expert run alone."""
    model, probe = build("mixtral", dtype=torch.bfloat16), make_probe()
    seen: list[torch.Tensor] = []
    model.set_experts_implementation("eager")
    handles = [one.act_fn.register_forward_hook(lambda _m, _a, out: seen.append(out)) for one in experts_of(model)]
    counts = count(model, Probe(probe.documents, "all", 1, 40, count_special_tokens=True))
    handles[0].remove()
    assert counts.maximum is not None
    assert counts.maximum.dtype == torch.float32
    assert counts.firings.sum() > 0
    assert torch.equal(counts.maximum, counts.maximum.bfloat16().float())


def test_gradients_at_experts_are_refused_by_name() -> None:
    class Slopes(Observer):
        gradients = True

    model = build("mixtral")
    with pytest.raises(UnsupportedModelError, match=r"probe\.site: gradients at experts\.act"):
        pass_through(model, make_probe(), [Slopes()], sites=find_sites(model, "experts.act"))
    for measure in ("relevance", "attribution"):
        with pytest.raises(UnsupportedModelError, match=r"probe\.site: gradients at experts\.act"):
            MEASURES[measure](model, Wanted(measure, ("experts.act",)))


def test_the_plan_of_importance_says_that_operations_of_experts_are_unknown() -> None:
    model = build("mixtral", dtype=torch.float32)
    model.set_experts_implementation("grouped_mm")  # which torch refuses on meta in this precision
    said = ImportanceBeside(Wanted("relevance", ("attention.o",))).cost(model.to("meta"), [make_probe()])
    assert "14 documents, unknown operations (weights of more than two dimensions" in said


@pytest.mark.parametrize("way", WAYS)
def test_the_highest_activations_are_those_of_tokens_that_reach_the_expert(way: str) -> None:
    model = build("qwen2_moe", dtype=torch.float64 if way == "eager" else torch.float32)
    model.set_experts_implementation(way)
    probe, k = make_probe(), 12  # more than reach some experts
    chosen = {0: [7, COLUMNS * EXPERTS - 1, 0], 1: list(range(COLUMNS * EXPERTS))}
    observer = HighestActivations({layer: torch.tensor(some) for layer, some in chosen.items()}, k)
    pass_through(model, probe, [observer], sites=find_sites(model, "experts.act"))
    fewer = 0
    for language, documents in probe.documents.items():
        every: dict[tuple[int, int], list[tuple[float, int, int]]] = {(a, n): [] for a in chosen for n in chosen[a]}
        for number, document in enumerate(documents):
            shown = routed_activations(model, document)
            for layer, neuron in every:
                hidden, routing = shown[layer]
                for token in range(len(document)):
                    counted = document.answer[token] and not document.special[token]
                    if counted and neuron // COLUMNS in routing[token]:
                        every[layer, neuron].append((float(hidden[token, neuron]), number, token))
        found = observer.found[language]
        for row, of in enumerate(every.values()):
            wanted = sorted(of, key=lambda at: (-at[0], at[1], at[2]))[:k]
            fewer += len(wanted) < k
            values = torch.tensor([value for value, _, _ in wanted], dtype=torch.float64)
            assert torch.allclose(found.activations[row, : len(wanted)].double(), values, rtol=1e-4, atol=1e-5)
            assert found.activations[row, len(wanted) :].isnan().all()
            places = list(zip(found.documents[row].tolist(), found.positions[row].tolist(), strict=True))
            assert places == [(document, token) for _, document, token in wanted] + [(-1, -1)] * (k - len(wanted))
    assert fewer


def routed_activations(model: Any, document: Document) -> list[tuple[torch.Tensor, list[list[int]]]]:
    """Of each layer the activations of a text, (T, E * C), from the weights, and the experts of its tokens."""
    given: list[tuple[torch.Tensor, torch.Tensor]] = []
    layers = experts_of(model)
    handles = [
        one.register_forward_pre_hook(lambda _m, args: given.append((args[0].clone(), args[1]))) for one in layers
    ]
    with torch.no_grad():
        model(input_ids=torch.tensor(document.tokens[None].astype(np.int64)), use_cache=False)
        shown = zip(layers, given, strict=True)
        found = [(slow_activations(one, hidden, chosen), chosen.tolist()) for one, (hidden, chosen) in shown]
    for handle in handles:
        handle.remove()
    return found


def test_layers_are_as_many_as_the_model_has() -> None:
    counts = count(build("olmoe"), make_probe())
    assert counts.shape == (2, SHARDS, LAYERS, EXPERTS * COLUMNS)
    assert counts.experts == EXPERTS


@pytest.mark.slow
def test_two_ranks_count_as_one(tmp_path: Path) -> None:
    model, probe = build("qwen3_moe", dtype=torch.float32), make_probe()
    model.save_pretrained(tmp_path / "model")
    torch.save(probe, tmp_path / "probe.pt")
    assert run_two(SCRIPT, tmp_path) == [0, 0]
    alone = script_as_module(SCRIPT).count(model, probe)
    for rank in range(2):
        found = torch.load(tmp_path / f"rank-{rank}.pt")
        assert found.keys() == alone.keys() >= {"routed", "firings", "document_firings"}
        for name, tensor in found.items():
            if FIELDS[name].numbers in ("count", "total"):
                assert torch.equal(tensor, alone[name]), name
            else:
                assert torch.allclose(tensor, alone[name], rtol=1e-5, atol=1e-6), name
