"""Records of routed experts: their denominators in probabilities, resamples, parts and files; and what is no record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, bootstrap, chance_level, expert_and_column, merge, neuron_of, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.reassigned import movement, odds_of
from alignlab.neurons.resampling import draw_weights, resampled
from alignlab.neurons.subset import subset

from .test_counts import rewritten

G, S, L, E, C = 3, 5, 2, 4, 6


def record(seed: int = 0, denominator: str = "routed") -> ActivationCounts:
    """A record in which some expert is never sent a token of some language."""
    random = np.random.default_rng(seed)
    tokens = random.integers(200, 300, (G, S))
    routed = random.integers(0, random.integers(5, 200, (G, 1, L, E)), (G, S, L, E))  # experts are used unequally
    routed[1, :, 0, 2] = 0
    firings = random.binomial(routed[..., None], random.beta(0.5, 2, (G, 1, L, E, C))).reshape(G, S, L, E * C)
    tensors = {"firings": firings, "tokens": tokens, "documents": np.full((G, S), 9), "routed": routed}
    given: Any = {name: torch.from_numpy(array.astype(np.int64)) for name, array in tensors.items()}
    return ActivationCounts(("a", "b", "c"), **given, site="experts.act", scope="all", denominator=denominator)


def slow(counts: ActivationCounts, shards: list[list[int]]) -> np.ndarray:
    """(G, L, N): of each neuron by itself; shards: by language those that are taken, some more than once."""
    found = np.zeros((G, L, E * C))
    for g, layer, neuron in np.ndindex(G, L, E * C):
        fired = sum(int(counts.firings[g, s, layer, neuron]) for s in shards[g])
        assert counts.routed is not None
        of = sum(int(counts.routed[g, s, layer, neuron // C]) for s in shards[g])
        if counts.denominator == "all":
            of = sum(int(counts.tokens[g, s]) for s in shards[g])
        found[g, layer, neuron] = fired / of if of else 0
    return found


@pytest.mark.parametrize("denominator", ["all", "routed"])
def test_probabilities_are_shares_of_the_tokens_named(denominator: str) -> None:
    counts = record(denominator=denominator)
    p = counts.probabilities().numpy()
    assert np.array_equal(p, slow(counts, [list(range(S))] * G))
    assert (p[1, 0, 2 * C : 3 * C] == 0).all()
    assert denominator in repr(counts)
    assert ("routed to the expert" in counts.read_at) == (denominator == "routed")


@pytest.mark.parametrize("denominator", ["all", "routed"])
def test_resamples_take_numerators_and_denominators_together(denominator: str) -> None:
    counts = record(denominator=denominator)
    weights = draw_weights(np.random.default_rng(3), 11, G, S, parallel=False)  # more than are held together
    for drawn, p in zip(weights, resampled(counts, weights), strict=True):
        shards = [[s for s in range(S) for _ in range(drawn[g, s])] for g in range(G)]
        assert np.allclose(p.reshape(G, L, E * C), slow(counts, shards), rtol=1e-15)


def test_the_denominator_decides_the_sets_and_everything_runs() -> None:
    identifier = TernaryConfig(top_rate=0.3)
    sets = {}
    for denominator in ("all", "routed"):
        counts = record(denominator=denominator)
        found = identifier.identify(counts)
        given = ternary(counts.probabilities(), languages=counts.languages, top_rate=0.3)
        assert all(torch.equal(found.sets[name], given.sets[name]) for name in counts.languages)
        assert np.isfinite(bootstrap(counts, identifier, resamples=4).values).all()
        assert all(np.isfinite(value) for value in chance_level(counts, identifier, draws=2).values())
        other = replace(record(1), denominator=denominator)
        assert movement(counts, other, identifier, found, draws=2).shape[0] == 2
        sets[denominator] = torch.stack([*found.sets.values()])
    assert not torch.equal(sets["all"], sets["routed"])


def test_odds_are_of_the_routed_tokens() -> None:
    counts = record()
    odds, firings = odds_of(counts).reshape(G, L, E, C), counts.totals().reshape(G, L, E, C).numpy()
    assert counts.routed is not None
    of = counts.routed.sum(dim=1).numpy()[..., None]
    assert np.allclose(odds, (firings + 0.5) / (of - firings + 0.5), rtol=1e-15)


def test_movement_stays_within_experts() -> None:
    """Elsewhere it is of other numbers of tokens: an expert that a language no longer reaches moves no neuron of
    another one, and neurons of experts that stay as they are stay."""
    identifier, first = TernaryConfig(top_rate=0.3), wide(0)
    assert first.routed is not None
    firings, routed = first.firings.clone(), first.routed.clone()
    firings[:, :, :, :40], routed[:, :, :, 0] = 0, 0
    second = replace(first, firings=firings, routed=routed)
    anchor = identifier.identify(first)
    observed = movement(first, second, identifier, anchor, draws=1)
    # All neurons of the expert fall to 0 whoever gives them their change.
    for seed in range(3):
        assert np.array_equal(movement(first, second, identifier, anchor, draws=1, seed=seed + 1), observed)
    assert observed.any()


def wide(seed: int) -> ActivationCounts:
    """Experts of as many columns as deciles and more, some of them used rarely."""
    random = np.random.default_rng(seed)
    routed = random.integers(5, random.integers(10, 200, (G, 1, L, E)), (G, S, L, E))
    firings = random.binomial(routed[..., None], random.beta(0.5, 2, (G, 1, L, E, 40))).reshape(G, S, L, E * 40)
    tensors = {"firings": firings, "tokens": np.full((G, S), 300), "documents": np.full((G, S), 9), "routed": routed}
    given: Any = {name: torch.from_numpy(array.astype(np.int64)) for name, array in tensors.items()}
    return ActivationCounts(("a", "b", "c"), **given, site="experts.act", scope="all", denominator="routed")


def test_files_parts_and_merged_records_keep_tokens_by_expert(tmp_path: Path) -> None:
    counts = record()
    counts.save(tmp_path / "a.safetensors")
    again = ActivationCounts.load(tmp_path / "a.safetensors")
    assert again.denominator == "routed"
    assert torch.equal(again.probabilities(), counts.probabilities())
    part = subset(counts, ["c", "a"], [4, 1])
    assert torch.equal(part.probabilities()[1, 1], torch.from_numpy(slow(counts, [[4, 1]] * G))[0, 1])
    both = merge(counts, replace(record(2)))
    assert both.routed is not None
    assert torch.equal(both.routed.long(), record().routed + record(2).routed)  # type: ignore[operator]


def test_older_files_are_of_all_tokens(tmp_path: Path) -> None:
    """They say nothing of a denominator."""
    replace(record(denominator="all"), routed=None).save(tmp_path / "a.safetensors")
    assert ActivationCounts.load(rewritten(tmp_path / "a.safetensors", denominator=None)).denominator == "all"


def changed(**changes: Any) -> Any:
    return lambda: replace(record(), **changes)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (changed(routed=None), r"denominator: 'routed'; expected all\. Count at probe\.site=experts\.act"),
        (changed(denominator="tokens"), "denominator: 'tokens'; expected all or routed"),
        (changed(routed=record().routed[..., :1].expand(G, S, L, 5).contiguous()), "routed: 5 experts; "),  # type: ignore[index]
        (changed(routed=torch.zeros(G, S, L, 0, dtype=torch.int64)), "routed: 0 experts"),
        (changed(routed=record().routed.double()), "routed: shape .* of torch.float64; expected"),  # type: ignore[union-attr]
        (changed(routed=record().routed[:, :1]), r"routed: shape \(3, 1, 2, 4\)"),  # type: ignore[index]
        (changed(routed=record().routed * 0), "firings of 'a', shard 0, layer .*: a neuron fires on .* of 0 routed"),  # type: ignore[operator]
        (changed(routed=record().routed * 10), "routed of 'a', shard .: an expert has .* of .* tokens"),  # type: ignore[operator]
        (changed(routed=-record().routed), "routed: -.*; expected no negative count"),  # type: ignore[operator]
        (lambda: merge(record(), record(1, "all")), "counts 2: denominator 'all'; expected denominator 'routed'"),
        (lambda: merge(record(0, "all"), replace(record(1, "all"), routed=None)), "routed is missing, and there"),
        (lambda: expert_and_column(24, 4, 24), "neuron: 24; expected 0 to 23"),
        (lambda: expert_and_column(-1, 4, 24), "neuron: -1"),
        (lambda: expert_and_column(1, 5, 24), "5 experts of 24 neurons"),
        (lambda: expert_and_column(1, 0, 24), "0 experts of 24 neurons"),
        (lambda: neuron_of(4, 0, 4, 24), "expert 4, column 0; expected experts 0 to 3, columns 0 to 5"),
        (lambda: neuron_of(0, 6, 4, 24), "expert 0, column 6"),
    ],
)  # fmt: skip
def test_what_is_no_record_of_experts_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_numbers_of_neurons_go_both_ways() -> None:
    assert [neuron_of(*expert_and_column(n, E, E * C), E, E * C) for n in range(E * C)] == list(range(E * C))
    counts = record()
    assert expert_and_column(C + 2, counts.experts, counts.shape[3]) == (1, 2)
