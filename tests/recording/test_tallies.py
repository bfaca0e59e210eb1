"""Every statistic against a loop over single texts and tokens, by language and shard."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from alignlab.data.encoding import Document
from alignlab.errors import InputError
from alignlab.models.options import SiteName
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts
from alignlab.recording import pieces, tallies
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.observers import Extent
from alignlab.recording.passing import _Pass
from alignlab.recording.pieces import ProbeBatch, cut
from alignlab.recording.probes import Probe

SHARDS = 3
ALL = ("documents", "moments", "maximum")


def make_probe(vocabulary: int, scope: Any = "response", documents: int = 11, budget: int = 70) -> Probe:
    """Random tokens in documents of 2 to 20 tokens, the answer from somewhere on, every seventh token special."""
    rng = np.random.default_rng(0)

    def document(number: int, language: str) -> Document:
        length = int(rng.integers(2, 21))
        tokens = rng.integers(3, vocabulary, size=length).astype(np.int32)
        answer = np.arange(length) >= rng.integers(0, length + 1)  # some have no answer at all
        return Document(str(number), language, tokens, answer, np.arange(length) % 7 == 0)

    by_language = {code: [document(number, code) for number in range(documents)] for code in ("en", "sw")}
    return Probe(by_language, scope, SHARDS, max_tokens_per_batch=budget)


def slow(model: Any, modules: list[Any], probe: Probe, at: SiteName = "mlp.act") -> dict[str, np.ndarray]:
    """What `ActivationCounts` holds, one text, one token and one layer at a time."""
    width = find_sites(model, at)[0].width
    shape = (len(probe.languages), SHARDS, len(modules), width)
    firings, in_documents = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    total, squares = np.zeros((shape[0], *shape[2:])), np.zeros((shape[0], *shape[2:]))
    highest = np.full((shape[0], *shape[2:]), -np.inf)
    seen: list[Tensor] = []
    handles = [module.register_forward_hook(lambda _m, _i, out: seen.append(out)) for module in modules]
    for g, language in enumerate(probe.languages):
        for number, document in enumerate(probe.documents[language]):
            seen.clear()
            with torch.no_grad():
                model(input_ids=torch.from_numpy(document.tokens).long()[None])
            for layer, out in enumerate(seen):
                values = out.reshape(len(document), width).double().numpy()
                ever = np.zeros(width, dtype=bool)
                for token in range(len(document)):
                    if document.special[token] or not (probe.scope == "all" or document.answer[token]):
                        continue
                    firings[g, number % SHARDS, layer] += values[token] > 0
                    ever |= values[token] > 0
                    total[g, layer] += values[token]
                    squares[g, layer] += values[token] * values[token]
                    highest[g, layer] = np.maximum(highest[g, layer], values[token])
                in_documents[g, number % SHARDS, layer] += ever
    for handle in handles:
        handle.remove()
    return {
        "firings": firings,
        "document_firings": in_documents,
        "activation_sum": total,
        "activation_squares": squares,
        "maximum": highest,
    }


def compare(counts: ActivationCounts, expected: dict[str, np.ndarray]) -> None:
    for name in ("firings", "document_firings"):
        assert np.array_equal(getattr(counts, name).numpy().astype(np.int64), expected[name]), name
    for name in ("activation_sum", "activation_squares", "maximum"):
        assert getattr(counts, name).dtype == torch.float64
        assert np.allclose(getattr(counts, name).numpy(), expected[name], rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("scope", ["response", "all"])
@pytest.mark.parametrize("piece", [1, 48 * 13, 1 << 18])
def test_every_statistic_equals_a_loop_over_tokens(
    tiny_llama: Any, scope: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pieces._PIECE, "cpu", piece)  # a document a piece, some, all of a batch
    model = tiny_llama.double()
    probe = make_probe(300, scope)
    assert any(len(batch) > 2 for batch in probe.batches("en"))
    counts = count_firings(model, find_sites(model), probe, origin=Origin(), statistics=ALL)
    expected = slow(model, [layer.mlp.act_fn for layer in model.model.layers], probe)
    assert 0 < expected["document_firings"].sum() < expected["firings"].sum()
    compare(counts, expected)


def test_a_family_that_hands_over_tokens_without_a_batch() -> None:
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=60, hidden_size=32, word_embed_proj_dim=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, init_std=0.3,
    )  # fmt: skip
    model = OPTForCausalLM(config).double().eval()
    probe = make_probe(60)
    counts = count_firings(model, find_sites(model), probe, origin=Origin(), statistics=ALL)
    compare(counts, slow(model, [layer.activation_fn for layer in model.model.decoder.layers], probe))


def test_what_is_not_asked_for_is_not_counted(tiny_llama: Any) -> None:
    def count(**options: Any) -> ActivationCounts:
        return count_firings(tiny_llama, find_sites(tiny_llama), make_probe(300), origin=Origin(), **options)

    everything, default, bare = count(statistics=ALL), count(), count(statistics=())
    assert default.document_firings is not None
    assert bare.document_firings is default.activation_sum is default.maximum is None
    for counts in (default, bare):
        assert torch.equal(counts.firings.long(), everything.firings.long())
    assert everything.maximum is not None
    assert everything.maximum.dtype == torch.float32  # every value of a model in single precision, exactly


def test_a_language_without_a_counted_token(tiny_llama: Any) -> None:
    probe = make_probe(300)
    silent = [Document(d.id, d.language, d.tokens, np.zeros_like(d.answer), d.special) for d in probe.documents["sw"]]
    probe = Probe({"en": probe.documents["en"], "sw": silent}, "response", SHARDS, 70)
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin(), statistics=ALL)
    assert counts.tokens[1].tolist() == [0, 0, 0]
    assert counts.documents[1].tolist() == [4, 4, 3]
    assert counts.maximum is not None
    assert counts.activation_squares is not None
    assert bool((counts.maximum[1] == -torch.inf).all())
    assert not counts.activation_squares[1].any()
    assert not counts.totals()[1].any()
    assert counts.totals()[0].any()


def tallied(names: Sequence[str], shown: Sequence[tuple[Tensor, Tensor]], shards: Sequence[int]) -> dict[str, Tensor]:
    """What tallies make of batches of one layer, as (activations, counted) each, documents of these shards of 2."""
    neurons = shown[0][0].shape[-1]
    chosen = tallies.build_tallies(names)
    extent = Extent(Probe({"en": [], "sw": []}, "all", 2, 1), 1, neurons, torch.float32, torch.device("cpu"))
    passing = _Pass(torch.nn.Identity(), extent, chosen, nullcontext)
    for each in chosen:
        each.start(extent)
        each.begin("en")
    for activations, counted in shown:
        passing.spans, passing.shape = cut(make_batch(counted, shards), neurons), tuple(counted.shape)
        passing.see(0, activations)
    return {name: part.tensor for each in chosen for name, part in each.parts().items()}


def make_batch(counted: Tensor, shards: Sequence[int]) -> ProbeBatch:
    ids = torch.zeros(counted.shape, dtype=torch.int64)
    return ProbeBatch("en", torch.arange(len(counted)), torch.tensor(shards), ids, torch.ones_like(ids), counted)


def test_moments_do_not_round_as_single_precision_does() -> None:
    rng = np.random.default_rng(0)
    values = (1000 + rng.standard_normal((50_000, 1))).astype(np.float32)
    every = torch.ones(1, 1000, dtype=torch.bool)
    collected = tallied(["moments"], [(batch, every) for batch in torch.from_numpy(values).split(1000)], [0])
    exact = [math.fsum(values[:, 0].tolist()), math.fsum(float(value) ** 2 for value in values[:, 0])]
    found = [collected["activation_sum"].item(), collected["activation_squares"].item()]
    assert found == pytest.approx(exact, rel=1e-14)
    assert float(values.cumsum(dtype=np.float32)[-1]) != pytest.approx(exact[0], rel=1e-9)


def test_autocast_does_not_round_the_firings_of_a_document() -> None:
    """In bfloat16 a sum of ones stalls at 256."""
    activations = torch.tensor([1.0, -1.0, 0.0]).expand(2, 999, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        collected = tallied(["documents"], [(activations, torch.ones(2, 999, dtype=torch.bool))], [0, 0])
    assert collected["firings"][0, 0].tolist() == [1998, 0, 0]
    assert collected["document_firings"][0, 0].tolist() == [2, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_neuron_fires_above_zero_in_every_type(dtype: torch.dtype) -> None:
    smallest = torch.finfo(dtype).smallest_normal
    values = torch.tensor([[[smallest, -smallest, 0.0, -0.0, torch.inf, -torch.inf, torch.nan]]], dtype=dtype)
    collected = tallied(["documents"], [(values, torch.ones(1, 1, dtype=torch.bool))] * 3, [1])
    assert collected["firings"][1, 0].tolist() == [3, 0, 0, 0, 3, 0, 0]
    assert collected["document_firings"][1, 0].tolist() == [3, 0, 0, 0, 3, 0, 0]
    assert not collected["firings"][0].any()


def test_what_stands_where_nothing_is_counted_changes_nothing() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False], [False, True, False]])
    activations = torch.full((3, 3, 2), torch.nan)
    activations[mask] = torch.tensor([[-1.0, 2.0], [-3.0, 0.0], [-2.0, -0.0]])
    collected = tallied(ALL, [(activations, mask)], [0, 1, 1])
    assert collected["firings"][:, 0].tolist() == [[0, 1], [0, 0]]
    assert collected["document_firings"][:, 0].tolist() == [[0, 1], [0, 0]]
    assert collected["activation_sum"].tolist() == [[-6, 2]]
    assert collected["activation_squares"].tolist() == [[14, 4]]
    assert collected["maximum"].tolist() == [[-1, 2]]


def test_spans_are_whole_documents_and_hold_every_counted_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pieces._PIECE, "cpu", 4 * 30 * 3)
    mask = torch.rand(40, 30, generator=torch.Generator().manual_seed(0)) < torch.rand(40, 1)
    mask[7:14] = mask[0] = mask[39] = False
    shards = [number % 5 for number in range(40)]
    spans = cut(make_batch(mask, shards), 4)
    assert len(spans) > 10
    covered = torch.zeros_like(mask)
    for span in spans:
        assert len(span.counted) <= 3
        assert span.counted[0].any()  # none begins or ends with a document or a token that does not count
        assert span.counted[-1].any()
        assert span.counted[:, 0].any()
        assert span.counted[:, -1].any()
        assert not covered[span.rows].any()
        covered[span.rows, span.columns] = span.counted
        assert span.numbers.tolist() == list(range(40))[span.rows]
        assert span.shards.tolist() == shards[span.rows]
    assert torch.equal(covered, mask)


def test_no_counted_token_makes_no_span() -> None:
    assert cut(make_batch(torch.zeros(3, 4, dtype=torch.bool), [0, 1, 2]), 4) == []


def test_another_statistic_is_refused() -> None:
    assert tallies.check_statistics(["maximum", "documents", "maximum"]) == ("maximum", "documents")
    with pytest.raises(InputError) as refusal:
        tallies.check_statistics(["moment", "median"])
    assert str(refusal.value) == (
        "statistics: 'moment'; expected among documents, moments, maximum. Did you mean 'moments'?\n"
        "statistics: 'median'; expected among documents, moments, maximum."
    )
