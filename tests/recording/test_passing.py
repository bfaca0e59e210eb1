"""The one pass and what looks on: each observer against loops over single texts; without neurons; with gradients."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alignlab.data.records import Record
from alignlab.models.access import edit
from alignlab.models.sites import find_sites
from alignlab.neurons import ActivationCounts
from alignlab.recording.by_document import DocumentLosses, DocumentMeans
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.observers import Extent, Observer, Part
from alignlab.recording.passing import pass_through
from alignlab.recording.pieces import Piece, ProbeBatch
from alignlab.recording.probes import Probe, build_probe
from alignlab.recording.responses import Answers, respond

from .test_tallies import make_probe

LAYERS, NEURONS = 2, 48


def alone(model: Any, probe: Probe, language: str, number: int) -> tuple[list[Tensor], Tensor, Tensor]:
    """Of a text by itself: each layer's activations (T, N), float64 log-probabilities (T, V), counted tokens (T,)."""
    document, seen = probe.documents[language][number], []
    handles = [layer.mlp.act_fn.register_forward_hook(lambda _m, _i, out: seen.append(out)) for layer in layers(model)]
    with torch.no_grad():
        logits = model(input_ids=torch.from_numpy(document.tokens).long()[None]).logits[0]
    for handle in handles:
        handle.remove()
    return [one[0] for one in seen], logits.double().log_softmax(dim=-1), torch.from_numpy(probe.counted(document))


def layers(model: Any) -> Any:
    return model.model.layers


