"""The bootstrap against resampling by hand, and against simulated texts whose expected counts are known."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, Classification, Kind, kind_counts, lape, ternary
from alignlab.neurons.identifiers import LapeConfig, TernaryConfig
from alignlab.neurons.probabilities import threshold_near, threshold_of
from alignlab.neurons.resampling import draw_weights, resampled
from alignlab.neurons.summary import COUNTED_KINDS
from alignlab.neurons.table import Row
from alignlab.neurons.uncertainty import bootstrap, bootstrap_difference, chance_level

LANGUAGES = ("zh", "de", "sw", "th")
TRAINED = ("zh", "sw")
LAYERS, NEURONS = 2, 150
SHARDS = 20
T_19 = 2.093024054408263  # 97.5 %, 19 degrees of freedom


@pytest.fixture(autouse=True, params=[1, 2])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def population(seed: int, languages: float = 1.0) -> np.ndarray:
    """What each neuron's activity in each language is on the logit scale, (G, L, N); how much languages matter."""
    random = np.random.default_rng(seed)
    common = random.normal(-1.5, 1.2, (1, LAYERS, NEURONS))
    share = 1.5 * random.random((1, LAYERS, NEURONS))
    return common + languages * share * random.normal(0, 1, (4, LAYERS, NEURONS))


