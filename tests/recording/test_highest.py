"""The highest activations of neurons and where they are, against a loop over single texts and tokens."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import OPTConfig, OPTForCausalLM

from alignlab.data.encoding import Document
from alignlab.models.sites import find_sites
from alignlab.recording import pieces
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.highest import Highest, HighestActivations
from alignlab.recording.observers import Observer
from alignlab.recording.passing import pass_through
from alignlab.recording.pieces import ProbeBatch
from alignlab.recording.probes import Probe

from .test_tallies import make_probe

CHOSEN = {0: [3, 40, 7], 1: list(range(48))}


def slow(model: Any, modules: list[Any], probe: Probe, chosen: dict[int, list[int]], k: int) -> dict[str, Any]:
    """By language and neuron the k highest: (activation, document, position), one text and one token at a time."""
    seen: list[Tensor] = []
    handles = [module.register_forward_hook(lambda _m, _i, out: seen.append(out)) for module in modules]
    neurons = [(layer, neuron) for layer, some in chosen.items() for neuron in some]
    found: dict[str, Any] = {}
    for language, documents in probe.documents.items():
        every: dict[tuple[int, int], list[tuple[float, int, int]]] = {one: [] for one in neurons}
        for number, document in enumerate(documents):
            seen.clear()
            with torch.no_grad():
                model(input_ids=torch.from_numpy(document.tokens).long()[None])
            for layer, neuron in neurons:
                column = seen[layer].reshape(len(document), -1)[:, neuron].tolist()
                for token, value in enumerate(column):
                    if not document.special[token] and (probe.scope == "all" or document.answer[token]):
                        every[layer, neuron].append((value, number, token))
        found[language] = [sorted(every[one], key=lambda at: (-at[0], at[1], at[2]))[:k] for one in neurons]
    for handle in handles:
        handle.remove()
    return found


def highest(model: Any, probe: Probe, chosen: dict[int, list[int]], k: int) -> dict[str, Highest]:
    observer = HighestActivations({layer: torch.tensor(some) for layer, some in chosen.items()}, k)
    pass_through(model, probe, [observer], sites=find_sites(model))
    return observer.found


def compare(found: dict[str, Highest], expected: dict[str, Any], k: int) -> None:
    assert list(found) == list(expected)
    for language, of in expected.items():
        for row, wanted in enumerate(of):
            number = len(wanted)
            mine = found[language]
            places = list(zip(mine.documents[row].tolist(), mine.positions[row].tolist(), strict=True))
            assert places == [(document, token) for _, document, token in wanted] + [(-1, -1)] * (k - number)
            values = torch.tensor([value for value, _, _ in wanted], dtype=torch.float64)
            assert torch.allclose(mine.activations[row, :number].double(), values, rtol=1e-10, atol=1e-12)
            assert mine.activations[row, number:].isnan().all()


@pytest.mark.parametrize("scope", ["response", "all"])
@pytest.mark.parametrize("piece", [1, 48 * 13, 1 << 18])
def test_they_are_those_of_a_loop_over_tokens(
    tiny_llama: Any, scope: Any, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(pieces._PIECE, "cpu", piece)  # a document a piece, some, all of a batch
    model, probe = tiny_llama.double(), make_probe(300, scope)
    expected = slow(model, [layer.mlp.act_fn for layer in model.model.layers], probe, CHOSEN, 5)
    compare(highest(model, probe, CHOSEN, 5), expected, 5)


def relu() -> Any:
    """Most activations of a ReLU are the same, 0: which of equal ones are taken shows here."""
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=60, hidden_size=32, word_embed_proj_dim=32, ffn_dim=40, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, init_std=0.3,
    )  # fmt: skip
    model = OPTForCausalLM(config).double().eval()
    for layer in model.model.decoder.layers:  # some neurons that never fire, and some that seldom do
        layer.fc1.bias.data[:10] -= 100
        layer.fc1.bias.data[10:20] -= 4
    return model


@pytest.mark.parametrize("budget", [1, 70, 10_000])
def test_of_equal_ones_the_earlier_document_and_token_come_first(budget: int) -> None:
    model, probe = relu(), make_probe(60, "all", budget=budget)
    chosen = {0: list(range(25)), 1: [39, 2]}
    expected = slow(model, [layer.activation_fn for layer in model.model.decoder.layers], probe, chosen, 4)
    ties = [of for of in expected["en"] if of[0][0] == of[-1][0] == 0]
    assert len(ties) >= 10
    assert any(of[0][0] > 0 == of[-1][0] for of in expected["en"])
    compare(highest(model, probe, chosen, 4), expected, 4)


def test_fewer_tokens_than_asked_for(tiny_llama: Any) -> None:
    model, probe = tiny_llama.double(), make_probe(300, documents=2)
    number = int(probe.tokens("sw").sum())
    k = number + 2
    expected = slow(model, [layer.mlp.act_fn for layer in model.model.layers], probe, {1: [5]}, k)
    assert 0 < len(expected["sw"][0]) == number
    compare(highest(model, probe, {1: [5]}, k), expected, k)


def test_the_highest_is_the_maximum(tiny_llama: Any) -> None:
    probe = make_probe(300)
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin(), statistics=("maximum",))
    assert counts.maximum is not None
    every = {layer: list(range(48)) for layer in range(2)}
    found = highest(tiny_llama, probe, every, 3)
    for row, language in enumerate(probe.languages):
        assert found[language].activations.dtype == torch.float32
        assert torch.equal(found[language].activations[:, 0].reshape(2, 48), counts.maximum[row])


def test_in_bfloat16_equal_ones_are_many_and_batches_of_the_same_texts_agree(tiny_llama: Any) -> None:
    """The activations themselves come from the forward; of those of one forward the choice is that of a sort."""
    model, probe = tiny_llama.bfloat16(), make_probe(300, budget=1)  # each text by itself, as the loop reads them
    expected = slow(model, [layer.mlp.act_fn for layer in model.model.layers], probe, CHOSEN, 6)
    values = [value for of in expected["en"] for value, _, _ in of]
    assert len(set(values)) < len(values)
    compare(highest(model, probe, CHOSEN, 6), expected, 6)


@pytest.mark.slow
def test_what_is_held_does_not_grow_with_the_documents(tiny_llama: Any) -> None:
    class Watch(Observer):
        """The most bytes of tensors that are alive at the end of a batch, but for those that were before."""

        most = batches = 0

        def __init__(self) -> None:
            # Held, so that no new tensor takes the place of one of them.
            self.before = self.alive()
            self.known = {one.untyped_storage().data_ptr() for one in self.before}

        @staticmethod
        def alive() -> list[Tensor]:
            """Those with a storage: what other tests have left may be sparse."""
            return [one for one in gc.get_objects() if type(one) is Tensor and one.layout is torch.strided]

        def finish(self, batch: ProbeBatch, losses: Tensor) -> None:
            self.batches += 1
            if self.batches % 10 == 1:
                gc.collect()
                sizes = {one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in self.alive()}
                self.most = max(self.most, sum(size for at, size in sizes.items() if at not in self.known))

    def most(documents: int) -> tuple[int, int]:
        probe = make_probe(300, "all", documents=documents, budget=100)
        gc.collect()
        watch, observer = Watch(), HighestActivations({1: torch.arange(48)}, 5)
        pass_through(tiny_llama, probe, [observer, watch], sites=find_sites(tiny_llama))
        return watch.most, watch.batches

    (few, batches), (many, more) = most(50), most(500)
    assert more > 8 * batches
    assert few > 5 * 48 * 12
    assert many < few + 10_000  # bytes: batches differ by some tokens


def test_a_document_without_a_counted_token_is_passed_over(tiny_llama: Any) -> None:
    probe = make_probe(300)
    silent = [number for number, one in enumerate(probe.documents["en"]) if not probe.counted(one).any()]
    assert silent
    assert isinstance(probe.documents["en"][0], Document)
    found = highest(tiny_llama, probe, {0: [1]}, 500)["en"]
    assert not set(found.documents.flatten().tolist()) & set(silent)
    assert int((found.documents >= 0).sum()) == int(probe.tokens("en").sum())