class Seen(Observer):
    """Notes in which order it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def start(self, extent: Extent) -> None:
        self.asked.append(f"start {extent.layers} x {extent.neurons}")

    def begin(self, language: str) -> None:
        self.asked.append(f"begin {language}")

    def see(self, piece: Piece) -> None:
        self.asked.append(f"see {piece.layer}")

    def finish(self, batch: ProbeBatch, losses: Tensor) -> None:
        self.asked.append(f"finish {len(batch.numbers)} {len(losses) > 0}")

    def parts(self) -> Mapping[str, Part]:
        self.asked.append("parts")
        return {"one": Part(torch.ones(1))}

    def take(self, language: str, merged: Mapping[str, Tensor]) -> None:
        self.asked.append(f"take {language} {merged['one'].item()}")


def test_the_order_in_which_an_observer_is_asked(tiny_llama: Any) -> None:
    probe, seen = make_probe(300, "all", documents=3, budget=1000), Seen()
    pass_through(tiny_llama, probe, [seen], sites=find_sites(tiny_llama))
    expected = ["start 2 x 48"]
    for language in ("en", "sw"):
        expected += [f"begin {language}", "see 0", "see 1", "finish 3 False", "parts", f"take {language} 1.0"]
    assert seen.asked == expected


def test_losses_of_documents_need_no_neurons(tiny_llama: Any) -> None:
    model, losses = tiny_llama.double(), DocumentLosses()
    probe = make_probe(300)
    assert pass_through(model, probe, [losses]) is probe
    for language in probe.languages:
        for number, document in enumerate(probe.documents[language]):
            _, logs, counted = alone(model, probe, language, number)
            wanted = [t for t in range(1, len(document)) if counted[t]]
            nats = -sum(float(logs[t - 1, int(document.tokens[t])]) for t in wanted)
            assert float(losses.nats[language][number]) == pytest.approx(nats, rel=1e-6, abs=1e-12)
            assert int(losses.tokens[language][number]) == len(wanted)
    assert sum(int(tokens.sum()) for tokens in losses.tokens.values()) > 50


def test_shards_hold_the_losses_of_their_documents(tiny_llama: Any) -> None:
    probe, losses = make_probe(300), DocumentLosses()
    pass_through(tiny_llama, probe, [losses])
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin())
    assert counts.loss_sum is not None
    assert counts.loss_tokens is not None
    for g, language in enumerate(probe.languages):
        for shard in range(3):
            assert float(counts.loss_sum[g, shard]) == pytest.approx(float(losses.nats[language][shard::3].sum()))
            assert int(counts.loss_tokens[g, shard]) == int(losses.tokens[language][shard::3].sum())


@pytest.mark.parametrize("scope", ["response", "all"])
def test_means_of_documents_are_those_of_each_text_alone(tiny_llama: Any, scope: Any) -> None:
    model, probe = tiny_llama.double(), make_probe(300, scope)
    kept: dict[str, dict[int, Tensor]] = {}
    chosen = {0: torch.arange(NEURONS), 1: torch.tensor([40, 3, 17])}
    pass_through(model, probe, [DocumentMeans(chosen, kept.__setitem__)], sites=find_sites(model))
    assert list(kept) == ["en", "sw"]
    silent = 0
    for language, means in kept.items():
        assert {layer: tuple(one.shape) for layer, one in means.items()} == {0: (11, NEURONS), 1: (11, 3)}
        for number in range(11):
            activations, _, counted = alone(model, probe, language, number)
            silent += not counted.any()
            for layer, columns in chosen.items():
                expected = activations[layer][counted][:, columns].mean(dim=0)  # of nothing: NaN
                assert torch.allclose(means[layer][number], expected, rtol=1e-10, atol=1e-12, equal_nan=True)
    assert (silent > 0) == (scope == "response")


def test_one_layer_of_means_is_that_of_all(tiny_llama: Any) -> None:
    sites, probe = find_sites(tiny_llama), make_probe(300, "all")
    found: list[dict[int, Tensor]] = []
    for some in ([0, 1], [0], [1]):
        observer = DocumentMeans(
            {layer: torch.arange(NEURONS) for layer in some}, lambda _g, means: found.append(means)
        )
        pass_through(tiny_llama, probe, [observer], sites=sites)
    together, first, second = found[0], found[2], found[4]
    assert torch.equal(together[0], first[0])
    assert torch.equal(together[1], second[1])
    assert first.keys() == {0}


@pytest.mark.parametrize("chosen", [{2: torch.arange(3)}, {0: torch.tensor([48])}, {1: torch.tensor([-1])}])
def test_means_of_neurons_that_are_not_there_are_an_error(tiny_llama: Any, chosen: dict[int, Tensor]) -> None:
    observer = DocumentMeans(chosen, lambda _language, _means: None)
    with pytest.raises(ValueError, match="of 2 x 48 neurons"):
        pass_through(tiny_llama, make_probe(300), [observer], sites=find_sites(tiny_llama))


# Gradients


class Steepest(Observer):
    """The gradients of each document's losses by its activations, layer by layer."""

    gradients = True

    def __init__(self) -> None:
        self.found: dict[tuple[str, int, int], Tensor] = {}
        self.nats: dict[str, float] = {}

    def begin(self, language: str) -> None:
        self.language = language

    def see(self, piece: Piece) -> None:
        assert piece.gradients is not None
        assert not piece.activations.requires_grad
        for row, number in enumerate(piece.span.numbers.tolist()):
            slopes = piece.gradients[row] * (1 + 0 * piece.activations[row])
            self.found[self.language, number, piece.layer] = slopes[piece.span.counted[row]]

    def finish(self, batch: ProbeBatch, losses: Tensor) -> None:
        self.nats[batch.language] = self.nats.get(batch.language, 0) + float(losses.double().sum())