def documents(logits: np.ndarray, random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Firings (G, documents, L, N) and tokens (G, documents): a neuron is more active in some texts than in others."""
    tokens = random.integers(10, 40, (4, count))
    activity = 1 / (1 + np.exp(-logits[:, None] - 0.7 * random.normal(size=(4, count, LAYERS, NEURONS))))
    return random.binomial(tokens[:, :, None, None], activity), tokens


def dealt(firings: np.ndarray, tokens: np.ndarray, shards: int = SHARDS, **changes: Any) -> ActivationCounts:
    per = firings.shape[1] // shards
    summed = torch.from_numpy(firings.reshape(4, shards, per, LAYERS, NEURONS).sum(axis=2))
    by_shard = torch.from_numpy(tokens.reshape(4, shards, per).sum(axis=2))
    fields: dict[str, Any] = {
        "languages": LANGUAGES,
        "firings": summed,
        "tokens": by_shard,
        "documents": torch.full_like(by_shard, per),
        "site": "mlp.act",
        "scope": "all",
    }
    return ActivationCounts(**fields | changes)


def sample(seed: int, logits: np.ndarray | None = None, count: int = 60, **changes: Any) -> ActivationCounts:
    random = np.random.default_rng(seed)
    return dealt(*documents(population(0) if logits is None else logits, random, count), **changes)


def picked(counts: ActivationCounts, weights: np.ndarray) -> ActivationCounts:
    """The record whose shards are those drawn, put down one after another; weights (G, S)."""
    where = [np.repeat(np.arange(len(row)), row) for row in weights]
    tensors = {
        name: torch.stack([getattr(counts, name)[g][index] for g, index in enumerate(where)])
        for name in ("firings", "tokens", "documents")
    }
    return dataclasses.replace(counts, **tensors)


def table(result: Classification, kinds: Any) -> list[float]:
    return [row.value for row in kind_counts(result, TRAINED, kinds)]


def check(row: Row, estimate: float, column: list[float], least: float) -> None:
    """The row has the interval that follows from these values in resamples, or the words that there is none."""
    assert row.value == pytest.approx(estimate, abs=1e-12)
    sd = statistics.stdev(column)
    if sd == 0 and abs(estimate) < 10:
        assert (row.status, row.low, row.high, row.p, row.beyond_noise) == ("too few", None, None, None, None)
        return
    whole = all(value == int(value) for value in column)
    error = math.sqrt(20 / 19 * sd**2 + (1 / 12 if whole else 0))
    ends = max(estimate - T_19 * error, least), min(estimate + T_19 * error, row.denominator)
    assert row.status == "ok"
    assert row.sd == pytest.approx(sd, abs=1e-12)
    assert (row.low, row.high) == pytest.approx(ends, abs=1e-9)
    assert row.noise_bias == pytest.approx(statistics.mean(column) - estimate, abs=1e-9)
    if row.reference is None:
        assert (row.p, row.beyond_noise) == (None, None)
    else:
        off = abs(estimate - row.reference) / error
        assert row.p == pytest.approx(2 * stats.t.sf(off, 19), rel=1e-9)
        assert row.beyond_noise == (row.p < 0.05)


CONFIGS = [TernaryConfig(top_rate=0.2, bar=0.7), LapeConfig(top_rate=0.2, bar=0.7)]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("kinds", ["paper", "selection", "all"])
@pytest.mark.parametrize("anchored", [False, True])
@pytest.mark.parametrize("parallel", [False, True])
def test_intervals_are_those_of_classifying_every_resample_anew(
    config: Any, kinds: Any, anchored: bool, parallel: bool
) -> None:
    counts, other = sample(1), sample(2)
    anchor = config.identify(other) if anchored else None
    found = bootstrap(counts, config, TRAINED, kinds, anchor=anchor, resamples=11, seed=5, parallel=parallel)

    held = config.identify(counts, anchor)
    observed, values, codes = table(held, kinds), [], []
    for weights in draw_weights(np.random.default_rng(5), 11, 4, SHARDS, parallel):
        tau, cut = (anchor.threshold, anchor.cut) if anchor is not None else (None, None)
        resample = picked(counts, weights)
        if isinstance(config, LapeConfig):
            result: Classification = lape(resample, 0.2, 0.7, threshold=tau, cut=cut)
        else:
            result = ternary(resample, 0.2, 0.7, lambda_=held.lambda_, threshold=tau, cut=cut)
        values.append(table(result, kinds))
        codes.append(result.kinds(kinds))
    assert [one.value for one in found.intervals] == observed
    for one, estimate, column in zip(found.intervals, observed, zip(*values, strict=True), strict=True):
        check(one, estimate, list(column), least=0)
    kept = torch.stack([code == held.kinds(kinds) for code in codes]).double().mean(dim=0)
    assert torch.allclose(found.kept, kept, atol=1e-15)
    assert torch.equal(found.stable, found.kept >= 0.95)
    assert 0 < int(found.stable.sum()) < LAYERS * NEURONS
    assert (found.resamples, found.shards) == (11, SHARDS)
    assert torch.equal(found.result.degree, held.degree)


def test_one_draw_serves_all_languages_only_where_they_are_parallel() -> None:
    together = draw_weights(np.random.default_rng(0), 500, 4, SHARDS, parallel=True)
    apart = draw_weights(np.random.default_rng(0), 500, 4, SHARDS, parallel=False)
    for weights in (together, apart):
        assert weights.shape == (500, 4, SHARDS)
        assert (weights.sum(axis=2) == SHARDS).all()
        # Each shard is drawn once on average, with the variance of a multinomial, 1 - 1/S.
        assert weights[:, 0].mean() == 1
        assert weights[:, 0].var() == pytest.approx(1 - 1 / SHARDS, rel=0.05)
    assert (together == together[:, :1]).all()
    assert not (apart == apart[:, :1]).all()


def test_probabilities_of_a_resample_divide_its_sums() -> None:
    counts = sample(3)
    narrow = dataclasses.replace(counts, firings=counts.firings.to(torch.uint8))
    weights = draw_weights(np.random.default_rng(0), 19, 4, SHARDS, parallel=False)
    for record in (counts, narrow):
        for number, p in enumerate(resampled(record, weights)):
            expected = picked(counts, weights[number]).probabilities().flatten(1)
            assert p.tolist() == expected.tolist()


def test_layers_wider_than_a_block_are_reached() -> None:
    random = np.random.default_rng(0)
    tokens = torch.full((2, 3), 50)
    firings = torch.from_numpy(random.integers(0, 51, (2, 3, 3, 7001)))
    counts = ActivationCounts(("a", "b"), firings, tokens, tokens, "mlp.act", "all")
    weights = draw_weights(random, 2, 2, 3, parallel=False)
    for number, p in enumerate(resampled(counts, weights)):
        assert p.tolist() == picked(counts, weights[number]).probabilities().flatten(1).tolist()


def test_the_threshold_is_the_same_wherever_it_is_looked_for_first() -> None:
    random = np.random.default_rng(0)
    for p in (random.random((4, 500)), np.round(random.random((4, 500)), 1), np.zeros((2, 3)), np.ones((2, 3))):
        for bar in (0.0, 0.3, 0.95, 1.0):
            for guess in (0.0, 0.2, 0.29, 0.3, 0.31, 0.95, 1.0):
                assert threshold_near(p, bar, guess) == threshold_of(p, bar)


def test_a_seed_gives_the_same_intervals_again() -> None:
    counts = sample(1)
    first, again, other = (bootstrap(counts, CONFIGS[0], resamples=9, seed=seed) for seed in (3, 3, 4))
    assert first.intervals == again.intervals
    assert first.intervals != other.intervals


def test_a_neuron_that_changes_in_one_resample_of_twenty_is_stable() -> None:
    found = bootstrap(sample(1), CONFIGS[0], resamples=20)
    assert bool((found.kept == 19 / 20).any())
    assert torch.equal(found.stable, found.kept >= 19 / 20)


# Differences


def test_a_record_does_not_differ_from_itself() -> None:
    counts = sample(1)
    for anchored in (True, False):
        found = bootstrap_difference(counts, counts, CONFIGS[0], resamples=9, anchored=anchored)
        assert {(one.value, one.status, one.low) for one in found.intervals} == {(0.0, "too few", None)}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("anchored", [True, False])
def test_differences_are_taken_pair_by_pair_with_the_same_draws(config: Any, anchored: bool) -> None:
    first, second = sample(1, step=0), sample(2, step=20)
    found = bootstrap_difference(first, second, config, TRAINED, "all", resamples=9, seed=6, anchored=anchored)

    held = [config.identify(first)]
    held.append(config.identify(second, held[0] if anchored else None))
    observed = [table(result, "all") for result in held]
    values = []
    for weights in draw_weights(np.random.default_rng(6), 9, 4, SHARDS, parallel=True):
        pair = []
        for counts, result in zip((first, second), held, strict=True):
            tau, cut = (held[0].threshold, held[0].cut) if anchored else (None, None)
            if isinstance(config, LapeConfig):
                again: Classification = lape(picked(counts, weights), 0.2, 0.7, threshold=tau, cut=cut)
            else:
                again = ternary(picked(counts, weights), 0.2, 0.7, lambda_=result.lambda_, threshold=tau, cut=cut)
            pair.append(table(again, "all"))
        values.append([after - before for before, after in zip(*pair, strict=True)])
    for one, before, after, column in zip(found.intervals, *observed, zip(*values, strict=True), strict=True):
        check(one, after - before, list(column), least=-one.denominator)
        assert one.step == 20
    assert found.anchored == anchored
    assert (found.second.threshold == found.first.threshold) == anchored


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"languages": ("zh", "sw", "de", "th")}, "languages of the second record"),
        ({"documents": torch.full((4, SHARDS), 2)}, "documents of the second record"),
    ],
)
def test_records_of_other_documents_are_not_compared(changes: dict[str, Any], word: str) -> None:
    first = sample(1)
    with pytest.raises(InputError, match=word):
        bootstrap_difference(first, dataclasses.replace(first, **changes), CONFIGS[0], resamples=5)


def test_records_of_other_shapes_are_not_compared() -> None:
    first, random = sample(1), np.random.default_rng(0)
    fewer = dealt(*documents(population(0), random, 60), shards=10)
    with pytest.raises(InputError, match=r"shape of the second record: \(10, 2, 150\)"):
        bootstrap_difference(first, fewer, CONFIGS[0], resamples=5)
    firings, tokens, documents_ = first.firings.clone(), first.tokens.clone(), first.documents
    firings[2], tokens[2] = 0, 0
    silent = dataclasses.replace(first, firings=firings, tokens=tokens, documents=documents_)
    with pytest.raises(InputError, match="counts of 'sw'"):
        bootstrap_difference(first, silent, CONFIGS[0], resamples=5)


# Simulated texts


def coverage(runs: int, kinds: Any, config: Any) -> dict[tuple[str, str], float]:
    """How often the interval of each kind, in all and in each language, holds the mean of the estimates."""
    logits = population(0)
    tables = []
    for run in range(runs):
        counts = sample(1000 + run, logits)
        tables.append(bootstrap(counts, config, TRAINED, kinds, resamples=100, seed=run).intervals)
    found = {}
    for column in zip(*tables, strict=True):
        row = column[0]
        if row.layer is None and row.kind and row.group in ("all", "language"):
            expected = statistics.mean(one.value for one in column)
            if expected > 1 and row.kind != "selected":  # of which there are always as many
                known = [one for one in column if one.low is not None]
                assert len(known) == runs or expected < 10  # too few to tell
                found[row.kind, row.language] = sum(one.low <= expected <= one.high for one in known) / len(known)
    return found


FIXED = TernaryConfig(top_rate=0.2, bar=0.7, lambda_=0.04)


@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.parametrize("kinds", ["selection", "all"])
def test_intervals_mostly_hold_the_expected_count(kinds: Any) -> None:
    shares = coverage(60, kinds, FIXED)
    assert set(shares) >= {(kind, name) for kind in ("specific", "related") for name in ("", *LANGUAGES)}
    assert statistics.mean(shares.values()) > 0.92
    assert min(shares.values()) > 0.83


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1], indirect=True)
@pytest.mark.parametrize("kinds", ["selection", "all"])
def test_intervals_hold_the_expected_count_as_often_as_they_say(kinds: Any) -> None:
    shares = coverage(500, kinds, FIXED)
    totals = {kind: share for (kind, name), share in shares.items() if not name}
    assert set(totals) >= {"specific", "related", "unassigned" if kinds == "selection" else "general"}
    assert all(share >= 0.92 for share in shares.values()), shares
    assert all(share <= 0.99 for share in totals.values()), totals


@pytest.mark.parametrize("threads", [1], indirect=True)
def test_noise_bias_is_what_more_noise_adds() -> None:
    # Where languages are alike, noise alone sets neurons apart: the fewer texts, the more specific ones are counted.
    logits = population(1, languages=0.2)
    bias = [
        statistics.mean(
            next(one.noise_bias for one in bootstrap(sample(seed, logits, count), FIXED, kinds="all").intervals)
            for seed in range(5)
        )
        for count in (20, 400)
    ]
    assert bias[0] > 2 * bias[1]
    assert bias[0] > 3


# Chance


@pytest.mark.parametrize("config", CONFIGS)
def test_chance_counts_resamples_of_one_language_in_the_place_of_all(config: Any) -> None:
    counts = sample(1)
    found = chance_level(counts, config, "all", draws=3, seed=2)
    held = config.identify(counts)
    random = np.random.default_rng(2)
    totals = []
    for language in range(4):
        for weights in draw_weights(random, 3, 4, SHARDS, parallel=False):
            index = torch.full((4,), language)
            one = dataclasses.replace(
                counts,
                firings=counts.firings[index],
                tokens=counts.tokens[index],
                documents=counts.documents[index],
            )
            degree = (picked(one, weights).probabilities() > held.threshold).sum(dim=0)
            totals.append(
                [int((degree == 1).sum()), int(((degree > 1) & (degree < 4)).sum()), int((degree == 4).sum())]
            )
    means = [statistics.mean(column) for column in zip(*totals, strict=True)]
    assert [found[kind] for kind in (Kind.SPECIFIC, Kind.RELATED, Kind.GENERAL)] == pytest.approx(means, abs=1e-9)
    assert found[Kind.UNASSIGNED] == 0
    assert list(found) == list(COUNTED_KINDS)


def test_chance_in_the_selection_is_at_the_lambda_observed() -> None:
    counts = sample(1)
    weak, strong = (TernaryConfig(top_rate=0.2, bar=0.7, lambda_=value) for value in (0.0, 2.0))
    anchor = strong.identify(counts)
    chance = chance_level(counts, strong, "selection", draws=5)
    assert chance == chance_level(counts, weak, "selection", anchor=anchor, draws=5)
    assert chance != chance_level(counts, weak, "selection", draws=5)
    assert sum(chance.values()) == pytest.approx(0.2 * LAYERS * NEURONS)


def apart(found: torch.Tensor) -> int:
    return int(((found == Kind.SPECIFIC) | (found == Kind.RELATED)).sum())


@pytest.mark.parametrize("threads", [1], indirect=True)
def test_languages_that_are_alike_are_told_apart_as_often_as_chance_says_and_others_more_often() -> None:
    real: dict[float, list[int]] = {0.0: [], 1.0: []}
    chance: dict[float, list[float]] = {0.0: [], 1.0: []}
    for languages in real:
        logits = population(2, languages)
        for seed in range(25):
            counts = sample(seed, logits)
            real[languages].append(apart(FIXED.identify(counts).kinds("all")))
            level = chance_level(counts, FIXED, "all", draws=4)
            chance[languages].append(level[Kind.SPECIFIC] + level[Kind.RELATED])
    assert statistics.mean(chance[0.0]) == pytest.approx(statistics.mean(real[0.0]), rel=0.15)
    assert statistics.mean(real[1.0]) > 5 * statistics.mean(chance[1.0])


@pytest.mark.parametrize("threads", [1], indirect=True)
def test_chance_does_not_depend_on_how_many_shards_the_documents_were_dealt_to() -> None:
    levels: dict[int, list[list[float]]] = {20: [], 40: [], 80: []}
    for seed in range(12):
        firings, tokens = documents(population(0), np.random.default_rng(seed), 80)
        for shards, found in levels.items():
            level = chance_level(dealt(firings, tokens, shards), FIXED, "all", draws=8)
            found.append([level[Kind.SPECIFIC], level[Kind.RELATED], level[Kind.GENERAL]])
    means = [[statistics.mean(column) for column in zip(*found, strict=True)] for found in levels.values()]
    # What moves is the variance of a resample, (S - 1) / S of that of a new text: .95 to .99.
    for mean in means:
        assert mean == pytest.approx(means[1], rel=0.1)


# Refusals


def changed(**tensors: Callable[[torch.Tensor], torch.Tensor]) -> ActivationCounts:
    counts = sample(1)
    return dataclasses.replace(counts, **{name: change(getattr(counts, name)) for name, change in tensors.items()})


def with_language(index: int, value: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda tensor: torch.stack([value(row) if i == index else row for i, row in enumerate(tensor)])


def only_first_shard(row: torch.Tensor) -> torch.Tensor:
    return torch.cat([row[:1], torch.zeros_like(row[1:])])


def saturated() -> ActivationCounts:
    counts = sample(1)
    firings = counts.firings.clone()
    firings[3] = counts.tokens[3, :, None, None]
    return dataclasses.replace(counts, firings=firings)


REFUSED = [
    (lambda: changed(**dict.fromkeys(("firings", "tokens", "documents"), lambda t: t[:, :1])), "one shard.*shards=20"),
    (lambda: changed(firings=with_language(1, torch.zeros_like)), "'de': empty: no neuron is active on any of"),
    (
        lambda: changed(**dict.fromkeys(("firings", "tokens"), with_language(1, torch.zeros_like))),
        "'de': tokens in 0 of 20 shards",
    ),
    (
        lambda: changed(**dict.fromkeys(("firings", "tokens"), with_language(2, only_first_shard))),
        "'sw': tokens in 1 of 20 shards",
    ),
    (saturated, "'th': saturated: every neuron is active on all .* tokens.*not != 0"),
]


@pytest.mark.parametrize("ask", [bootstrap, chance_level])
@pytest.mark.parametrize(("make", "word"), REFUSED)
def test_shards_that_cannot_tell_are_refused_with_the_reason(
    ask: Callable[..., Any], make: Callable[[], ActivationCounts], word: str
) -> None:
    with pytest.raises(InputError, match=word):
        ask(make(), CONFIGS[0])


def test_every_language_that_cannot_tell_is_named() -> None:
    counts = changed(firings=with_language(1, torch.zeros_like))
    firings = counts.firings.clone()
    firings[3] = counts.tokens[3, :, None, None]
    with pytest.raises(InputError) as caught:
        bootstrap(dataclasses.replace(counts, firings=firings), CONFIGS[0])
    assert [problem.where for problem in caught.value.problems] == ["counts of 'de'", "counts of 'th'"]
    with pytest.raises(InputError, match="resamples"):
        bootstrap(sample(1), CONFIGS[0], resamples=1)


def test_one_neuron_that_is_always_active_does_no_harm() -> None:
    counts = sample(1)
    firings = counts.firings.clone()
    firings[:, :, 0, 0] = counts.tokens
    assert bootstrap(dataclasses.replace(counts, firings=firings), CONFIGS[0], resamples=5).kept[0, 0] == 1
