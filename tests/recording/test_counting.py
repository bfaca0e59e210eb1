"""The counting pass against slow loops that share no code with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alignlab.data.records import Record
from alignlab.models.sites import find_sites
from alignlab.recording.counting import Origin, count_firings
from alignlab.recording.probes import Probe, build_probe

WORDS = "the red fox runs over seven old hills while 12 birds sing and nobody counts them at night".split()  # noqa: SIM905


def records(languages: tuple[str, ...], count: int, seed: int = 0) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [
        Record(
            id=str(number),
            language=language,
            prompt=" ".join(rng.choice(WORDS, size=rng.integers(1, 9))),
            answer=" ".join(rng.choice(WORDS, size=rng.integers(1, 12))),
        )
        for language in languages
        for number in range(count)
    ]


def make_probe(tokenizer: Any, clusters: int | None = None, **changes: Any) -> Probe:
    options: dict[str, Any] = {"scope": "response", "shards": 3, "max_tokens_per_batch": 64}
    texts = records(("en", "de", "sw"), 13)
    if clusters is not None:
        texts = [replace(record, cluster=f"cluster {int(record.id) ** 2 % clusters}") for record in texts]
    return build_probe(texts, tokenizer, **(options | changes))


def slow_counts(
    model: Any, probe: Probe, batches: dict[str, list[list[int]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Firings (G, S, L, N), loss sums and predicted tokens (G, S), one text and one token at a time."""
    layers = model.model.layers
    firings = np.zeros(
        (len(probe.languages), probe.shards, len(layers), model.config.intermediate_size), dtype=np.int64
    )
    losses = np.zeros((len(probe.languages), probe.shards))
    predicted = np.zeros((len(probe.languages), probe.shards), dtype=np.int64)
    seen: list[Tensor] = []
    handles = [layer.mlp.act_fn.register_forward_hook(lambda _m, _i, out: seen.append(out)) for layer in layers]
    for g, language in enumerate(probe.languages):
        met: list[str] = []  # the clusters, in the order of the documents
        for document in probe.documents[language]:
            met += [document.cluster] if document.cluster not in met else []
        for numbers in batches[language]:
            documents = [probe.documents[language][number] for number in numbers]
            longest = max(len(document) for document in documents)
            ids = torch.zeros((len(documents), longest), dtype=torch.int64)
            mask = torch.zeros_like(ids)
            for row, document in enumerate(documents):
                for position, token in enumerate(document.tokens):
                    ids[row, position] = int(token)
                    mask[row, position] = 1
            seen.clear()
            with torch.no_grad():
                logits = model(input_ids=ids, attention_mask=mask).logits
            for row, document in enumerate(documents):
                shard = met.index(document.cluster) % probe.shards
                for position, token in enumerate(document.tokens):
                    wanted = probe.scope == "all" or document.answer[position]
                    if not wanted or (document.special[position] and not probe.count_special_tokens):
                        continue
                    for layer in range(len(layers)):
                        firings[g, shard, layer] += (seen[layer][row, position] > 0).numpy()
                    if position > 0:
                        losses[g, shard] -= torch.log_softmax(logits[row, position - 1].double(), -1)[int(token)].item()
                        predicted[g, shard] += 1
    for handle in handles:
        handle.remove()
    return firings, losses, predicted


@pytest.mark.parametrize("scope", ["response", "all"])
@pytest.mark.parametrize("special", [False, True])
def test_counts_equal_a_slow_hook_loop_on_the_same_batches(
    tokenizer: Any, tiny_llama: Any, scope: Any, special: bool
) -> None:
    probe = make_probe(tokenizer, scope=scope, count_special_tokens=special)
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin())
    batches = {language: probe.batches(language) for language in probe.languages}
    assert any(len(batch) > 1 for batch in batches["en"])  # padding is really met
    firings, losses, predicted = slow_counts(tiny_llama.eval(), probe, batches)
    assert firings.sum() > 1000
    assert np.array_equal(counts.firings.numpy().astype(np.int64), firings)
    assert counts.loss_sum is not None
    assert counts.loss_tokens is not None
    assert np.allclose(counts.loss_sum.numpy(), losses, rtol=1e-5)
    assert np.array_equal(counts.loss_tokens.numpy(), predicted)