@pytest.mark.parametrize("frozen", [False, True])
def test_an_observer_may_ask_for_gradients(tiny_llama: Any, frozen: bool) -> None:
    """The derivatives are those of finite differences, whether or not the weights have any of their own."""
    model = tiny_llama.double().requires_grad_(not frozen)
    probe, steepest, losses = make_probe(300, "all", documents=3, budget=30), Steepest(), DocumentLosses()
    sites = find_sites(model)
    counted_too = count_firings(model, sites, probe, origin=Origin())
    with torch.no_grad():  # as a trainer's validation may be
        pass_through(model, probe, [steepest, losses], sites=sites)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert steepest.nats["en"] == pytest.approx(float(losses.nats["en"].sum()), rel=1e-6)
    document = probe.documents["sw"][1]
    counted = [t for t in range(len(document)) if probe.counted(document)[t]]
    ids = torch.from_numpy(document.tokens).long()[None]

    def nats(layer: int, token: int, neuron: int, by: float) -> float:
        def change(at: int, activations: Tensor, _forward: Any) -> Tensor:
            changed = activations.clone()
            changed[0, token, neuron] += by if at == layer else 0
            return changed

        with torch.no_grad(), edit(model, sites, change):
            logs = model(input_ids=ids).logits[0].double().log_softmax(dim=-1)
        return -sum(float(logs[t - 1, int(document.tokens[t])]) for t in counted if t > 0)

    for layer in range(LAYERS):
        for place in (0, len(counted) // 2):
            for neuron in (0, 31):
                token = counted[place]
                difference = (nats(layer, token, neuron, 1e-2) - nats(layer, token, neuron, -1e-2)) / 2e-2
                found = float(steepest.found["sw", 1, layer][place, neuron])
                assert found == pytest.approx(difference, rel=2e-3, abs=2e-6)
    assert max(float(one.abs().max()) for one in steepest.found.values()) > 1e-3
    # Beside one who asks for gradients others see what they see without.
    again = count_firings(model, sites, probe, origin=Origin())
    assert torch.equal(again.firings.long(), counted_too.firings.long())


# Prompts, edits, and several models' worth of ranks


def test_prompts_are_answered_first(tokenizer: Any, tiny_llama: Any, tmp_path: Path) -> None:
    records = [Record(str(n), code, f"question {n} in {code}") for code in ("en", "de") for n in range(4)]
    prompts = build_probe(records, tokenizer, responses="regenerated", max_new_tokens=5, shards=2)
    kept, sites = Answers(tmp_path / "pass", step=3), find_sites(tiny_llama)
    counts = count_firings(tiny_llama, sites, prompts, origin=Origin(), answers=kept)
    answered = respond(prompts, tiny_llama, folder=tmp_path / "before", step=3)
    expected = count_firings(tiny_llama, sites, answered, origin=Origin())
    assert torch.equal(counts.firings.long(), expected.firings.long())
    assert counts.data_fingerprint == expected.data_fingerprint == answered.fingerprint
    names = [path.name for path in (tmp_path / "pass").iterdir()]
    assert names == ["step-000003.responses.jsonl"] == [path.name for path in (tmp_path / "before").iterdir()]


def test_edits_around_a_pass_are_seen_by_it(tiny_llama: Any) -> None:
    sites, probe = find_sites(tiny_llama), make_probe(300, "all")

    def count() -> ActivationCounts:
        return count_firings(tiny_llama, sites, probe, origin=Origin())

    before = count()
    with edit(tiny_llama, sites[:1], lambda _l, activations, _f: activations * 0):
        edited = count()
    assert before.totals()[:, 0].any()
    assert not edited.totals()[:, 0].any()
    assert edited.totals()[:, 1].any()
    assert not torch.equal(edited.losses(), before.losses())  # type: ignore[arg-type]
    assert torch.equal(count().totals(), before.totals())


def test_progress_is_told_every_token_once(tiny_llama: Any) -> None:
    told: list[int] = []

    class Bar:
        def __enter__(self) -> Any:
            return told.append

        def __exit__(self, *_: object) -> None:
            told.append(-1)

    totals: list[int] = []
    probe = make_probe(300)
    pass_through(tiny_llama, probe, [], progress=lambda tokens: totals.append(tokens) or Bar())  # type: ignore[func-returns-value]
    every = sum(len(document) for documents in probe.documents.values() for document in documents)
    assert totals == [every] == [sum(told) + 1]
    assert told[-1] == -1
    assert len(told) == 1 + sum(len(probe.batches(language)) for language in probe.languages)


def test_half_precision_and_numpy_agree(tiny_llama: Any) -> None:
    """In bfloat16 the activations themselves are coarse; what is counted of them is exact."""
    model = tiny_llama.to(torch.bfloat16)
    probe, seen = make_probe(300, "all", documents=4, budget=1), []
    handles = [layer.mlp.act_fn.register_forward_hook(lambda _m, _i, o: seen.append(o[0])) for layer in layers(model)]
    counts = count_firings(model, find_sites(model), probe, origin=Origin(), statistics=("maximum",))
    for handle in handles:
        handle.remove()
    order = [(g, n) for g in probe.languages for (n,) in probe.batches(g)]
    expected = np.zeros((2, LAYERS, NEURONS), dtype=np.int64)
    shown = seen[-len(order) * LAYERS :]
    for place, (language, number) in enumerate(order):
        mask = probe.counted(probe.documents[language][number])
        for layer in range(LAYERS):
            values = shown[place * LAYERS + layer].float().numpy()[mask]
            expected[probe.languages.index(language), layer] += (values > 0).sum(axis=0)
    assert np.array_equal(counts.totals().numpy(), expected)
    assert counts.maximum is not None
    assert counts.maximum.dtype == torch.float32
