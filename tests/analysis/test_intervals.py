"""Intervals of numbers that are no counts, against resamples that are really put together and looked at in loops."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from alignlab.analysis import intervals
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.noise import Resampling
from alignlab.analysis.records import StoredCounts
from alignlab.neurons import ActivationCounts, Classification, LanguageOverlaps, language_overlaps, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import Row

IDENTIFIER = TernaryConfig(top_rate=0.4, bar=0.6)
NAMES = ("en", "de", "sw", "sv")
LAYERS, WIDTH, SHARDS, RESAMPLES, SEED = 12, 15, 6, 25, 3
T_OF_5 = 2.570582  # two-sided 95 % of Student's t with 5 degrees of freedom, from a table


def record(step: int) -> ActivationCounts:
    random = torch.Generator().manual_seed(step)
    rate = torch.rand(4, 1, LAYERS, WIDTH, generator=torch.Generator().manual_seed(0))
    rate = 0.7 * rate + 0.3 * torch.rand(4, 1, LAYERS, WIDTH, generator=random)
    tokens = torch.randint(40, 60, (4, SHARDS), generator=random)
    shape = (4, SHARDS, LAYERS, WIDTH)
    firings = torch.binomial(tokens[:, :, None, None].expand(shape).float(), rate.expand(shape), generator=random)
    documents = torch.full((4, SHARDS), 4)
    losses = (1 + torch.rand(4, SHARDS, generator=random).double()) * (tokens - 1)
    return ActivationCounts(
        NAMES, firings.long(), tokens, documents, "mlp.act", "all", step=step, trained_languages=("de",),
        loss_sum=losses, loss_tokens=tokens - 1,
    )  # fmt: skip


def drawn(counts: ActivationCounts, shards: list[int]) -> ActivationCounts:
    """A record of these shards, each as often as it is named."""
    return ActivationCounts(
        NAMES, counts.firings[:, shards], counts.tokens[:, shards], counts.documents[:, shards], "mlp.act", "all",
        loss_sum=counts.loss_sum[:, shards], loss_tokens=counts.loss_tokens[:, shards],
    )  # fmt: skip


def rows_of(
    folder: Path, analysis: str, *, neurons: tuple[tuple[int, int], ...] = (), steps: tuple[int, ...] = (0, 5)
) -> list[Row]:
    """The rows of the last record."""
    resampling = Resampling(IDENTIFIER, vars(IDENTIFIER), "paper", RESAMPLES, SEED, folder)
    stored = [StoredCounts(f"step {step}", Path(), lambda _, step=step: record(step)) for step in steps]
    return list(Inquiry(IDENTIFIER, [analysis], neurons=neurons, resampling=resampling).over(stored))[-1][1]


def test_intervals_of_clusters_are_called_so(tmp_path: Path) -> None:
    resampling = Resampling(IDENTIFIER, vars(IDENTIFIER), "paper", RESAMPLES, SEED, tmp_path)
    for clusters, over in (("templates", "clusters"), ("", "shards")):
        stored = [
            StoredCounts(f"step {step}", Path(), lambda _, step=step: replace(record(step), clusters=clusters))  # noqa: B023
            for step in (0, 5)
        ]
        inquiry = Inquiry(IDENTIFIER, ["kinds", "overlap_ratio"], resampling=resampling)
        rows = [row for _, found in inquiry.over(stored) for row in found if row.low is not None]
        assert {row.analysis for row in rows} == {"kinds", "overlap_ratio"}
        assert {row.over for row in rows} == {over}


class Slow:
    """What a user would count by hand in two classifications, kind by kind and neuron by neuron."""

    def __init__(self, first: ActivationCounts, second: ActivationCounts, held: Classification) -> None:
        results = [
            ternary(counts, 0.4, 0.6, held.lambda_, threshold=held.threshold, cut=held.cut)
            for counts in (first, second)
        ]
        places = list(itertools.product(range(LAYERS), range(WIDTH)))
        self.losses = [
            [
                sum(sums) / sum(tokens)
                for sums, tokens in zip(one.loss_sum.tolist(), one.loss_tokens.tolist(), strict=True)
            ]
            for one in (first, second)
        ]
        self.p = second.firings.sum(dim=1).double() / second.tokens.sum(dim=1)[:, None, None]
        self.owned = [[[bool(one.above[name][place]) for name in NAMES] for place in places] for one in results]
        self.kinds = [
            [
                "general" if sum(owners) == 4
                else "none" if not one.selected[place]
                else ("unassigned", "specific", "related", "related")[sum(owners)]
                for place, owners in zip(places, owned, strict=True)
            ]
            for one, owned in zip(results, self.owned, strict=True)
        ]  # fmt: skip
        self.selected = [[bool(one.selected[place]) for place in places] for one in results]
        self.original = self
        self._drawn: dict[int, LanguageOverlaps] = {}

    def moved(self, old: str, new: str) -> float:
        return sum(pair == (old, new) for pair in zip(*self.kinds, strict=True))

    def survived(self, kind: str) -> float:
        return self.moved(kind, kind) / self.kinds[0].count(kind)

    def still(self, g: int) -> float:
        before, after = ([c and o[g] for c, o in zip(self.selected[i], self.owned[i], strict=True)] for i in (0, 1))
        return sum(x and y for x, y in zip(before, after, strict=True)) / sum(before)

    def english(self, at: int = 1) -> float:
        related = [
            sum(k == "related" and o[g] for k, o in zip(self.kinds[at], self.owned[at], strict=True)) for g in range(4)
        ]
        return related[0] / (sum(related[1:]) / 3)

    def shared(self, at: int) -> list[list[bool]]:
        """By language, which neurons are related and its own."""
        return [
            [k == "related" and o[g] for k, o in zip(self.kinds[at], self.owned[at], strict=True)] for g in range(4)
        ]

    def common(self, a: int, b: int, at: int) -> tuple[int, int]:
        """What two share, and the sum of their sizes."""
        mine = self.shared(at)
        return sum(x and y for x, y in zip(mine[a], mine[b], strict=True)), sum(mine[a]) + sum(mine[b])

    def form(self, a: int, b: int, at: int) -> float:
        """What the margins of memberships give two, by a closed form."""
        found = 0.0
        for layer in range(LAYERS):
            part = [one[layer * WIDTH : (layer + 1) * WIDTH] for one in self.shared(at)]
            degrees = [sum(owners) for owners in zip(*part, strict=True)]
            ways = sum(d * (d - 1) for d in degrees)
            found += sum(part[a]) * sum(part[b]) * ways / sum(degrees) ** 2 if ways else 0
        return found

    def beyond_margins(self, a: int, b: int, at: int = 1) -> float:
        """Of the record as it is by the draws, which have tests of their own; of a resample from there by the form."""
        held = self.original.drawn(at).pairs[NAMES[min(a, b)], NAMES[max(a, b)]]
        before, sizes_before = self.original.common(a, b, at)
        assert held.common == before
        expected = held.expected * self.form(a, b, at) / self.original.form(a, b, at)
        common, sizes = self.common(a, b, at)
        off = held.expected_jaccard - held.expected / (sizes_before - held.expected)
        return common / (sizes - common) - (expected / (sizes - expected) + off)

    def drawn(self, at: int) -> LanguageOverlaps:
        if at not in self._drawn:
            masks = torch.tensor(self.shared(at)).view(4, LAYERS, WIDTH)
            self._drawn[at] = language_overlaps(dict(zip(NAMES, masks, strict=True)))
        return self._drawn[at]

    def more_within(self, at: int = 1) -> float:
        """English, German and Swedish are Germanic; Swahili is not."""
        within = [self.beyond_margins(a, b, at) for a, b in ((0, 1), (0, 3), (1, 3))]
        between = [self.beyond_margins(a, 2, at) for a in (0, 1, 3)]
        return sum(within) / 3 - sum(between) / 3


LOSS = {"measure": "loss"}
FAMILIES = {"group": "within less between", "measure": "jaccard beyond the margins"}
QUESTIONS = [
    ("losses", {**LOSS, "language": "sw", "since": ""}, lambda one: one.losses[1][2], None),
    ("losses", {**LOSS, "language": "sw", "since": "step 0"}, lambda one: one.losses[1][2] - one.losses[0][2], 0.0),
    ("losses", {**LOSS, "group": "unseen", "since": ""}, lambda one: sum(one.losses[1][g] for g in (2, 3)) / 2,
     None),
    ("transitions", {"kind": "related", "to_kind": "none"}, lambda one: one.moved("related", "none"), None),
    ("transitions", {"kind": "specific", "to_kind": "specific"}, lambda one: one.moved("specific", "specific"), None),
    ("survival", {"kind": "related", "group": "all"}, lambda one: one.survived("related"), None),
    ("overlap_ratio", {"language": "sw"}, lambda one: one.still(2), None),
    ("english_uniqueness", {"kind": "related", "measure": "over the others"}, lambda one: one.english(), 1.0),
    (
        "language_overlap", {"language": "de", "other": "sw", "measure": "jaccard beyond the margins"},
        lambda one: one.beyond_margins(1, 2), 0.0,
    ),
    ("family_overlap", FAMILIES, lambda one: one.more_within(), 0.0),
    ("single_neuron_profile", {"language": "en", "label": "7.3"}, lambda one: float(one.p[0, 7, 3]), None),
]  # fmt: skip


def slow(step: int) -> list[Slow]:
    """That record and the last as they are, then in every resample, at the thresholds of the first record."""
    first, second = record(step), record(5)
    held = ternary(record(0), 0.4, 0.6)
    random = np.random.default_rng(SEED)
    draws = random.multinomial(SHARDS, np.full(SHARDS, 1 / SHARDS), size=(RESAMPLES, 1))[:, 0]
    chosen = [list(range(SHARDS)), *([s for s in range(SHARDS) for _ in range(draw[s])] for draw in draws)]
    found = [Slow(drawn(first, one), drawn(second, one), held) for one in chosen]
    for one in found:
        one.original = found[0]
    return found


@pytest.fixture(scope="module")
def resamples() -> list[Slow]:
    return slow(0)


@pytest.fixture(scope="module")
def from_before() -> list[Slow]:
    return slow(3)


@pytest.mark.parametrize(("analysis", "columns", "ask", "reference"), QUESTIONS)
def test_intervals_are_those_of_resamples_put_together(
    tmp_path: Path, resamples: list[Slow], analysis: str, columns: dict, ask, reference: float | None
) -> None:
    rows = rows_of(tmp_path, analysis, neurons=((7, 3),))
    rows = [row for row in rows if not row.since_before]
    if "since" not in columns:
        rows = [row for row in rows if not row.since] or rows
    (row,) = [row for row in rows if all(getattr(row, key) == value for key, value in columns.items())]
    check(row, [ask(one) for one in resamples], reference)


def check(row: Row, values: list[float], reference: float | None) -> None:
    """The row says what the record as it is and its resamples, in this order, give."""
    value, *again = values
    assert row.value == pytest.approx(value)
    assert len(set(again)) > 3
    mean = sum(again) / RESAMPLES
    deviation = math.sqrt(sum((one - mean) ** 2 for one in again) / (RESAMPLES - 1))
    # Numbers of neurons come in steps of 1, shares of so many of one over those; others are of any value.
    step = {"neurons": 1.0, "share": 1 / row.denominator if row.denominator else 0.0}.get(row.unit, 0.0)
    if row.analysis == "family_overlap":  # its denominator is a number of pairs
        step = 0.0
    half = T_OF_5 * math.sqrt(6 / 5 * deviation**2 + step**2 / 12)
    neurons = math.inf if row.to_kind else row.denominator  # how many there were before is not certain either
    most = {"neurons": neurons, "share": 1.0, "probability": 1.0}.get(row.unit) or math.inf
    least = 0.0 if reference is None or reference == 1 else -most
    ends = max(value - half, least), min(value + half, most)
    assert (row.low, row.high) == (pytest.approx(ends[0], abs=1e-6), pytest.approx(ends[1], abs=1e-6))
    assert row.noise_bias == pytest.approx(mean - value, abs=1e-9)
    assert row.reference == reference
    expected = None if reference is None else not value - half <= reference <= value + half
    assert (row.p is None) == (row.beyond_noise is None) == (reference is None)
    assert expected is None or expected == (row.p < 0.05)
    if row.p is not None:  # what is corrected among other questions of the same family has its own test
        assert row.p_adjusted is not None
        assert row.p_adjusted >= row.p
        assert row.beyond_noise == (row.p_adjusted < 0.05)


OVERLAP = {"language": "de", "other": "sw", "measure": "jaccard beyond the margins"}
CHANGES = [
    ("language_overlap", OVERLAP, lambda one, at: one.beyond_margins(1, 2, at)),
    ("family_overlap", FAMILIES, lambda one, at: one.more_within(at)),
    ("english_uniqueness", {"kind": "related", "measure": "over the others"}, lambda one, at: one.english(at)),
    ("losses", {"measure": "loss", "language": "sw"}, lambda one, at: one.losses[at][2]),
    (
        "kinds", {"thresholds": "anchored", "kind": "related", "layer": None, "group": "all"},
        lambda one, at: one.kinds[at].count("related"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("analysis", "columns", "ask"), CHANGES)
def test_changes_since_both_records_are_of_the_same_draws(
    tmp_path: Path, resamples: list[Slow], from_before: list[Slow], analysis: str, columns: dict, ask
) -> None:
    rows = rows_of(tmp_path, analysis, steps=(0, 3, 5))
    for column, label, drawn_again in (("since", "step 0", resamples), ("since_before", "step 3", from_before)):
        wanted = {**columns, "since": "", "since_before": "", column: label}
        (row,) = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
        check(row, [ask(one, 1) - ask(one, 0) for one in drawn_again], 0.0)


def test_moves_since_the_record_before(tmp_path: Path, from_before: list[Slow]) -> None:
    rows = rows_of(tmp_path, "transitions", steps=(0, 3, 5))
    (row,) = [row for row in rows if (row.since_before, row.kind, row.to_kind) == ("step 3", "related", "none")]
    check(row, [one.moved("related", "none") for one in from_before], None)


def test_a_record_before_without_resamples_gives_changes_without_intervals(tmp_path: Path) -> None:
    resampling = Resampling(IDENTIFIER, vars(IDENTIFIER), "paper", RESAMPLES, SEED, tmp_path)
    stored = [StoredCounts(f"step {step}", Path(), lambda _, step=step: record(step)) for step in (0, 3, 5)]
    inquiry = Inquiry(IDENTIFIER, ["language_overlap", "transitions"], resampling=resampling, resampled="ends")
    rows = list(inquiry.over(stored))[-1][1]
    for column, has in (("since", True), ("since_before", False)):
        found = [row for row in rows if getattr(row, column) and row.measure in ("jaccard beyond the margins", "")]
        assert found
        assert {row.low is not None for row in found if row.status == "ok"} == {has}
        assert {row.status for row in found} == ({"ok", "too few"} if has else {"ok"})


def test_cuts_of_the_layers_are_as_sure_as_resamples_agree(tmp_path: Path, resamples: list[Slow]) -> None:
    rows = rows_of(tmp_path, "layer_parts")
    cuts = [row.layer for row in rows if row.unit == "layers" and not row.is_change][1:]

    def scaled_curves(one: Slow) -> list[np.ndarray]:
        curves = [
            [one.kinds[1][layer * WIDTH : (layer + 1) * WIDTH].count(kind) for layer in range(LAYERS)]
            for kind in ("specific", "related", "general")
        ]
        logs = [np.log(1 + np.array(curve)) for curve in curves]
        return [(curve - np.mean(curve)) / (np.std(curve) or 1) for curve in logs]

    def best(one: Slow) -> tuple[int, ...]:
        """The three cuts of the least squared error, of all that there are."""
        scaled = scaled_curves(one)

        def error(at: tuple[int, ...]) -> float:
            parts = itertools.pairwise((0, *at, LAYERS))
            return sum(float(((z[a:b] - z[a:b].mean()) ** 2).sum()) for a, b in parts for z in scaled)

        return min(itertools.combinations(range(1, LAYERS), 3), key=lambda at: (round(error(at), 9), at))

    assert tuple(cuts) == best(resamples[0])
    shown = [row for row in rows if row.measure == "curve" and not row.is_change]
    assert {row.unit for row in shown} == {"z"}
    for kind, curve in zip(("specific", "related", "general"), scaled_curves(resamples[0]), strict=True):
        mine = [row for row in shown if row.kind == kind]
        assert [row.layer for row in mine] == list(range(LAYERS))
        assert [row.value for row in mine] == pytest.approx(curve.tolist(), abs=1e-9)
    found = [best(one) for one in resamples[1:]]
    shares = [
        row.value for row in rows if row.measure == "resamples with this cut within one layer" and not row.is_change
    ]
    assert shares == [
        pytest.approx(sum(abs(one[i] - cut) <= 1 for one in found) / RESAMPLES) for i, cut in enumerate(cuts)
    ]
    assert 0 < min(shares) < 1


def test_a_number_that_some_resample_lacks_has_no_interval() -> None:
    row = Row(analysis="", record="", value=1.0, reference=0.0)
    assert row.within(math.nan, math.nan, math.nan, math.nan) == replace(row, status="too few")
    diverged = replace(row, status="diverged")
    assert diverged.within(math.nan, math.nan, math.nan, math.nan) == diverged
    assert row.within(0.5, 1.5, 0.2, 0.1).beyond_noise
    assert row.within(-0.5, 1.5, 0.2, 0.1).beyond_noise is False


def test_nothing_is_drawn_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = rows_of(tmp_path, "survival")
    stored = set(tmp_path.iterdir())

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(intervals, "over_classified", refuse)
    assert rows_of(tmp_path, "survival") == rows
    assert set(tmp_path.iterdir()) == stored
    with pytest.raises(AssertionError, match="drawn again"):
        rows_of(tmp_path, "transitions")