def test_clusters_are_counted_whole(tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer, clusters=7)
    assert probe.shards_of("en").tolist() != [number % 3 for number in range(13)]
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin())
    batches = {language: probe.batches(language) for language in probe.languages}
    firings, losses, predicted = slow_counts(tiny_llama.eval(), probe, batches)
    assert np.array_equal(counts.firings.numpy().astype(np.int64), firings)
    assert counts.loss_sum is not None
    assert counts.loss_tokens is not None
    assert np.allclose(counts.loss_sum.numpy(), losses, rtol=1e-5)
    assert np.array_equal(counts.loss_tokens.numpy(), predicted)
    alone = count_firings(tiny_llama, find_sites(tiny_llama), make_probe(tokenizer), origin=Origin())
    assert counts.totals().equal(alone.totals())  # only the shards differ


def test_counts_do_not_depend_on_the_batches_in_double_precision(tokenizer: Any, tiny_llama: Any) -> None:
    model = tiny_llama.double()
    one_by_one = {language: [[number] for number in range(13)] for language in ("en", "de", "sw")}
    firings, losses, _ = slow_counts(model.eval(), make_probe(tokenizer), one_by_one)
    for budget in (1, 64, 10_000):
        probe = make_probe(tokenizer, max_tokens_per_batch=budget)
        counts = count_firings(model, find_sites(model), probe, origin=Origin())
        assert np.array_equal(counts.firings.numpy().astype(np.int64), firings)
        assert counts.loss_sum is not None
        assert np.allclose(counts.loss_sum.numpy(), losses, rtol=1e-6)


def test_tokens_and_documents_are_those_counted(tokenizer: Any, tiny_llama: Any) -> None:
    probe = make_probe(tokenizer)
    counts = count_firings(tiny_llama, find_sites(tiny_llama), probe, origin=Origin())
    for g, language in enumerate(probe.languages):
        documents = probe.documents[language]
        for shard in range(3):
            mine = documents[shard::3]
            assert counts.documents[g, shard] == len(mine)
            expected = sum(bool(a) and not bool(s) for d in mine for a, s in zip(d.answer, d.special, strict=True))
            assert counts.tokens[g, shard] == expected


def test_training_mode_gradients_and_random_numbers_are_left_alone(tokenizer: Any, tiny_llama: Any) -> None:
    model = tiny_llama
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    before = torch.random.get_rng_state()
    count_firings(model, find_sites(model), make_probe(tokenizer), origin=Origin())
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_autocast_does_not_round_the_counts(tokenizer: Any, tiny_llama: Any) -> None:
    """More than 256 tokens a shard: a sum in bfloat16 would stall there."""
    long = [Record(str(n), language, "a", " ".join(WORDS * 3)) for n in range(8) for language in ("en", "de")]
    probe = build_probe(long, tokenizer, shards=1, max_tokens_per_batch=100_000)
    counts = count_firings(
        tiny_llama,
        find_sites(tiny_llama),
        probe,
        origin=Origin(),
        context=lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    )
    tokens = int(counts.tokens[0, 0])
    assert tokens > 1000
    # The eight texts are the same, so every count is eight times that of one text: odd multiples survive no rounding.
    assert (counts.firings.long() % 8 == 0).all()
    assert ((counts.firings.long() // 8) % 2 == 1).any()
    assert counts.firings.long().max() > 256


def test_without_the_loss_no_logits_are_made(tokenizer: Any, tiny_llama: Any) -> None:
    rows: list[int] = []
    sites = find_sites(tiny_llama)
    handle = tiny_llama.lm_head.register_forward_hook(lambda _m, args, _o: rows.append(args[0].shape[1]))
    with_loss = count_firings(tiny_llama, sites, make_probe(tokenizer), origin=Origin())
    assert max(rows) > 0
    rows.clear()
    without = count_firings(tiny_llama, sites, make_probe(tokenizer), origin=Origin(), loss=False)
    handle.remove()
    assert rows
    assert set(rows) == {0}
    assert without.loss_sum is None
    assert torch.equal(with_loss.firings.long(), without.firings.long())
