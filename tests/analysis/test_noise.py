"""Intervals of an analysis: those of the bootstrap, drawn once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alignlab.analysis import noise
from alignlab.analysis.inquiry import Inquiry
from alignlab.analysis.noise import Resampling
from alignlab.analysis.records import StoredCounts
from alignlab.config import to_plain
from alignlab.errors import InputError
from alignlab.neurons import ActivationCounts, bootstrap, bootstrap_difference, chance_level, ternary
from alignlab.neurons.identifiers import TernaryConfig
from alignlab.neurons.table import Row

IDENTIFIER = TernaryConfig(top_rate=0.3, bar=0.6)
NAMES = ("en", "de", "sw")


def record(step: int, shards: int = 6) -> ActivationCounts:
    random = torch.Generator().manual_seed(step)
    rate = torch.rand(3, 1, 2, 30, generator=random)
    tokens = torch.randint(40, 60, (3, shards), generator=random)
    many = tokens[:, :, None, None].expand(3, shards, 2, 30).float()
    firings = torch.binomial(many, rate.expand(3, shards, 2, 30), generator=random)
    documents = torch.full((3, shards), 4)
    return ActivationCounts(
        NAMES, firings.long(), tokens, documents, "mlp.act", "all", step=step, trained_languages=("de",)
    )


def analyse(
    folder: Path, *counts: ActivationCounts, seed: int = 3, analyses: tuple[str, ...] = ("kinds",)
) -> list[Row]:
    resampling = Resampling(IDENTIFIER, {"name": "ternary", **vars(IDENTIFIER)}, "paper", 40, seed, folder / "cache")
    records = [StoredCounts(f"step {one.step}", Path(f"{one.step}"), lambda _, one=one: one) for one in counts]
    return list(Inquiry(IDENTIFIER, analyses, resampling=resampling).over(records))[-1][1]


def numbers(rows: list[Row]) -> list[float | None]:
    """Value, ends and bias of each; sums are not of one order in arrays that lie in memory in another."""
    return [number for row in rows for number in (row.value, row.low, row.high, row.noise_bias)]


def test_intervals_are_those_of_the_bootstrap(tmp_path: Path) -> None:
    first, second = record(0), record(7)
    rows = analyse(tmp_path, first, second)
    anchor = ternary(first, 0.3, 0.6)
    verdicts = set()
    for thresholds, held in (("anchored", anchor), ("reestimated", None)):
        expected = bootstrap(second, IDENTIFIER, ["de"], anchor=held, resamples=40, seed=3)
        mine = [row for row in rows if row.thresholds == thresholds and not row.is_change]
        assert numbers(mine) == pytest.approx(numbers(expected.intervals), abs=1e-12)
        change = bootstrap_difference(
            first, second, IDENTIFIER, ["de"], anchored=thresholds == "anchored", resamples=40, seed=3
        )
        mine = [row for row in rows if row.thresholds == thresholds and row.since == "step 0"]
        ends = np.array([(row.value, row.low, row.high) for row in mine], dtype=float)
        expected_ends = np.array([(one.value, one.low, one.high) for one in change.intervals], dtype=float)
        assert np.allclose(ends, expected_ends, rtol=0, atol=1e-9, equal_nan=True)
        known = [row for row in mine if row.status == "ok"]
        verdicts |= {row.beyond_noise for row in known}
        assert all((row.low > 0 or row.high < 0) == (row.p < 0.05) for row in known)
        assert all(row.beyond_noise == (row.p_adjusted < 0.05) for row in known)
        assert all((row.low, row.p, row.beyond_noise) == (None,) * 3 for row in mine if row.status == "too few")
    assert False in verdicts


def test_stable_neurons_and_chance(tmp_path: Path) -> None:
    first, second = record(0), record(7)
    rows = analyse(tmp_path, first, second, analyses=("stability",))
    anchor = ternary(first, 0.3, 0.6)
    drawn = bootstrap(second, IDENTIFIER, anchor=anchor, resamples=40, seed=3)
    kinds = drawn.result.kinds()
    by_hand = sum(
        float(drawn.kept[layer, neuron]) >= 0.95 and int(kinds[layer, neuron]) == 2
        for layer in range(2) for neuron in range(30)
    )  # fmt: skip
    assert [row.value for row in rows if (row.kind, row.measure, row.is_change) == ("related", "stable", False)] == [
        by_hand
    ]
    chance = chance_level(second, IDENTIFIER, anchor=anchor, seed=3)
    assert {row.kind: row.value for row in rows if row.measure == "by chance" and not row.is_change} == {
        kind.label: number for kind, number in chance.items()
    }


def test_nothing_is_drawn_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = analyse(tmp_path, record(0), record(7), analyses=("kinds", "stability"))
    stored = sorted((tmp_path / "cache").iterdir())

    def refuse(*_args: object, **_options: object) -> None:
        raise AssertionError("drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(noise, "bootstrap", refuse)
        patch.setattr(noise, "chance_level", refuse)
        assert analyse(tmp_path, record(0), record(7), analyses=("kinds", "stability")) == rows
        for other in ({"seed": 4}, {}):
            with pytest.raises(AssertionError, match="drawn again"):
                analyse(tmp_path, record(0), record(7 if other else 8), **other)
    assert capsys.readouterr().err == ""
    # What was torn is drawn again, to the same; so is that of which one bit was flipped; and both is said.
    whole = stored[0].read_bytes()
    for damaged in (whole[:40], whole[:-1] + bytes([whole[-1] ^ 1])):
        stored[0].write_bytes(damaged)
        assert analyse(tmp_path, record(0), record(7), analyses=("kinds", "stability")) == rows
        assert f"{stored[0]} is damaged, or another file" in " ".join(capsys.readouterr().err.split())
    assert analyse(tmp_path, record(0), record(7), analyses=("kinds", "stability")) == rows
    assert capsys.readouterr().err == ""


def test_a_run_that_cannot_be_written_is_analysed_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/cache").write_text("a file where the folder would be")
    kept, not_kept = (analyse(tmp_path / name, record(0), record(1)) for name in ("mine", "theirs"))
    assert numbers(not_kept) == pytest.approx(numbers(kept), abs=1e-9, nan_ok=True)
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("cannot be written (File exists): what is drawn is not kept") == 1


def test_other_documents_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shards, layers, neurons"):
        analyse(tmp_path, record(0), record(7, shards=5))


def test_the_key_holds_every_option() -> None:
    assert set(to_plain(IDENTIFIER)) == set(vars(IDENTIFIER))
